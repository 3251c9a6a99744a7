// Log-probabilities of tokens from rows of logits, by the operation that makes the trainer's losses: the same bits.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace hadal {

struct TokenScore {
  int32_t id = 0;
  double log_prob = 0;  // natural, of the model itself: before temperature, penalties and filters
};

struct ScoredToken {
  int32_t id = 0;
  double log_prob = 0;
  std::vector<TokenScore> top;  // the most likely ids, best first, as many as were asked for
};

// One row of logits and what is to be known of it.
struct ScoredRow {
  int32_t id = -1;                 // -1: nothing is
  int64_t n_top = 0;               // so many of the most likely ids as well
  std::span<const float> on_host;  // the row, where n_top > 0
};
// Of each row of logits [rows, vocab]. Waits for a device. Ties of the most likely ids: the lowest first.
std::vector<ScoredToken> token_scores(const Exec& exec, const Tensor& logits, std::span<const ScoredRow> rows);

}  // namespace hadal
