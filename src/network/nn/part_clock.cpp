#include "nn/part_clock.h"

namespace hadal {

const char* part_name(Part part) {
  constexpr const char* kNames[kPartCount] = {"other",     "embedding",  "norms",   "attention",
                                              "router",    "dispatch",   "experts", "shared experts",
                                              "dense FFN", "head, loss", "MTP"};
  return kNames[int(part)];
}

std::vector<std::pair<std::string, double>> PartClock::take() {
  std::vector<std::pair<std::string, double>> result;
  for (int i = 0; i < kPartCount; ++i)
    if (seconds_[size_t(i)] > 0) result.emplace_back(part_name(Part(i)), seconds_[size_t(i)]);
  seconds_.fill(0);
  return result;
}

}  // namespace hadal
