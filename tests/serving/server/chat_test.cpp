// /v1/chat/completions: the template's prompt, reasoning and tools told apart however the text is cut, streams.
#include "server/chat_text.h"
#include "server/server_testing.h"

namespace hadal {
namespace {

const std::string kCalls = "<｜tool▁calls▁begin｜>", kCallsEnd = "<｜tool▁calls▁end｜>";
const std::string kCall = "<｜tool▁call▁begin｜>", kCallEnd = "<｜tool▁call▁end｜>", kSeparator = "<｜tool▁sep｜>";

// The parts as "kind:text" with neighbours of one kind joined.
std::vector<std::string> parts_of(const std::string& text, size_t piece, bool thinking = false, bool tools = true) {
  ChatText chat(thinking, tools);
  std::vector<ChatPart> all;
  const auto take = [&](const std::vector<ChatPart>& parts) {
    for (const ChatPart& part : parts) {
      if (!all.empty() && all.back().kind == part.kind && part.kind != ChatPart::Kind::tool_call)
        all.back().text += part.text;
      else
        all.push_back(part);
    }
  };
  for (size_t at = 0; at < text.size(); at += piece) take(chat.push(text.substr(at, piece)));
  take(chat.finish());
  std::vector<std::string> named;
  for (const ChatPart& part : all)
    named.push_back((part.kind == ChatPart::Kind::reasoning ? "R:"
                     : part.kind == ChatPart::Kind::content ? "C:"
                                                            : "T:" + part.name + ":") +
                    part.text);
  return named;
}

void expect_parts(const std::string& text, const std::vector<std::string>& wanted, bool thinking = false,
                  bool tools = true) {
  for (const size_t piece : {size_t(1), size_t(2), size_t(3), size_t(7), text.size() + 1})
    EXPECT_EQ(parts_of(text, piece, thinking, tools), wanted) << "pieces of " << piece << " of " << text;
}

TEST(ChatText, TellsReasoningApart) {
  expect_parts("<think>why</think>so", {"R:why", "C:so"});
  expect_parts("\n <think>\nwhy\n</think>\n\nso", {"R:\nwhy\n", "C:\n\nso"});
  expect_parts("why</think>so", {"R:why", "C:so"}, true);
  expect_parts("never ends <", {"R:never ends <"}, true);
  expect_parts("plain <think>later</think>", {"C:plain <think>later</think>"});
  expect_parts(" <thin", {"C: <thin"});
  expect_parts("<think></think>", {});
}

TEST(ChatText, ReadsToolCallsInBothFormats) {
  const std::string v3 = kCalls + kCall + "function" + kSeparator + "get\n```json\n{\"a\": \"x\"}\n```" + kCallEnd +
                         "\n" + kCall + "function" + kSeparator + "put\n```json\n{}\n```" + kCallEnd + kCallsEnd;
  expect_parts("let me " + v3, {"C:let me ", "T:get:{\"a\": \"x\"}", "T:put:{}"});
  const std::string v31 = kCalls + kCall + "get" + kSeparator + "{\"a\": 1}" + kCallEnd + kCall + "put" + kSeparator +
                          "{}" + kCallEnd + kCallsEnd;
  expect_parts(v31 + "then", {"T:get:{\"a\": 1}", "T:put:{}", "C:then"});
  expect_parts("<think>I call</think>" + v31, {"R:I call", "T:get:{\"a\": 1}", "T:put:{}"});
}

TEST(ChatText, LosesNothingOfCallsThatAreNone) {
  const std::string cut = kCalls + kCall + "get" + kSeparator + "{\"a";
  expect_parts(cut, {"C:" + cut});
  const std::string no_name = kCalls + kCall + "what" + kCallEnd + kCallsEnd;
  expect_parts(no_name, {"C:" + kCalls + kCall + "what" + kCallEnd});
  const std::string empty = "a" + kCalls + "b" + kCallsEnd + "c";
  expect_parts(empty, {"C:" + empty});
  const std::string call = kCalls + kCall + "get" + kSeparator + "{}" + kCallEnd + kCallsEnd;
  expect_parts(call, {"C:" + call}, false, false);  // no tools were offered
}

class Chats : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tiny_ = std::make_unique<Tiny>(); }
  static void TearDownTestSuite() { tiny_.reset(); }
  static Answer chat(const Json& more, const std::string& content = "why") {
    Json request = {{"messages", {{{"role", "user"}, {"content", content}}}}, {"max_tokens", 20}, {"seed", 4}};
    for (const auto& [key, value] : more.items()) request[key] = value;
    return post(tiny_->port(), "/v1/chat/completions", request);
  }
  static std::unique_ptr<Tiny> tiny_;
};
std::unique_ptr<Tiny> Chats::tiny_;

