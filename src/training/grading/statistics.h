// Numbers about scores: means with their standard errors, what many samples of an item say (pass@k), and tests of two
// models on the same items.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace hadal::grading {

double mean_of(std::span<const double> values);  // 0 of nothing
// Sample standard deviation / sqrt(n); nothing below two values.
std::optional<double> standard_error(std::span<const double> values);
// sum(values) / sum(weights) and its standard error, linearised: sqrt(n / (n - 1) sum (v - R w)^2) / sum(weights).
struct Ratio {
  double value = 0;
  std::optional<double> error;
};
Ratio ratio_of(std::span<const double> values, std::span<const double> weights);

// The unbiased estimate of the chance that at least one of k samples is right, from n samples of which c are:
// 1 - C(n - c, k) / C(n, k). Throws invalid unless 0 <= c <= n and 1 <= k <= n.
double pass_at_k(int64_t n, int64_t c, int64_t k);

// Two models on the same items, scores 0 or 1: McNemar's exact test (binomial, two-sided) on the items of which one is
// right and the other wrong.
struct PairedTest {
  int64_t n = 0, gained = 0, lost = 0;  // gained: b above a
  double difference = 0;                // mean of b - a
  double low = 0, high = 0;  // of the difference, 95 %: 2.5 and 97.5 percentiles of 10,000 bootstraps of pairs
  double p = 1;              // of no difference; exact for 0/1, else by 10,000 random changes of sign
  bool exact = false;
};
// Spans of equal length, at least one pair. Throws invalid otherwise. Deterministic.
PairedTest paired_test(std::span<const double> a, std::span<const double> b);

}  // namespace hadal::grading
