// /v1/responses: the same words as the chat's, in items; streams tell of each item in order; what is stored elsewhere
// is refused by name.
#include "server/responses.h"

#include "server/response_items.h"
#include "server/server_testing.h"

namespace hadal {
namespace {

class Responses : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tiny_ = std::make_unique<Tiny>(); }
  static void TearDownTestSuite() { tiny_.reset(); }
  static Answer respond(const Json& more) {
    Json request = {{"input", "why"}, {"max_output_tokens", 20}, {"seed", 4}};
    for (const auto& [key, value] : more.items()) request[key] = value;
    return post(tiny_->port(), "/v1/responses", request);
  }
  static Json messages(const Json& input, const Json& more = Json::object()) {
    const ServedModel model(tiny_->model, "tiny", 256);
    Json request = {{"input", input}};
    request.update(more);
    return chat_of_response(request, model)["messages"];
  }
  static std::unique_ptr<Tiny> tiny_;
};
std::unique_ptr<Tiny> Responses::tiny_;

// What an answer of all kinds of parts is told as.
TEST(ResponseItems, ThoughtsWordsAndCallsAreItemsOneAfterTheOther) {
  std::vector<std::string> told;
  std::vector<Json> done;
  ResponseItems items([&](const char* type, const Json& more) {
    told.push_back(type);
    const std::string kind = type;
    if (kind != "response.output_item.added" && kind != "response.output_item.done") {
      EXPECT_EQ(more["item_id"], items.list().back()["id"]) << kind;
    }
    EXPECT_EQ(more["output_index"], items.list().size() - 1) << kind;
    if (kind == "response.output_item.done") done.push_back(more["item"]);
  });
  using Kind = ChatPart::Kind;
  for (const ChatPart& part : {ChatPart{Kind::reasoning, "hm"}, ChatPart{Kind::reasoning, "m"},
                               ChatPart{Kind::content, "so"}, ChatPart{Kind::tool_call, "{}", "f"},
                               ChatPart{Kind::tool_call, "{\"a\": 1}", "g"}, ChatPart{Kind::content, "en"}})
    items.add(part);
  items.end(false);
  const Json& list = items.list();
  ASSERT_EQ(list.size(), 5u);
  EXPECT_EQ(list[0]["type"], "reasoning");
  EXPECT_EQ(list[0]["content"], Json({{{"type", "reasoning_text"}, {"text", "hmm"}}}));
  EXPECT_EQ(list[1]["content"][0]["text"], "so");
  EXPECT_EQ(list[2]["name"], "f");
  EXPECT_EQ(list[3]["arguments"], "{\"a\": 1}");
  EXPECT_NE(list[2]["call_id"], list[3]["call_id"]);
  EXPECT_EQ(list[3]["status"], "completed");
  EXPECT_EQ(list[4]["status"], "incomplete");
  EXPECT_EQ(Json(done), list);
  const std::vector<std::string> text = {"content_part.added", "output_text.delta", "output_text.done",
                                         "content_part.done"};
  const std::vector<std::string> called = {"function_call_arguments.delta", "function_call_arguments.done"};
  std::vector<std::string> wanted;
  const auto item = [&](const std::vector<std::string>& inside) {
    wanted.push_back("response.output_item.added");
    for (const std::string& one : inside) wanted.push_back("response." + one);
    wanted.push_back("response.output_item.done");
  };
  item({"content_part.added", "reasoning_text.delta", "reasoning_text.delta", "reasoning_text.done",
        "content_part.done"});
  item(text), item(called), item(called), item(text);
  EXPECT_EQ(told, wanted);
}

