// How replies of a generation are graded: each sample by the task's own rule, then what all samples of an item say
// together: pass@k (the unbiased estimate) and maj@N (the answer of most, by the task's own equality).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eval/task.h"
#include "grading/votes.h"

namespace hadal::eval {

struct GradedSample {
  grading::SampledAnswer answer;
  std::string why;
  bool undecided = false;      // the answer cannot be read as what it is compared as
  std::vector<double> values;  // of the task's own metrics; the first says whether it is right
};

// Of a task of generation with `samples` each: its own metrics, then pass@1, 2, 4 ... and maj@samples where there are
// several.
std::vector<Metric> generation_metrics(const std::vector<std::string>& own, int64_t samples);

// One filter's grades of all samples of an item, values in the order of generation_metrics.
Graded grade_samples(const std::vector<std::string>& own, const std::string& filter,
                     const std::vector<GradedSample>& samples, const grading::SameAnswer& same);

}  // namespace hadal::eval
