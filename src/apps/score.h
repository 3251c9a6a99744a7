// How hadal score reads a text, for whoever compares with it.
#pragma once
#include <cstdint>
#include <vector>

#include "model/transformer.h"

namespace hadal {

struct Scores {
  std::vector<double> log_probs;  // of all tokens but the first
  int64_t windows = 0, stride = 0;
};

// By the trainer's own forward; a text longer than the model's positions in windows that go on by the stride (0: half
// of the positions).
Scores scores_of(const Exec& exec, const Transformer& model, const std::vector<int32_t>& tokens, int64_t stride = 0);

}  // namespace hadal
