// MtpModule: one depth of multi-token prediction (§1.6, traps 20, 21). For rows i whose token i+k lies in the same
// segment:
//   x_i = projection [norm_e(embedding(t_{i+k})) ; norm_h(h_i)],  h^k = final_norm(block(x)),  head(h^k_i) predicts
//     t_{i+k+1}
// h is the main model's state after its final norm (k = 1) or the previous module's after its own. Embedding and head
// are the main model's; their gradients are added there by the caller.
#pragma once
#include "model/block.h"

namespace hadal {

class MtpModule {
 public:
  struct Saved {
    Norm::Saved embedding_norm, hidden_norm, final_norm;
    Activation joined;  // [Tk, 2 * hidden], as the projection reads it
    Block::Saved block;
  };
  struct Gradients {
    Tensor embedding, hidden;
  };  // [Tk, hidden] each

  Norm embedding_norm, hidden_norm, final_norm;
  Linear projection;  // [hidden, 2 * hidden]
  Block block;

  Tensor forward(const Run& run, const Rows& rows, const Tensor& embedding, const Tensor& hidden, Saved& saved) const;
  // B and W of each part in turn.
  Gradients backward(const Run& run, const Rows& rows, Tensor dh, Saved& saved) const;

 private:
  void join(const Run& run, const Tensor& embedding, const Tensor& hidden, Saved& saved) const;
};

}  // namespace hadal
