#include "nn/box_view.h"

#include "base/error.h"

namespace hadal {

Tensor part_of(const Tensor& whole, const Box& box) {
  const Shape& shape = whole.shape();
  check(box.size.size() == shape.size(), ErrorKind::internal, "a box of {} dimensions in a tensor of {}",
        box.size.size(), shape_text(shape));
  if (box == Box::whole(shape)) return whole;
  if (shape.size() == 1) return whole.view({whole.count(), 1}).row_range(box.begin[0], box.size[0]).view({box.size[0]});
  int64_t inner = 1;  // rows of each index of the first dimension
  for (size_t i = 1; i + 1 < shape.size(); ++i) {
    check(box.size[i] == shape[i], ErrorKind::internal, "a box cut along dimension {} of {}", i, shape_text(shape));
    inner *= shape[i];
  }
  return whole.row_range(box.begin[0] * inner, box.size[0] * inner).col_range(box.begin.back(), box.size.back());
}

}  // namespace hadal
