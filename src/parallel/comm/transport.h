// Transport: how bytes get from one rank to another, and nothing more. What collectives exist, and how they add, is the
// business of Group (group.h), so that every transport gives the same bits.
//
// A message is found by who sent it, its channel (one for each group of ranks) and its number in that channel, so that
// messages may be waited for in any order. It carries what it is for: ranks that do different things find out at once.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "comm/doing.h"

namespace hadal {

using ConstBytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

struct Label {
  uint64_t channel = 0;
  int64_t number = 0;     // of the operation among those of its channel
  std::string operation;  // "all_gather of data"
  DType dtype = DType::u8;
  int64_t bytes = -1;  // that are waited for; -1: any number. Two labels are the same whatever they say of it
  bool operator==(const Label& other) const {
    return channel == other.channel && number == other.number && operation == other.operation && dtype == other.dtype;
  }
};

struct Message {
  Label label;
  std::shared_ptr<std::byte[]> data;  // what goes to several ranks is one piece of memory: who gets it only reads
  int64_t bytes = 0;
  double left = 0;     // by the sender's clock, where it has one (travel.h)
  double arrives = 0;  // on a virtual clock (virtual_clock.h)
  ConstBytes view() const { return {data.get(), size_t(bytes)}; }
};

// Memory for a message. Blocks of 64 KiB to 64 MiB are kept for messages to come: the C library would join them with
// their neighbours and take them apart again, many times a step.
std::shared_ptr<std::byte[]> message_memory(int64_t bytes);

class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string name() const = 0;                    // "threads"
  virtual bool alone_in_process() const { return false; }  // else ranks may share what a process has once
  // Whether a message is there once it is sent: no way of it can be hidden under what is computed meanwhile.
  virtual bool instant() const { return false; }
  // Takes the message and returns at once; the receiver may not have asked for it yet.
  virtual void send(int to, Message message) = 0;
  // Waits for the message of `from` with this channel and number. Throws failed, naming ranks and what they wait for,
  // when it cannot come any more. Another thread of the rank may do so at the same time, in channels of its own.
  virtual Message receive(int from, const Label& wanted) = 0;
  // What this rank is at: part of what is said of its waits.
  virtual Doing& doing() { return doing_; }
  // Who is told of a wait during which somebody wants the process to end: the last words of a rank whose partner is
  // gone. Of ranks that are processes.
  virtual void tell_last_waits(std::function<void(const std::string&)> /*teller*/) {}

 private:
  Doing doing_;
};

// "rank 2 in send in all no. 17 (4096 bytes) since 2.3 s, at step 7, B of micro-batch 3 at stage 1": what stands behind
// "waits for".
std::string wait_text(int from, const Label& wanted, double seconds, const Doing& doing);

// Of a process with one rank. Sends to nobody.
class SelfTransport : public Transport {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string name() const override { return "self"; }
  bool alone_in_process() const override { return true; }
  void send(int to, Message message) override;
  Message receive(int from, const Label& wanted) override;
};

}  // namespace hadal
