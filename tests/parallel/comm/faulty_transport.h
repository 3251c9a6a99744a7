// For negative controls: a transport that changes messages on their way to the receiver.
#pragma once
#include <algorithm>
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
    auto own = std::make_shared_for_overwrite<std::byte[]>(size_t(message.bytes));  // other ranks' bytes stay right
    std::copy_n(message.data.get(), message.bytes, own.get());
    message.data = std::move(own);
    change_(rank(), from, message);
    return message;
  }

 private:
  Change change_;
};

}  // namespace hadal::testing
