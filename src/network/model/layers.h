// ModelLayers: the layers of a model, or of the part of it that a stage holds, wired to its parameters by name. Weights
// and formulas only; pieces (piece.h) call them and keep what their backward needs.
#pragma once
#include <functional>
#include <string>

#include "layout/stage_parts.h"
#include "model/grouped_attention.h"
#include "model/mla.h"
#include "model/moe.h"
#include "nn/embedding.h"
#include "nn/head_loss.h"

namespace hadal {

struct BlockLayers {  // h += Attention(norm(h)); h += FFN(norm(h)) (§1.2)
  Norm attention_norm;
  Mla mla;
  GroupedAttention grouped;  // in mla's place where the model has Llama's attention
  Norm ffn_norm;
  Mlp dense;  // gate.weight null: a MoE layer
  Moe moe;
  bool is_moe() const { return dense.gate.weight == nullptr; }
  bool attention_is_cut() const { return grouped ? grouped.is_cut() : mla.is_cut(); }  // over tensor ranks
};

// One depth of multi-token prediction (§1.6, traps 20, 21). For rows i whose token i+k lies in the same segment:
//   x_i = projection [norm_e(embedding(t_{i+k})) ; norm_h(h^{k-1}_i)]
//   h^k = final_norm(block(x));  head(h^k_i) predicts t_{i+k+1}
// h^0 is the main model's state after its final norm, h^{k-1} the module's before after its own. Embedding and head are
// the main model's.
struct MtpLayers {
  Norm embedding_norm, hidden_norm, final_norm;
  Linear projection;  // [hidden, 2 * hidden]
  BlockLayers block;
};

struct ModelLayers {
  Embedding embedding;              // also where only MTP modules read it
  std::vector<BlockLayers> blocks;  // of part.first_layer ..
  Norm final_norm;
  HeadLoss head;
  std::vector<MtpLayers> mtp;
};

// `find` gives the parameter of a name of parameter_list(), and fails on names that are not there. Each linear gets its
// entry of the recipe.
ModelLayers wire_layers(const ModelConfig& config, const StagePart& part,
                        const std::function<Parameter*(const std::string&)>& find, const Recipe& recipe = {});

}  // namespace hadal
