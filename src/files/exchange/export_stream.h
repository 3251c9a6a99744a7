// One tensor of an export: read a few rows at a time, encoded on all threads, written behind each other. Memory is a
// few times kExportChunkBytes, however large the tensor.
#pragma once
#include <functional>

#include "base/files.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "exchange/export_plan.h"

namespace hadal {

constexpr int64_t kExportChunkBytes = 16 << 20;  // of F32 values; at least one row of FP8 blocks

class ExportStream {
 public:
  ExportStream(const Exec& exec, const ExportSource& source, const ExportPlan& plan, AtomicFile& file,
               Progress& progress)
      : exec_(exec), source_(source), plan_(plan), file_(file), progress_(progress) {}

  // Appends the tensor's bytes. The scales of an fp8 tensor are returned, one per block of the plan, else nothing.
  Tensor write(const ExportTensor& tensor);

 private:
  using RowReader = std::function<Tensor(int64_t first, int64_t count)>;
  Tensor read_in_order(const ExportRows& from, int64_t at, int64_t n, const RowReader& read) const;
  void write_rows(const ExportTensor& tensor, const ExportRows& from, const Tensor& scales);
  void encode(const ExportTensor& tensor, const Tensor& rows, const Tensor& scales);
  Tensor as_f32(const Tensor& rows) const;
  void put(const Tensor& bytes);

  const Exec& exec_;
  const ExportSource& source_;
  const ExportPlan& plan_;
  AtomicFile& file_;
  Progress& progress_;
  const CleanStop polled_{"stopping; the same command goes on from here"};
};

// rows x cols of any float type -> their encoded bytes. Not for stored and fp8_scales.
Tensor encode_rows(const Exec& exec, const Tensor& rows, Encoding encoding);

}  // namespace hadal
