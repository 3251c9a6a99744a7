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
  for (const auto& [id, by] : o.logit_bias)
    check(std::isfinite(by) && std::abs(by) <= 1e6, ErrorKind::invalid,
          "the bias of token {} is {}, it must lie in -1e6 .. 1e6", id, by);
}

namespace {

// The ids that may be drawn; where a filter asks for it, the likeliest first. Most draws need the order of a few of
// them alone, so it is made as it is asked for.
class Candidates {
 public:
  Candidates(std::span<const float> logits, std::vector<int32_t> ids, int32_t best, double temperature)
      : logits_(logits), ids_(std::move(ids)), best_(best), temperature_(temperature) {}

  size_t size() const { return ids_.size(); }
  int32_t id(size_t i) {
    sort_to(i + 1);
    return ids_[i];
  }
  double weight(size_t i) { return weight_of(id(i)); }  // exp(logit / temperature), of the best one 1
  double total() const {
    double sum = 0;
    for (const int32_t id : ids_) sum += weight_of(id);
    return sum;
  }
  // The id at which the weights, summed in the order of ids, pass a share of their total.
  int32_t at_share(double share) const {
    std::vector<double> sums(ids_.size());
    double sum = 0;
    for (size_t i = 0; i < ids_.size(); ++i) sums[i] = sum += weight_of(ids_[i]);
    const auto at = std::upper_bound(sums.begin(), sums.end() - 1, share * sum);
    return ids_[size_t(at - sums.begin())];
  }
  void keep(size_t n) {
    if (n >= ids_.size()) return;
    sort_to(n);
    ids_.resize(n);
    sorted_ = n;
  }

 private:
  double weight_of(int32_t id) const {
    return std::exp((double(logits_[size_t(id)]) - double(logits_[size_t(best_)])) / temperature_);
  }
  void sort_to(size_t end) {
    if (end <= sorted_) return;
    const auto by_logit = [&](int32_t a, int32_t b) {
      return logits_[size_t(a)] != logits_[size_t(b)] ? logits_[size_t(a)] > logits_[size_t(b)] : a < b;
    };
    end = std::min(ids_.size(), std::max(end, 4 * sorted_ + 64));
    const auto from = ids_.begin() + int64_t(sorted_), to = ids_.begin() + int64_t(end);
    constexpr size_t kFew = 16;  // of so many one: nearly all need one comparison with the least of those found
    if (end - sorted_ <= (ids_.size() - sorted_) / kFew) {
      std::partial_sort(from, to, ids_.end(), by_logit);
    } else {
      std::nth_element(from, to, ids_.end(), by_logit);
      std::sort(from, to, by_logit);
    }
    sorted_ = end;
  }

  std::span<const float> logits_;
  std::vector<int32_t> ids_;  // the first sorted_ of them are the likeliest, in order
  size_t sorted_ = 0;
  int32_t best_;
  double temperature_;
};

// Ids below n that are neither suppressed nor masked, ascending.
std::vector<int32_t> ids_to_draw(int64_t n, std::vector<int32_t> never, std::span<const uint32_t> mask) {
  std::vector<int32_t> ids;
  if (never.empty() && mask.empty()) {
    ids.resize(size_t(n));
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
  }
  std::sort(never.begin(), never.end());
  ids.reserve(mask.empty() ? size_t(n) : 0);
  const int64_t end = mask.empty() ? n : std::min(n, 32 * int64_t(mask.size()));
  for (int32_t id = 0; id < end; ++id) {
    if (!mask.empty() && (mask[size_t(id / 32)] >> (id % 32) & 1) == 0) continue;
    if (never.empty() || !std::binary_search(never.begin(), never.end(), id)) ids.push_back(id);
  }
  return ids;
}

}  // namespace

// softmax(logits / temperature), cut to the best top_k, to the fewest that reach top_p, to those with min_p of the best
// one's probability; then one draw, whose noise is a function of (seed, position): neighbours and restarts change no
// text.
int32_t sample_token(std::span<const float> logits, int64_t allowed, const SamplingOptions& options, int64_t position,
                     std::span<const uint32_t> mask) {
  const int64_t n = std::min<int64_t>(allowed, int64_t(logits.size()));
  check(n > 0, ErrorKind::internal, "no token may be drawn: {} logits, {} allowed", logits.size(), allowed);
  // One NaN anywhere would break the order that sorting needs.
  const auto sick = std::find_if_not(logits.begin(), logits.begin() + n, [](float x) { return std::isfinite(x); });
  if (sick != logits.begin() + n)
    throw NotFinite(fmt::format("the logit of token {} is {}; the model's weights are damaged or diverged",
                                sick - logits.begin(), *sick));
  std::vector<int32_t> ids = ids_to_draw(n, options.suppressed, mask);
  check(!ids.empty() || !mask.empty(), ErrorKind::invalid, "all {} tokens are suppressed, none can be drawn", n);
  check(!ids.empty(), ErrorKind::invalid,
        "no token can be drawn: what the constraint allows here is suppressed, or no token of this model spells it");
  int32_t best = ids.front();
  for (float most = logits[size_t(best)]; const int32_t id : ids)
    if (logits[size_t(id)] > most) most = logits[size_t(best = id)];
  if (options.temperature == 0) return best;

  Candidates candidates(logits, std::move(ids), best, options.temperature);
  const double share = random_uniform(options.seed, stream_id("engine.sample"), uint64_t(position));
  if (options.top_k == 0 && options.top_p == 1 && options.min_p == 0) return candidates.at_share(share);
  if (options.top_k > 0) candidates.keep(size_t(options.top_k));
  const double total = candidates.total();
  size_t kept = candidates.size();
  double sum = total;
  if (options.top_p < 1 || options.min_p > 0) {
    sum = 0;
    for (kept = 0; kept < candidates.size(); ++kept) {
      const double weight = candidates.weight(kept);
      if (weight < options.min_p || (kept > 0 && sum >= options.top_p * total)) break;
      sum += weight;
    }
  }
  double left = share * sum;
  for (size_t i = 0; i < kept; ++i) {
    left -= candidates.weight(i);
    if (left < 0) return candidates.id(i);
  }
  return candidates.id(kept - 1);
}

namespace {

void apply_penalties(std::span<float> logits, std::span<const int32_t> prompt, std::span<const int32_t> text,
                     const SamplingOptions& o) {
  if (o.repetition_penalty == 1 && o.presence_penalty == 0 && o.frequency_penalty == 0) return;
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
}

}  // namespace

void penalise(std::span<float> logits, std::span<const int32_t> prompt, std::span<const int32_t> text,
              const SamplingOptions& o) {
  apply_penalties(logits, prompt, text, o);
  for (const auto& [id, by] : o.logit_bias)
    if (id >= 0 && id < int64_t(logits.size())) logits[size_t(id)] = float(logits[size_t(id)] + by);
}

}  // namespace hadal