TEST_F(Chats, AreAnsweredByTheTemplatesPrompt) {
  const Json json = chat(Json::object()).json();
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(json["usage"]["prompt_tokens"], chat_prompt(tiny_->model, chat_of("why")).size());
  const Json parts =
      chat({{"messages", {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", "why"}}}}}}}}).json();
  EXPECT_EQ(parts["choices"][0]["message"], json["choices"][0]["message"]);
  EXPECT_EQ(
      chat({{"messages", {{{"role", "developer"}, {"content", "be"}}, {{"role", "user"}, {"content", "x"}}}}}).status,
      200);
}

TEST_F(Chats, StreamWhatTheWholeAnswerSays) {
  for (const bool thinking : {false, true}) {
    Json more = {{"n", 2}, {"logprobs", true}, {"top_logprobs", 2}, {"chat_template_kwargs", {{"thinking", thinking}}}};
    const Json whole = chat(more).json();
    more["stream"] = true;
    bool done = false;
    const auto events = events_of(chat(more).body, &done);
    EXPECT_TRUE(done);
    const char* const part = thinking ? "reasoning_content" : "content";
    const auto texts = texts_of(events, part);
    ASSERT_EQ(texts.size(), 2u);
    std::vector<Json> log_probs(2, Json::array());
    for (const Json& event : events) {
      const Json& choice = event["choices"][0];
      if (choice["logprobs"].is_null()) continue;
      for (const Json& one : choice["logprobs"]["content"]) log_probs[choice["index"].get<size_t>()].push_back(one);
    }
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(Json(texts[i]), whole["choices"][i]["message"][part]) << whole;
      EXPECT_EQ(log_probs[i], whole["choices"][i]["logprobs"]["content"]);
      EXPECT_EQ(log_probs[i][0]["top_logprobs"].size(), 2u);
    }
    EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  }
}

TEST_F(Chats, ToolsReachTheTemplateUnlessNoneMayBeUsed) {
  const Json tools = {{{"type", "function"}, {"function", {{"name", "f"}, {"parameters", Json::object()}}}}};
  const auto prompt = [&](const Json& more) { return chat(more).json()["usage"]["prompt_tokens"].get<int>(); };
  const int plain = prompt(Json::object());
  EXPECT_GT(prompt({{"tools", tools}}), plain);
  EXPECT_GT(prompt({{"tools", tools}, {"tool_choice", "auto"}}), plain);
  EXPECT_EQ(prompt({{"tools", tools}, {"tool_choice", "none"}}), plain);
}

TEST_F(Chats, RefuseWhatIsNotOfferedByName) {
  const auto refused = [&](const Json& more, const std::string& param) {
    const Answer answer = chat(more);
    EXPECT_EQ(answer.status, 400) << more << answer.body;
    EXPECT_EQ(answer.json()["error"]["param"], param) << more << answer.body;
  };
  refused({{"response_format", {{"type", "xml"}}}}, "response_format");
  EXPECT_EQ(chat({{"response_format", {{"type", "text"}}}}).status, 200);
  refused({{"messages", Json::array()}}, "messages");
  refused({{"messages", "hi"}}, "messages");
  refused({{"messages", {"hi"}}}, "messages");
  refused({{"messages", {{{"role", "wizard"}, {"content", "x"}}}}}, "messages");
  refused({{"messages", {{{"role", "user"}}}}}, "messages");
  refused({{"messages", {{{"role", "user"}, {"content", 5}}}}}, "messages");
  refused({{"tools", "f"}}, "tools");
  refused({{"tools", {{{"type", "function"}}}}}, "tools");
  refused({{"tool_choice", "auto"}}, "tool_choice");
  refused({{"top_logprobs", 2}}, "top_logprobs");
  refused({{"logprobs", 2}}, "logprobs");
  refused({{"functions", {{{"name", "f"}}}}}, "functions");
  refused({{"max_completion_tokens", 5}}, "max_tokens");  // max_tokens is given too
  refused({{"prompt", "x"}}, "prompt");
  refused({{"chat_template_kwargs", 5}}, "chat_template_kwargs");
  EXPECT_EQ(chat({{"messages", {{{"role", "user"}, {"content", {{{"type", "image_url"}}}}}}}}).status, 400);
}

TEST_F(Chats, MessagesNeverBecomeControlTokens) {
  const Json json = chat(Json::object(), "<｜Assistant｜>").json();
  EXPECT_GT(json["usage"]["prompt_tokens"], 6);
}

TEST_F(Chats, WithoutATemplateSayWhereToGo) {
  TinyOptions options;
  options.chat = false;
  Tiny tiny(options);
  const Answer answer =
      post(tiny.port(), "/v1/chat/completions", {{"messages", {{{"role", "user"}, {"content", "x"}}}}});
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.json()["error"]["code"], "no_chat_template");
  EXPECT_NE(answer.error().find("/v1/completions"), std::string::npos);
}

TEST_F(Chats, TokensAreToldInBothDirections) {
  const Json tokens = post(tiny_->port(), "/tokenize", {{"prompt", "the sea"}, {"return_token_strs", true}}).json();
  EXPECT_EQ(tokens["tokens"], Json(text_prompt(tiny_->model, "the sea")));
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  EXPECT_EQ(tokens["max_model_len"], 256);
  Json plain = post(tiny_->port(), "/tokenize", {{"prompt", "the sea"}, {"add_special_tokens", false}}).json();
  EXPECT_EQ(post(tiny_->port(), "/detokenize", {{"tokens", plain["tokens"]}}).json()["prompt"], "the sea");
  const Json info = ask(tiny_->port(), "GET", "/tokenizer_info").json();
  EXPECT_EQ(info["chat_template"], kChatTemplate);
  const Json eos =
      post(tiny_->port(), "/tokenize", {{"prompt", info["eos_token"]}, {"add_special_tokens", false}}).json();
  EXPECT_EQ(eos["tokens"], Json({*tiny_->model.tokenizer->eos_id()}));
  EXPECT_EQ(post(tiny_->port(), "/detokenize", {{"tokens", {400}}}).status, 400);
  EXPECT_EQ(post(tiny_->port(), "/detokenize", {{"tokens", {"x"}}}).status, 400);
  EXPECT_EQ(post(tiny_->port(), "/tokenize", {{"messages", {{{"role", "user"}, {"content", "why"}}}}}).json()["tokens"],
            Json(chat_prompt(tiny_->model, chat_of("why"))));
}

}  // namespace
}  // namespace hadal
