// /v1/completions: every form of prompt, streaming equals the whole answer, log-probabilities, limits.
#include <cmath>

#include "server/server_testing.h"

namespace hadal {
namespace {

class Completions : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { tiny_ = std::make_unique<Tiny>(); }
  static void TearDownTestSuite() { tiny_.reset(); }
  static Answer complete(const Json& request) { return post(tiny_->port(), "/v1/completions", request); }
  static void refused(const Json& request, const std::string& param, std::initializer_list<const char*> words) {
    const Answer answer = complete(request);
    EXPECT_EQ(answer.status, 400) << json_text(request) << answer.body;
    if (answer.status != 400) return;
    EXPECT_EQ(answer.json()["error"]["param"], param) << answer.body;
    for (const char* word : words) EXPECT_NE(answer.error().find(word), std::string::npos) << word << answer.error();
  }
  static const Tokenizer& words() { return *tiny_->model.tokenizer; }
  static std::unique_ptr<Tiny> tiny_;
};
std::unique_ptr<Tiny> Completions::tiny_;

TEST_F(Completions, EveryFormOfPromptIsAnswered) {
  const std::vector<int32_t> ids = text_prompt(tiny_->model, "the sea");
  const Json settings = {{"max_tokens", 6}, {"seed", 5}};
  const auto texts = [&](const Json& prompt) {
    Json request = settings;
    request["prompt"] = prompt;
    const Answer answer = complete(request);
    EXPECT_EQ(answer.status, 200) << answer.body;
    std::vector<std::string> all;
    const Json json = answer.json();
    for (const Json& choice : json["choices"]) all.push_back(choice["text"].get<std::string>());
    return all;
  };
  const auto text = texts("the sea");
  ASSERT_EQ(text.size(), 1u);
  EXPECT_FALSE(text[0].empty());
  EXPECT_EQ(texts(ids), text);
  EXPECT_EQ(texts({"the sea", "other"}).size(), 2u);
  EXPECT_EQ(texts({"the sea", "other"})[0], text[0]);
  EXPECT_EQ(texts(Json::array({ids, ids})), (std::vector<std::string>{text[0], text[0]}));
}

TEST_F(Completions, TheWholeAnswerIsThatOfTheEngineAlone) {
  const Json json =
      complete({{"model", "tiny"}, {"prompt", "the sea"}, {"max_tokens", 20}, {"seed", 3}, {"return_token_ids", true}})
          .json();
  EngineRequest request;
  request.prompt = text_prompt(tiny_->model, "the sea");
  request.max_tokens = 20;
  request.sampling.seed = 3;
  request.stop = tiny_->model.stop;
  OwnedExec owned(1);
  Engine engine = engine_for(owned.exec, *tiny_->model.model.transformer, request);
  const auto alone = generate_text(engine, words(), request);
  EXPECT_EQ(json["choices"][0]["token_ids"], Json(alone.tokens));
  EXPECT_EQ(json["choices"][0]["text"], whole_text(alone.text));
  EXPECT_EQ(json["usage"]["prompt_tokens"], request.prompt.size());
  EXPECT_EQ(json["usage"]["completion_tokens"], alone.tokens.size());
  EXPECT_EQ(json["choices"][0]["finish_reason"], alone.stopped ? "stop" : "length");
}

TEST_F(Completions, AStreamIsTheWholeAnswerInPieces) {
  for (const bool echo : {false, true}) {
    Json request = {{"prompt", {"the sea", "où"}}, {"max_tokens", 40}, {"seed", 8}, {"n", 2}, {"echo", echo}};
    const Json whole = complete(request).json();
    request["stream"] = true;
    request["stream_options"] = {{"include_usage", true}};
    const Answer answer = complete(request);
    EXPECT_NE(answer.head.find("text/event-stream"), std::string::npos);
    bool done = false;
    const auto events = events_of(answer.body, &done);
    EXPECT_TRUE(done && answer.whole);
    const auto texts = texts_of(events);
    ASSERT_EQ(texts.size(), 4u);
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(Json(texts[i]), whole["choices"][i]["text"]);
    EXPECT_NE(texts[0], texts[1]) << "two answers to one prompt have two seeds";
    EXPECT_EQ(events.back()["usage"], whole["usage"]);
    EXPECT_TRUE(events.back()["choices"].empty());
  }
}

TEST_F(Completions, LogProbabilitiesHaveAPlaceForEveryToken) {
  const std::string prompt = "the sé";
  const Json choice =
      complete({{"prompt", prompt}, {"max_tokens", 1}, {"echo", true}, {"logprobs", 1}, {"temperature", 0}})
          .json()["choices"][0];
  const Json& log_probs = choice["logprobs"];
  const auto ids = text_prompt(tiny_->model, prompt);
  for (const char* name : {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
    ASSERT_EQ(log_probs[name].size(), ids.size() + 1) << name;
  EXPECT_TRUE(log_probs["token_logprobs"][0].is_null());
  EXPECT_TRUE(log_probs["top_logprobs"][0].is_null());
  for (size_t i = 1; i < ids.size() + 1; ++i) {
    EXPECT_TRUE(log_probs["token_logprobs"][i].is_number());
    EXPECT_TRUE(log_probs["top_logprobs"][i].contains(log_probs["tokens"][i].get<std::string>()));
    EXPECT_LE(log_probs["text_offset"][i - 1], log_probs["text_offset"][i]);
  }
  EXPECT_EQ(log_probs["text_offset"].back(), 6) << "characters, not bytes: " << log_probs["text_offset"];
  EXPECT_EQ(choice["text"].get<std::string>().rfind(prompt, 0), 0u);
}

TEST_F(Completions, AStreamHasTheLogProbabilitiesOfTheWholeAnswer) {
  for (const bool echo : {false, true}) {
    for (const int tokens : {0, 12}) {
      Json request = {
          {"prompt", {"the sé", "x"}}, {"max_tokens", tokens}, {"seed", 8}, {"echo", echo}, {"logprobs", 2}};
      const Json whole = complete(request).json();
      request["stream"] = true;
      std::vector<Json> joined(2);
      for (const Json& event : events_of(complete(request).body)) {
        const Json& choice = event["choices"][0];
        if (choice["logprobs"].is_null()) continue;
        Json& all = joined[choice["index"].get<size_t>()];
        for (const auto& [name, list] : choice["logprobs"].items())
          for (const Json& one : list) all[name].push_back(one);
      }
      for (size_t i = 0; i < 2; ++i) {
        const Json& expected = whole["choices"][i]["logprobs"];
        EXPECT_EQ(expected["tokens"].empty(), !echo && tokens == 0);
        if (!expected["tokens"].empty()) {
          EXPECT_EQ(joined[i], expected);
        }
      }
    }
  }
}

TEST_F(Completions, NoTokensEchoThePromptAlone) {
  const Json choice = complete({{"prompt", "the sea"}, {"max_tokens", 0}, {"echo", true}}).json()["choices"][0];
  EXPECT_EQ(choice["text"], "the sea");
  EXPECT_EQ(choice["finish_reason"], "length");
}

// Some whole characters from the middle of a text.
std::string from_the_middle(const std::string& text) {
  size_t begin = text.size() / 2;
  while ((text[begin] & 0xC0) == 0x80) ++begin;
  size_t end = begin + 4;
  while ((text[end] & 0xC0) == 0x80) ++end;
  return text.substr(begin, end - begin);
}

TEST_F(Completions, AStopStringEndsTheTextWhereverTokensBegin) {
  int seed = 1;  // the first whose text has characters there: which one depends on the instruction set
  std::string text, stop = "\xef\xbf\xbd";
  while (stop.find("\xef\xbf\xbd") != std::string::npos) {
    ASSERT_LT(++seed, 50);
    text = complete({{"prompt", "x"}, {"max_tokens", 60}, {"seed", seed}}).json()["choices"][0]["text"];
    ASSERT_GT(text.size(), 12u);
    stop = from_the_middle(text);
  }
  Json request = {{"prompt", "x"}, {"max_tokens", 60}, {"seed", seed}, {"stop", {"\x01never", stop}}};
  const Json choice = complete(request).json()["choices"][0];
  EXPECT_EQ(choice["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(choice["finish_reason"], "stop");
  request["stream"] = true;
  EXPECT_EQ(Json(texts_of(events_of(complete(request).body))[0]), choice["text"]);
}

TEST_F(Completions, AHoleIsFilledByItsTwoSides) {
  const Json json = complete({{"prompt", "def"}, {"suffix", "end"}, {"max_tokens", 5}}).json();
  EXPECT_EQ(json["usage"]["prompt_tokens"], fim_prompt(words(), "def", "end").size());
}

TEST_F(Completions, TheBestOfSeveralAreReturned) {
  const Answer answer = complete({{"prompt", "x"}, {"max_tokens", 4}, {"n", 2}, {"best_of", 5}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json()["choices"].size(), 2u);
  EXPECT_EQ(answer.json()["choices"][1]["index"], 1);
}

TEST_F(Completions, EveryNumberIsCheckedAtItsEdges) {
  const std::vector<std::string> edges = {
      "-2", "2147483648", "9223372036854775808", "18446744073709551616", "1.5", "\"7\"", "[]",
      "{}", "true",       "-9223372036854775808"};
  for (const char* name : {"n", "best_of", "logprobs", "top_k", "max_tokens", "min_tokens"}) {
    for (const std::string& edge : edges) {
      const std::string body = std::string("{\"prompt\": \"x\", \"") + name + "\": " + edge + "}";
      const Answer answer = ask(tiny_->port(), "POST", "/v1/completions", body);
      EXPECT_EQ(answer.status, 400) << body << answer.body;
      EXPECT_NE(answer.error().find(name), std::string::npos) << body << answer.error();
    }
  }
  for (const char* pair : {"\"n\": 0",
                           "\"best_of\": 0",
                           "\"max_tokens\": -1",
                           "\"logprobs\": -1",
                           "\"logprobs\": 21",
                           "\"temperature\": -1",
                           "\"temperature\": \"hot\"",
                           "\"temperature\": 1e400",
                           "\"temperature\": NaN",
                           "\"temperature\": 101",
                           "\"top_p\": 0",
                           "\"top_p\": 1.01",
                           "\"min_p\": -0.1",
                           "\"min_p\": 2",
                           "\"repetition_penalty\": 0",
                           "\"presence_penalty\": 3",
                           "\"frequency_penalty\": -2.5",
                           "\"logit_bias\": {\"1\": 101}",
                           "\"logit_bias\": {\"400\": 1}",
                           "\"logit_bias\": {\"-1\": 1}",
                           "\"logit_bias\": {\"x\": 1}",
                           "\"logit_bias\": [1]",
                           "\"seed\": 1.5",
                           "\"seed\": \"x\"",
                           "\"stream\": 1",
                           "\"echo\": \"yes\"",
                           "\"stop\": \"\"",
                           "\"stop\": [1]",
                           "\"stop_token_ids\": [400]",
                           "\"best_of\": 1, \"n\": 2",
                           "\"best_of\": 2, \"stream\": true",
                           "\"suffix\": 5",
                           "\"echo\": true, \"suffix\": \"x\"",
                           "\"stream_options\": {\"include_usage\": true}",
                           "\"model\": 5"}) {
    const Answer answer =
        ask(tiny_->port(), "POST", "/v1/completions", std::string("{\"prompt\": \"x\", ") + pair + "}");
    EXPECT_EQ(answer.status, 400) << pair << answer.body;
    EXPECT_FALSE(answer.error().empty()) << pair;
  }
}

TEST_F(Completions, SeedsHave64Bits) {
  const auto text = [&](const std::string& seed) {
    const Answer answer = ask(tiny_->port(), "POST", "/v1/completions",
                              "{\"prompt\": \"x\", \"max_tokens\": 12, \"seed\": " + seed + "}");
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json()["choices"][0]["text"].get<std::string>();
  };
  EXPECT_EQ(text("18446744073709551615"), text("-1"));
  EXPECT_EQ(text("-9223372036854775808"), text("9223372036854775808"));
  EXPECT_NE(text("0"), text("-1"));
}

TEST_F(Completions, PromptsThatCannotBeAreNamed) {
  refused({{"max_tokens", 1}}, "prompt", {"missing"});
  refused({{"prompt", Json::array()}}, "prompt", {"[]"});
  refused({{"prompt", Json::array({Json::array()})}}, "prompt", {"empty"});
  refused({{"prompt", {1, -1}}}, "prompt", {"prompt[1] = -1", "0 to 399"});
  refused({{"prompt", {1, 400}}}, "prompt", {"400"});
  refused({{"prompt", {1, "x"}}}, "prompt", {"prompt[1]"});
  refused({{"prompt", {"x", 1}}}, "prompt", {"prompt[1] = 1"});
  refused({{"prompt", 5}}, "prompt", {"5"});
  refused({{"prompt", std::vector<int>(256, 5)}}, "prompt", {"256 positions"});
  refused({{"prompt", std::vector<int>(250, 5)}, {"max_tokens", 7}}, "max_tokens", {"make 257"});
  EXPECT_EQ(complete({{"prompt", std::vector<int>(250, 5)}, {"max_tokens", 6}}).status, 200);
  EXPECT_EQ(complete({{"prompt", std::vector<int>(250, 5)}}).json()["usage"]["completion_tokens"], 6);
  EXPECT_EQ(complete({{"prompt", std::vector<int>(256, 5)}, {"max_tokens", 0}}).status, 200);
  refused({{"prompt", "x"}, {"stop", std::vector<std::string>(100000, "a")}}, "stop", {"100000", "64"});
  refused({{"prompt", std::vector<std::string>(300, "a")}}, "prompt", {"300"});
  refused({{"prompt", std::vector<std::string>(200, "a")}, {"n", 64}}, "n", {"200 prompts with 64"});
  refused({{"prompt", std::string(1000000, 'a')}}, "prompt", {"256 positions"});
  refused({{"prompt", "x"}, {"max_tokans", 5}}, "max_tokans", {"max_tokens"});
  EXPECT_EQ(complete({{"prompt", "x"}, {"model", "other"}}).status, 404);
}

TEST_F(Completions, ControlTokensInATextAreLetters) {
  const auto count = [&](const Json& request) { return complete(request).json()["usage"]["prompt_tokens"].get<int>(); };
  const std::string spelt = "<｜User｜>";
  EXPECT_GT(count({{"prompt", spelt}, {"max_tokens", 1}}), 3);
  EXPECT_EQ(count({{"prompt", spelt}, {"max_tokens", 1}, {"parse_special", true}}), 1);
}

TEST_F(Completions, ABiasOfMinus100ForbidsAToken) {
  Json bias = Json::object();
  for (int id = 0; id < 400; ++id)
    if (id != 77) bias[std::to_string(id)] = -100;
  const Json json =
      complete({{"prompt", "x"}, {"max_tokens", 3}, {"logit_bias", bias}, {"return_token_ids", true}}).json();
  EXPECT_EQ(json["choices"][0]["token_ids"], Json({77, 77, 77}));
  const Json preferred =
      complete({{"prompt", "x"}, {"max_tokens", 3}, {"logit_bias", {{"78", 100}}}, {"return_token_ids", true}}).json();
  EXPECT_EQ(preferred["choices"][0]["token_ids"], Json({78, 78, 78}));
}

TEST(CompletionsOfIds, AModelWithoutTokenizerServesIdsAlone) {
  TinyOptions options;
  options.tokenizer = options.chat = false;
  Tiny tiny(options);
  const auto complete = [&](const Json& json) { return post(tiny.port(), "/v1/completions", json); };
  const Json json = complete({{"prompt", {1, 2, 3}}, {"max_tokens", 4}, {"seed", 1}}).json();
  EXPECT_EQ(json["choices"][0]["token_ids"].size(), 4u) << json;
  EXPECT_EQ(json["choices"][0]["text"], "");
  const auto events =
      events_of(complete({{"prompt", {1, 2, 3}}, {"max_tokens", 4}, {"seed", 1}, {"stream", true}}).body);
  Json ids = Json::array();
  for (const Json& event : events)
    if (event["choices"][0].contains("token_ids")) ids.push_back(event["choices"][0]["token_ids"][0]);
  EXPECT_EQ(ids, json["choices"][0]["token_ids"]);
  EXPECT_EQ(complete({{"prompt", "text"}}).status, 400);
  EXPECT_EQ(post(tiny.port(), "/tokenize", {{"prompt", "text"}}).status, 400);
  EXPECT_EQ(post(tiny.port(), "/v1/chat/completions", {{"messages", {{{"role", "user"}, {"content", "x"}}}}}).status,
            400);
  EXPECT_EQ(ask(tiny.port(), "GET", "/v1/models").json()["data"][0]["has_tokenizer"], false);
}

TEST(WholeText, ReplacesWhatIsNoUtf8TheSameHoweverItIsCut) {
  EXPECT_EQ(whole_text("a\xe2\x82z"), "a\xef\xbf\xbdz");
  EXPECT_EQ(whole_text("\xff\xfe"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(whole_text("\xe2\x82\xac\xf0\x9f"), "€\xef\xbf\xbd");
  EXPECT_EQ(whole_text("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");  // a surrogate
}

}  // namespace
}  // namespace hadal
