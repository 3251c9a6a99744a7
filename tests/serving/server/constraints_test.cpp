// Constrained answers over the API: each form in completions and chats, whole and streamed, behind a thought; forced
// tool calls; receipts; and each refusal by name, while neighbours go on.
#include <thread>

#include "base/json_members.h"
#include "server/server_testing.h"

namespace hadal {
namespace {

const Json kSchema = {{"type", "object"},
                      {"properties",
                       {{"ok", {{"type", "boolean"}}},
                        {"n", {{"type", "integer"}, {"minimum", 0}, {"maximum", 99}}},
                        {"word", {{"type", "string"}, {"maxLength", 4}}}}},
                      {"required", {"ok", "n", "word"}}};

Json of_schema(const Json& schema) {
  return {{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"strict", true}, {"schema", schema}}}};
}

void expect_of_schema(const std::string& text) {
  const Json json = parse_json<Json>(text, "the answer");
  EXPECT_TRUE(json["ok"].is_boolean() && json["word"].is_string()) << text;
  EXPECT_TRUE(json["n"] >= 0 && json["n"] <= 99) << text;
  EXPECT_EQ(json.size(), 3u) << text;
}

Json tool(const std::string& name) {
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", kSchema}}}};
}

class Constraints : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_grammars().empty()) GTEST_SKIP() << why_no_grammars();
  }
  static TinyOptions roomy() {
    TinyOptions options;
    options.positions = 2048;
    return options;
  }
  static void SetUpTestSuite() { tiny_ = std::make_unique<Tiny>(roomy()); }
  static void TearDownTestSuite() { tiny_.reset(); }

  static Answer completion(const Json& more, uint64_t seed = 1) {
    Json json = {{"prompt", "the sea"}, {"max_tokens", 200}, {"temperature", 1}, {"seed", seed}};
    json.update(more);
    return post(tiny_->port(), "/v1/completions", json);
  }
  static Answer chat(const Json& more, uint64_t seed = 1) {
    Json json = {{"messages", {{{"role", "user"}, {"content", "why?"}}}}, {"temperature", 1}, {"seed", seed}};
    json.update(more);
    return post(tiny_->port(), "/v1/chat/completions", json);
  }
  static Json choice_of(const Answer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.status == 200 ? answer.json()["choices"][0] : Json{{"message", Json::object()}};
  }
  static std::string text_of(const Answer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    const Json choice = answer.json()["choices"][0];
    EXPECT_EQ(choice["finish_reason"], "stop") << answer.body;
    return choice.contains("text") ? choice["text"] : choice["message"]["content"];
  }
  static void refused(const Answer& answer, const char* param, const char* word) {
    EXPECT_EQ(answer.status, 400) << answer.body;
    EXPECT_EQ(answer.json()["error"]["param"], param) << answer.body;
    EXPECT_NE(answer.error().find(word), std::string::npos) << "'" << word << "' is not in " << answer.error();
  }

  static std::unique_ptr<Tiny> tiny_;
};
std::unique_ptr<Tiny> Constraints::tiny_;

TEST_F(Constraints, EveryFormIsFollowedInCompletionsAndChats) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    for (const auto& ask : {completion, chat}) {
      expect_of_schema(text_of(ask({{"response_format", of_schema(kSchema)}}, seed)));
      expect_of_schema(text_of(ask({{"structured_outputs", {{"json", kSchema}}}}, seed)));
      expect_of_schema(text_of(ask({{"structured_outputs", {{"json", json_text(kSchema)}}}}, seed)));
      const std::string by_regex = text_of(ask({{"structured_outputs", {{"regex", "[a-c]{3}\\d"}}}}, seed));
      EXPECT_TRUE(by_regex.size() == 4 && by_regex[0] >= 'a' && by_regex[0] <= 'c' && by_regex[3] <= '9') << by_regex;
      const std::string choice = text_of(ask({{"structured_outputs", {{"choice", {"north", "south"}}}}}, seed));
      EXPECT_TRUE(choice == "north" || choice == "south") << choice;
      const Json nested = {{"grammar", "root ::= \"<\" (root | \"x\") \">\""}};
      const std::string by_grammar = text_of(ask({{"structured_outputs", nested}}, seed));
      EXPECT_EQ(by_grammar, std::string(by_grammar.size() / 2, '<') + "x" + std::string(by_grammar.size() / 2, '>'));
    }
  }
  const Json any = chat({{"response_format", {{"type", "json_object"}}}, {"max_tokens", 60}}).json()["choices"][0];
  EXPECT_EQ(any["message"]["content"].get<std::string>()[0], '{');
}

