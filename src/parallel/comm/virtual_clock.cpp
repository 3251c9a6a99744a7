#include "comm/virtual_clock.h"

#include <algorithm>

namespace hadal {

double VirtualClock::leave(int64_t bytes, const LinkSpeed& link) {
  const double seconds = link.bytes_per_second > 0 ? double(bytes) / link.bytes_per_second : 0;
  link_free_ = std::max(now_, link_free_) + seconds;
  return link_free_ + link.latency;
}

namespace {

class ClockedTransport : public Transport {
 public:
  ClockedTransport(std::shared_ptr<Transport> inner, VirtualClock& clock, Links links)
      : inner_(std::move(inner)), clock_(clock), links_(std::move(links)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  void send(int to, Message message) override {
    message.arrives = clock_.leave(message.bytes, links_(rank(), to));
    inner_->send(to, std::move(message));
  }
  Message receive(int from, const Label& wanted) override {
    Message message = inner_->receive(from, wanted);
    clock_.wait_until(message.arrives);
    return message;
  }

 private:
  std::shared_ptr<Transport> inner_;
  VirtualClock& clock_;
  Links links_;
};

}  // namespace

std::shared_ptr<Transport> on_clock(std::shared_ptr<Transport> inner, VirtualClock& clock, Links links) {
  return std::make_shared<ClockedTransport>(std::move(inner), clock, std::move(links));
}

}  // namespace hadal
