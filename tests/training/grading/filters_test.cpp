// Filters and exact matches as Python's re and lm-eval make them.
#include <gtest/gtest.h>

#include "base/expect_error.h"
#include "grading/exact_match.h"
#include "grading/filters.h"

namespace hadal::grading {
namespace {

using Found = std::vector<std::vector<std::string>>;

TEST(Pattern, FindsWhatFindallFinds) {
  EXPECT_EQ(Pattern("a(b)?(c)?").find_all("a abc ab"), (Found{{"", ""}, {"b", "c"}, {"b", ""}}));
  EXPECT_EQ(Pattern("[0-9]+").find_all("1 22 x333"), (Found{{"1"}, {"22"}, {"333"}}));
  EXPECT_EQ(Pattern("b*").find_all("abba"), (Found{{""}, {"bb"}, {""}, {""}}));
  EXPECT_EQ(Pattern("(?P<n>\\d)").find_all("٣"), (Found{{"٣"}}));
  EXPECT_EQ(Pattern("x").find_all(""), Found{});
  EXPECT_EQ(Pattern("a*").without_matches("baac"), "bc");
  EXPECT_EQ(Pattern("(?s).*#### ").without_matches("one\ntwo #### 3"), "3");
  EXPECT_EQ(Pattern("\\.$").without_matches("12.\n"), "12\n");
}

TEST(Pattern, EndsWithAnErrorWhereItBacktracksForEver) {
  EXPECT_ERROR(Pattern("(a+)+$").find_all(std::string(40, 'a') + "b"), ErrorKind::invalid, "(a+)+$");
  EXPECT_ERROR(Pattern("(a"), ErrorKind::invalid, "'(a' is no regular expression");
  EXPECT_ERROR(Pattern(std::string(100'000, 'a')), ErrorKind::invalid, "at most");
}

TEST(Filters, TakeTheMatchAndElseTheFallback) {
  using Kind = Filter::Kind;
  const FilterPipeline strict("strict",
                              {{.kind = Kind::regex, .pattern = "#### (\\-?[0-9\\.\\,]+)", .fallback = "[invalid]"}});
  EXPECT_EQ(strict.apply("6*7=42\n#### 42").answer, "42");
  EXPECT_FALSE(strict.apply("42").found);
  EXPECT_EQ(strict.apply("42").answer, "[invalid]");
  const FilterPipeline flexible(
      "flexible",
      {{.kind = Kind::regex, .pattern = "(-?[$0-9.,]{2,})|(-?[0-9]+)", .select = -1, .fallback = "[invalid]"}});
  EXPECT_EQ(flexible.apply("it is 7, no: $1,234. or 5").answer, "5");
  EXPECT_EQ(flexible.apply("no: $1,234.").answer, "$1,234.");
  const FilterPipeline chain(
      "chain",
      {{.kind = Kind::strip}, {.kind = Kind::lower}, {.kind = Kind::map, .fallback = "?", .map = {{"ja", "yes"}}}});
  EXPECT_EQ(chain.apply("\u00a0JA\n").answer, "yes");
  EXPECT_EQ(chain.apply("nein").answer, "?");
  EXPECT_EQ(FilterPipeline("none", {}).apply(" x ").answer, " x ");
}

TEST(ExactMatches, IgnoreWhatTheyAreTold) {
  EXPECT_FALSE(ExactMatch({}).equal("a", "A"));
  EXPECT_TRUE(ExactMatch({.ignore_case = true}).equal("Straße", "STRAßE"));
  EXPECT_TRUE(ExactMatch({.ignore_punctuation = true}).equal("it's, 5.", "its 5"));
  EXPECT_TRUE(ExactMatch({.ignore_numbers = true}).equal("a1b", "ab2"));
  const ExactMatch gsm({.regexes_to_ignore = {",", "\\$", "(?s).*#### ", "\\.$"}});
  EXPECT_TRUE(gsm.equal("$1,234.", "48/2=24\n#### 1234"));
  EXPECT_FALSE(gsm.equal("12", "13"));
}

}  // namespace
}  // namespace hadal::grading
