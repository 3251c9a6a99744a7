// One way to read JSON from outside; what is wrong with it is said by one Error that names where it came from.
#include "base/json.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/testing.h"

namespace hadal {
namespace {

using testing::error_of;

std::string refusal(const std::string& text, const JsonRules& rules = {}, ErrorKind wanted = ErrorKind::corrupt) {
  ErrorKind kind = ErrorKind::internal;
  const std::string message = error_of([&] { parse_json(text, "x.json", rules); }, &kind);
  EXPECT_EQ(int(kind), int(wanted)) << text.substr(0, 40);
  EXPECT_EQ(message.rfind("x.json: ", 0), 0u) << message;
  return message;
}

using testing::has;

TEST(Json, WhatIsWrongIsSaidWithItsOrigin) {
  for (const char* text : {"", "{", "[1,]", "{\"a\": NaN}", "{} {}", "\xff\xfe", "\"\\ud800\""})
    EXPECT_TRUE(has(refusal(text), "not valid JSON (")) << text;
  EXPECT_FALSE(has(refusal("{"), "[json.exception"));
  EXPECT_TRUE(has(refusal("{\"a\": 1,}"), "not valid JSON (line 1, column 9: unexpected '}'"));
  EXPECT_TRUE(has(refusal("[1e999]"), "beyond what a double can hold"));
  EXPECT_TRUE(has(refusal("[]", {.object = true}), "not a JSON object"));
  EXPECT_TRUE(has(refusal("[[]]", {.levels = 1}), "nested deeper than 1 levels"));
  EXPECT_TRUE(has(refusal(std::string(300'000, '[')), "nested deeper than 64 levels"));
  refusal("{", {.kind = ErrorKind::invalid}, ErrorKind::invalid);
  EXPECT_EQ(parse_json("[[1]]", "x", {.levels = 2})[0][0], 1);
}

TEST(Json, ANameThatStandsTwiceInOneObjectIsRefusedWhereThatIsAsked) {
  const std::string twice = R"({"a": {"b": 1, "c": [{"b": 2}], "b": 3}})";
  EXPECT_TRUE(has(refusal(twice, {.unique_names = true}), "'b' stands twice"));
  EXPECT_EQ(parse_json(twice, "x")["a"]["b"], 3);
  EXPECT_EQ(parse_json(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})", "x", {.unique_names = true}).size(), 2u);
}

TEST(Json, ANumberThatIsNoIntegerOf64BitsIsRefusedWhereThatIsAsked) {
  for (const char* number : {"1.5", "1e30", "18446744073709551616", "777777777777777777777777777777"}) {
    const std::string text = std::string("{\"a\": [0, {\"b\": ") + number + "}]}";
    EXPECT_TRUE(has(refusal(text, {.integers = true}), "where integers of 64 bits stand")) << number;
    EXPECT_NO_THROW(parse_json(text, "x")) << number;
  }
  const auto largest = parse_json("[18446744073709551615, -9223372036854775808]", "x", {.integers = true});
  EXPECT_EQ(largest[0].get<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(largest[1].get<int64_t>(), INT64_MIN);
  EXPECT_NO_THROW(parse_json(R"({"a": 1, "a": 2})", "x", {.integers = true}));  // each rule for itself
}

TEST(Json, AFileIsItsOwnOrigin) {
  const testing::TempDir directory;
  atomic_write(directory / "a.json", "{\"z\": 1, \"a\": 2}");
  EXPECT_EQ(read_json<nlohmann::ordered_json>(directory / "a.json").begin().key(), "z");  // in the file's order
  atomic_write(directory / "a.json", "nothing");
  EXPECT_TRUE(has(error_of([&] { read_json(directory / "a.json"); }), directory / "a.json"));
}

TEST(Json, KnowsHowDeepATextNests) {
  EXPECT_FALSE(nests_deeper_than("", 0));
  EXPECT_FALSE(nests_deeper_than("[{\"a\": []}, [1]]", 3));
  EXPECT_TRUE(nests_deeper_than("[{\"a\": []}, [1]]", 2));
  EXPECT_FALSE(nests_deeper_than("[\"[[[[\\\"[[[[\"]", 1));  // brackets in strings do not count
  EXPECT_TRUE(nests_deeper_than("[\"\\\\\", [", 1));         // an escaped backslash ends nothing
}

}  // namespace
}  // namespace hadal
