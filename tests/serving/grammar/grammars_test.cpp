// Grammars on a small tokenizer: what is written at random by a constraint's masks satisfies it; what cannot be
// followed is refused and says why, however it tries to hurt; the compiler's limits hold.
#include "grammar/grammars.h"

#include <bit>
#include <regex>

#include "base/error.h"
#include "base/expect_error.h"
#include "base/json.h"
#include "base/json_members.h"
#include "base/random.h"
#include "grammar/formats.h"
#include "grammar/grammar_testing.h"
#include "text/text_testing.h"

namespace hadal {
namespace {

using testing::grammar_limits;

#define SKIP_WITHOUT_GRAMMARS() \
  if (!why_no_grammars().empty()) GTEST_SKIP() << why_no_grammars()

// Takes the longer to compile the more it names.
Json large_schema(int names) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < names; ++i)
    schema["properties"][fmt::format("p{}", i)] = {{"type", "string"},
                                                   {"pattern", fmt::format("(a|b){{{}}}c*", i % 900)}};
  return {{"type", "json_schema"}, {"json_schema", std::move(schema)}};
}

class GrammarsTest : public ::testing::Test {
 protected:
  GrammarsTest() : tokenizer_(testing::small_tokenizer(400)), grammars_(tokenizer_, grammar_limits()) {}

  std::shared_ptr<const Constraint> of(const Json& format) { return grammars_.constraint(json_text(format)); }

  // What uniform draws among the allowed ids write; empty: it did not end in 4000 tokens.
  std::string drawn(const Constraint& constraint, uint64_t seed) {
    RandomStream random{seed, stream_id("test.grammar"), 0};
    const auto text = constraint.begin();
    std::string written;
    for (int i = 0; i < 4000; ++i) {
      std::vector<int32_t> ids;
      const auto allowed = text->allowed();
      for (int32_t id = 0; id < 32 * int32_t(allowed.size()); ++id)
        if (allowed[size_t(id / 32)] >> (id % 32) & 1) ids.push_back(id);
      if (text->may_end() && (ids.empty() || random.below(4) == 0)) return written;
      if (ids.empty()) break;
      const int32_t id = ids[random.below(ids.size())];
      written += tokenizer_.token_bytes(id);
      text->accept(id);
    }
    return "";
  }

  void refused(const Json& format, const std::string& word) {
    try {
      of(format);
      ADD_FAILURE() << "not refused: " << json_text(format).substr(0, 200);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid) << error.what();
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << "'" << word << "' is not in " << error.what();
    }
  }

  Tokenizer tokenizer_;
  Grammars grammars_;
};

TEST_F(GrammarsTest, WhatIsWrittenSatisfiesTheConstraint) {
  SKIP_WITHOUT_GRAMMARS();
  const Json schema = {{"type", "object"},
                       {"properties",
                        {{"name", {{"type", "string"}, {"maxLength", 12}}},
                         {"age", {{"type", "integer"}, {"minimum", 3}, {"maximum", 120}}},
                         {"kind", {{"enum", {"a", "b", 3, nullptr}}}},
                         {"tags", {{"type", "array"}, {"items", {{"type", "boolean"}}}, {"maxItems", 3}}}}},
                       {"required", {"name", "age", "kind", "tags"}}};
  const auto of_schema = of(format_of_schema(schema, "schema"));
  const auto of_regex = of(format_of_regex("(ab|c){2,4}[0-9]+x"));
  const auto of_choice = of(format_of_choices({"yes", "no", "per\"haps\n", "\xe6\xbc\xa2"}));
  const auto of_ebnf = of(format_of_grammar("root ::= \"(\" root \")\" | \"x\""));
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const Json json = parse_json<Json>(drawn(*of_schema, seed), "what was written");
    EXPECT_TRUE(json["name"].is_string() && json["age"].is_number_integer() && json["tags"].is_array());
    EXPECT_GE(json["age"], 3);
    EXPECT_LE(json["age"], 120);
    EXPECT_LE(json["tags"].size(), 3u);
    EXPECT_EQ(json.size(), 4u);
    const std::string by_regex = drawn(*of_regex, seed);
    EXPECT_EQ(by_regex.back(), 'x');
    EXPECT_EQ(by_regex.find_first_not_of("abc0123456789x"), std::string::npos) << by_regex;
    const std::string choice = drawn(*of_choice, seed);
    EXPECT_TRUE(choice == "yes" || choice == "no" || choice == "per\"haps\n" || choice == "\xe6\xbc\xa2") << choice;
    const std::string nested = drawn(*of_ebnf, seed);
    EXPECT_EQ(nested, std::string(nested.size() / 2, '(') + "x" + std::string(nested.size() / 2, ')'));
  }
}

