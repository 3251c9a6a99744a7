// Log-probabilities of tokens in the two shapes of OpenAI's API. They are the model's own, as doubles that read back
// exactly; one that is not finite is -9999.
#pragma once
#include <cstdint>
#include <span>

#include "engine/engine.h"
#include "server/json_fields.h"
#include "server/served_model.h"

namespace hadal {

// Where tokens stand in the text, in characters: a token that begins inside a character stands where that one does.
class TextOffsets {
 public:
  int64_t next(const std::string& bytes);  // of a token with these bytes; moves behind it

 private:
  int64_t characters_ = 0;
};

// What an answer has of /v1/completions: four lists of one length.
class CompletionLogProbs {
 public:
  CompletionLogProbs(const ServedModel& model, TextOffsets& offsets);
  void add_first(int32_t id, bool written);  // a token that nothing predicts
  void add(const ScoredToken& token, bool written = true);
  Json json() const;

 private:
  void place(int32_t id, bool written);
  const ServedModel& model_;
  TextOffsets& offsets_;
  Json tokens_ = Json::array(), log_probs_ = Json::array(), top_ = Json::array(), places_ = Json::array();
};

// One token of /v1/chat/completions: {"token", "logprob", "bytes", "top_logprobs"}.
Json chat_log_prob(const ServedModel& model, const ScoredToken& token);

}  // namespace hadal
