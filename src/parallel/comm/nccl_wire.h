// NcclWire: bytes from one rank's memory into another's through their cards and NCCL, one transfer at a time: host
// memory, the stage's side in it, the card's side, NCCL, and the same back on the other rank. Both ranks of a transfer
// call, in the order of their transfers with each other; until the other one does, the call waits.
//
// What is begun on the stream is waited for before anything else is, so that nothing is ever queued behind an operation
// that waits for another rank.
#pragma once
#include <functional>
#include <string>

#include "comm/nccl/module.h"
#include "comm/transport.h"

namespace hadal {

class NcclWire {
 public:
  // Joins the ranks of `id`, of which all come, on this card; then every two ranks have exchanged greetings, which
  // makes NCCL connect them and shows that rank and card are whose they should be. `go_on` is called while something is
  // waited for, and throws when there is no more use in it. To be used, from here on, by one thread.
  NcclWire(const NcclModule& module, int card, const NcclId& id, int rank, int size, std::function<void()> go_on);
  ~NcclWire();  // what is under way ends at once
  NcclWire(const NcclWire&) = delete;
  NcclWire& operator=(const NcclWire&) = delete;

  // Each throws failed with NCCL's words.
  void send(int to, ConstBytes bytes);
  void receive(int from, MutableBytes bytes);

  static constexpr int64_t kStage = int64_t(4) << 20;  // bytes; what is longer goes in pieces

 private:
  void greet(int rank, int size);
  void wait();  // until all that was begun is done

  const NcclModule& module_;
  std::function<void()> go_on_;
  std::byte* stage_ = nullptr;
};

}  // namespace hadal