// Each token that the mask allows is one that the grammar takes, also inside a character of several tokens.
TEST_F(Constraints, LongStringsAreFollowedFromCharacterToCharacter) {
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    const char* name = seed % 2 == 0 ? "minLength" : "maxLength";
    const Answer answer = completion({{"structured_outputs", {{"json", {{"type", "string"}, {name, 900}}}}}}, seed);
    EXPECT_EQ(answer.status, 200) << answer.body;
  }
}

TEST_F(Constraints, AStreamIsTheWholeAnswer) {
  const Json format = {{"response_format", of_schema(kSchema)}};
  Json streamed = format;
  streamed["stream"] = true;
  EXPECT_EQ(texts_of(events_of(chat(streamed).body))[0], text_of(chat(format)));
}

// What a model thinks is its own affair; the constraint is on what it says then (grammars_test follows one behind it).
TEST_F(Constraints, WhatIsThoughtBeforeIsFree) {
  Json asked = {{"structured_outputs", {{"choice", {"yes"}}}}, {"max_tokens", 40}};
  EXPECT_EQ(text_of(chat(asked)), "yes");
  asked["chat_template_kwargs"] = {{"thinking", true}};
  const Json message = choice_of(chat(asked))["message"];
  EXPECT_GT(message["reasoning_content"].get<std::string>().size(), 10u);
}

TEST_F(Constraints, ToolsAreCalledByForce) {
  const Json tools = Json::array({tool("look"), tool("find")});
  const Json named = {{"type", "function"}, {"function", {{"name", "find"}}}};
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const Json one = choice_of(chat({{"tools", tools}, {"tool_choice", named}}, seed));
    ASSERT_EQ(one["message"]["tool_calls"].size(), 1u) << json_text(one);
    EXPECT_EQ(one["message"]["tool_calls"][0]["function"]["name"], "find");
    EXPECT_EQ(one["message"]["content"], nullptr);
    EXPECT_EQ(one["finish_reason"], "tool_calls");
    expect_of_schema(one["message"]["tool_calls"][0]["function"]["arguments"]);
    const Json any = choice_of(chat({{"tools", tools}, {"tool_choice", "required"}}, seed));
    const Json calls = any["message"].contains("tool_calls") ? any["message"]["tool_calls"] : Json::array();
    EXPECT_TRUE(any["finish_reason"] == "length" || !calls.empty()) << json_text(any);
    for (const Json& call : calls) expect_of_schema(call["function"]["arguments"]);
    Json single = {{"tools", tools}, {"tool_choice", "required"}, {"parallel_tool_calls", false}};
    EXPECT_EQ(choice_of(chat(single, seed))["message"]["tool_calls"].size(), 1u);
  }
  // With a format for what is said, tools may still be called, and what is said has it.
  const Json both = {{"tools", tools}, {"response_format", of_schema(kSchema)}};
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const Json message = choice_of(chat(both, seed))["message"];
    if (!message.contains("tool_calls")) expect_of_schema(message["content"]);
  }
}

// V3 and R1 write a call's arguments between fences, as their template shows.
TEST_F(Constraints, ToolsAreCalledInTheTemplatesOwnFormat) {
  TinyOptions options = roomy();
  options.chat_template = std::string(kChatTemplate) + "{# ```json #}";
  Tiny fenced(options);
  const Json asked = {{"messages", {{{"role", "user"}, {"content", "why?"}}}},
                      {"tools", Json::array({tool("look")})},
                      {"tool_choice", "required"},
                      {"parallel_tool_calls", false},
                      {"return_token_ids", true}};
  const Json choice = choice_of(post(fenced.port(), "/v1/chat/completions", asked));
  expect_of_schema(choice["message"]["tool_calls"][0]["function"]["arguments"]);
  const std::string all = fenced.model.text().decode(choice["token_ids"].get<std::vector<int32_t>>());
  EXPECT_NE(all.find("<｜tool▁sep｜>look\n```json\n{"), std::string::npos) << all;
}

TEST_F(Constraints, WithNeighboursTheTextIsTheSame) {
  const Json format = {{"response_format", of_schema(kSchema)}};
  std::vector<std::string> alone;
  for (uint64_t seed = 1; seed <= 6; ++seed) alone.push_back(text_of(completion(format, seed)));
  std::vector<std::thread> peers;
  std::atomic<int> same = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed)
    peers.emplace_back([&, seed] { same += text_of(completion(format, seed)) == alone[seed - 1]; });
  for (std::thread& peer : peers) peer.join();
  EXPECT_EQ(same, 6);
}

