#include "proof/shadow_check.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "base/clock.h"
#include "nn/linear.h"
#include "ops/gemm_call.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

Format format_of(const ProductSeen& seen) {
  return seen.product == Product::fprop   ? seen.recipe.fprop
         : seen.product == Product::dgrad ? seen.recipe.dgrad
                                          : seen.recipe.wgrad;
}

// The product of a layer with these operands, in FP32.
template <class Layer>
Tensor run(const Exec& exec, const Layer& layer, const ProductSeen& seen, const Activation& x, const Activation& dy) {
  const auto result = [&](int64_t rows, int64_t cols) { return Tensor::empty(exec, DType::f32, {rows, cols}); };
  const auto call = [&](const auto& f, const auto&... given) {
    if constexpr (std::is_same_v<Layer, GroupedLinear>)
      f(given..., seen.offsets);
    else
      f(given...);
  };
  switch (seen.product) {
    case Product::fprop: {
      const Tensor y = result(x.rows(), layer.out_features());
      call([&](const auto&... a) { layer.forward(exec, a...); }, y, x);
      return y;
    }
    case Product::dgrad: {
      const Tensor dx = result(dy.rows(), layer.in_features());
      call([&](const auto&... a) { layer.backward_input(exec, a...); }, dx, dy);
      return dx;
    }
    case Product::wgrad: break;
  }
  const Tensor dw = Tensor::empty(exec, DType::f32, seen.weight->box.size);
  call([&](const auto&... a) { layer.weight_product(exec, a..., ops::Write::overwrite); }, dw, dy, x);
  return dw;
}

Tensor result_of(const Exec& exec, const ProductSeen& seen, const GemmRecipe& recipe, const Activation& x,
                 const Activation& dy) {
  if (seen.offsets) return run(exec, GroupedLinear{seen.weight, recipe}, seen, x, dy);
  return run(exec, Linear{seen.weight, recipe}, seen, x, dy);
}

void add_distance(const Exec& exec, const Tensor& a, const Tensor& b, int64_t rows, ProductFinding& finding) {
  constexpr int64_t kRows = 16;
  std::vector<Squares> parts(size_t((rows + kRows - 1) / kRows));
  const int64_t cols = a.cols();
  exec.compute->parallel_for(int64_t(parts.size()), [&](int64_t task, int) {
    Squares sums;
    const int64_t end = std::min(rows, (task + 1) * kRows) * cols;
    const float *x = a.data<float>(), *y = b.data<float>();
    for (int64_t i = task * kRows * cols; i < end; ++i) sums.take(double(x[i]), double(y[i]));
    parts[size_t(task)] = sums;
  });
  for (const Squares& sums : parts) finding.add(sums);
}

// Of codes in the tiles of a pass, made as its product makes them.
OperandStats stats_in(const Exec& exec, const Activation& given, const Tensor& values, Tile tile, ScaleRule rule,
                      const Tensor& offsets) {
  if (!offsets || tile.rows == 1) return operand_stats(exec, values, ops::quantise(exec, given, tile, rule));
  OperandStats all;
  const Tensor host = host_copy(offsets);
  const int64_t groups = host.count() - 1;
  ops::each_group(host.data<int32_t>(), groups, [&](int64_t, int64_t first, int64_t rows) {
    all.merge(operand_stats(exec, values.row_range(first, rows),
                            ops::quantise(exec, given.row_range(first, rows), tile, rule)));
  });
  return all;
}

const void* place_of(const Activation& codes) { return codes.quantised().codes.raw(); }

}  // namespace

const char* result_name(Product product) {
  return product == Product::fprop ? "y" : product == Product::dgrad ? "dx" : "dW";
}

void ShadowCheck::enter(int64_t layer, int64_t micro_batch, bool forward) {
  on_ = micro_batch == micro_batch_ && (layer == layer_ || (layer_ == kEveryLayer && layer >= 0));
  forward_ = forward;
}

