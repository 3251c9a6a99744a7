// The one list of parameters of a model: our name, Hugging Face name, shape, kind, initialiser. Counts, initialisation,
// checkpoints, import and export read this list; no other place names a tensor.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/model_config.h"

namespace hadal {

enum class ParameterKind {
  embedding,
  head,
  norm,
  attention,
  dense_ffn,
  shared_expert,
  routed_expert,
  router,
  router_bias,
  mtp_projection
};
const char* kind_name(ParameterKind kind);

struct ParameterSpec {
  int64_t number = 0;          // in the list
  std::string name;            // "layers.3.attention.q_a", see parameter_list.cpp for the complete list
  std::string hf_name;         // "model.layers.3.self_attn.q_a_proj.weight"; "{e}" stands for the expert's index
  std::vector<int64_t> shape;  // [out, in], norms [n]; experts stacked [n_experts, out, in]
  ParameterKind kind = ParameterKind::attention;
  int64_t layer = -1;           // 0 .. n_layers + n_mtp - 1, -1 for embedding, final norm and head
  bool high_precision = false;  // kept in f32 when computing in bf16 or fp16: norms, router, router bias
  bool trained = true;          // false: router bias (moved by its own rule, no gradient, no optimizer)
  bool decayed = true;          // weight decay applies (not to norms)
  double init_std = 0.0;        // N(0, init_std); norms start at 1, router bias at 0
  int64_t rotated_head = 0;     // of Llama's q and k: rows of a head, all rotated; else 0
  int64_t count() const;
  int64_t n_experts() const { return kind == ParameterKind::routed_expert ? shape[0] : 1; }
  std::string hf_name_of(int64_t expert) const;  // hf_name with the index in place; of other parameters hf_name itself
};

std::vector<ParameterSpec> parameter_list(const ModelConfig& config);
// Pairs that turn together are rows 2i and 2i + 1 of a head here, and i and d/2 + i in Hugging Face's Llama and what
// follows it: row `row` there is this row here, of heads of d rows.
inline int64_t row_of_half_split(int64_t row, int64_t d) {
  const int64_t i = row % d;
  return row - i + (i < d / 2 ? 2 * i : 2 * (i - d / 2) + 1);
}
double default_init_std(const ModelConfig& config);  // init_std or 0.006 * sqrt(7168 / hidden_size)

}  // namespace hadal
