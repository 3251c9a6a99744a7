// TransportOver: a transport that passes everything on to another. What changes, delays, counts or narrows what ranks
// send each other says so by overriding that alone.
#pragma once
#include <utility>

#include "comm/transport.h"

namespace hadal {

class TransportOver : public Transport {
 public:
  explicit TransportOver(std::shared_ptr<Transport> inner) : inner_(std::move(inner)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  bool alone_in_process() const override { return inner_->alone_in_process(); }
  bool instant() const override { return inner_->instant(); }
  void send(int to, Message message) override { inner_->send(to, std::move(message)); }
  Message receive(int from, const Label& wanted) override { return inner_->receive(from, wanted); }
  Doing& doing() override { return inner_->doing(); }

 private:
  std::shared_ptr<Transport> inner_;
};

// A transport that is not instant (Transport::instant): what goes in parts between machines then does so between
// threads too.
std::shared_ptr<Transport> as_if_far(std::shared_ptr<Transport> transport);

// The first n ranks of a transport as one of their own, for the n of them.
std::shared_ptr<Transport> first_ranks(std::shared_ptr<Transport> transport, int n);

}  // namespace hadal
