// Messages cut into packets and put together again.
#include "comm/packets.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

Message message_of(const std::string& text) {
  Message message{{7, 9, "all_gather of data", DType::f32},
                  std::make_shared_for_overwrite<std::byte[]>(text.size()),
                  int64_t(text.size()),
                  12.5};
  std::memcpy(message.data.get(), text.data(), text.size());
  return message;
}

TEST(Packets, MessagesOfAnySizeComeBackWhole) {
  for (const size_t bytes : {size_t(0), size_t(1), size_t(40), size_t(1000)}) {
    for (const int64_t most : {int64_t(1), int64_t(7), int64_t(64), int64_t(100000)}) {
      const std::string text(bytes, 'x');
      const std::vector<Packet> packets = packets_of(message_of(text), most);
      Assembler assembler;
      for (size_t i = 0; i < packets.size(); ++i) {
        const Assembler::Result result = assembler.take(packets[i].bytes);
        ASSERT_EQ(result.kind, PacketKind::message);
        ASSERT_EQ(result.message.has_value(), i + 1 == packets.size()) << bytes << " bytes by " << most;
        if (!result.message) continue;
        EXPECT_EQ(result.message->label, (Label{7, 9, "all_gather of data", DType::f32}));
        EXPECT_EQ(result.message->left, 12.5);
        EXPECT_EQ(std::string(reinterpret_cast<const char*>(result.message->data.get()), bytes), text);
      }
    }
  }
}

TEST(Packets, FailuresAndSignsOfLifeComeBetweenMessages) {
  Assembler assembler;
  const Assembler::Result failure = assembler.take(failure_packet("the disk is full").bytes);
  EXPECT_EQ(failure.kind, PacketKind::failure);
  EXPECT_EQ(failure.reason, "the disk is full");
  EXPECT_EQ(assembler.take(alive_packet().bytes).kind, PacketKind::alive);
  EXPECT_TRUE(assembler.take(packets_of(message_of("abc"))[0].bytes).message.has_value());
}

TEST(Packets, WhatIsNoneIsRefused) {
  Assembler assembler;
  EXPECT_ERROR(assembler.take({}), ErrorKind::corrupt, "none of this program's");
  std::vector<std::byte> noise(60, std::byte(3));
  EXPECT_ERROR(assembler.take(noise), ErrorKind::corrupt, "a packet of 60 bytes");
  std::vector<Packet> packets = packets_of(message_of("some text that is cut"), 60);
  ASSERT_GT(packets.size(), 1u);
  EXPECT_FALSE(assembler.take(packets[0].bytes).message.has_value());
  EXPECT_ERROR(assembler.take(std::vector<std::byte>(100)), ErrorKind::corrupt, "for a message of 21");
}

}  // namespace
}  // namespace hadal
