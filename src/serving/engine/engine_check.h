// The proof that the engine gives each request what it gets alone, and what the trainer's forward says of it, on the
// user's own model: drawn requests run under one condition after another, and every id and log-probability is compared.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/exec.h"
#include "model/transformer.h"

namespace hadal {

struct EngineCheckOptions {
  int64_t requests = 6;
  int64_t prompt_tokens = 150, text_tokens = 40;  // at most, of each
  int64_t allowed_ids = 0;  // ids below this stand in prompts and are drawn; 0 = the whole vocabulary
  uint64_t seed = 1;
  std::function<void(const std::string& condition)> begins;  // called before each condition
  // What else scores a text: log-probabilities of its tokens but the first; compared too, by this name.
  std::string scorer;
  std::function<std::vector<double>(const std::vector<int32_t>& tokens)> score;
};

struct EngineCondition {
  std::string name;    // "all in one batch"
  int64_t tokens = 0;  // compared
  double worst = 0;    // largest difference of a log-probability; infinite where an id differs
  std::string first;   // the first token that differs, and the first layer where its bits do; empty: none
};

inline constexpr int64_t kEngineConditions = 13;  // at most

// Throws invalid where the model has no room for a request. one_thread: another place for the same model, on a CPU.
std::vector<EngineCondition> check_engine(const Exec& exec, const Exec* one_thread, const Transformer& model,
                                          const EngineCheckOptions& options);

}  // namespace hadal
