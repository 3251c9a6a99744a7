// ProductWatch: who looks on while linears multiply (Exec::watch): the shadow check of FP8 training, and what
// `hadal precision` sees of a model's own activations and gradients. It is told which piece runs, what became codes,
// which rows of codes were gathered, of every product with its operands, and of attention. It changes none of them:
// what it computes goes into tensors of its own, on an Exec without a watch. Called by one thread at a time, the one
// that computes.
#pragma once
#include "tensor/quantised.h"

namespace hadal {

namespace ops {
struct AttentionInputs;  // ops/attention.h
}
struct GemmRecipe;  // nn/recipe.h
struct Parameter;   // nn/parameter.h

enum class Product : uint8_t { fprop, dgrad, wgrad };  // y = x W^T, dx = dy W, dW += dy^T x

struct ProductSeen {
  Product product;
  Parameter* weight;
  const GemmRecipe& recipe;
  const Activation& x;    // fprop, wgrad; else empty
  const Activation& dy;   // dgrad, wgrad; else empty
  const Tensor& offsets;  // of rows sorted by expert, for a stack of weights; else empty
};

class ProductWatch {
 public:
  virtual ~ProductWatch() = default;
  // A piece begins its F (or its B or W, where F may be computed again); of which layer (-1: of none), and of which of
  // the micro-batches of a list of actions.
  virtual void enter(int64_t layer, int64_t micro_batch, bool forward) {}
  virtual void leave() {}
  virtual void coded(const Exec& exec, const Activation& from, const Activation& codes) {}
  virtual void gathered(const Exec& exec, const Activation& from, const Activation& to, const Tensor& index) {}
  virtual void product(const Exec& exec, const ProductSeen& seen) = 0;
  // What heads make of scores, between the products of a layer.
  virtual void attention(const Exec& exec, const ops::AttentionInputs& in, bool forward) {}
};

// The place with who looks on, or with nobody.
inline Exec with_watch(Exec exec, ProductWatch* watch) {
  exec.watch = watch;
  return exec;
}

// The rows that the offsets name: of experts' rows the last may belong to none.
inline int64_t rows_in_use(const Tensor& offsets, int64_t rows) {
  if (!offsets) return rows;
  const Tensor host = host_copy(offsets);
  return host.data<int32_t>()[host.count() - 1];
}

}  // namespace hadal
