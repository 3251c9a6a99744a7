// Messages as packets of bytes: a header and the operation's name, then the data, cut where a packet would grow too
// long. What comes from one rank comes in order, so a packet without a header goes on with the message before.
//   header  magic u32 | kind u32 | channel u64 | number i64 | dtype u32 | name's length u32 | bytes i64 | left f64
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/transport.h"

namespace hadal {

enum class PacketKind : uint32_t { message, failure, alive, leaving };

struct Packet {
  std::vector<std::byte> bytes;
};

constexpr int64_t kMostPacketBytes = int64_t(64) << 20;

std::vector<Packet> packets_of(const Message& message, int64_t most_bytes = kMostPacketBytes);
Packet failure_packet(const std::string& reason);  // the sender ends for this reason
Packet alive_packet();                             // the sender still runs
Packet leaving_packet();                           // the sender is done: nothing more of it will come

// Puts the packets of one rank together again.
class Assembler {
 public:
  struct Result {
    PacketKind kind = PacketKind::alive;
    std::optional<Message> message;  // complete now
    std::string reason;              // of a failure
  };
  Result take(ConstBytes packet);  // throws corrupt for what is no packet

 private:
  std::optional<Message> pending_;
  int64_t filled_ = 0;
};

}  // namespace hadal
