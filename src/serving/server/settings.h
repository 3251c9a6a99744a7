// What a request says of how its answer is drawn and given, in the names of OpenAI's API and, for what that lacks, of
// vLLM's. Fields of both that can change no answer are taken and have no effect; those that would change something and
// are not offered are refused.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/constraint.h"
#include "engine/sampler.h"
#include "server/json_fields.h"
#include "text/generation_config.h"

namespace hadal {

struct AnswerSettings {
  SamplingOptions sampling;  // its seed is drawn where the request has none
  int64_t n = 1;
  std::optional<int64_t> max_tokens;
  int64_t min_tokens = 0;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_ids;  // besides the model's own
  bool ignore_eos = false;        // the model's own do not end the text
  bool skip_special = false;      // special tokens are left out
  bool stream = false, stream_usage = false;
  bool return_token_ids = false;
  bool receipt = false;  // each answer with its receipt (receipt.h)
  bool log_probs = false;
  int64_t n_top = 0;
  std::string format;  // that the answer must have (grammar/formats.h); empty: any
  std::shared_ptr<const Constraint> constraint;
};

struct SettingsLimits {
  int64_t vocabulary = 0, positions = 0;
  int64_t least_max_tokens = 1;
};

// `makers`: defaults of the model's generation_config.json. Log-probabilities are the endpoint's.
// Throws ApiError.
AnswerSettings read_settings(const JsonFields& fields, const SettingsLimits& limits,
                             const std::optional<GenerationConfig>& makers);

// Names that read_settings reads or refuses; and names of the API that can change no answer: labels, what others are
// billed by, hints to caches. Clients send them, and their types are checked.
const std::vector<std::string>& setting_names();
const std::vector<std::string>& names_without_effect();

// The seed of one of several answers; that of the first is the request's own.
uint64_t seed_of_choice(uint64_t seed, int64_t choice);

inline constexpr int64_t kMostChoices = 64;  // n, best_of
inline constexpr int64_t kMostTopLogProbs = 20;

}  // namespace hadal
