// Reading, encoding and writing in chunks; see export_stream.h.
#include "exchange/export_stream.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/float_formats.h"
#include "base/interrupt.h"
#include "storage/gguf_blocks.h"

namespace hadal {

namespace {

constexpr int64_t kStepRows = 128;  // chunks hold whole blocks of FP8

int64_t row_bytes(Encoding encoding, int64_t cols) {
  switch (encoding) {
    case Encoding::f32: return cols * 4;
    case Encoding::bf16:
    case Encoding::f16: return cols * 2;
    case Encoding::q8_0: return cols / kGgufBlock * kQ8BlockBytes;
    case Encoding::q4_0: return cols / kGgufBlock * kQ4BlockBytes;
    default: fail(ErrorKind::internal, "rows are not encoded so");
  }
}

// Calls f(first, count) for runs of rows on all threads.
template <class F>
void over_rows(const Exec& exec, int64_t rows, int64_t cols, F&& f) {
  const int64_t run = std::max<int64_t>(1, (int64_t(64) << 10) / std::max<int64_t>(1, cols));
  exec.compute->parallel_for((rows + run - 1) / run,
                             [&](int64_t i, int) { f(i * run, std::min(run, rows - i * run)); });
}

void encode_f16(const float* from, int64_t n, uint8_t* to) {
  constexpr float kLargest = 65504;
  for (int64_t i = 0; i < n; ++i) {
    check(std::abs(from[i]) <= kLargest || !std::isfinite(from[i]), ErrorKind::unsupported,
          "{} does not fit F16, whose largest number is {}; export to bf16", from[i], kLargest);
    const uint16_t bits = f16(from[i]).bits;
    std::memcpy(to + 2 * i, &bits, 2);
  }
}

Tensor transposed(const Exec& exec, const Tensor& rows) {
  Tensor out = Tensor::empty(exec, DType::f32, {rows.cols(), rows.rows()});
  const float* from = rows.data<float>();
  float* to = out.data<float>();
  over_rows(exec, out.rows(), out.cols(), [&](int64_t first, int64_t count) {
    for (int64_t r = first; r < first + count; ++r)
      for (int64_t c = 0; c < out.cols(); ++c) to[r * out.cols() + c] = from[c * rows.row_stride() + r];
  });
  return out;
}

}  // namespace

Tensor encode_rows(const Exec& exec, const Tensor& rows, Encoding encoding) {
  const int64_t bytes = row_bytes(encoding, rows.cols());
  Tensor out = Tensor::empty(exec, DType::u8, {rows.rows(), bytes});
  over_rows(exec, rows.rows(), rows.cols(), [&](int64_t first, int64_t count) {
    uint8_t* to = out.data<uint8_t>() + first * bytes;
    if (encoding == Encoding::f32 || encoding == Encoding::bf16) {
      const DType dtype = encoding == Encoding::f32 ? DType::f32 : DType::bf16;
      return Tensor::wrap(to, dtype, {count, rows.cols()}).copy_from(exec, rows.row_range(first, count));
    }
    for (int64_t r = first; r < first + count; ++r, to += bytes) {
      const float* from = rows.data<float>() + r * rows.row_stride();
      if (encoding == Encoding::f16) {
        encode_f16(from, rows.cols(), to);
        continue;
      }
      encoding == Encoding::q8_0 ? encode_q8_0(from, rows.cols(), to) : encode_q4_0(from, rows.cols(), to);
    }
  });
  return out;
}

void ExportStream::put(const Tensor& bytes) {
  file_.write(bytes.raw(), size_t(bytes.bytes()));
  progress_.add(bytes.bytes());
}

Tensor ExportStream::as_f32(const Tensor& rows) const {
  if (rows.dtype() == DType::f32) return rows;
  Tensor values = Tensor::empty(exec_, DType::f32, {rows.rows(), rows.cols()});
  over_rows(exec_, rows.rows(), rows.cols(), [&](int64_t first, int64_t count) {
    values.row_range(first, count).copy_from(exec_, rows.row_range(first, count));
  });
  return values;
}

void ExportStream::encode(const ExportTensor& tensor, const Tensor& rows, const Tensor& scales) {
  if (tensor.encoding == Encoding::fp8) {
    Tensor codes = Tensor::empty(exec_, DType::f8_e4m3, {rows.rows(), rows.cols()});
    quantise_blocks(exec_, as_f32(rows), codes, scales, plan_.powers_of_two, plan_.block);
    return put(codes);
  }
  const bool plain = tensor.encoding == Encoding::f32 || tensor.encoding == Encoding::bf16;
  put(encode_rows(exec_, plain ? rows : as_f32(rows), tensor.encoding));
}

// Rows [at, at + n) of what is written: those of the weight, or of its heads in Llama's order.
Tensor ExportStream::read_in_order(const ExportRows& from, int64_t at, int64_t n, const RowReader& read) const {
  const int64_t first = from.weight.first_row;
  if (from.half_split == 0) return read(first + at, n);
  const int64_t head = from.half_split, begin = at / head * head, end = (at + n + head - 1) / head * head;
  const Tensor ours = read(first + begin, end - begin);  // whole heads: a row's place is in its own
  const Tensor theirs = Tensor::empty(exec_, ours.dtype(), {n, ours.cols()});
  for (int64_t i = 0; i < n; ++i)
    theirs.row_range(i, 1).copy_from(ours.row_range(row_of_half_split(at + i, from.half_split) - begin, 1));
  return theirs;
}

void ExportStream::write_rows(const ExportTensor& tensor, const ExportRows& from, const Tensor& scales) {
  const StoredWeight& weight = from.weight;
  const bool zeros = weight.name.empty(), stored = tensor.encoding == Encoding::stored;
  const Shape shape = zeros ? tensor.shape : source_.files().entry(weight.name).shape;
  const int64_t cols = shape.empty() ? 1 : shape.back(), block = plan_.block.rows;
  int64_t step = kExportChunkBytes / std::max<int64_t>(4, cols * 4);
  step = std::max(step / kStepRows, int64_t(1)) * kStepRows;
  if (from.transposed) step = weight.rows;
  for (int64_t at = 0; at < weight.rows; at += step) {
    stop_if_interrupted("the same command continues where this one stopped");
    const int64_t n = std::min(step, weight.rows - at);
    if (stored) {
      put(read_in_order(from, at, n, [&](int64_t row, int64_t count) {
        Tensor bytes = Tensor::empty(exec_, source_.files().entry(weight.name).dtype, {count, cols});
        source_.files().read_part(weight.name, row, 0, bytes);
        return bytes;
      }));
      continue;
    }
    Tensor rows = zeros ? Tensor::zeros(exec_, DType::f32, {n, cols})
                        : read_in_order(from, at, n, [&](int64_t row, int64_t count) {
                            return source_.read_rows(exec_, weight, row, count);
                          });
    if (from.transposed) rows = transposed(exec_, as_f32(rows));
    encode(tensor, rows, scales ? scales.row_range(at / block, (n + block - 1) / block) : scales);
  }
}

Tensor ExportStream::write(const ExportTensor& tensor) {
  const uint64_t before = file_.size();
  Tensor scales;
  try {
    if (tensor.encoding == Encoding::fp8)
      scales = Tensor::empty(exec_, DType::f32, scale_shape(tensor.shape, plan_.block));
    if (tensor.encoding == Encoding::fp8_scales) put(Tensor::zeros(exec_, DType::u8, {int64_t(tensor.bytes)}));
    for (const ExportRows& from : tensor.rows) write_rows(tensor, from, scales);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::unsupported) throw;
    fail(error.kind(), "{}: {}", tensor.name, error.what());
  }
  check(file_.size() - before == tensor.bytes, ErrorKind::internal, "{}: {} bytes were written, {} planned",
        tensor.name, file_.size() - before, tensor.bytes);
  return scales;
}

}  // namespace hadal
