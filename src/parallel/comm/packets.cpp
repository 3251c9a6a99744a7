#include "comm/packets.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace hadal {
namespace {

struct Header {
  uint32_t magic = 0x4c444148;  // "HADL"
  uint32_t kind = 0;
  uint64_t channel = 0;
  int64_t number = 0;
  uint32_t dtype = 0;
  uint32_t name_bytes = 0;
  int64_t bytes = 0;
  double left = 0;
};
static_assert(sizeof(Header) == 48);

Packet packet_of(const Header& header, const std::string& name) {
  Packet packet;
  packet.bytes.resize(sizeof header + name.size());
  std::memcpy(packet.bytes.data(), &header, sizeof header);
  std::memcpy(packet.bytes.data() + sizeof header, name.data(), name.size());
  return packet;
}

Packet bare_packet(PacketKind kind) {
  Header header;
  header.kind = uint32_t(kind);
  return packet_of(header, "");
}

}  // namespace

std::vector<Packet> packets_of(const Message& message, int64_t most_bytes) {
  Header header;
  header.channel = message.label.channel;
  header.number = message.label.number;
  header.dtype = uint32_t(message.label.dtype);
  header.name_bytes = uint32_t(message.label.operation.size());
  header.bytes = message.bytes;
  header.left = message.left;
  std::vector<Packet> packets = {packet_of(header, message.label.operation)};
  int64_t at = 0;
  while (true) {
    std::vector<std::byte>& to = packets.back().bytes;
    const int64_t n = std::min(message.bytes - at, std::max<int64_t>(1, most_bytes - int64_t(to.size())));
    to.insert(to.end(), message.data.get() + at, message.data.get() + at + n);
    at += n;
    if (at == message.bytes) return packets;
    packets.emplace_back();
  }
}

Packet failure_packet(const std::string& reason) {
  Header header;
  header.kind = uint32_t(PacketKind::failure);
  header.name_bytes = uint32_t(reason.size());
  return packet_of(header, reason);
}

Packet alive_packet() { return bare_packet(PacketKind::alive); }
Packet leaving_packet() { return bare_packet(PacketKind::leaving); }

Assembler::Result Assembler::take(ConstBytes packet) {
  Result result;
  size_t at = 0;
  if (!pending_) {
    Header header;
    const bool whole = packet.size() >= sizeof header;
    if (whole) std::memcpy(&header, packet.data(), sizeof header);
    check(whole && header.magic == Header().magic && header.kind <= uint32_t(PacketKind::leaving) &&
              header.bytes >= 0 && header.name_bytes <= packet.size() - sizeof header,
          ErrorKind::corrupt, "a packet of {} bytes from another rank is none of this program's", packet.size());
    const std::string name(reinterpret_cast<const char*>(packet.data()) + sizeof header, header.name_bytes);
    result.kind = PacketKind(header.kind);
    if (result.kind != PacketKind::message) {
      result.reason = name;
      return result;
    }
    at = sizeof header + header.name_bytes;
    pending_ = Message{{header.channel, header.number, name, DType(header.dtype)},
                       message_memory(header.bytes),
                       header.bytes,
                       header.left};
    filled_ = 0;
  }
  result.kind = PacketKind::message;
  const auto n = int64_t(packet.size() - at);
  check(filled_ + n <= pending_->bytes, ErrorKind::corrupt, "packets of {} bytes for a message of {}", filled_ + n,
        pending_->bytes);
  if (n > 0) std::memcpy(pending_->data.get() + filled_, packet.data() + at, size_t(n));
  filled_ += n;
  if (filled_ == pending_->bytes) {
    result.message = std::move(pending_);
    pending_.reset();
  }
  return result;
}

}  // namespace hadal
