// Recording and comparing.
#include "proof/trace.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace hadal {
namespace {

constexpr const char* kExperts = ".moe.experts";
constexpr const char* kWeights = ".moe.weights";

// For every row the columns in ascending order of the experts there.
std::vector<std::vector<int64_t>> order_of_experts(const Tensor& experts) {
  std::vector<std::vector<int64_t>> order(size_t(experts.rows()), std::vector<int64_t>(size_t(experts.cols())));
  for (int64_t row = 0; row < experts.rows(); ++row) {
    auto& columns = order[size_t(row)];
    std::iota(columns.begin(), columns.end(), row * experts.cols());
    std::sort(columns.begin(), columns.end(),
              [&](int64_t a, int64_t b) { return element(experts, a) < element(experts, b); });
  }
  return order;
}

struct Pair {
  const Tensor &ours, &theirs;
  std::vector<std::vector<int64_t>> our_order, their_order;  // empty: as they lie

  double a(int64_t row, int64_t col) const { return at(ours, our_order, row, col); }
  double b(int64_t row, int64_t col) const { return at(theirs, their_order, row, col); }
  static double at(const Tensor& t, const std::vector<std::vector<int64_t>>& order, int64_t row, int64_t col) {
    return element(t, order.empty() ? row * t.cols() + col : order[size_t(row)][size_t(col)]);
  }
};

TraceDifference compare_pair(const std::string& name, const Pair& pair, double tolerance) {
  TraceDifference found;
  found.name = name;
  const bool experts = name.ends_with(kExperts);
  double error = 0, norm = 0;
  int64_t rows_apart = 0;
  for (int64_t row = 0; row < pair.ours.rows(); ++row) {
    double row_error = 0, row_norm = 0;
    for (int64_t col = 0; col < pair.ours.cols(); ++col) {
      const double a = pair.a(row, col), b = pair.b(row, col), gap = std::abs(a - b);
      row_error += gap * gap, row_norm += b * b;
      found.largest = gap <= found.largest ? found.largest : gap;  // a NaN is the largest
    }
    const bool apart = experts ? row_error != 0 : !(std::sqrt(row_error) <= tolerance * std::sqrt(row_norm));
    rows_apart += apart;
    if (apart && found.first_row < 0) found.first_row = row;
    error += row_error, norm += row_norm;
  }
  found.relative = experts ? double(rows_apart) / double(std::max<int64_t>(1, pair.ours.rows()))
                           : (error == 0 ? 0 : std::sqrt(error / norm));
  return found;
}

std::string experts_beside(const std::string& name) {  // "layers.3.moe.weights" -> "layers.3.moe.experts"
  return name.substr(0, name.size() - std::string(kWeights).size()) + kExperts;
}

}  // namespace

std::vector<NamedTensor> trace_model(const Exec& exec, const Transformer& model, std::span<const int32_t> tokens) {
  check(!tokens.empty(), ErrorKind::invalid, "a trace needs at least one token");
  MicroBatch batch;
  const int64_t n = int64_t(tokens.size());
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.targets.assign(tokens.begin() + 1, tokens.end());
  batch.targets.push_back(-1);
  for (int64_t i = 0; i < n; ++i) batch.positions.push_back(int32_t(i));
  batch.segments = {{0, n, 0, n}};
  batch.sequences = {{0, n}};
  std::vector<NamedTensor> trace = {{"tokens", Tensor::from(exec, batch.tokens, {n})}};
  Wants wants;
  wants.observer = [&](const std::string& name, const Tensor& value) {
    const bool exact = value.dtype() == DType::i32 || value.dtype() == DType::f64;
    trace.push_back({name, exact ? value.clone(exec) : value.to(exec, DType::f32)});
  };
  model.forward(exec, batch, wants);
  return trace;
}

std::vector<TraceDifference> compare_traces(const std::vector<NamedTensor>& ours, const SafetensorsReader& theirs,
                                            double tolerance) {
  std::vector<TraceDifference> found;
  const std::string file = theirs.path().string();
  for (const auto& [name, tensor] : ours) {
    if (!theirs.has(name)) continue;
    const Tensor other = theirs.tensor(name);
    check(other.shape() == tensor.shape(), ErrorKind::invalid, "{}: '{}' has shape {}, this trace's has {}", file, name,
          shape_text(other.shape()), shape_text(tensor.shape()));
    if (name == "tokens") {
      for (int64_t i = 0; i < tensor.count(); ++i)
        check(element(tensor, i) == element(other, i), ErrorKind::invalid,
              "{}: its token {} is {}, this trace's is {}; traces of other tokens say nothing", file, i,
              element(other, i), element(tensor, i));
      continue;
    }
    Pair pair{tensor, other, {}, {}};
    const std::string experts = name.ends_with(kWeights) ? experts_beside(name) : name;
    if (experts.ends_with(kExperts) && theirs.has(experts)) {
      const auto mine = std::find_if(ours.begin(), ours.end(), [&](const auto& t) { return t.name == experts; });
      pair.our_order = order_of_experts(mine->tensor);
      pair.their_order = order_of_experts(theirs.tensor(experts));
    }
    found.push_back(compare_pair(name, pair, tolerance));
  }
  check(!found.empty(), ErrorKind::invalid,
        "{}: shares no name with this trace; its names should be like \"embedding\", \"layers.0.output\", "
        "\"layers.1.moe.experts\", \"final_norm\"",
        file);
  return found;
}

}  // namespace hadal
