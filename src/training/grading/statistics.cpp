// Binomial probabilities through logarithms of factorials, so that no number of items is too large.
#include "grading/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace hadal::grading {

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / double(values.size());
}

std::optional<double> standard_error(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const double mean = mean_of(values), n = double(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (n - 1)) / std::sqrt(n);
}

Ratio ratio_of(std::span<const double> values, std::span<const double> weights) {
  check(values.size() == weights.size(), ErrorKind::internal, "{} values, {} weights", values.size(), weights.size());
  double sum = 0, weight = 0, squares = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += values[i], weight += weights[i];
  Ratio ratio{weight == 0 ? 0 : sum / weight, std::nullopt};
  const double n = double(values.size());
  if (values.size() < 2 || weight == 0) return ratio;
  for (size_t i = 0; i < values.size(); ++i) {
    const double off = values[i] - ratio.value * weights[i];
    squares += off * off;
  }
  ratio.error = std::sqrt(n / (n - 1) * squares) / weight;
  return ratio;
}

double pass_at_k(int64_t n, int64_t c, int64_t k) {
  check(c >= 0 && c <= n && k >= 1 && k <= n, ErrorKind::invalid,
        "pass@{} of {} right samples among {}: k must lie in 1 .. the number of samples", k, c, n);
  if (n - c < k) return 1;
  double none = 1;  // C(n - c, k) / C(n, k)
  for (int64_t i = n - c + 1; i <= n; ++i) none *= 1 - double(k) / double(i);
  return 1 - none;
}

namespace {

constexpr int64_t kResamples = 10'000;

// Both tails of Binomial(n, 1/2) that are no likelier than k on one side.
double sign_test(int64_t n, int64_t k) {
  if (n == 0) return 1;
  double tail = 0;
  for (int64_t i = 0; i <= std::min(k, n - k); ++i)
    tail += std::exp(std::lgamma(double(n) + 1) - std::lgamma(double(i) + 1) - std::lgamma(double(n - i) + 1) -
                     double(n) * std::log(2.0));
  return std::min(1.0, 2 * tail);
}

double sign_flips(std::span<const double> differences) {
  double observed = 0;
  for (const double d : differences) observed += d;
  int64_t as_far = 1;  // the observed one
  for (int64_t r = 0; r < kResamples; ++r) {
    RandomStream random{0, stream_id("grading.signs", uint64_t(r)), 0};
    double sum = 0;
    uint64_t bits = 0;
    for (size_t i = 0; i < differences.size(); ++i, bits >>= 1) {
      if (i % 64 == 0) bits = random.bits();
      sum += (bits & 1) != 0 ? differences[i] : -differences[i];
    }
    as_far += std::abs(sum) >= std::abs(observed) * (1 - 1e-12);
  }
  return double(as_far) / double(kResamples + 1);
}

}  // namespace

PairedTest paired_test(std::span<const double> a, std::span<const double> b) {
  check(a.size() == b.size() && !a.empty(), ErrorKind::invalid,
        "a paired test wants the same items of both: {} and {} were given", a.size(), b.size());
  PairedTest test{.n = int64_t(a.size()), .exact = true};
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) {
    differences.push_back(b[i] - a[i]);
    test.gained += b[i] > a[i], test.lost += b[i] < a[i];
    test.exact &= (a[i] == 0 || a[i] == 1) && (b[i] == 0 || b[i] == 1);
  }
  test.difference = mean_of(differences);
  test.p = test.exact ? sign_test(test.gained + test.lost, test.gained) : sign_flips(differences);
  std::vector<double> means;
  for (int64_t r = 0; r < kResamples; ++r) {
    RandomStream random{0, stream_id("grading.bootstrap", uint64_t(r)), 0};
    double sum = 0;
    for (size_t i = 0; i < differences.size(); ++i) sum += differences[random.bits() % differences.size()];
    means.push_back(sum / double(differences.size()));
  }
  std::sort(means.begin(), means.end());
  test.low = means[size_t(0.025 * kResamples)], test.high = means[size_t(0.975 * kResamples) - 1];
  return test;
}

}  // namespace hadal::grading
