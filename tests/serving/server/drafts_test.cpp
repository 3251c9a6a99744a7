// Drafts over HTTP: a model with an MTP module answers the same, to the bit, with any number of them.
#include "server/server_testing.h"

namespace hadal {
namespace {

TinyOptions with_drafts(int64_t n) {
  TinyOptions options;
  options.n_mtp = 1;
  options.serving.engine.drafts = n;
  return options;
}

// All that the pieces of a stream say, joined by choice; what names the answer is another's each time.
Json joined(const std::vector<Json>& events) {
  Json all = Json::array();
  for (const Json& event : events) {
    for (const Json& choice : event["choices"]) {
      const auto index = choice["index"].get<size_t>();
      while (all.size() <= index) all.push_back({{"text", ""}, {"log_probs", Json::array()}, {"ids", Json::array()}});
      Json& one = all[index];
      const Json& from = choice.contains("delta") ? choice["delta"] : choice;
      for (const char* name : {"text", "content"})
        if (from.contains(name) && from[name].is_string())
          one["text"] = one["text"].get<std::string>() + from[name].get<std::string>();
      if (choice.contains("token_ids"))
        for (const Json& id : choice["token_ids"]) one["ids"].push_back(id);
      if (!choice["logprobs"].is_null()) one["log_probs"].push_back(choice["logprobs"]);
      if (!choice["finish_reason"].is_null()) one["end"] = choice["finish_reason"];
    }
  }
  for (Json& one : all) {  // however the pieces were cut
    Json lists;
    for (const Json& piece : one["log_probs"])
      for (const auto& [name, list] : piece.items())
        for (const Json& value : list) lists[name].push_back(value);
    one["log_probs"] = lists;
  }
  return all;
}

int64_t metric(const Tiny& tiny, const std::string& name) {
  const std::string text = ask(tiny.port(), "GET", "/metrics").body;
  const size_t at = text.find("\n" + name + " ");
  EXPECT_NE(at, std::string::npos) << name;
  return at == std::string::npos ? -1 : std::stoll(text.substr(at + name.size() + 2));
}

class ServedDrafts : public ::testing::Test {
 protected:
  Tiny none_{with_drafts(0)}, two_{with_drafts(2)}, automatic_{with_drafts(EngineOptions::kAutomatic)};

  void expect_same(const std::string& path, Json request) {
    const Json whole = post(none_.port(), path, request).json()["choices"];
    request["stream"] = true;
    const Json expected = joined(events_of(post(none_.port(), path, request).body));
    ASSERT_FALSE(expected.empty()) << path;
    for (const Tiny* tiny : {&two_, &automatic_}) {
      bool done = false;
      EXPECT_EQ(joined(events_of(post(tiny->port(), path, request).body, &done)), expected) << path;
      EXPECT_TRUE(done);
      Json again = request;
      again.erase("stream");
      EXPECT_EQ(post(tiny->port(), path, again).json()["choices"], whole) << path;
    }
  }
};

TEST_F(ServedDrafts, ChangeNoBitOfAnyStream) {
  for (const Json& bias : {Json::object(), Json({{"70", 6}}), Json({{"70", 100}})}) {
    for (const double temperature : {0.0, 0.9}) {
      expect_same("/v1/completions", {{"prompt", {"the sea", "où"}},
                                      {"max_tokens", 60},
                                      {"seed", 8},
                                      {"n", 2},
                                      {"logprobs", 2},
                                      {"temperature", temperature},
                                      {"return_token_ids", true},
                                      {"logit_bias", bias}});
      expect_same("/v1/chat/completions", {{"messages", {{{"role", "user"}, {"content", "Why?"}}}},
                                           {"max_tokens", 50},
                                           {"seed", 3},
                                           {"logprobs", true},
                                           {"temperature", temperature},
                                           {"logit_bias", bias}});
    }
  }
  expect_same("/v1/completions", {{"prompt", "x"},
                                  {"max_tokens", 40},
                                  {"seed", 1},
                                  {"structured_outputs", {{"regex", "[a-c]{5,30}"}}},
                                  {"logprobs", 1}});
  EXPECT_EQ(metric(none_, "hadal_tried_drafts_total{place=\"1\"}"), 0);
  EXPECT_EQ(metric(two_, "hadal_tried_drafts_total{place=\"3\"}"), 0);
  for (const char* place : {"{place=\"1\"}", "{place=\"2\"}"}) {
    const int64_t tried = metric(two_, std::string("hadal_tried_drafts_total") + place);
    const int64_t right = metric(two_, std::string("hadal_right_drafts_total") + place);
    EXPECT_GT(right, 0) << place;
    EXPECT_LT(right, tried) << place;
  }
  EXPECT_GT(metric(automatic_, "hadal_tried_drafts_total{place=\"1\"}"), 0);
}

}  // namespace
}  // namespace hadal
