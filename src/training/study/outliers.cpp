#include "study/outliers.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>

#include "base/random.h"
#include "nn/product_watch.h"
#include "ops/quantise.h"
#include "proof/squares.h"

namespace hadal {
namespace {

// Whether FP8 multiplies it (nn/recipe.h): neither router nor MTP projection.
bool is_fp8_linear(const ParameterSpec& spec) {
  return spec.layer >= 0 && spec.name.find("router") == std::string::npos &&
         spec.name.find("mtp.projection") == std::string::npos;
}

class OutlierWatch : public ProductWatch {
 public:
  explicit OutlierWatch(const std::function<void()>& one_done) : one_done_(one_done) {}
  std::vector<TensorRow> rows;

  void enter(int64_t, int64_t, bool forward) override { forward_ = forward; }
  void product(const Exec& watched, const ProductSeen& seen) override {
    const bool look = seen.product == Product::fprop ? forward_ : seen.product == Product::dgrad;
    if (!look || !is_fp8_linear(seen.weight->spec)) return;
    const Exec exec = with_watch(watched, nullptr);
    const bool gradient = seen.product == Product::dgrad;
    if (!seen_.emplace(seen.weight->spec.name, gradient).second) return;
    const Tensor all = ops::dequantise(exec, gradient ? seen.dy : seen.x);
    const Tensor values = all.row_range(0, rows_in_use(seen.offsets, all.rows()));
    if (values.rows() == 0) return;
    double largest = 0, size = 0;
    const Tensor wide = values.to(exec, DType::f32);
    for (int64_t i = 0; i < wide.count(); ++i) {
      const double magnitude = std::abs(double(wide.data<float>()[i]));
      largest = std::max(largest, magnitude), size += magnitude * magnitude;
    }
    const double rms = std::sqrt(size / double(wide.count()));
    rows.push_back({seen.weight->spec.name, gradient, rms > 0 ? largest / rms : 0, scheme_errors(exec, wide)});
    if (one_done_) one_done_();
  }

 private:
  const std::function<void()>& one_done_;
  bool forward_ = false;
  std::set<std::pair<std::string, bool>> seen_;
};

}  // namespace

const std::array<Scheme, 5>& schemes() {
  static const std::array<Scheme, 5> all{{{"one per tensor", kWholeTile, ScaleRule::exact},
                                          {"per row", {1, kWholeTile.cols}, ScaleRule::exact},
                                          {"128 x 128", kSquareTile, ScaleRule::exact},
                                          {"1 x 128", kRowTile, ScaleRule::exact},
                                          {"1 x 32, powers of two", kMxRowTile, ScaleRule::power_of_two}}};
  return all;
}

SchemeError scheme_error(const Exec& exec, const Tensor& x, const Scheme& scheme, int64_t skip) {
  const Quantised codes = ops::quantise(exec, x, scheme.tile, scheme.rule);
  const Tensor values = x.dtype() == DType::f32 && x.contiguous() ? x : x.to(exec, DType::f32);
  const Tensor meant = Tensor::empty(exec, DType::f32, {x.rows(), x.cols()});
  dequantise(exec, meant, codes);
  std::vector<Squares> rows(size_t(x.rows()));
  std::atomic<int64_t> nonzero = 0, flushed = 0;
  exec.compute->parallel_for(x.rows(), [&](int64_t r, int) {
    int64_t row_nonzero = 0, row_flushed = 0;
    for (int64_t i = r * x.cols(); i < (r + 1) * x.cols(); ++i) {
      if (i == skip) continue;
      const double value = values.data<float>()[i], code = meant.data<float>()[i];
      rows[size_t(r)].take(code, value);
      row_nonzero += value != 0, row_flushed += value != 0 && code == 0;
    }
    nonzero += row_nonzero, flushed += row_flushed;
  });
  std::sort(rows.begin(), rows.end(), [](const Squares& a, const Squares& b) { return a.size < b.size; });
  Squares all, small;
  const size_t tenth = std::max<size_t>(1, rows.size() / 10);
  for (size_t r = 0; r < rows.size(); ++r) {
    all.add(rows[r]);
    if (r < tenth) small.add(rows[r]);
  }
  const double share = nonzero > 0 ? double(flushed) / double(nonzero) : 0;
  return {all.error(), small.error(), share};
}

SchemeErrors scheme_errors(const Exec& exec, const Tensor& x, int64_t skip) {
  SchemeErrors errors;
  for (size_t s = 0; s < errors.size(); ++s) errors[s] = scheme_error(exec, x, schemes()[s], skip);
  return errors;
}

std::vector<OutlierRow> synthetic_outliers(const Exec& exec) {
  constexpr int64_t kRows = 256, kCols = 1024, kPlace = 100 * kCols + 700;
  const Tensor x = Tensor::empty(exec, DType::f32, {kRows, kCols});
  for (int64_t i = 0; i < x.count(); ++i)
    x.data<float>()[i] = float(random_normal(1, stream_id("outliers"), uint64_t(i)));
  std::vector<OutlierRow> rows;
  for (double ratio = 1; ratio < 2e7; ratio *= 10) {
    x.data<float>()[kPlace] = float(ratio);
    rows.push_back({ratio, scheme_errors(exec, x, kPlace)});
  }
  return rows;
}

int64_t count_tensors(const Transformer& model) {
  int64_t count = 0;  // of each weight its input and its output's gradient
  for (const Parameter* parameter : model.parameters())
    if (is_fp8_linear(parameter->spec) && parameter->spec.shape.size() > 1) count += 2;
  return count;
}

std::vector<TensorRow> tensor_outliers(const Exec& exec, Transformer& model, const MicroBatch& batch,
                                       const LossWeights& weights, const std::function<void()>& one_done) {
  OutlierWatch watch(one_done);
  model.begin_step(1);
  model.forward_backward(with_watch(exec, &watch), batch, weights).check_routed();
  return std::move(watch.rows);
}

}  // namespace hadal
