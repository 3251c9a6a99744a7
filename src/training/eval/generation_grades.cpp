#include "eval/generation_grades.h"

#include "base/error.h"
#include "grading/statistics.h"

namespace hadal::eval {

std::vector<Metric> generation_metrics(const std::vector<std::string>& own, int64_t samples) {
  std::vector<Metric> metrics;
  for (const std::string& name : own) metrics.push_back({name});
  if (samples < 2) return metrics;
  for (int64_t k = 1; k <= samples; k *= 2) metrics.push_back({fmt::format("pass@{}", k)});
  metrics.push_back({fmt::format("maj@{}", samples)});
  return metrics;
}

Graded grade_samples(const std::vector<std::string>& own, const std::string& filter,
                     const std::vector<GradedSample>& samples, const grading::SameAnswer& same) {
  const int64_t n = int64_t(samples.size());
  Graded graded{.filter = filter};
  std::vector<grading::SampledAnswer> answers;
  int64_t right = 0;
  for (const GradedSample& one : samples) {
    graded.extracted.push_back(one.answer.answer), graded.why.push_back(one.why);
    answers.push_back(one.answer);
    graded.undecided += one.undecided;
    right += one.values.at(0) > 0;
  }
  for (size_t m = 0; m < own.size(); ++m) {
    double sum = 0;
    for (const GradedSample& one : samples) sum += one.values.at(m);
    graded.values.emplace_back(own[m], MetricValue{sum / double(n)});
  }
  if (n < 2) return graded;
  for (int64_t k = 1; k <= n; k *= 2)
    graded.values.emplace_back(fmt::format("pass@{}", k), MetricValue{grading::pass_at_k(n, right, k)});
  const int64_t chosen = grading::majority(answers, same);
  const double won = chosen < 0 ? 0 : samples[size_t(chosen)].values.at(0);
  graded.values.emplace_back(fmt::format("maj@{}", n), MetricValue{won});
  return graded;
}

}  // namespace hadal::eval
