// Moe: shared expert plus routed experts (§1.5): y += Shared(x) + sum over a token's experts of weight * Expert(x).
// Its steps, in the order in which a schedule may move them, each with its own backward (pieces in moe_pieces.h):
//   route     x → scores, experts, weights, plan; kept whatever is recomputed, so that nothing travels twice
//   dispatch  x → ExpertRows, k rows a token, sorted by expert [T*k, hidden]  (a gather; between ranks all-to-all)
//   experts   ExpertRows → outputs [T*k, hidden], grouped products; the shared expert beside them
//   combine   y[t] += sum over routing groups of round(sum over the group's experts of weight * output)
#pragma once
#include "config/model_config.h"
#include "model/experts.h"
#include "model/pass.h"
#include "nn/mlp.h"
#include "ops/routing.h"

namespace hadal {

// One MoE layer's routing of one micro-batch, at the tokens' owner.
struct Routing {
  ops::Routes routes;        // experts given beforehand are replayed
  ops::DispatchPlan plan;    // where each (token, slot) lies among the rows sorted by expert
  Tensor dscores;            // gradient of the balance loss, empty without
  Tensor dweights, dlogits;  // during backward
  Tensor balance_losses;     // F64, by sequence, weighted; empty without
};

struct Moe {
  Linear router;              // [E, hidden], kept in f32
  Parameter* bias = nullptr;  // [E] or none
  Experts experts;
  Mlp shared;  // gate.weight null: no shared expert
  ops::RouteRule rule;
  Recipe::Wire combine_wire = Recipe::Wire::model;

  bool has_shared() const { return shared.gate.weight != nullptr; }
  ops::CombineRule combine_rule(const Pass& pass, const Routing& routing) const;

  void route(const Pass& pass, const Rows& rows, const Tensor& x, Routing& routing) const;
  ExpertRows dispatch(const Pass& pass, const Activation& x, const Routing& routing) const;
  void combine(const Pass& pass, const Tensor& y, const Tensor& expert_rows, const Routing& routing) const;  // y +=

  // The mirrors. dy → sorted rows of it, as the down projection's backward reads them.
  Activation combine_backward(const Pass& pass, const Tensor& dy, const Routing& routing) const;
  // dx (+)= the tokens' rows of d rows; routing.dweights := d weight of every (token, slot)
  void dispatch_backward(const Pass& pass, const Tensor& dx, const Experts::Gradients& d, Routing& routing,
                         ops::Write write) const;
  void route_backward(const Pass& pass, const Tensor& dx, Routing& routing) const;  // dx +=; makes dlogits
};

ops::RouteRule route_rule(const ModelConfig& config);

}  // namespace hadal
