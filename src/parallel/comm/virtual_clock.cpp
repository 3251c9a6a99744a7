#include "comm/virtual_clock.h"

#include <algorithm>

#include "comm/transport_over.h"

namespace hadal {

double VirtualClock::leave(int64_t bytes, const LinkSpeed& link) {
  const double seconds = link.bytes_per_second > 0 ? double(bytes) / link.bytes_per_second : 0;
  link_free_ = std::max(now_, link_free_) + seconds;
  return link_free_ + link.latency;
}

namespace {

class ClockedTransport : public TransportOver {
 public:
  ClockedTransport(std::shared_ptr<Transport> inner, VirtualClock& clock, Links links)
      : TransportOver(std::move(inner)), clock_(clock), links_(std::move(links)) {}
  bool instant() const override { return false; }
  void send(int to, Message message) override {
    message.arrives = clock_.leave(message.bytes, links_(rank(), to));
    TransportOver::send(to, std::move(message));
  }
  Message receive(int from, const Label& wanted) override {
    Message message = TransportOver::receive(from, wanted);
    clock_.wait_until(message.arrives);
    return message;
  }

 private:
  VirtualClock& clock_;
  Links links_;
};

}  // namespace

std::shared_ptr<Transport> on_clock(std::shared_ptr<Transport> inner, VirtualClock& clock, Links links) {
  return std::make_shared<ClockedTransport>(std::move(inner), clock, std::move(links));
}

}  // namespace hadal
