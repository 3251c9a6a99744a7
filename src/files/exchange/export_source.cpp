// Reading; see export_source.h.
#include "exchange/export_source.h"

#include <algorithm>
#include <map>

#include "base/error.h"

namespace hadal {

namespace fs = std::filesystem;

DType ExportSource::main_dtype() const {
  std::map<DType, int64_t> bytes;
  for (const auto& spec : parameters()) {
    for (const auto& weight : weights().stored(spec)) {
      const auto& entry = files().entry(weight.name);
      if (entry.dtype == DType::f8_e4m3) return entry.dtype;  // however large the parts that FP8 leaves high
      bytes[entry.dtype] += weight.rows * entry.shape.back() * dtype_bytes(entry.dtype);
    }
  }
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? DType::f32 : most->first;
}

Tensor ExportSource::read_rows(const Exec& exec, const StoredWeight& weight, int64_t first, int64_t count) const {
  const auto& entry = files().entry(weight.name);
  const int64_t cols = entry.shape.back();
  if (entry.dtype != DType::f8_e4m3) {
    Tensor rows = Tensor::empty(exec, entry.dtype, {count, cols});
    files().read_part(weight.name, first, 0, rows);
    return rows;
  }
  const int64_t block_rows = block().rows, block_row = first / block_rows;
  const int64_t n_scales = (first + count + block_rows - 1) / block_rows - block_row;
  Tensor codes = Tensor::empty(exec, DType::f8_e4m3, {count, cols});
  files().read_part(weight.name, first, 0, codes);
  const auto& scale_entry = files().entry(weight.scale_name);
  Tensor scales = Tensor::empty(exec, scale_entry.dtype, {n_scales, scale_entry.shape.back()});
  files().read_part(weight.scale_name, block_row, 0, scales);
  Tensor values = Tensor::empty(exec, DType::f32, {count, cols});
  dequantise_blocks(exec, codes, scales, values, block(), {.row = first % block_rows});
  return values;
}

std::string ExportSource::identity() const {
  std::vector<std::string> lines;
  for (const auto& item : fs::directory_iterator(files().directory())) {
    if (item.path().extension() != ".safetensors") continue;
    lines.push_back(fmt::format("{} {} {}\n", item.path().filename().string(), item.file_size(),
                                item.last_write_time().time_since_epoch().count()));
  }
  std::sort(lines.begin(), lines.end());
  if (from_.averages) lines.emplace_back("the moving averages\n");
  return fmt::format("{}", fmt::join(lines, ""));
}

}  // namespace hadal
