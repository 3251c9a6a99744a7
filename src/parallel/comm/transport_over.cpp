#include "comm/transport_over.h"

#include "base/error.h"

namespace hadal {
namespace {

class FirstRanks : public TransportOver {
 public:
  FirstRanks(std::shared_ptr<Transport> inner, int n) : TransportOver(std::move(inner)), n_(n) {
    check(rank() < n && n <= TransportOver::size(), ErrorKind::internal, "rank {} among the first {} of {}", rank(), n,
          TransportOver::size());
  }
  int size() const override { return n_; }

 private:
  int n_;
};

class AsIfFar : public TransportOver {
 public:
  using TransportOver::TransportOver;
  bool instant() const override { return false; }
};

}  // namespace

std::shared_ptr<Transport> as_if_far(std::shared_ptr<Transport> transport) {
  return std::make_shared<AsIfFar>(std::move(transport));
}

std::shared_ptr<Transport> first_ranks(std::shared_ptr<Transport> transport, int n) {
  if (n == transport->size()) return transport;
  return std::make_shared<FirstRanks>(std::move(transport), n);
}

}  // namespace hadal