// Patterns of strings have automata of their own.
TEST_F(GrammarsTest, PatternsOfStringsAreFollowedToTheLetter) {
  SKIP_WITHOUT_GRAMMARS();
  for (const char* pattern : {"a(x\\.\\d{1,6})?b", "(a(b{1,2}c?)?|d{2,}e)*f", "(x(y{0,3}z)+){2}", "[^a-y\\W]{3}(a|)",
                              "(ab?c{1,3})?(d(ef{2})?)?"}) {
    const Json schema = {{"type", "string"}, {"pattern", pattern}};
    const auto constraint = of(format_of_schema(schema, "schema"));
    const std::regex expected(pattern);
    for (uint64_t seed = 1; seed <= 25; ++seed) {
      const std::string text = drawn(*constraint, seed);
      if (text.empty()) continue;
      const auto string = parse_json<Json>(text, "what was written").get<std::string>();
      EXPECT_TRUE(std::regex_match(string, expected)) << pattern << " took " << string;
    }
  }
}

TEST_F(GrammarsTest, AnObjectOfAnythingIsOne) {
  SKIP_WITHOUT_GRAMMARS();
  const auto any = of(format_of_any_object());
  int whole = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const std::string text = drawn(*any, seed);
    if (text.empty()) continue;
    ++whole;
    int64_t replaced = 0;  // bytes that are no character, and numbers that no double holds
    EXPECT_TRUE(parse_json<Json>(strict_json(text, replaced), "what was written").is_object());
  }
  EXPECT_GT(whole, 5);
}

TEST_F(GrammarsTest, AThoughtBeforeItIsFree) {
  SKIP_WITHOUT_GRAMMARS();
  const auto text = of(format_after_thought(tokenizer_, format_of_choices({"yes"})))->begin();
  for (const int32_t id : tokenizer_.encode("{[anything </thin k> at all</think>ye", SpecialTokens::parse)) {
    EXPECT_FALSE(text->may_end());
    ASSERT_TRUE(text->allowed()[size_t(id / 32)] >> (id % 32) & 1) << tokenizer_.token_bytes(id);
    text->accept(id);
  }
  int64_t allowed = 0;
  for (const uint32_t word : text->allowed()) allowed += std::popcount(word);
  EXPECT_EQ(allowed, 1);
  text->accept(tokenizer_.encode("s").front());
  EXPECT_TRUE(text->may_end());
}

TEST_F(GrammarsTest, ARequestOfTheSameFindsIt) {
  SKIP_WITHOUT_GRAMMARS();
  const Json format = format_of_regex("a+");
  EXPECT_EQ(of(format), of(format));
}

TEST_F(GrammarsTest, RefusesWhatIsNoneAndWhatNothingSatisfies) {
  SKIP_WITHOUT_GRAMMARS();
  refused(format_of_regex("(a"), "");
  refused(format_of_regex("a(?=b)"), "");
  refused(format_of_regex("[z-a]"), "");
  refused(format_of_regex(""), "");
  refused(format_of_grammar("root ::= "), "");
  refused(format_of_grammar("roof ::= \"a\""), "root");
  refused(format_of_grammar("root ::= \"a\" root"), "no text satisfies it");
  refused(format_of_grammar("root ::= \"a\" [^\\0-\\U0010ffff]"), "");
  refused(format_of_schema({{"type", "integer"}, {"minimum", 5}, {"maximum", 3}}, "schema"), "");
  refused(format_of_schema(false, "schema"), "");
  const Json endless = {{"type", "object"}, {"properties", {{"next", {{"$ref", "#"}}}}}, {"required", {"next"}}};
  refused(format_of_schema(endless, "schema"), "no text satisfies it");
  refused({{"type", "no such"}}, "");
}

