#include "comm/transport.h"

#include "base/error.h"

namespace hadal {

void SelfTransport::send(int to, Message message) {
  fail(ErrorKind::internal, "{}: a message to rank {}, but there is one rank", message.label.operation, to);
}

Message SelfTransport::receive(int from, const Label& wanted) {
  fail(ErrorKind::internal, "{}: a message from rank {}, but there is one rank", wanted.operation, from);
}

}  // namespace hadal
