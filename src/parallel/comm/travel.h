// How long what ranks send each other is on its way, and how much of that time the rank that gets it waits: measured
// where a group's operations are waited for, by whatever clock the rank is given.
#pragma once
#include <functional>
#include <vector>

namespace hadal {

// What came to a rank in one operation of a group, in seconds of its clock.
struct Travel {
  const char* operation = "";  // "all_gather", "send"
  double left = 0;   // when the rank's own part of it had left; of a send, when the other's had, by the other's clock
  double asked = 0;  // when the rank began to wait for it
  double here = 0;   // when all of it was here
};

// Of the rank's own thread.
struct TravelLog {
  std::function<double()> now;  // empty: nothing is noted
  std::vector<Travel> travels = {};
};

struct TravelTimes {
  double under_way = 0;  // that at least one of them was
  double waited = 0;     // of it; what was waited before a neighbour's had left is the neighbour's, not the traffic's
  void add(const TravelTimes& other) { under_way += other.under_way, waited += other.waited; }
  // Behind what the rank computed; 0 where nothing came.
  double hidden() const { return under_way > 0 ? 1 - waited / under_way : 0; }
};
TravelTimes times_of(std::vector<Travel> travels);  // of one rank

}  // namespace hadal
