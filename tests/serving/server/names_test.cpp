// The names of requests: /openapi.json lists those that are taken, and no other; those without effect have none and are
// documented; those that would have one, and are not offered, are refused.
#include <set>

#include "server/constraints.h"
#include "server/server_testing.h"
#include "server/settings.h"

namespace hadal {
namespace {

struct Endpoint {
  const char* path;
  const char* schema;
  Json least;  // what a request must have
};
const std::vector<Endpoint> kEndpoints = {
    {"/v1/completions", "CompletionRequest", {{"prompt", "the sea"}, {"max_tokens", 8}, {"seed", 3}}},
    {"/v1/chat/completions",
     "ChatRequest",
     {{"messages", {{{"role", "user"}, {"content", "why?"}}}}, {"max_tokens", 8}, {"seed", 3}}},
    {"/v1/responses", "ResponsesRequest", {{"input", "why?"}, {"max_output_tokens", 8}, {"seed", 3}}}};

const Json kWithoutEffect = {{"user", "somebody"},
                             {"safety_identifier", "x"},
                             {"request_id", "7"},
                             {"service_tier", "flex"},
                             {"prompt_cache_key", "k"},
                             {"priority", 0},
                             {"prompt_cache_retention", "24h"},
                             {"metadata", {{"a", "b"}}},
                             {"store", false},
                             {"spaces_between_special_tokens", false}};

class Names : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tiny_ = std::make_unique<Tiny>(); }
  static void TearDownTestSuite() { tiny_.reset(); }
  static Answer ask_with(const Endpoint& endpoint, const Json& more) {
    Json json = endpoint.least;
    json.update(more);
    return post(tiny_->port(), endpoint.path, json);
  }
  // What a request is answered, but for what is new each time.
  static Json said(const Answer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    Json json = answer.json();
    return json.contains("output") ? json["output"][0]["content"] : json["choices"];
  }
  static void refused(const Endpoint& endpoint, const Json& more, const std::string& word) {
    const Answer answer = ask_with(endpoint, more);
    EXPECT_EQ(answer.status, 400) << endpoint.path << json_text(more) << answer.body;
    EXPECT_NE(answer.error().find(word), std::string::npos) << "'" << word << "' is not in " << answer.error();
  }
  static std::unique_ptr<Tiny> tiny_;
};
std::unique_ptr<Tiny> Names::tiny_;

TEST_F(Names, AreThoseOfTheDescription) {
  const Json api = ask(tiny_->port(), "GET", "/openapi.json").json();
  const std::set<std::string> refused = {"verbosity", "guided_json", "guided_regex", "guided_choice", "guided_grammar"};
  for (const Endpoint& endpoint : kEndpoints) {
    const Json& properties = api["components"]["schemas"][endpoint.schema]["properties"];
    Json all;
    for (const auto& [name, value] : properties.items())
      if (!endpoint.least.contains(name)) all[name] = nullptr;
    EXPECT_EQ(ask_with(endpoint, all).status, 200) << "a name of the description is not known";
    std::vector<std::string> names = names_without_effect();
    if (std::string(endpoint.path) != "/v1/responses")  // whose names are others
      for (const auto& list : {setting_names(), constraint_names()})
        names.insert(names.end(), list.begin(), list.end());
    for (const std::string& name : names)
      EXPECT_EQ(properties.contains(name), !refused.contains(name)) << endpoint.path << " " << name;
  }
}

TEST_F(Names, WithoutEffectChangeNothingAndAreDocumented) {
  const std::string page = read_file(HADAL_SOURCE_DIR "/docs/serving.md");
  for (const std::string& name : names_without_effect()) {
    EXPECT_TRUE(kWithoutEffect.contains(name)) << name;
    EXPECT_NE(page.find("`" + name + "`"), std::string::npos) << name << " is not in docs/serving.md";
  }
  for (const Endpoint& endpoint : kEndpoints) {
    EXPECT_EQ(said(ask_with(endpoint, kWithoutEffect)), said(ask_with(endpoint, Json::object()))) << endpoint.path;
    for (const std::string& name : names_without_effect())
      refused(endpoint, {{name, Json::array({1})}}, name);  // of another type
  }
}

TEST_F(Names, ThatWouldHaveAnEffectAreRefused) {
  for (const Endpoint& endpoint : kEndpoints) {
    refused(endpoint, {{"store", true}}, "stores nothing");
    refused(endpoint, {{"verbosity", "low"}}, "verbosity is not offered");
    refused(endpoint, {{"priority", 5}}, "priority = 5 is not offered");
  }
  refused(kEndpoints[0], {{"parallel_tool_calls", false}}, "unknown field");
  refused(kEndpoints[0], {{"reasoning_effort", "low"}}, "unknown field");
  refused(kEndpoints[1], {{"reasoning_effort", "low"}}, "reasoning_effort would change nothing");
  refused(kEndpoints[2], {{"reasoning", {{"effort", "low"}}}}, "reasoning.effort would change nothing");
  refused(kEndpoints[2], {{"text", {{"verbosity", "low"}}}}, "text.verbosity is not offered");
  refused(kEndpoints[0], {{"stream", true}, {"stream_options", {{"continuous_usage_stats", true}}}}, "not offered");
}

TEST(NamesOfTemplates, AnEffortReachesATemplateThatReadsIt) {
  TinyOptions options;
  options.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %} effort {{ reasoning_effort or 'none' }}";
  Tiny tiny(options);
  const auto prompt = [&](const char* path, Json json) {
    const Answer answer = post(tiny.port(), path, json);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json()["usage"][json.contains("input") ? "input_tokens" : "prompt_tokens"].get<int64_t>();
  };
  const auto chat = [&](const Json& more) {
    Json json = {
        {"messages", {{{"role", "user"}, {"content", "why?"}}}}, {"max_tokens", 1}, {"return_token_ids", true}};
    json.update(more);
    return prompt("/v1/chat/completions", json);
  };
  const int64_t none = chat(Json::object());
  const int64_t given = chat({{"reasoning_effort", "xxxxxxxxxxxxxxxx"}});
  EXPECT_GT(given, none);
  EXPECT_EQ(chat({{"chat_template_kwargs", {{"reasoning_effort", "xxxxxxxxxxxxxxxx"}}}}), given);
  const Json of_response = {{"input", "why?"}, {"reasoning", {{"effort", "xxxxxxxxxxxxxxxx"}}}};
  EXPECT_EQ(prompt("/v1/responses", of_response), given);
}

}  // namespace
}  // namespace hadal
