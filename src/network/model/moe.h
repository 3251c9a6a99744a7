// Moe: shared expert plus routed experts (§1.5): y += Shared(x) + sum over a token's experts of weight * Expert(x).
// Pieces, in the order in which a schedule may move them, each with its own backward:
//   route     x → scores, experts, weights, plan (kept on recomputation: counts and traffic happen once)
//   dispatch  x → rows sorted by expert [T*k, hidden]  (a gather here, an all-to-all between ranks)
//   experts   sorted rows → expert outputs [T*k, hidden], grouped products
//   combine   weighted sum of a token's outputs, added in ascending order of experts
// The backward needs no expert outputs: with dh = dy W_down of a row, d weight = dh . h
// (ops::swiglu_weighted_backward).
#pragma once
#include <functional>
#include <span>

#include "config/model_config.h"
#include "model/run.h"
#include "nn/mlp.h"
#include "ops/routing.h"

namespace hadal {

// One MoE layer's routing of one micro-batch.
struct RoutingPlan {
  std::vector<int32_t> experts;  // [T * k] ascending within a token; given beforehand when forced
  bool forced = false;
  Tensor scores, weights;  // [T, E], [T, k] f32 (f64)
  Tensor dscores;          // gradient of the balance loss, empty without
  ops::DispatchPlan plan;
  double balance_loss = 0;   // weighted
  Tensor dweights, dlogits;  // during backward
};

class Experts {  // stacked weights [E, F, hidden], [E, hidden, F]
 public:
  struct Saved {
    Tensor gate_up, inner;  // [T*k, 2F], [T*k, F], as in Mlp
    Activation dy;          // [T*k, hidden] from backward_input to backward_weight
  };
  GroupedLinear gate, up, down;  // gate and up have one recipe

  Tensor forward(const Exec& exec, const Activation& sorted, std::span<const int64_t> offsets, Saved& saved) const;
  void restore(const Exec& exec, const std::function<Activation()>& sorted, std::span<const int64_t> offsets,
               Saved& saved) const;
  // dy: rows of the token gradient, sorted, not yet weighted. Returns d sorted; fills routing.dweights.
  Tensor backward_input(const Exec& exec, const Activation& dy, RoutingPlan& routing, Saved& saved) const;
  void backward_weight(const Exec& exec, const std::function<Activation()>& sorted, std::span<const int64_t> offsets,
                       Saved& saved) const;
};

class Moe {
 public:
  struct Saved {
    RoutingPlan routing;
    Activation
        input;  // x as the experts read it, made once for the shared expert and for dispatch; x itself where plain
    Experts::Saved experts;
    Mlp::Saved shared;
  };

  Linear router;              // [E, hidden], kept in f32
  Parameter* bias = nullptr;  // [E] or none
  Experts experts;
  Mlp shared;  // gate.weight null: no shared expert
  ops::RouteRule rule;
  Recipe::Wire combine_wire = Recipe::Wire::model;

  // The pieces.
  void route(const Run& run, const Rows& rows, const Tensor& x, RoutingPlan& routing) const;
  Activation dispatch(const Run& run, const Activation& x, const RoutingPlan& routing) const;
  ops::CombineRule combine_rule(const Run& run, const RoutingPlan& routing) const;
  void combine(const Run& run, const Tensor& y, const Tensor& expert_rows, const RoutingPlan& routing) const;  // y +=

  void forward(const Run& run, const Rows& rows, const Tensor& y, const Tensor& x, Saved& saved) const;  // y +=
  void drop(Recompute recompute, Saved& saved) const;
  void restore(const Run& run, const Tensor& x, Saved& saved) const;
  Tensor backward_input(const Run& run, const Tensor& dy, Saved& saved) const;
  void backward_weight(const Run& run, const Tensor& x, Saved& saved) const;
};

ops::RouteRule route_rule(const ModelConfig& config);

}  // namespace hadal
