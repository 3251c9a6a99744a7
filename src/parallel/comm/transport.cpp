#include "comm/transport.h"

#include "base/error.h"

namespace hadal {

std::string Doing::text() const {
  std::string text = part;
  if (step >= 0) text += fmt::format("{}{}", text.empty() ? "step " : " ", step);
  if (*action)
    text += fmt::format("{}{} of micro-batch {} at stage {}", text.empty() ? "" : ", ", action, micro_batch, stage);
  return text;
}

std::string wait_text(int from, const Label& wanted, double seconds, const Doing& doing) {
  const std::string bytes = wanted.bytes < 0 ? "" : fmt::format(" ({} bytes)", wanted.bytes), at = doing.text();
  return fmt::format("rank {} in {} no. {}{} since {:.1f} s{}{}", from, wanted.operation, wanted.number, bytes, seconds,
                     at.empty() ? "" : ", at ", at);
}

void SelfTransport::send(int to, Message message) {
  fail(ErrorKind::internal, "{}: a message to rank {}, but there is one rank", message.label.operation, to);
}

Message SelfTransport::receive(int from, const Label& wanted) {
  fail(ErrorKind::internal, "{}: a message from rank {}, but there is one rank", wanted.operation, from);
}

namespace {

class FirstRanks : public Transport {
 public:
  FirstRanks(std::shared_ptr<Transport> inner, int n) : inner_(std::move(inner)), n_(n) {
    check(inner_->rank() < n && n <= inner_->size(), ErrorKind::internal, "rank {} among the first {} of {}",
          inner_->rank(), n, inner_->size());
  }
  int rank() const override { return inner_->rank(); }
  int size() const override { return n_; }
  std::string name() const override { return inner_->name(); }
  bool alone_in_process() const override { return inner_->alone_in_process(); }
  void send(int to, Message message) override { inner_->send(to, std::move(message)); }
  Message receive(int from, const Label& wanted) override { return inner_->receive(from, wanted); }
  Doing& doing() override { return inner_->doing(); }

 private:
  std::shared_ptr<Transport> inner_;
  int n_;
};

}  // namespace

std::shared_ptr<Transport> first_ranks(std::shared_ptr<Transport> transport, int n) {
  if (n == transport->size()) return transport;
  return std::make_shared<FirstRanks>(std::move(transport), n);
}

}  // namespace hadal
