#include "tensor/weight.h"

#include "base/error.h"

namespace hadal {

namespace {

const Shape& checked(const Shape& shape) {
  check(!shape.empty() && shape.size() <= 3, ErrorKind::internal,
        "a weight is [out, in], [experts, out, in] or a norm's [n], not {}", shape_text(shape));
  return shape;
}

}  // namespace

Weight::Weight(Tensor tensor) : plain(std::move(tensor)), shape(checked(plain.shape())), dtype(plain.dtype()) {}

Weight::Weight(Quantised quantised)
    : codes(std::move(quantised)), shape(checked(codes.codes.shape())), dtype(codes.source) {}

Weight Weight::of_experts(std::vector<Tensor> experts) {
  check(!experts.empty(), ErrorKind::internal, "a weight of no experts");
  const Tensor& first = experts.front();
  for (const Tensor& expert : experts) {
    check(expert.shape().size() == 2 && expert.shape() == first.shape() && expert.dtype() == first.dtype() &&
              expert.row_stride() == first.row_stride(),
          ErrorKind::internal, "experts are {} {} and {} {}; they must be matrices of one shape, dtype and row stride",
          dtype_name(first.dtype()), shape_text(first.shape()), dtype_name(expert.dtype()), shape_text(expert.shape()));
  }
  Weight weight;
  weight.shape = {int64_t(experts.size()), first.dim(0), first.dim(1)};
  weight.dtype = first.dtype();
  weight.experts = std::move(experts);
  return weight;
}

int64_t CodeForm::bytes(const Shape& shape) const {
  const DType scales = scale_type(rule);
  return Quantised::bytes_of(shape, tile, scales) + (two_sets() ? Quantised::bytes_of(shape, turned, scales) : 0);
}

bool Weight::has(WeightForm form) const {
  switch (form) {
    case WeightForm::plain: return plain || !experts.empty();
    case WeightForm::codes: return bool(codes.codes);
    case WeightForm::panels: return bool(panels);
    case WeightForm::heads: return bool(heads);
  }
  return false;
}

int64_t Weight::bytes() const {
  int64_t bytes = plain ? plain.bytes() : 0;
  for (const Tensor& expert : experts) bytes += expert.bytes();
  for (const Quantised* set : {&codes, &turned})
    if (set->codes) bytes += set->bytes();
  for (const Tensor& part : {panels.elements, panels.scales, heads.keys.elements, heads.values.elements})
    if (part) bytes += part.bytes();
  return bytes;
}

Tensor Weight::matrix(int64_t expert) const {
  check(has(WeightForm::plain), ErrorKind::internal, "a weight {} without its plain form is read as a tensor",
        shape_text(shape));
  if (!experts.empty()) return experts[size_t(expert)];
  return is_stack() ? plain.slice(expert) : plain;
}

}  // namespace hadal