TEST_F(Responses, SayWhatTheChatSays) {
  for (const bool thinking : {false, true}) {
    const Json more = {{"chat_template_kwargs", {{"thinking", thinking}}}, {"receipt", true}};
    Json chat = {{"messages", {{{"role", "user"}, {"content", "why"}}}}, {"max_tokens", 20}, {"seed", 4}};
    chat.update(more);
    const Json said = post(tiny_->port(), "/v1/chat/completions", chat).json(), json = respond(more).json();
    const Json& item = json["output"].back();
    EXPECT_EQ(item["content"][0]["text"], said["choices"][0]["message"][thinking ? "reasoning_content" : "content"]);
    EXPECT_EQ(item["type"], thinking ? "reasoning" : "message");
    EXPECT_EQ(json["usage"]["output_tokens"], said["usage"]["completion_tokens"]);
    EXPECT_EQ(json["usage"]["output_tokens_details"]["reasoning_tokens"],
              thinking ? said["usage"]["completion_tokens"] : Json(0));
    EXPECT_EQ(json["receipt"]["tokens"], said["choices"][0]["receipt"]["tokens"]);
    EXPECT_EQ(json["weights_version"], 0);
    const bool stopped = said["choices"][0]["finish_reason"] == "stop";
    EXPECT_EQ(json["status"], stopped ? "completed" : "incomplete");
    EXPECT_EQ(item["status"], json["status"]);
  }
}

// Every event has the next number; an item is added, grows by its deltas and is done, before the next one.
TEST_F(Responses, AStreamTellsOfItsItemsInOrder) {
  for (const bool thinking : {false, true}) {
    const Json more = {{"chat_template_kwargs", {{"thinking", thinking}}}};
    Json streamed = more;
    streamed["stream"] = true;
    const Json whole = respond(more).json();
    const std::string body = respond(streamed).body;
    const auto events = events_of(body);
    ASSERT_GT(events.size(), 6u);
    std::string deltas;
    for (size_t i = 0; i < events.size(); ++i) {
      EXPECT_EQ(events[i]["sequence_number"], i);
      const std::string type = events[i]["type"].get<std::string>();
      if (type.ends_with("_text.delta")) deltas += events[i]["delta"].get<std::string>();
    }
    EXPECT_EQ(events[0]["type"], "response.created");
    EXPECT_EQ(events[1]["type"], "response.in_progress");
    EXPECT_EQ(events[2]["type"], "response.output_item.added");
    EXPECT_EQ(events[events.size() - 2]["type"], "response.output_item.done");
    EXPECT_EQ(events.back()["type"], "response." + whole["status"].get<std::string>());
    EXPECT_EQ(Json(deltas), whole["output"][0]["content"][0]["text"]);
    Json last = events.back()["response"];
    EXPECT_EQ(events[events.size() - 2]["item"], last["output"].back());
    EXPECT_EQ(last["output"][0]["content"], whole["output"][0]["content"]);
    EXPECT_EQ(last["usage"], whole["usage"]);
    EXPECT_EQ(body.find("[DONE]"), std::string::npos) << "which this API does not have";
  }
}

TEST_F(Responses, ItemsBecomeMessages) {
  EXPECT_EQ(messages("why"), Json({{{"role", "user"}, {"content", "why"}}}));
  EXPECT_EQ(messages("why", {{"instructions", "be brief"}})[0], Json({{"role", "system"}, {"content", "be brief"}}));
  const Json text = {{"type", "input_text"}, {"text", "a"}}, written = {{"type", "output_text"}, {"text", "b"}};
  const Json input = {
      {{"role", "user"}, {"content", {text, text}}},
      {{"type", "reasoning"}, {"summary", Json::array()}, {"content", {{{"type", "reasoning_text"}, {"text", "hm"}}}}},
      {{"type", "message"}, {"id", "msg_1"}, {"role", "assistant"}, {"content", {written}}},
      {{"type", "function_call"}, {"call_id", "c1"}, {"name", "f"}, {"arguments", "{}"}},
      {{"type", "function_call"}, {"call_id", "c2"}, {"name", "g"}, {"arguments", "{}"}},
      {{"type", "function_call_output"}, {"call_id", "c1"}, {"output", "42"}},
      {{"role", "assistant"}, {"content", "c"}}};
  const Json got = messages(input);
  ASSERT_EQ(got.size(), 4u) << got;
  EXPECT_EQ(got[0]["content"], "aa");
  EXPECT_EQ(got[1]["reasoning_content"], "hm");
  EXPECT_EQ(got[1]["content"], "b");
  EXPECT_EQ(got[1]["tool_calls"].size(), 2u);
  EXPECT_EQ(got[1]["tool_calls"][1]["function"]["name"], "g");
  EXPECT_EQ(got[2], Json({{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "42"}}));
  EXPECT_EQ(got[3]["content"], "c");
}

