// How tensor ranks cut each parameter: along which dimension, and in pieces of what size. The one place that says so;
// layouts make boxes from it, and layers find in a parameter's box what of it is theirs.
#pragma once
#include "arch/box.h"
#include "arch/parameter_list.h"

namespace hadal {

struct TensorCut {
  int dimension = -1;  // of the shape; -1: every tensor rank holds all of the parameter
  int64_t unit = 1;    // indexes that stay together: a head's, or those of all query heads of a key/value head
  explicit operator bool() const { return dimension >= 0; }
};

// Heads of attention's up- and output projections, the inner width of a dense layer's FFN, and the vocabulary. All else
// is whole on every tensor rank and runs on that rank's rows: down-projections, norms, routers, experts, MTP's inputs.
TensorCut tensor_cut(const ParameterSpec& spec, const ModelConfig& config);
// Into how many pieces it can be cut at most: heads, columns, rows of the vocabulary. Of what is not cut: any number.
int64_t tensor_pieces(const ParameterSpec& spec, const ModelConfig& config);
// What of a parameter member `rank` of `size` tensor ranks holds: units n rank / size .. n (rank + 1) / size of the n
// along the dimension that is cut. Throws invalid where there are more ranks than heads.
Box tensor_box(const ParameterSpec& spec, const ModelConfig& config, int64_t rank, int64_t size);

}  // namespace hadal
