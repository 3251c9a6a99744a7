// For negative controls: a transport that changes messages on their way to the receiver.
#pragma once
#include <functional>
#include <memory>

#include "comm/transport.h"

namespace hadal::testing {

class FaultyTransport : public Transport {
 public:
  using Change = std::function<void(int to, int from, Message&)>;
  FaultyTransport(std::shared_ptr<Transport> inner, Change change)
      : inner_(std::move(inner)), change_(std::move(change)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  void send(int to, Message message) override { inner_->send(to, std::move(message)); }
  Message receive(int from, const Label& wanted) override {
    Message message = inner_->receive(from, wanted);
    change_(rank(), from, message);
    return message;
  }

 private:
  std::shared_ptr<Transport> inner_;
  Change change_;
};

}  // namespace hadal::testing
