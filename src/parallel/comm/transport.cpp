#include "comm/transport.h"

#include "base/error.h"
#include "base/memory.h"

namespace hadal {
namespace {

// From the first on the C library tidies up whenever a block is freed; those from the second on are too much to keep.
constexpr int64_t kLargeMessage = 64 << 10, kLargestKept = 64 << 20;

}  // namespace

std::shared_ptr<std::byte[]> message_memory(int64_t bytes) {
  if (bytes < kLargeMessage || bytes > kLargestKept) return std::make_shared_for_overwrite<std::byte[]>(size_t(bytes));
  static const std::shared_ptr<MemoryPool> pool = MemoryPool::create();
  std::shared_ptr<void> block = pool->allocate(size_t(bytes));
  return {block, static_cast<std::byte*>(block.get())};
}

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
