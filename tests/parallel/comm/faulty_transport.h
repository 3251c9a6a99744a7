// For negative controls: a transport that changes messages on their way to the receiver.
#pragma once
#include <functional>
#include <memory>

#include "comm/transport_over.h"

namespace hadal::testing {

class FaultyTransport : public TransportOver {
 public:
  using Change = std::function<void(int to, int from, Message&)>;
  FaultyTransport(std::shared_ptr<Transport> inner, Change change)
      : TransportOver(std::move(inner)), change_(std::move(change)) {}
  Message receive(int from, const Label& wanted) override {
    Message message = TransportOver::receive(from, wanted);
    change_(rank(), from, message);
    return message;
  }

 private:
  Change change_;
};

}  // namespace hadal::testing
