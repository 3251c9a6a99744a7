// Micro-batches that tensor and context ranks compute together, beside one rank that computes them alone: what all
// found, brought together, and how far it is from what one found.
#pragma once
#include <algorithm>
#include <map>
#include <mutex>

#include "arch/tensor_cut.h"
#include "comm/faulty_transport.h"
#include "comm/group.h"
#include "comm/rank_threads.h"
#include "model/small_model.h"

namespace hadal::testing {

using Wrap = std::function<std::shared_ptr<Transport>(std::shared_ptr<Transport>)>;

struct SharedCase {
  ModelConfig config;
  ModelOptions options = training_options(Precision::fp64);
  int64_t tensor = 1, context = 1;
  bool spread_experts = false;  // over all ranks
  std::vector<MicroBatch> batches;
  Actions actions = {};  // empty: F and B of each in turn
  bool replay = false;   // the routes that one rank took
  bool whole_vocabulary = false;
  Wrap wrap = {};
};

struct Found {
  LossSums sums;
  std::map<std::string, std::vector<double>> gradients;  // whole, by parameter
  std::vector<RouteReplay> routes;
};

// Gradients of this rank's box go among those of the whole parameter.
inline void add_gradient(const Parameter& p, std::vector<double>& whole) {
  whole.resize(size_t(p.spec.count()), 0.0);
  for (int64_t i = 0; i < p.grad.count(); ++i) {
    int64_t left = i, at = 0, stride = 1;
    for (size_t d = p.spec.shape.size(); d-- > 0;) {
      at += (p.box.begin[d] + left % p.box.size[d]) * stride;
      left /= p.box.size[d], stride *= p.spec.shape[d];
    }
    whole[size_t(at)] += element(p.grad, i);
  }
}

inline LossSums run_step(const SharedCase& c, SmallModel& small, std::vector<RouteReplay>& routes) {
  small.model.begin_step(int64_t(c.batches.size()));
  const Actions actions = c.actions.empty() ? one_stage(int64_t(c.batches.size())) : c.actions;
  const LossSums sums =
      small.model.forward_backward(small.owned.exec, c.batches, loss_weights(c.config), {.routes = routes}, &actions);
  for (const Parameter* p : small.model.parameters()) EXPECT_TRUE(!p->grad || p->complete()) << p->spec.name;
  return sums;
}

inline Found alone(const SharedCase& c) {
  SmallModel small(c.config, c.options, 1);
  Found found;
  found.routes.resize(c.batches.size());
  found.sums = run_step(c, small, found.routes);
  for (const Parameter* p : small.model.parameters())
    if (p->grad) add_gradient(*p, found.gradients[p->spec.name]);
  return found;
}

// Runs body(model, partners) on each of tensor * context ranks, tensor ranks side by side.
inline void on_shared_ranks(const SharedCase& c, const std::function<void(SmallModel&, const Partners&)>& body) {
  run_rank_threads(int(c.tensor * c.context), [&](std::shared_ptr<Transport> transport) {
    if (c.wrap) transport = c.wrap(transport);
    const int rank = transport->rank(), t = rank % int(c.tensor), column = rank / int(c.tensor);
    std::vector<int> same_column, same_row;
    for (int i = 0; i < c.tensor; ++i) same_column.push_back(column * int(c.tensor) + i);
    for (int i = 0; i < c.context; ++i) same_row.push_back(i * int(c.tensor) + t);
    Group tensor(transport, fmt::format("tensor {}", column), same_column);
    Group context(transport, fmt::format("context {}", t), same_row);
    Group experts(transport, "experts");
    ModelShare share;
    share.box = [&](const ParameterSpec& spec) {
      const bool vocabulary = spec.kind == ParameterKind::embedding || spec.kind == ParameterKind::head;
      if (vocabulary && c.whole_vocabulary) return Box::whole(spec.shape);
      Box box = tensor_box(spec, c.config, t, c.tensor);
      if (!c.spread_experts || spec.kind != ParameterKind::routed_expert) return box;
      box.size[0] = spec.shape[0] / experts.size();
      box.begin[0] = experts.rank() * box.size[0];
      return box;
    };
    share.partners.experts = c.spread_experts ? &experts : nullptr;
    share.partners.tensor = c.tensor > 1 ? &tensor : nullptr;
    share.partners.context = c.context > 1 ? &context : nullptr;
    SmallModel small(c.config, c.options, 1, best_isa(), share);
    body(small, share.partners);
  });
}

inline int64_t rank_of(const SharedCase& c, const Partners& partners) {
  return (partners.context ? partners.context->rank() : 0) * c.tensor + (partners.tensor ? partners.tensor->rank() : 0);
}

inline Found together(const SharedCase& c, const std::vector<RouteReplay>& routes = {}) {
  const size_t n = size_t(c.tensor * c.context);
  std::vector<LossSums> sums(n);
  std::vector<std::vector<RouteReplay>> recorded(n, std::vector<RouteReplay>(c.batches.size()));
  Found found;
  std::mutex mutex;
  on_shared_ranks(c, [&](SmallModel& small, const Partners& partners) {
    const size_t rank = size_t(rank_of(c, partners));
    std::vector<RouteReplay>& own = recorded[rank];
    if (c.replay) own = routes;
    for (RouteReplay& route : own) route.replay = c.replay;
    sums[rank] = run_step(c, small, own);
    const std::lock_guard lock(mutex);
    for (const Parameter* p : small.model.parameters())
      if (p->grad) add_gradient(*p, found.gradients[p->spec.name]);
  });
  for (const LossSums& part : sums) found.sums.merge(part);
  found.routes = recorded[0];  // each rank recorded its own rows
  for (const auto& of_rank : recorded)
    for (size_t m = 0; m < found.routes.size(); ++m)
      for (size_t l = 0; l < found.routes[m].experts.size(); ++l)
        for (size_t i = 0; i < found.routes[m].experts[l].size(); ++i)
          found.routes[m].experts[l][i] = std::max(found.routes[m].experts[l][i], of_rank[m].experts[l][i]);
  return found;
}

// The first thing that differs by more than `limit`, relative; empty: none. A gradient is measured by its norm, or by a
// ten-thousandth of the largest of all, where that is more.
inline std::string difference(const Found& one, const Found& many, double limit) {
  const auto far = [&](double a, double b) { return !(std::abs(a - b) <= limit * std::max(1e-3, std::abs(a))); };
  if (one.sums.main_count != many.sums.main_count || one.sums.mtp_count != many.sums.mtp_count) return "counts";
  if (one.sums.expert_load != many.sums.expert_load) return "expert load";
  if (far(one.sums.main, many.sums.main)) return "loss";
  for (size_t k = 0; k < one.sums.mtp.size(); ++k)
    if (far(one.sums.mtp[k], many.sums.mtp[k])) return "MTP loss";
  if (far(one.sums.balance, many.sums.balance)) return "balance loss";
  for (size_t m = 0; m < one.routes.size(); ++m)
    if (one.routes[m].experts != many.routes[m].experts) return "routes";
  const auto norm = [](const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += v * v;
    return std::sqrt(sum);
  };
  double largest = 0;
  for (const auto& [name, gradient] : one.gradients) largest = std::max(largest, norm(gradient));
  for (const auto& [name, gradient] : one.gradients) {
    std::vector<double> away = many.gradients.at(name);
    for (size_t i = 0; i < away.size(); ++i) away[i] -= gradient[i];
    const double size = std::max(norm(gradient), 1e-4 * largest);
    if (!(norm(away) <= limit * size)) return fmt::format("gradient of {}: {:.2e} of {:.2e}", name, norm(away), size);
  }
  return "";
}

inline std::string difference(const SharedCase& c, double limit = 1e-9) {
  const Found one = alone(c);
  return difference(one, together(c, one.routes), limit);
}

// Documents and lengths that divide by nothing, a micro-batch of fewer rows than ranks, one in which no MTP depth, or
// only the first, has rows.
inline std::vector<MicroBatch> odd_batches(bool masked) {
  return {make_batch({{9, 4}, {1, 7, 5}}, masked), make_batch({{2}}, masked, 37, 5),
          make_batch({{70, 3}, {1}}, masked, 37, 7)};
}

// W apart from Bi, and flights of which one begins before the other's backward.
inline Actions halves_apart() {
  using enum ActionKind;
  const auto action = [](ActionKind kind, int64_t m) { return Action{.kind = kind, .micro_batch = m}; };
  return {action(forward, 0),        action(forward, 1),         action(backward_input, 0),
          action(forward, 2),        action(backward_input, 1),  action(backward_weight, 0),
          action(backward_input, 2), action(backward_weight, 2), action(backward_weight, 1)};
}

inline ModelConfig four_heads() {
  ModelConfig config = small_config();
  config.n_heads = 4;
  return config;
}

// Empties a message, the `which`-th that a rank gets of this operation, or all of them.
inline Wrap spoil(const std::string& operation, int which = -1) {
  return [=](std::shared_ptr<Transport> inner) {
    return std::make_shared<FaultyTransport>(std::move(inner), [=, seen = 0](int, int, Message& message) mutable {
      if (!message.label.operation.starts_with(operation) || (which >= 0 && seen++ != which)) return;
      std::memset(message.data.get(), 0, size_t(message.bytes));
    });
  };
}

}  // namespace hadal::testing
