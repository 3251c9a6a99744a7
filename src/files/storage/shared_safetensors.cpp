#include "storage/shared_safetensors.h"

#include "base/error.h"
#include "base/shared_file.h"

namespace hadal {

SharedSafetensors::SharedSafetensors(std::vector<SafetensorsEntry> tensors, const SafetensorsMetadata& metadata) {
  prefix_ = safetensors_prefix(tensors, metadata, "a shared file");
  bytes_ = prefix_.size() + (tensors.empty() ? 0 : tensors.back().end);
  for (SafetensorsEntry& entry : tensors) by_name_[entry.name] = std::move(entry);
}

void SharedSafetensors::create(const std::filesystem::path& path) const {
  SharedFile file(path, bytes_);
  file.write_at(0, prefix_.data(), prefix_.size());
  file.close();
}

void SharedSafetensors::write(const std::filesystem::path& path, const std::vector<TensorPart>& parts) const {
  SharedFile file(path);
  for (const TensorPart& part : parts) {
    const auto found = by_name_.find(part.name);
    check(found != by_name_.end(), ErrorKind::internal, "{}: a part of '{}', which is not in it", path.string(),
          part.name);
    const SafetensorsEntry& entry = found->second;
    const Tensor own = host_copy(part.elements);
    const int64_t each = dtype_bytes(entry.dtype), cols = entry.shape.empty() ? 1 : entry.shape.back();
    const int64_t rows = cols > 0 ? shape_count(entry.shape) / cols : 0;
    check(own.dtype() == entry.dtype && part.row + own.rows() <= rows && part.col + own.cols() <= cols,
          ErrorKind::internal, "{}: {} {} from row {}, column {} of '{}', which is {} {}", path.string(),
          dtype_name(own.dtype()), shape_text(own.shape()), part.row, part.col, part.name, dtype_name(entry.dtype),
          shape_text(entry.shape));
    const bool at_once = own.contiguous() && own.cols() == cols;
    const int64_t step = at_once ? own.rows() : 1;  // rows of one write
    const auto* data = static_cast<const uint8_t*>(own.raw());
    for (int64_t row = 0; row < own.rows(); row += step)
      file.write_at(prefix_.size() + entry.begin + uint64_t(((part.row + row) * cols + part.col) * each),
                    data + row * own.row_stride() * each, uint64_t(step * own.cols() * each));
  }
  file.close();
}

}  // namespace hadal
