// Stop strings end a text wherever its fragments are cut, and nothing is shown that has to be taken back.
#include "dialogue/stop_strings.h"

#include <gtest/gtest.h>

#include "base/expect_error.h"

namespace hadal {
namespace {

// What is shown of `text` when it comes in fragments of `piece` bytes.
std::string shown(const std::string& text, const std::vector<std::string>& strings, size_t piece) {
  StopStrings stops(strings);
  std::string out;
  for (size_t at = 0; at < text.size(); at += piece) out += stops.push(text.substr(at, piece));
  return out + stops.finish();
}

TEST(StopStrings, EndATextHoweverItIsCut) {
  struct Case {
    std::string text;
    std::vector<std::string> strings;
    std::string right;
  };
  const std::vector<Case> cases = {
      {"one\nUser: two", {"\nUser:"}, "one"},
      {"aaab", {"aab"}, "a"},
      {"ababac", {"abac"}, "ab"},
      {"first second third", {"third", "second"}, "first "},
      {"xSTOPySTO", {"STOPPED", "STO"}, "x"},
      {"no end here STO", {"STOP"}, "no end here STO"},
      {"", {"x"}, ""},
      {"grüße ende", {"ß"}, "grü"},
      {"everything", {}, "everything"},
      {"stop at once", {"stop"}, ""},
  };
  for (const auto& c : cases) {
    for (const size_t piece : {1u, 2u, 3u, 100u})
      EXPECT_EQ(shown(c.text, c.strings, piece), c.right) << c.text << piece;
  }
}

TEST(StopStrings, ShowWhatCannotBecomeOneAtOnce) {
  StopStrings stops({"END"});
  EXPECT_EQ(stops.push("text E"), "text ");
  EXPECT_EQ(stops.push("N"), "");
  EXPECT_EQ(stops.push("x"), "ENx");
  EXPECT_FALSE(stops.found());
  EXPECT_EQ(stops.push("END and more"), "");
  EXPECT_TRUE(stops.found());
  EXPECT_EQ(stops.push("nothing comes any more"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, RefuseTheEmptyOne) { EXPECT_ERROR(StopStrings({"a", ""}), ErrorKind::invalid, "empty"); }

}  // namespace
}  // namespace hadal
