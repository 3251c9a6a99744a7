// Parcel: tensors one after another in one piece of memory, as they travel between ranks as one message. Who packs and
// who unpacks walk through it alike: next() is the place of the next tensor, aligned to its numbers.
#pragma once
#include <memory>
#include <optional>

#include "comm/group.h"
#include "tensor/quantised.h"

namespace hadal {

class Parcel {
 public:
  Parcel() = default;              // without memory: its tensors may not be touched, it measures
  explicit Parcel(int64_t bytes);  // to be filled
  explicit Parcel(Message message);
  explicit Parcel(const Tensor& rows);  // that nobody writes to any more: their memory itself
  static bool may_hold(const Tensor& rows) { return rows.on_host() && rows.contiguous() && rows.owner(); }
  Tensor next(DType dtype, const Shape& shape);  // throws internal where the parcel is shorter
  int64_t bytes() const { return at_; }          // walked so far
  void check_end() const;                        // throws internal where something is left
  Message message() && { return {{}, std::move(data_), size_}; }

 private:
  std::shared_ptr<std::byte[]> data_;
  int64_t size_ = -1, at_ = 0;  // size: negative without memory
};

// What is known of the rows of an activation beside their number: plain numbers, or codes and their scales.
struct RowFormat {
  DType dtype = DType::f32;
  int64_t cols = 0;
  std::optional<Tile> codes;
  ScaleRule rule = ScaleRule::exact;  // of codes, as the next
  DType scales = DType::f32;
  static RowFormat of(const Activation& rows);
  Activation next(Parcel& parcel, int64_t rows) const;
};

// to[i] = from[index[i]], whatever the rows hold.
void copy_rows(const Exec& exec, const Activation& to, const Activation& from, const int32_t* index);

// An exchange of parcels under way: of each member, in their order.
class ParcelExchange {
 public:
  void start(Group& group, std::vector<Parcel> to);
  std::vector<Parcel> wait();

 private:
  struct UnderWay {  // where a ticket finds it
    std::vector<Message> received;
    Ticket ticket;
  };
  std::unique_ptr<UnderWay> under_way_;
};

}  // namespace hadal
