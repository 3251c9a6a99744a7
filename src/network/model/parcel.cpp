#include "model/parcel.h"

#include <cstring>

#include "base/error.h"

namespace hadal {
namespace {

void copy_rows(const Exec& exec, const Tensor& to, const Tensor& from, const int32_t* index) {
  const int64_t each = dtype_bytes(to.dtype());
  const auto row = [&](const Tensor& t, int64_t i) { return static_cast<char*>(t.raw()) + i * t.row_stride() * each; };
  exec.compute->parallel_for(
      to.rows(), [&](int64_t i, int) { std::memcpy(row(to, i), row(from, index[i]), size_t(to.cols() * each)); });
}

}  // namespace

Parcel::Parcel(int64_t bytes) : data_(message_memory(bytes)), size_(bytes) {}

Parcel::Parcel(Message message) : data_(std::move(message.data)), size_(message.bytes) {}

Parcel::Parcel(const Tensor& rows)
    : data_(rows.owner(), static_cast<std::byte*>(rows.raw())), size_(rows.bytes()), at_(rows.bytes()) {}

Tensor Parcel::next(DType dtype, const Shape& shape) {
  const int64_t each = dtype_bytes(dtype), begin = (at_ + each - 1) / each * each;
  at_ = begin + shape_count(shape) * each;
  check(size_ < 0 || at_ <= size_, ErrorKind::internal, "a parcel of {} bytes came where at least {} were due", size_,
        at_);
  return Tensor::wrap(data_ ? data_.get() + begin : nullptr, dtype, shape, -1, data_);
}

void Parcel::check_end() const {
  check(at_ == size_, ErrorKind::internal, "a parcel of {} bytes came where {} were due", size_, at_);
}

RowFormat RowFormat::of(const Activation& rows) {
  RowFormat format{rows.dtype(), rows.cols(), {}};
  if (rows.is_quantised()) {
    const Quantised& q = rows.quantised();
    format.codes = q.tile, format.rule = q.rule, format.scales = q.scales.dtype();
  }
  check(!format.codes || format.codes->rows == 1, ErrorKind::internal,
        "codes in tiles of {} rows cannot travel by rows", format.codes ? format.codes->rows : 1);
  return format;
}

Activation RowFormat::next(Parcel& parcel, int64_t rows) const {
  if (!codes) return parcel.next(dtype, {rows, cols});
  Quantised q{{}, {}, *codes, dtype, rule};
  q.scales = parcel.next(scales, {rows, (cols + codes->cols - 1) / codes->cols});
  q.codes = parcel.next(DType::f8_e4m3, {rows, cols});
  return q;
}

void copy_rows(const Exec& exec, const Activation& to, const Activation& from, const int32_t* index) {
  if (!to.is_quantised()) return copy_rows(exec, to.tensor(), from.tensor(), index);
  copy_rows(exec, to.quantised().codes, from.quantised().codes, index);
  copy_rows(exec, to.quantised().scales, from.quantised().scales, index);
}

void ParcelExchange::start(Group& group, std::vector<Parcel> to) {
  check(!under_way_, ErrorKind::internal, "{}: a second exchange began before the first was waited for", group.name());
  under_way_ = std::make_unique<UnderWay>();
  std::vector<Message> messages;
  for (Parcel& parcel : to) messages.push_back(std::move(parcel).message());
  under_way_->ticket = group.start_all_to_all(std::move(messages), under_way_->received);
}

std::vector<Parcel> ParcelExchange::wait() {
  check(bool(under_way_), ErrorKind::internal, "an exchange that did not begin is waited for");
  under_way_->ticket.wait();
  std::vector<Parcel> came;
  for (Message& message : under_way_->received) came.emplace_back(std::move(message));
  under_way_.reset();
  return came;
}

}  // namespace hadal
