#include "server/log_probs.h"

#include <algorithm>

namespace hadal {
namespace {

bool continues(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

Json bytes_json(const ServedModel& model, int32_t id) {
  Json bytes = Json::array();
  for (const char byte : model.bytes_of(id)) bytes.push_back(static_cast<unsigned char>(byte));
  return bytes;
}

}  // namespace

int64_t TextOffsets::next(const std::string& bytes) {
  const bool inside = !bytes.empty() && continues(bytes[0]) && characters_ > 0;
  const int64_t at = characters_ - (inside ? 1 : 0);
  characters_ += std::count_if(bytes.begin(), bytes.end(), [](char byte) { return !continues(byte); });
  return at;
}

CompletionLogProbs::CompletionLogProbs(const ServedModel& model, TextOffsets& offsets)
    : model_(model), offsets_(offsets) {}

void CompletionLogProbs::place(int32_t id, bool written) {
  tokens_.push_back(model_.text_of(id));
  places_.push_back(offsets_.next(written ? model_.bytes_of(id) : ""));
}

void CompletionLogProbs::add_first(int32_t id, bool written) {
  place(id, written);
  log_probs_.push_back(nullptr);
  top_.push_back(nullptr);
}

void CompletionLogProbs::add(const ScoredToken& token, bool written) {
  place(token.id, written);
  log_probs_.push_back(log_prob_of(token.log_prob));
  Json top = Json::object();
  for (const TokenScore& one : token.top) {
    std::string text = model_.text_of(one.id);
    if (!top.contains(text)) top[std::move(text)] = log_prob_of(one.log_prob);  // of two that read alike the likelier
  }
  if (std::string text = model_.text_of(token.id); !top.contains(text))
    top[std::move(text)] = log_prob_of(token.log_prob);
  top_.push_back(std::move(top));
}

Json CompletionLogProbs::json() const {
  return {{"text_offset", places_}, {"token_logprobs", log_probs_}, {"tokens", tokens_}, {"top_logprobs", top_}};
}

Json chat_log_prob(const ServedModel& model, const ScoredToken& token) {
  Json top = Json::array();
  for (const TokenScore& one : token.top)
    top.push_back({{"token", model.text_of(one.id)},
                   {"logprob", log_prob_of(one.log_prob)},
                   {"bytes", bytes_json(model, one.id)}});
  return {{"token", model.text_of(token.id)},
          {"logprob", log_prob_of(token.log_prob)},
          {"bytes", bytes_json(model, token.id)},
          {"top_logprobs", std::move(top)}};
}

}  // namespace hadal
