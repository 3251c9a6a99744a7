// Members of other people's JSON: what nobody asked for is passed over, the last of equal names counts, and what is no
// JSON is said with its place.
#include "base/json_members.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace hadal {
namespace {

const std::string kU = "\xEF\xBF\xBD";  // U+FFFD

// The member "text" as it is written, or "FAULT: ...".
std::string member(const std::string& json, std::string_view name = "text") {
  std::string_view whole;
  JsonMember wanted{name};
  const JsonFault fault = read_json_members(json, whole, {&wanted, 1});
  std::string text = "something before";
  JsonMember taken{name, &text};  // on the way, or afterwards: the same
  EXPECT_EQ(read_json_members(json, whole, {&taken, 1}).text(), fault.text());
  if (fault) return "FAULT: " + fault.text();
  EXPECT_EQ(taken.text, wanted.text);
  std::string later;
  if (wanted.is_string()) {
    EXPECT_EQ(json_string(wanted.text, later), taken.replaced) << json;
    EXPECT_EQ(later, text);
  }
  return std::string(wanted.text);
}

std::string content(const std::string& string, int64_t replaced = 0) {
  std::string out = "something before";
  EXPECT_EQ(json_string(string, out), replaced) << string;
  return out;
}

TEST(JsonMembers, WhatNobodyAskedForIsPassedOver) {
  const char* values[] = {"340282366920938463463374607431768211456",
                          "-1e400",
                          "1E+9999",
                          "NaN",
                          "Infinity",
                          "-Infinity",
                          "0.1e-5",
                          "-0",
                          "\"cut \\ud83d\"",
                          "\"\\udc00\\ud800\"",
                          "\"\xff\xfe bytes\"",
                          "\"\\\\\\\"\"",
                          "\"} ] , : {\"",
                          "[ ]",
                          "{ }",
                          "[[1, {\"text\": 2}], [], {\"a\": {}}]",
                          "true",
                          "null"};
  for (const std::string value : values) {
    EXPECT_EQ(member("{\"other\": " + value + ", \"text\": \"x\"}"), "\"x\"") << value;
    EXPECT_EQ(member(" {\"text\" :\t\"x\" ,\n\"other\":" + value + " } \r\n"), "\"x\"") << value;
    EXPECT_EQ(member("{\"text\":" + value + "}"), value);
    EXPECT_EQ(member("{\"other\":" + value + "}"), "");
  }
}

TEST(JsonMembers, NothingNestsTooDeep) {
  const size_t deep = 300'000;
  const std::string arrays = std::string(deep, '[') + std::string(deep, ']');
  std::string objects;
  for (size_t i = 0; i < deep; ++i) objects += "{\"a\":";
  objects += "1" + std::string(deep, '}');
  EXPECT_EQ(member("{\"a\": " + arrays + ", \"b\": " + objects + ", \"text\": 7}"), "7");
  EXPECT_EQ(member(arrays.substr(1)), "FAULT: more follows behind the value at byte " + std::to_string(2 * deep - 1));
}

TEST(JsonMembers, TheLastOfEqualNamesCountsHoweverItIsWritten) {
  EXPECT_EQ(member(R"({"text": "first", "text": "second"})"), "\"second\"");
  EXPECT_EQ(member(R"({"text": "first", "\u0074ex\u0074": 5})"), "5");
  EXPECT_EQ(member(R"({"text": "first", "Text": 5, "text ": 6, "": 7})"), "\"first\"");
  EXPECT_EQ(member(R"({"a": {"text": 1}})"), "");
  EXPECT_EQ(member("{\"\xff\": 1}", "\xff"), "1");
}

TEST(JsonMembers, WhatIsNoJsonIsSaidWithItsPlace) {
  const std::pair<const char*, const char*> cases[] = {{"", "a value was expected at byte 1"},
                                                       {"plain words", "a value was expected at byte 1"},
                                                       {"{", "a name in quotes was expected at byte 2"},
                                                       {"{\"text\": \"a\"", "a comma or } was expected at byte 13"},
                                                       {"{\"text\" \"a\"}", "a colon was expected at byte 9"},
                                                       {"{\"text\": }", "a value was expected at byte 10"},
                                                       {"{\"text\": 1,}", "a name in quotes was expected at byte 12"},
                                                       {"{text: 1}", "a name in quotes was expected at byte 2"},
                                                       {"{'text': 1}", "a name in quotes was expected at byte 2"},
                                                       {"{\"a\": [1,]}", "a value was expected at byte 10"},
                                                       {"{\"a\": [1 2]}", "a comma or ] was expected at byte 10"},
                                                       {"{\"a\": 01}", "a comma or } was expected at byte 8"},
                                                       {"{\"a\": +1}", "a value was expected at byte 7"},
                                                       {"{\"a\": .5}", "a value was expected at byte 7"},
                                                       {"{\"a\": 1.}", "a digit was expected at byte 9"},
                                                       {"{\"a\": 1e}", "a digit was expected at byte 9"},
                                                       {"{\"a\": -}", "a digit was expected at byte 8"},
                                                       {"{\"a\": nul}", "a value was expected at byte 7"},
                                                       {"{\"a\": truee}", "a comma or } was expected at byte 11"},
                                                       {"{\"a\": -NaN}", "a digit was expected at byte 8"},
                                                       {"{\"a\": \"\\x41\"}", "an unknown escape at byte 8"},
                                                       {"{\"a\": \"\\u12g4\"}", "hexadecimal digits were expected"},
                                                       {"{\"a\": \"tab\there\"}", "control character"},
                                                       {"{\"a\": \"open}", "no closing quote, it begins at byte 7"},
                                                       {"{\"a\": \"open\\\"}", "no closing quote"},
                                                       {"{} {}", "more follows behind the value at byte 4"},
                                                       {"{\"a\": 1}]", "more follows behind the value at byte 9"}};
  for (const auto& [json, fault] : cases) {
    EXPECT_EQ(member(json).rfind("FAULT: ", 0), 0u) << json;
    EXPECT_NE(member(json).find(fault), std::string::npos) << json << ": " << member(json);
  }
}

TEST(JsonMembers, ATextThatEndsInsideOfAValueIsKnownFromAWrongOne) {
  const std::string whole = R"({"a": [1.5e3, {"b": "x\u00e4\n"}], "c": {"d": null}})";
  std::string_view value;
  for (size_t n = 0; n < whole.size(); ++n) {
    const JsonFault fault = read_json_members(whole.substr(0, n), value);
    EXPECT_TRUE(fault) << n;
    const bool inside_of_a_word = n > 0 && std::string_view("nul").find(whole[n - 1]) != std::string_view::npos;
    EXPECT_TRUE(fault.cut_off || inside_of_a_word) << whole.substr(0, n);
  }
  EXPECT_FALSE(read_json_members("{\"a\": }", value).cut_off);
  EXPECT_FALSE(read_json_members("{} x", value).cut_off);
}

TEST(JsonMembers, ValuesFollowEachOther) {
  const std::string json = " {\"a\": 1}\n\n[2] \"three\"4";
  std::vector<std::string> values;
  for (size_t at = 0; at < json.size();) {
    std::string_view value;
    ASSERT_FALSE(next_json_value(json, at, value));
    values.emplace_back(value);
  }
  EXPECT_EQ(values, (std::vector<std::string>{"{\"a\": 1}", "[2]", "\"three\"", "4"}));
}

TEST(JsonMembers, StringsBecomeTextAndLoneSurrogatesOneReplacementEach) {
  EXPECT_EQ(content(R"("")"), "");
  EXPECT_EQ(content(R"("a\"b\\c\/d\b\f\n\r\te")"), "a\"b\\c/d\b\f\n\r\te");
  EXPECT_EQ(content(R"("\u0041\u00e4\u6f22\uD83d\uDE00 and 😀")"), "Aä漢😀 and 😀");
  EXPECT_EQ(content(R"("\u0000")"), std::string(1, '\0'));
  EXPECT_EQ(content("\"kept \xff\xed\xa0\x80 bytes\""), "kept \xff\xed\xa0\x80 bytes");
  EXPECT_EQ(content(R"("cut \ud83d off")", 1), "cut " + kU + " off");
  EXPECT_EQ(content(R"("\ud83d")", 1), kU);
  EXPECT_EQ(content(R"("\ude00\ud83d")", 2), kU + kU);
  EXPECT_EQ(content(R"("\ud83d\ud83d\ude00\ude00")", 2), kU + "😀" + kU);
  EXPECT_EQ(content(R"("\ud83d\u0041\ud83d\n\ud83dude00")", 3), kU + "A" + kU + "\n" + kU + "ude00");
  const std::string longer(1000, 'x');
  for (size_t n = 0; n < 70; ++n)  // the escape at every place of a block
    EXPECT_EQ(content("\"" + longer.substr(0, n) + "\\n" + longer + "\""), longer.substr(0, n) + "\n" + longer);
}

TEST(JsonMembers, NamesForAMessage) {
  EXPECT_EQ(json_member_names("{}"), "none");
  EXPECT_EQ(json_member_names(R"({"id": {"inner": 1}, "b\u0061": [2]})"), "id, ba");
  EXPECT_EQ(json_member_names(R"({"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1})"),
            "1, 2, 3, 4, 5, 6, 7, 8, ...");
}

TEST(JsonMembers, TheStrictReaderTakesWhatThisOneWritesAnew) {
  const std::string python =
      "{\"a\": [NaN, -Infinity, Infinity, 1e400, -1e400, 1.5, 12345678901234567890123, true, null],"
      " \"b\": \"cut \\ud83d \xff \\u0007 \\\"q\\\" \\\\ ä\", \"b \\udc00\": {}}";
  int64_t replaced = 1;
  const auto json = parse_json(strict_json(python, replaced), "x");
  EXPECT_EQ(replaced, 1 + 3);
  EXPECT_EQ(json_text(json["a"]), "[null,null,null,null,null,1.5,1.2345678901234568e+22,true,null]");
  EXPECT_EQ(json["b"], "cut " + kU + " " + kU + " \a \"q\" \\ ä");
  EXPECT_TRUE(json.contains("b " + kU));
  EXPECT_EQ(strict_json("{\"a\": NaN", replaced), "{\"a\": NaN");
  EXPECT_EQ(strict_json(" [1 , \"x\"]", replaced), "[1 , \"x\"]");
}

}  // namespace
}  // namespace hadal
