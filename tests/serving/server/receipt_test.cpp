// Receipts: an answer comes again from its receipt, to the bit, whoever was served beside it; what differs is named.
#include "server/receipt.h"

#include "base/expect_error.h"
#include "server/server_testing.h"

namespace hadal {
namespace {

TEST(Receipt, AnAnswerComesAgainFromIt) {
  Tiny tiny;
  OwnedExec owned(1);
  const Transformer& model = *tiny.model.model.transformer;
  const Json of_text = {{"prompt", "the sea"}, {"max_tokens", 20},          {"n", 2},
                        {"seed", 3},           {"min_tokens", 6},           {"receipt", true},
                        {"top_p", 0.9},        {"repetition_penalty", 1.2}, {"logit_bias", {{"7", 2.5}, {"9", -100}}}};
  const Json of_chat = {{"messages", {{{"role", "user"}, {"content", "why?"}}}}, {"max_tokens", 9}, {"receipt", true}};
  std::vector<Json> receipts;
  const Json texts = post(tiny.port(), "/v1/completions", of_text).json();
  for (const Json& choice : texts["choices"]) receipts.push_back(choice["receipt"]);
  receipts.push_back(post(tiny.port(), "/v1/chat/completions", of_chat).json()["choices"][0]["receipt"]);
  Json streamed = of_chat;
  streamed["stream"] = true;
  for (const Json& event : events_of(post(tiny.port(), "/v1/chat/completions", streamed).body))
    if (!event["choices"].empty() && event["choices"][0].contains("receipt"))
      receipts.push_back(event["choices"][0]["receipt"]);
  ASSERT_EQ(receipts.size(), 4u);
  for (const Json& json : receipts) {
    const Receipt receipt = receipt_from_json(json_text(json), "here");
    EXPECT_EQ(receipt_json(receipt), json);
    EXPECT_EQ(receipt.isa, isa_name(owned.exec.isa));
    const Replayed again = replay(owned.exec, model, receipt);
    EXPECT_EQ(again.first, "");
    EXPECT_EQ(again.same, int64_t(receipt.tokens.size()));
    EXPECT_GT(again.same, 0);
  }
  Receipt spoilt = receipt_from_json(json_text(receipts[0]), "here");
  ASSERT_GT(spoilt.tokens.size(), 3u);
  spoilt.tokens[3].log_prob += 1e-12;
  EXPECT_EQ(replay(owned.exec, model, spoilt).first.find("the log-probability of token 3 is "), 0u);
  spoilt.asked.sampling.seed += 1;
  EXPECT_NE(replay(owned.exec, model, spoilt).first, "");
}

// The same request, seed and fingerprint write the same text.
TEST(Receipt, EveryAnswerSaysItsSeedAndWhatElseItFollowsFrom) {
  Tiny tiny;
  const Json of_text = {{"prompt", "the sea"}, {"max_tokens", 12}, {"n", 2}};
  const Json first = post(tiny.port(), "/v1/completions", of_text).json();
  for (const Json& choice : first["choices"]) {
    Json again = of_text;
    again["n"] = 1, again["seed"] = choice["seed"];
    const Json second = post(tiny.port(), "/v1/completions", again).json();
    EXPECT_EQ(second["choices"][0]["text"], choice["text"]);
    EXPECT_EQ(second["system_fingerprint"], first["system_fingerprint"]);
    again["stream"] = true;
    const std::vector<Json> events = events_of(post(tiny.port(), "/v1/completions", again).body);
    EXPECT_EQ(events.back()["choices"][0]["seed"], choice["seed"]);
    EXPECT_EQ(events.back()["system_fingerprint"], first["system_fingerprint"]);
  }
  const Json of_chat = {{"messages", {{{"role", "user"}, {"content", "why?"}}}}, {"max_tokens", 4}, {"seed", 5}};
  const Json chat = post(tiny.port(), "/v1/chat/completions", of_chat).json();
  EXPECT_EQ(chat["choices"][0]["seed"], 5);
  EXPECT_EQ(chat["system_fingerprint"], first["system_fingerprint"]);
  const Json response = post(tiny.port(), "/v1/responses", {{"input", "why?"}, {"seed", 5}}).json();
  EXPECT_EQ(response["seed"], 5);
  EXPECT_EQ(response["system_fingerprint"], first["system_fingerprint"]);
  TinyOptions options;
  options.seed = 2;  // of the weights
  const Tiny other(options);
  EXPECT_NE(post(other.port(), "/v1/completions", of_text).json()["system_fingerprint"], first["system_fingerprint"]);
}

TEST(Receipt, SaysWhatIsOtherWhereItIsReplayed) {
  Receipt receipt;
  receipt.device = "cpu", receipt.isa = "avx2", receipt.weights_identity = "1234";
  EXPECT_EQ(what_is_other(receipt, receipt), "");
  Receipt here = receipt;
  here.isa = "avx512_bf16";
  EXPECT_EQ(what_is_other(receipt, here), "the receipt is of cpu avx2, this is cpu avx512_bf16: last bits may differ");
  here.weights_identity = "5678";
  EXPECT_EQ(what_is_other(receipt, here)
                .find("the receipt is of other weights (1234; these are 5678): another text is to be expected; "),
            0u);
  receipt.weights_identity = "";  // of before there was one
  EXPECT_EQ(what_is_other(receipt, here).find("weights"), std::string::npos);
}

TEST(Receipt, RefusesWhatIsNoneAndNamesTheMember) {
  EXPECT_ERROR(receipt_from_json("[1]", "here"), ErrorKind::invalid, "here: no receipt");
  EXPECT_ERROR(receipt_from_json("{", "here"), ErrorKind::invalid, "here: no receipt");
  Receipt receipt;
  receipt.asked.prompt = {1};
  Json json = receipt_json(receipt);
  json.erase("cache");  // of before there was a choice
  EXPECT_EQ(receipt_from_json(json_text(json), "here").cache, "values");
  json["top_p"] = "wide";
  EXPECT_ERROR(receipt_from_json(json_text(json), "here"), ErrorKind::invalid, "here: \"top_p\" is \"wide\"");
  json.erase("top_p");
  EXPECT_ERROR(receipt_from_json(json_text(json), "here"), ErrorKind::invalid, "here: \"top_p\" is missing");
}

}  // namespace
}  // namespace hadal
