// VirtualClock: the time of a rank on a machine that is not there. What a rank computes moves its clock on by what it
// is said to cost; a message leaves when the sender's link is free, takes its bytes over the link's speed and then the
// latency, and moves the receiver's clock on to its arrival, if it has to wait. So a step of many ranks on two cores
// takes the time that it would take on as many machines, the same in every run. Of ranks as threads.
#pragma once
#include <functional>
#include <memory>

#include "comm/transport.h"

namespace hadal {

struct LinkSpeed {
  double latency = 0;           // seconds
  double bytes_per_second = 0;  // 0: any number of bytes at once
};
using Links = std::function<LinkSpeed(int from, int to)>;  // in a node, across nodes

class VirtualClock {
 public:
  double now() const { return now_; }
  void advance(double seconds) { now_ += seconds; }
  // A message to `to` leaves now, or behind those that left before; when it arrives there.
  double leave(int64_t bytes, const LinkSpeed& link);
  void wait_until(double time) { now_ = time > now_ ? time : now_; }

 private:
  double now_ = 0, link_free_ = 0;
};

// `inner`, whose messages take time on the clock, which must outlive it.
std::shared_ptr<Transport> on_clock(std::shared_ptr<Transport> inner, VirtualClock& clock, Links links);

}  // namespace hadal
