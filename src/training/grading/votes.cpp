#include "grading/votes.h"

namespace hadal::grading {

int64_t majority(const std::vector<SampledAnswer>& samples, const SameAnswer& same) {
  struct Class {
    int64_t first = 0, votes = 0;
  };
  std::vector<Class> classes;
  for (int64_t i = 0; i < int64_t(samples.size()); ++i) {
    if (!samples[size_t(i)].found) continue;
    Class* mine = nullptr;
    for (Class& one : classes)
      if (samples[size_t(one.first)].answer == samples[size_t(i)].answer ||
          same(samples[size_t(one.first)].answer, samples[size_t(i)].answer)) {
        mine = &one;
        break;
      }
    if (mine == nullptr) mine = &classes.emplace_back(Class{i, 0});
    ++mine->votes;
  }
  const Class* best = nullptr;
  for (const Class& one : classes)
    if (best == nullptr || one.votes > best->votes) best = &one;
  return best == nullptr ? -1 : best->first;
}

}  // namespace hadal::grading