ShadowCheck::Values ShadowCheck::values_of(const Exec& exec, const Activation& x) const {
  if (!x) return {};
  if (!x.is_quantised()) return {x.tensor(), false};
  const auto after = origins_.upper_bound(place_of(x));  // x may be some rows of codes that were seen
  if (after == origins_.begin()) return {ops::dequantise(exec, x), true};
  const auto& [place, origin] = *std::prev(after);
  const auto distance = static_cast<const uint8_t*>(place_of(x)) - static_cast<const uint8_t*>(place);
  const int64_t stride = origin.codes.quantised().codes.row_stride(), first = distance / stride;
  if (distance % stride != 0 || first + x.rows() > origin.codes.rows()) return {ops::dequantise(exec, x), true};
  if (!origin.index) return {origin.values.row_range(first, x.rows()), origin.as_received};
  if (first > 0 || x.rows() < origin.codes.rows()) return {ops::dequantise(exec, x), true};
  return {ops::gather_rows(exec, origin.values, origin.index).tensor(), origin.as_received};
}

void ShadowCheck::coded(const Exec& exec, const Activation& from, const Activation& codes) {
  if (!on_ || origins_.contains(place_of(codes))) return;
  const double begin = steady_seconds();
  const Exec plain = with_watch(exec, nullptr);
  const Values values = values_of(plain, from);
  // A copy: layers write gradients over what they are gradients of.
  origins_[place_of(codes)] = {codes, values.tensor.clone(plain), {}, values.as_received};
  seconds_ += steady_seconds() - begin;
}

void ShadowCheck::gathered(const Exec& exec, const Activation& from, const Activation& to, const Tensor& index) {
  if (!on_ || !from.is_quantised()) return;
  const auto found = origins_.find(place_of(from));
  if (found == origins_.end() || found->second.index) return;
  origins_[place_of(to)] = {to, found->second.values, index, found->second.as_received};
}

ProductFinding& ShadowCheck::finding_of(const ProductSeen& seen) {
  for (ProductFinding& finding : findings_)
    if (finding.linear == seen.weight->spec.name && finding.product == seen.product) return finding;
  findings_.emplace_back();
  findings_.back().linear = seen.weight->spec.name;
  findings_.back().layer = seen.weight->spec.layer;
  findings_.back().product = seen.product;
  return findings_.back();
}

void ShadowCheck::product(const Exec& watched, const ProductSeen& seen) {
  const bool again = seen.product == Product::fprop && !forward_;  // made again for backward
  if (!on_ || again || format_of(seen) != Format::fp8) return;
  const double begin = steady_seconds();
  repeat(with_watch(watched, nullptr), seen);
  seconds_ += steady_seconds() - begin;
}

void ShadowCheck::repeat(const Exec& exec, const ProductSeen& seen) {
  const Values x = values_of(exec, seen.x), dy = values_of(exec, seen.dy);
  const auto usable = [](const Values& v) { return v.tensor ? Activation(v.tensor) : Activation(); };
  ProductFinding& finding = finding_of(seen);
  finding.as_received |= x.as_received || dy.as_received;

  const Tensor codes = result_of(exec, seen, seen.recipe, seen.x, seen.dy);
  const Tensor values = result_of(exec, seen, GemmRecipe(), usable(x), usable(dy));
  const bool of_rows = seen.product != Product::wgrad;
  add_distance(exec, codes, values, of_rows ? rows_in_use(seen.offsets, codes.rows()) : codes.rows(), finding);

  const GemmRecipe& r = seen.recipe;
  const Tile tile = seen.product == Product::wgrad ? r.token : r.activation;
  const int64_t rows = rows_in_use(seen.offsets, (x.tensor ? x : dy).tensor.rows());
  if (rows == 0) return;
  const auto looked_at = [&](const Activation& given, const Tensor& from, ScaleRule rule) {
    return stats_in(exec, given.row_range(0, rows), from.row_range(0, rows), tile, rule, seen.offsets);
  };
  if (x.tensor) finding.x.merge(looked_at(seen.x, x.tensor, r.x_scale));
  if (dy.tensor) finding.dy.merge(looked_at(seen.dy, dy.tensor, r.dy_scale));
  const Weight& w = seen.weight->value;
  if (seen.product == Product::fprop && w.has(WeightForm::plain) && w.plain)
    finding.weight.merge(operand_stats(exec, w.plain, w.codes));
}

std::vector<int64_t> layers_of_codes(const Parameters& parameters) {
  std::set<int64_t> layers;
  for (const Parameter* parameter : parameters)
    if (parameter->codes && parameter->spec.layer >= 0) layers.insert(parameter->spec.layer);
  return {layers.begin(), layers.end()};
}

}  // namespace hadal
