#include "checkpoint/tensor_file.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {

std::vector<TensorPart> parts_of(const std::string& name, const Shape& shape, const BoxElements& own) {
  std::vector<TensorPart> parts;
  const int64_t n = own.elements ? own.elements.count() : 0;
  if (n == 0) return parts;
  const Box& box = own.box;
  check(box.size.size() == shape.size() && !shape.empty() && own.begin + n <= box.count(), ErrorKind::internal,
        "elements {} to {} of a box of {} in a tensor of {}", own.begin, own.begin + n, shape_text(box.size),
        shape_text(shape));
  int64_t inner = 1;  // rows of each index of the first dimension
  for (size_t i = 1; i + 1 < shape.size(); ++i) {
    check(box.size[i] == shape[i], ErrorKind::internal, "a box cut along dimension {} of {}", i, shape_text(shape));
    inner *= shape[i];
  }
  const int64_t first_row = shape.size() > 1 ? box.begin[0] * inner : 0, first_col = box.begin.back();
  const int64_t cols = box.size.back();
  const Tensor column = own.elements.view({n, 1});
  for (int64_t at = 0; at < n;) {
    const int64_t row = (own.begin + at) / cols, col = (own.begin + at) % cols;
    const int64_t whole = col == 0 ? (n - at) / cols : 0;  // rows; else a part of one
    const Shape size = whole > 0 ? Shape{whole, cols} : Shape{1, std::min(cols - col, n - at)};
    parts.push_back({name, first_row + row, first_col + col, column.row_range(at, size[0] * size[1]).view(size)});
    at += size[0] * size[1];
  }
  return parts;
}

std::vector<SafetensorsEntry> model_entries(const ParameterSpec& spec, DType dtype) {
  const bool stacked = spec.kind == ParameterKind::routed_expert;
  std::vector<SafetensorsEntry> entries;
  for (int64_t expert = 0; expert < spec.n_experts(); ++expert)
    entries.push_back({spec.hf_name_of(expert), dtype,
                       stacked ? Shape(spec.shape.begin() + 1, spec.shape.end()) : Shape(spec.shape)});
  return entries;
}

std::vector<TensorPart> model_parts(const ParameterSpec& spec, const BoxElements& own) {
  std::vector<TensorPart> parts = parts_of(spec.hf_name, spec.shape, own);
  if (spec.kind != ParameterKind::routed_expert) return parts;
  const int64_t each = spec.shape[1];  // rows of an expert
  std::vector<TensorPart> cut;
  for (const TensorPart& part : parts) {
    const int64_t end = part.row + part.elements.rows();
    for (int64_t row = part.row; row < end;) {
      const int64_t expert = row / each, n = std::min((expert + 1) * each, end) - row;
      cut.push_back(
          {spec.hf_name_of(expert), row - expert * each, part.col, part.elements.row_range(row - part.row, n)});
      row += n;
    }
  }
  return cut;
}

}  // namespace hadal
