// What tests of the engine share: small models, requests whose answers are kept, and the answer that one gets alone.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/engine.h"
#include "model/small_model.h"

namespace hadal::engine_testing {

using testing::SmallModel;

inline ModelOptions options_of(Precision precision = Precision::fp32, AttentionForm form = AttentionForm::absorbed) {
  ModelOptions options;
  options.precision = precision, options.attention_form = form;
  return options;
}

inline std::vector<int32_t> random_ids(RandomStream& random, int64_t n, int64_t vocab = 37) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(int32_t(random.below(uint64_t(vocab))));
  return ids;
}

// What a request got, piece by piece and at its end.
struct Got {
  std::vector<int32_t> ids;
  std::vector<double> log_probs;
  std::vector<ScoredToken> prompt;
  std::optional<EngineResult> end;
  bool operator==(const Got& other) const {
    return ids == other.ids && log_probs == other.log_probs && same_prompt(other) && end.has_value() &&
           other.end.has_value() && end->reason == other.end->reason && end->error == other.end->error;
  }
  bool same_prompt(const Got& other) const {
    return std::equal(
        prompt.begin(), prompt.end(), other.prompt.begin(), other.prompt.end(),
        [](const ScoredToken& a, const ScoredToken& b) { return a.id == b.id && a.log_prob == b.log_prob; });
  }
};

inline EngineRequest into(EngineRequest request, Got& got) {
  request.on_token = [&got](const ScoredToken& token) {
    got.ids.push_back(token.id), got.log_probs.push_back(token.log_prob);
    return true;
  };
  request.on_end = [&got](const EngineResult& result) {
    EXPECT_FALSE(got.end.has_value()) << "a request ended twice";
    got.prompt = result.prompt, got.end = result;
  };
  return request;
}

inline void drain(Engine& engine) {
  while (engine.step()) {
  }
}

inline Got alone(SmallModel& small, const EngineRequest& request) {
  Got got;
  Engine engine(small.owned.exec, small.model, {.cache_blocks = 8, .prefix_cache = false});
  engine.submit(into(request, got));
  drain(engine);
  return got;
}

}  // namespace hadal::engine_testing
