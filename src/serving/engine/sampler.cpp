// One draw from filtered probabilities.
#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "base/not_finite.h"
#include "base/random.h"

namespace hadal {

void validate(const SamplingOptions& o) {
  check(std::isfinite(o.temperature) && o.temperature >= 0, ErrorKind::invalid, "temperature = {} must be at least 0",
        o.temperature);
  check(o.top_k >= 0, ErrorKind::invalid, "top_k = {} must be at least 0 (0 switches it off)", o.top_k);
  check(o.top_p > 0 && o.top_p <= 1, ErrorKind::invalid, "top_p = {} must lie in (0, 1]", o.top_p);
  check(o.min_p >= 0 && o.min_p <= 1, ErrorKind::invalid, "min_p = {} must lie in [0, 1]", o.min_p);
  check(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0, ErrorKind::invalid,
        "repetition_penalty = {} must be above 0 (1 switches it off)", o.repetition_penalty);
  for (const auto& [name, value] :
       {std::pair("presence_penalty", o.presence_penalty), std::pair("frequency_penalty", o.frequency_penalty)})
    check(std::isfinite(value), ErrorKind::invalid, "{} = {} must be a number (0 switches it off)", name, value);
  for (const auto& [id, value] : o.bias)
    check(std::isfinite(value), ErrorKind::invalid, "the bias of token {} = {} must be a number", id, value);
}

// softmax(logits / temperature), cut to the best top_k, to the fewest that reach top_p, to those with min_p of the best
// one's probability; then one draw, whose noise is a function of (seed, position): neighbours and restarts change no
// text.
int32_t sample_token(std::span<const float> logits, int64_t allowed, const SamplingOptions& options, int64_t position) {
  const int64_t n = std::min<int64_t>(allowed, int64_t(logits.size()));
  check(n > 0, ErrorKind::internal, "no token may be drawn: {} logits, {} allowed", logits.size(), allowed);
  for (int64_t id = 0; id < n; ++id) {  // one NaN anywhere would break the order that sorting needs
    if (!std::isfinite(logits[id]))
      throw NotFinite(
          fmt::format("the logit of token {} is {}; the model's weights are damaged or diverged", id, logits[id]));
  }
  std::vector<int32_t> never = options.suppressed;
  std::sort(never.begin(), never.end());
  const auto suppressed = [&](int32_t id) { return std::binary_search(never.begin(), never.end(), id); };
  int32_t best = -1;
  for (int32_t id = 0; id < n; ++id)
    if ((best < 0 || logits[id] > logits[best]) && !suppressed(id)) best = id;
  check(best >= 0, ErrorKind::invalid, "all {} tokens are suppressed, none can be drawn", n);
  if (options.temperature == 0) return best;

  std::vector<int32_t> ids(n);
  std::iota(ids.begin(), ids.end(), 0);
  if (!never.empty()) std::erase_if(ids, suppressed);
  auto by_logit = [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  if (options.top_k > 0 && options.top_k < int64_t(ids.size())) {  // the others need no order among themselves
    std::nth_element(ids.begin(), ids.begin() + options.top_k, ids.end(), by_logit);
    ids.resize(size_t(options.top_k));
  }
  std::sort(ids.begin(), ids.end(), by_logit);
  std::vector<double> p(ids.size());
  double total = 0;
  for (size_t i = 0; i < ids.size(); ++i)
    total += p[i] = std::exp((double(logits[ids[i]]) - double(logits[best])) / options.temperature);

  size_t kept = 0;
  double sum = 0;
  while (kept < ids.size() && p[kept] >= options.min_p * p[0] && (kept == 0 || sum < options.top_p * total))
    sum += p[kept++];
  double left = random_uniform(options.seed, stream_id("engine.sample"), uint64_t(position)) * sum;
  for (size_t i = 0; i < kept; ++i) {
    left -= p[i];
    if (left < 0) return ids[i];
  }
  return ids[kept - 1];
}

namespace {

void add_bias(std::span<float> logits, const SamplingOptions& o) {
  for (const auto& [id, value] : o.bias)
    if (id >= 0 && id < int64_t(logits.size())) logits[size_t(id)] += value;
}

}  // namespace

void penalise(std::span<float> logits, std::span<const int32_t> prompt, std::span<const int32_t> text,
              const SamplingOptions& o) {
  if (o.repetition_penalty == 1 && o.presence_penalty == 0 && o.frequency_penalty == 0) return add_bias(logits, o);
  const auto count = [&](std::span<const int32_t> ids, std::unordered_map<int32_t, int64_t>& counts) {
    for (const int32_t id : ids)
      if (id >= 0 && id < int64_t(logits.size())) ++counts[id];
  };
  std::unordered_map<int32_t, int64_t> written;
  count(text, written);
  if (o.repetition_penalty != 1) {
    auto seen = written;
    count(prompt, seen);
    for (const auto& [id, times] : seen)
      logits[id] = float(logits[id] > 0 ? logits[id] / o.repetition_penalty : logits[id] * o.repetition_penalty);
  }
  for (const auto& [id, times] : written)
    logits[id] = float(logits[id] - o.presence_penalty - o.frequency_penalty * double(times));
  add_bias(logits, o);
}

}  // namespace hadal
