// Group: some ranks that talk to each other, and all that they say. The only distributed type: code that uses one does
// not know what carries its bytes, nor whether there is more than one rank.
//
// Sums are made here, in the order of the ranks: the same bits on every transport and in every run. All ranks of a
// group call the same operations in the same order; who does not is found by the first message. A start_...() sends at
// once and returns a Ticket, whose wait() receives; buffers must live until then. Sizes are in bytes; a share is a list
// of pieces, so that what lies apart travels as one message.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/transport.h"
#include "comm/travel.h"

namespace hadal {

using Share = std::vector<MutableBytes>;
int64_t share_bytes(const Share& share);

// The second half of an operation.
class Ticket {
 public:
  Ticket() = default;
  explicit Ticket(std::function<void()> finish) : finish_(std::move(finish)) {}
  bool pending() const { return bool(finish_); }
  void wait() {  // nothing where nothing is pending
    if (auto finish = std::exchange(finish_, nullptr)) finish();
  }

 private:
  std::function<void()> finish_;
};

// A reduce_scatter whose shares leave one by one, when they are ready.
struct LeavingShares {
  std::function<void(int rank)> leave;  // the share of this rank, once for each but the own
  Ticket sums;                          // in the own share; waited for when all others have left
};

struct Traffic {  // that this rank sent
  int64_t bytes = 0, messages = 0;
};

class Group {
 public:
  // All ranks of a transport, or `members` of them, ascending, the caller among them. Groups of one transport need
  // names of their own.
  Group(std::shared_ptr<Transport> transport, const std::string& name, std::vector<int> members = {});
  Group(const Group&) = delete;  // tickets know their group
  Group& operator=(const Group&) = delete;
  static Group self();  // of one rank

  int rank() const { return rank_; }  // among the members
  int size() const { return int(members_.size()); }
  bool leads() const { return rank_ == 0; }
  const std::string& name() const { return name_; }
  bool instant() const { return transport_->instant(); }
  const Traffic& traffic() const { return traffic_; }
  void watch(TravelLog* log) { log_ = log; }  // gets what comes in start_...() from now on; must outlive this, or null

  // shares[r] goes to rank r, where the shares of all are added into that rank's own share, shares[rank()], in place.
  // used_up: the memory that all shares lie in, where nobody writes to the others' any more once they leave. A share
  // that lies in one piece then goes as it lies, without a copy. Null: buffers are the caller's again after wait().
  Ticket start_reduce_scatter(DType dtype, std::vector<Share> shares, const std::shared_ptr<void>& used_up = nullptr);
  // `sums`, where given, gets them instead of the own share.
  LeavingShares begin_reduce_scatter(DType dtype, std::vector<Share> shares,
                                     const std::shared_ptr<void>& used_up = nullptr, Share sums = {});
  // shares[rank()] goes to all, who find it in their shares[rank].
  Ticket start_all_gather(DType dtype, std::vector<Share> shares);
  // The same with a ticket for each rank's share (none pending for the own), waited for in any order.
  // used_up: the memory of the own share, which nobody writes to any more; as above.
  std::vector<Ticket> start_all_gather_by_rank(DType dtype, const std::vector<Share>& shares,
                                               const std::shared_ptr<void>& used_up = nullptr);
  // shares[rank()] goes to `root`, who finds it in its shares[rank]; others' shares but their own may be empty.
  Ticket start_gather(int root, DType dtype, std::vector<Share> shares);
  // to[r] goes to rank r; `received` gets what the ranks sent here, in their order, whatever its size.
  Ticket start_all_to_all(const std::vector<ConstBytes>& to, std::vector<Message>& received);
  // The same with bytes that nobody needs here any more: they are not copied. Labels are given here.
  Ticket start_all_to_all(std::vector<Message> to, std::vector<Message>& received);
  Ticket start_broadcast(int root, DType dtype, Share share);
  // Whole elements in every piece. Half of its messages leave in wait(): all ranks wait for such tickets in one order.
  Ticket start_all_reduce(DType dtype, Share share);
  Ticket start_receive(int from, DType dtype, Share share);
  void send(int to, DType dtype, const Share& share);  // matched by the other's start_receive of the same order

  // A text of each rank, in rank order; for what is small and of any size.
  std::vector<std::string> exchange(const std::string& own);
  std::string tell(int root, const std::string& text);  // the root's text, on every rank
  void barrier();

 private:
  Label next(const char* operation, DType dtype);
  void post(int to, const Label& label, const Share& share, const std::shared_ptr<void>& used_up = nullptr);
  void post(int to, const Label& label, std::shared_ptr<std::byte[]> data, int64_t bytes);
  // The same to each other rank.
  void post_to_all(const Label& label, const Share& share, const std::shared_ptr<void>& used_up = nullptr);
  Message take(int from, const Label& label, int64_t bytes);
  // To each rank its share.
  void post_others(const Label& label, const std::vector<Share>& shares,
                   const std::shared_ptr<void>& used_up = nullptr);
  void add_up(const Label& label, const Share& own, const Share& to);
  void fill_others(const Label& label, const std::vector<Share>& shares);  // with what the other ranks sent
  void check_shares(const char* operation, size_t n_parts) const;
  double now() const { return log_ && log_->now ? log_->now() : 0; }
  // finish() tells when what it waits for had left.
  Ticket noted(const char* operation, std::function<double()> finish);
  Ticket leaving_now(const char* operation, std::function<void()> finish);

  std::shared_ptr<Transport> transport_;
  std::string name_;
  std::vector<int> members_;
  int rank_ = 0;
  uint64_t channel_ = 0;
  int64_t operations_ = 0;
  std::vector<int64_t> sent_, received_;  // between two ranks, by rank
  Traffic traffic_;
  TravelLog* log_ = nullptr;
};

}  // namespace hadal
