#include "comm/travel.h"

#include <algorithm>
#include <limits>

namespace hadal {

TravelTimes times_of(std::vector<Travel> travels) {
  std::sort(travels.begin(), travels.end(), [](const Travel& a, const Travel& b) { return a.left < b.left; });
  TravelTimes times;
  double covered = -std::numeric_limits<double>::infinity();  // until when the ones before were under way
  for (const Travel& one : travels) {
    const double left = std::min(one.left, one.here);  // clocks of two ranks are not quite one
    times.under_way += std::max(0.0, one.here - std::max(left, covered));
    times.waited += one.here - std::clamp(left, one.asked, one.here);  // a rank waits for one at a time
    covered = std::max(covered, one.here);
  }
  return times;
}

}  // namespace hadal
