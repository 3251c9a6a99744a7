#include "arch/tensor_cut.h"

#include <limits>

#include "base/error.h"

namespace hadal {

TensorCut tensor_cut(const ParameterSpec& spec, const ModelConfig& c) {
  const auto is = [&](const char* name) { return spec.name.ends_with(name); };
  switch (spec.kind) {
    case ParameterKind::embedding:
    case ParameterKind::head: return {0, 1};
    case ParameterKind::attention:
      // Query heads stay with the keys and values that they share.
      if (!c.is_latent()) {
        const int64_t shared = c.n_heads / c.key_value_heads() * c.whole_head_dim();
        return is("attention.o") ? TensorCut{1, shared} : TensorCut{0, is("attention.q") ? shared : c.whole_head_dim()};
      }
      if (is("attention.q") || is("attention.q_b")) return {0, c.qk_head_dim()};
      if (is("attention.kv_b")) return {0, c.qk_nope_head_dim + c.v_head_dim};
      if (is("attention.o")) return {1, c.v_head_dim};
      return {};
    case ParameterKind::dense_ffn: return {is("ffn.down") ? 1 : 0, 1};
    default: return {};
  }
}

int64_t tensor_pieces(const ParameterSpec& spec, const ModelConfig& config) {
  const TensorCut cut = tensor_cut(spec, config);
  return cut ? spec.shape[size_t(cut.dimension)] / cut.unit : std::numeric_limits<int64_t>::max();
}

Box tensor_box(const ParameterSpec& spec, const ModelConfig& config, int64_t rank, int64_t size) {
  Box box = Box::whole(spec.shape);
  const TensorCut cut = tensor_cut(spec, config);
  if (!cut) return box;
  const size_t d = size_t(cut.dimension);
  const int64_t n = tensor_pieces(spec, config);
  check(n >= size, ErrorKind::invalid,
        "layout: {} tensor ranks cannot share {}: it has {} {} to be cut at; tp = {} is the most", size, spec.name, n,
        spec.kind != ParameterKind::attention ? "indexes"
        : config.is_latent()                  ? "heads"
                                              : "key/value heads (model.n_kv_heads)",
        n);
  box.begin[d] = n * rank / size * cut.unit;
  box.size[d] = n * (rank + 1) / size * cut.unit - box.begin[d];
  return box;
}

}  // namespace hadal
