// What an outlier does under one scale per tensor, per row, per block or per run of columns: in synthetic data, and in
// a model's own activations and gradients.
#pragma once
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "model/transformer.h"

namespace hadal {

struct Scheme {  // of scales
  const char* name;
  Tile tile;
  ScaleRule rule;
};
const std::array<Scheme, 5>& schemes();  // one scale per tensor, per row, 128 x 128, 1 x 128, 1 x 32 (powers of two)

struct SchemeError {
  double error = 0;       // ||values - codes|| / ||values||
  double small_rows = 0;  // the same over the tenth of the rows whose norms are the smallest
  double flushed = 0;     // share of values that are not zero and whose codes are
};
using SchemeErrors = std::array<SchemeError, 5>;

// skip: an element that is left out of the errors, though not of the scales; negative: none.
SchemeError scheme_error(const Exec& exec, const Tensor& x, const Scheme& scheme, int64_t skip = -1);
SchemeErrors scheme_errors(const Exec& exec, const Tensor& x, int64_t skip = -1);

struct OutlierRow {
  double ratio = 0;  // one element of 256 x 1024 Gaussian values is so large; the errors are those of all others
  SchemeErrors errors;
};
std::vector<OutlierRow> synthetic_outliers(const Exec& exec);  // of ratios 1, 10 .. 1e7

struct TensorRow {
  std::string linear;
  bool gradient = false;  // of its output; else its input
  double largest_over_rms = 0;
  SchemeErrors errors;
};
// Of the linears that FP8 multiplies, in the order of F and of B, in one forward and backward of the batch. The model
// is in training, its products in any format.
std::vector<TensorRow> tensor_outliers(const Exec& exec, Transformer& model, const MicroBatch& batch,
                                       const LossWeights& weights, const std::function<void()>& one_done = {});
int64_t count_tensors(const Transformer& model);  // that are looked at

}  // namespace hadal
