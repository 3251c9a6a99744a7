// Forms of answers from strangers who mean harm: each request is answered, with a 4xx or a text, while a neighbour's
// stream goes on and is the text that it is alone, and other requests are taken.
#include <thread>

#include "server/server_testing.h"

namespace hadal {
namespace {

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::vector<Json> harmful_forms() {
  Json many = Json::array();
  for (unsigned i = 0; i < 100000; ++i) many.push_back(fmt::format("{:x}", i * 2654435761U));
  Json nested = {{"type", "null"}};
  for (int i = 0; i < 40; ++i) nested = {{"type", "array"}, {"items", std::move(nested)}};
  Json wide = {{"type", "object"}, {"properties", Json::object()}};
  for (int i = 0; i < 3000; ++i)
    wide["properties"][fmt::format("p{}", i)] = {{"type", "string"},
                                                 {"pattern", fmt::format("(a|b){{{}}}c*", i % 900)}};
  const Json doubling = {{"$defs",
                          {{"a", {{"anyOf", {{{"$ref", "#/$defs/b"}}, {{"$ref", "#/$defs/b"}}}}}},
                           {"b", {{"anyOf", {{{"$ref", "#/$defs/a"}}, {{"$ref", "#/$defs/a"}}}}}}}},
                         {"$ref", "#/$defs/a"}};
  return {{{"choice", many}},
          {{"json", nested}},
          {{"json", wide}},
          {{"json", doubling}},
          {{"json", {{"type", "integer"}, {"minimum", -9223372036854775807}, {"maximum", 9223372036854775807}}}},
          {{"json", {{"type", "string"}, {"minLength", 2000000000}}}},
          {{"json", {{"type", "array"}, {"minItems", 2000000000}, {"items", {{"type", "null"}}}}}},
          {{"regex", repeated("(", 300000) + "a" + repeated(")", 300000)}},
          {{"regex", repeated("(", 30) + "a" + repeated("{0,1000})", 30)}},
          {{"regex", repeated("(a|aa)+", 2000)}},
          {{"regex", "\\u{110000}[\\ud800-\\udfff]\\p{L}(?<x>a)\\k<x>"}},
          {{"regex", std::string("a\0b", 3)}},
          {{"grammar", "root ::= " + repeated("(", 300000) + "\"a\"" + repeated(")", 300000)}},
          {{"grammar", "root ::= root root | root root root | \"a\" | \"\""}},
          {{"grammar", "root ::= a a a\na ::= b b b\nb ::= a | \"x\" | \"\""}},
          {{"grammar", "root ::= [a-z]{1,100000000}"}}};
}

TEST(ConstraintsOfStrangers, DisturbNoNeighbour) {
  if (!why_no_grammars().empty()) GTEST_SKIP() << why_no_grammars();
  TinyOptions options;
  options.serving.http.body_bytes = 4 << 20;
  options.grammars.compile_seconds = 1;
  Tiny tiny(options);
  const std::string stream =
      R"({"prompt": "the sea", "max_tokens": 240, "seed": 6, "ignore_eos": true, "stream": true})";
  const auto streamed = [&] {
    bool done = false;
    const auto texts = texts_of(events_of(ask(tiny.port(), "POST", "/v1/completions", stream).body, &done));
    return done && texts.size() == 1 ? texts[0] : "";
  };
  const std::string alone = streamed();
  ASSERT_FALSE(alone.empty());
  std::atomic<bool> stop = false;
  int right = 0, all = 0;
  std::thread neighbour([&] {
    do right += streamed() == alone, ++all;
    while (!stop);
  });
  std::vector<std::thread> peers;
  std::atomic<int> refused = 0, written = 0;
  for (const Json& form : harmful_forms()) {
    peers.emplace_back([&, form] {
      const Json asked = {{"prompt", "x"}, {"max_tokens", 200}, {"structured_outputs", form}};
      const Answer answer = post(tiny.port(), "/v1/completions", asked);
      EXPECT_TRUE(answer.status == 200 || answer.status == 400) << answer.status << json_text(form).substr(0, 100);
      refused += answer.status == 400, written += answer.status == 200;
    });
    if (peers.size() < 4) continue;  // no more wait at a time than a peer waits for
    for (std::thread& peer : peers) peer.join();
    peers.clear();
  }
  for (std::thread& peer : peers) peer.join();
  stop = true;
  neighbour.join();
  EXPECT_EQ(right, all) << "a neighbour's stream was disturbed";
  EXPECT_GE(refused, 6);
  EXPECT_GE(written, 1);
  EXPECT_EQ(ask(tiny.port(), "GET", "/health").status, 200);
}

}  // namespace
}  // namespace hadal