// Each of these ends, within the limits: compiled, or refused as the request's own fault.
TEST_F(GrammarsTest, WhatTriesToHurtEnds) {
  SKIP_WITHOUT_GRAMMARS();
  GrammarLimits limits = grammar_limits();
  limits.compile_seconds = 1;
  Grammars hurried(tokenizer_, limits);
  const std::string deep(200000, '('), end(200000, ')');
  std::vector<std::string> many;
  for (unsigned i = 0; i < 100000; ++i) many.push_back(fmt::format("{:x}-{}", i * 2654435761U, i));
  Json nested = {{"type", "null"}};
  for (int i = 0; i < 2000; ++i) nested = {{"type", "array"}, {"items", std::move(nested)}};
  int refusals = 0;
  for (const Json& format :
       {format_of_regex("((((a{0,999}){0,999}){0,999}){0,999}){0,999}b"), format_of_regex(deep + "a" + end),
        format_of_grammar("root ::= " + deep + "\"a\"" + end), format_of_choices(many), large_schema(3000),
        Json({{"type", "json_schema"}, {"json_schema", nested}})}) {
    try {
      hurried.constraint(json_text(format));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid) << error.what();
      ++refusals;
    }
  }
  EXPECT_GE(refusals, 3);
}

TEST_F(GrammarsTest, TheCompilersLimitsHold) {
  SKIP_WITHOUT_GRAMMARS();
  const TokenTable table = {"a", "b", "ab"};
  const std::string large = json_text(large_schema(20000));
  GrammarLimits limits = grammar_limits();
  limits.compile_seconds = 1;
  limits.compile_bytes = 0;
  EXPECT_ERROR(compile_in_child(table, large, limits), ErrorKind::invalid, "");
  limits = grammar_limits();
  if (limits.compile_bytes > 0) {  // sanitizers have no limit
    limits.compile_bytes = 64 << 20;
    EXPECT_ERROR(compile_in_child(table, large, limits), ErrorKind::invalid, "takes more than 64 MiB of memory");
  }
  limits = grammar_limits();
  limits.compiled_bytes = 100;
  EXPECT_ERROR(compile_in_child(table, json_text(format_of_regex("a*")), limits), ErrorKind::invalid, "too large");
  limits = grammar_limits();
  limits.program = "/bin/true";
  EXPECT_ERROR(compile_in_child(table, json_text(format_of_regex("a*")), limits), ErrorKind::internal,
               "is no program that compiles grammars");
  limits.program = "/no/such/program";
  EXPECT_ERROR(compile_in_child(table, json_text(format_of_regex("a*")), limits), ErrorKind::io, "does not start");
}

// A grammar with ever more readings of what is written costs its own text.
TEST_F(GrammarsTest, FollowingATextHasALimit) {
  SKIP_WITHOUT_GRAMMARS();
  GrammarLimits limits = grammar_limits();
  limits.text_seconds = 0.02, limits.token_seconds = 0;
  Grammars grammars(tokenizer_, limits);
  const auto text = grammars.constraint(json_text(format_of_grammar("root ::= root root | \"a\" | \"b\"")))->begin();
  const int32_t a = tokenizer_.encode("a").front();
  const auto follow = [&] {
    for (int i = 0; i < 100000; ++i) text->allowed(), text->accept(a);
  };
  EXPECT_ERROR(follow(), ErrorKind::invalid, "following the constraint took");
}

TEST(GrammarsWithout, SaySoAndHowToGetThem) {
  if (why_no_grammars().empty()) GTEST_SKIP() << "this program has them";
  const Tokenizer tokenizer = testing::small_tokenizer(400);
  Grammars grammars(tokenizer, grammar_limits());
  EXPECT_ERROR(grammars.constraint("{}"), ErrorKind::unsupported, "run ./setup");
}

}  // namespace
}  // namespace hadal
