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

}  // namespace hadal