TEST_F(Constraints, AReceiptBringsTheAnswerAgain) {
  Json asked = {{"response_format", of_schema(kSchema)}, {"receipt", true}};
  const Json json = completion(asked).json()["choices"][0]["receipt"];
  Receipt receipt = receipt_from_json(json_text(json), "here");
  EXPECT_EQ(receipt_json(receipt), json);
  EXPECT_FALSE(receipt.format.empty());
  OwnedExec owned(1);
  Grammars grammars(tiny_->model.text(), testing::grammar_limits());
  receipt.asked.constraint = grammars.constraint(receipt.format);
  const Replayed again = replay(owned.exec, *tiny_->model.model.transformer, receipt);
  EXPECT_EQ(again.first, "");
  EXPECT_EQ(again.same, int64_t(receipt.tokens.size()));
}

TEST_F(Constraints, AreRefusedByNameWhereTheyCannotBeFollowed) {
  const auto format = [](const Json& value) { return completion({{"response_format", value}}); };
  refused(format({{"type", "structural_tag"}}), "response_format", "must be text, json_object or json_schema");
  refused(format("json"), "response_format", "must be text, json_object or json_schema");
  refused(format({{"type", "json_schema"}}), "response_format", "response_format.json_schema is missing");
  refused(format({{"type", "json_schema"}, {"json_schema", {{"name", "x"}}}}), "response_format", "\"schema\"");
  refused(format(of_schema({{"type", "integer"}, {"minimum", 3}, {"maximum", 1}})), "response_format",
          "response_format cannot be followed");
  refused(format(of_schema({{"type", "array"}, {"uniqueItems", true}})), "response_format",
          "response_format.json_schema.schema: 'uniqueItems' is not offered");
  refused(format(of_schema({{"oneOf", {{{"type", "string"}}, {{"type", "string"}}}}})), "response_format",
          "it cannot be followed in full");
  const auto structured = [](const Json& value) { return chat({{"structured_outputs", value}}); };
  refused(structured(3), "structured_outputs", "must be an object");
  refused(structured(Json::object()), "structured_outputs", "says nothing");
  refused(structured({{"regex", "a"}, {"choice", {"b"}}}), "structured_outputs", "both regex and choice");
  refused(structured({{"regex", "(a"}}), "structured_outputs", "cannot be followed");
  refused(structured({{"choice", Json::array()}}), "structured_outputs", "must be a list of texts");
  refused(structured({{"choice", {""}}}), "structured_outputs", "not empty");
  refused(structured({{"grammar", "nonsense"}}), "structured_outputs", "cannot be followed");
  refused(structured({{"json", "{"}}), "structured_outputs", "structured_outputs.json");
  refused(structured({{"structural_tag", "x"}}), "structural_tag", "unknown field");
  refused(chat({{"guided_json", kSchema}}), "guided_json", "\"structured_outputs\": {\"json\": ...}");
  refused(chat({{"structured_outputs", {{"regex", "a"}}}, {"response_format", of_schema(kSchema)}}),
          "structured_outputs", "give one");
  const Json tools = Json::array({tool("look")});
  refused(chat({{"tools", tools}, {"tool_choice", "always"}}), "tool_choice", "must be \"auto\"");
  refused(chat({{"tool_choice", "required"}}), "tool_choice", "no tools are");
  const Json other = {{"type", "function"}, {"function", {{"name", "other"}}}};
  refused(chat({{"tools", tools}, {"tool_choice", other}}), "tool_choice", "none of the tools");
  refused(chat({{"tools", tools}, {"tool_choice", "required"}, {"structured_outputs", {{"regex", "a"}}}}),
          "tool_choice", "give one of them");
  refused(chat({{"tools", Json::array({tool("a\nb")})}, {"tool_choice", "required"}}), "tools", "1 to 64 letters");
}

// What only turns out under way is the request's fault too.
TEST_F(Constraints, ThatCannotGoOnAreRefusedInTheAnswer) {
  Json bias = Json::object();
  for (const int32_t id : tiny_->model.text().encode("b")) bias[std::to_string(id)] = -100;
  const Json asked = {{"structured_outputs", {{"regex", "b"}}}, {"logit_bias", bias}};
  const Answer answer = completion(asked);
  EXPECT_EQ(answer.status, 400) << answer.body;
  EXPECT_NE(answer.error().find("no token can be drawn"), std::string::npos) << answer.error();
}

TEST(ConstraintsOfIds, NeedATokenizer) {
  TinyOptions options;
  options.tokenizer = options.chat = false;
  Tiny tiny(options);
  const Json asked = {{"prompt", {1, 2}}, {"structured_outputs", {{"regex", "a"}}}};
  const Answer answer = post(tiny.port(), "/v1/completions", asked);
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.error().find("needs a tokenizer"), std::string::npos) << answer.error();
}

}  // namespace
}  // namespace hadal