TEST_F(Responses, ToolsReachTheTemplate) {
  const Json tools = {{{"type", "function"}, {"name", "f"}, {"parameters", Json::object()}}};
  const auto prompt = [&](const Json& more) { return respond(more).json()["usage"]["input_tokens"].get<int>(); };
  EXPECT_GT(prompt({{"tools", tools}, {"tool_choice", "auto"}}), prompt(Json::object()));
  EXPECT_EQ(prompt({{"tools", tools}, {"tool_choice", "none"}}), prompt(Json::object()));
  EXPECT_EQ(prompt({{"tool_choice", "auto"}}), prompt(Json::object()));
}

TEST_F(Responses, RefuseByNameWhatIsStoredOrNotOffered) {
  const auto refused = [&](const Json& more, const std::string& param, const std::string& words = "") {
    const Answer answer = respond(more);
    EXPECT_EQ(answer.status, 400) << more << answer.body;
    EXPECT_EQ(answer.json()["error"]["param"], param) << more << answer.body;
    EXPECT_NE(answer.error().find(words), std::string::npos) << answer.error();
  };
  for (const char* name : {"previous_response_id", "conversation"}) refused({{name, "x"}}, name, "stores nothing");
  refused({{"prompt", {{"id", "x"}}}}, "prompt", "stores nothing");
  refused({{"store", true}}, "store", "stores nothing");
  refused({{"background", true}}, "background");
  EXPECT_EQ(respond({{"store", false}, {"background", nullptr}}).status, 200);
  refused({{"include", {"reasoning.encrypted_content"}}}, "include");
  refused({{"truncation", "auto"}}, "truncation");
  refused({{"text", {{"format", {{"type", "xml"}}}}}}, "text.format", "text.format");
  refused({{"response_format", {{"type", "text"}}}}, "response_format", "unknown field");
  EXPECT_EQ(respond({{"text", {{"format", {{"type", "text"}}}}}}).status, 200);
  refused({{"top_logprobs", 2}}, "top_logprobs");
  refused({{"reasoning", {{"summary", "auto"}}}}, "summary");
  refused({{"n", 2}}, "n", "unknown field");
  refused({{"messages", Json::array()}}, "messages", "unknown field");
  refused({{"max_output_tokens", 0}}, "max_output_tokens");
  refused({{"temperature", -1}}, "temperature");
  refused({{"tools", {{{"type", "web_search"}}}}}, "tools", "web_search");
  refused({{"input", nullptr}}, "input", "is missing");
  refused({{"input", Json::array()}}, "input");
  refused({{"input", {5}}}, "input", "input[0] = 5");
  refused({{"input", {{{"role", "wizard"}, {"content", "x"}}}}}, "input", "input[0].role = \"wizard\"");
  refused({{"input", {{{"role", "user"}, {"content", {{{"type", "input_image"}}}}}}}}, "input", "input[0].content[0]");
  refused({{"input", {{{"type", "item_reference"}, {"id", "x"}}}}}, "input", "stores none");
  refused({{"input", {{{"type", "function_call"}, {"name", "f"}}}}}, "input", "call_id");
  refused({{"input", {{{"type", "computer_call"}}}}}, "input", "computer_call");
}

TEST_F(Responses, AnAnswerThatFailsSaysSo) {
  Tiny broken;
  const Transformer& model = *broken.model.model.transformer;
  set_element(model.parameter("final_norm").value.plain, 3, std::nan(""));
  const Json request = {{"input", "why"}, {"max_output_tokens", 5}};
  const Answer whole = post(broken.port(), "/v1/responses", request);
  EXPECT_EQ(whole.status, 500);
  EXPECT_NE(whole.error().find("damaged or diverged"), std::string::npos) << whole.body;
  Json streamed = request;
  streamed["stream"] = true;
  const Json last = events_of(post(broken.port(), "/v1/responses", streamed).body).back();
  EXPECT_EQ(last["type"], "response.failed");
  EXPECT_EQ(last["response"]["status"], "failed");
  EXPECT_EQ(Json(whole.error()), last["response"]["error"]["message"]);
}

}  // namespace
}  // namespace hadal
