#include "layout/placement.h"

#include <algorithm>
#include <set>

#include "arch/tensor_cut.h"
#include "base/error.h"
#include "layout/fitting.h"

namespace hadal {
namespace {

Pipeline pipeline_of(const ParallelConfig& p) {
  Pipeline pipeline;
  pipeline.schedule = schedule_named(p.schedule);
  pipeline.n_ranks = p.pp;
  pipeline.chunks = p.chunks;
  pipeline.n_micro_batches = fitting_micro_batches(pipeline, 1);
  check_pipeline(pipeline);
  return pipeline;
}

// A stage is not empty. Schedules differ in how many stages each rank has.
int64_t fitting_stages(const ModelConfig& model, const Pipeline& pipeline) {
  const int64_t stages = pipeline.n_stages(), each = stages / pipeline.n_ranks, layers = model.n_layers;
  int64_t most = layers / each;
  if (pipeline.schedule == ScheduleKind::dualpipe) most -= most % 2;
  check(stages <= layers, ErrorKind::invalid,
        "layout: pp = {} with schedule {} makes {} stages for a model of {} layers, and each needs one or more; {}",
        pipeline.n_ranks, schedule_name(pipeline.schedule), stages, layers,
        most > 0 ? fmt::format("pp = {} is the most", most)
                 : fmt::format("with schedule 1f1b pp = {} is the most", layers));
  return stages;
}

// Experts over a stage's ranks: none is cut, blocks of replicas are whole, and where they lie on several nodes a token
// reaches a node at the rank of its own place there, for whole routing groups.
void check_experts(const ModelConfig& model, const ParallelConfig& p) {
  check(p.node_ranks >= 0, ErrorKind::invalid, "layout: node_ranks = {} must be 0 or more", p.node_ranks);
  if (p.ep == 1) return;
  check(model.n_routed_experts > 0, ErrorKind::invalid,
        "layout: ep = {}, but the model has no routed experts; ep = 1 fits", p.ep);
  const int64_t experts = model.n_routed_experts, ranks = p.dp * p.cp * p.tp;
  const auto two_hops = [&](int64_t ep) { return p.node_ranks > 0 && ep > p.node_ranks; };
  const auto fits = [&](int64_t ep) {
    if (experts % ep != 0 || ranks % ep != 0) return false;
    return !two_hops(ep) || (ep % p.node_ranks == 0 && model.n_groups % (ep / p.node_ranks) == 0);
  };
  const std::string nearest = fits(p.ep) ? "" : nearest_fitting("ep", p.ep, std::min(experts, ranks), fits);
  check(ranks % p.ep == 0, ErrorKind::invalid,
        "layout: ep = {} does not divide the dp * cp * tp = {} ranks of a stage, over which {} experts are spread; {}",
        p.ep, ranks, experts, nearest);
  check(experts % p.ep == 0, ErrorKind::invalid,
        "layout: ep = {} does not divide the {} experts, and no expert is cut; {}", p.ep, experts, nearest);
  if (!two_hops(p.ep)) return;
  check(p.ep % p.node_ranks == 0, ErrorKind::invalid,
        "layout: ep = {} is no multiple of node_ranks = {}: a token reaches a node at the rank of its own place there; "
        "{}",
        p.ep, p.node_ranks, nearest);
  const int64_t nodes = p.ep / p.node_ranks;
  check(
      model.n_groups % nodes == 0, ErrorKind::invalid,
      "layout: experts lie on {} nodes (ep = {}, node_ranks = {}), which do not divide the {} routing groups, each of "
      "which lies on one node; {}",
      nodes, p.ep, p.node_ranks, model.n_groups, nearest);
}

// Uneven shares are fine, none is empty.
void check_tensor(const ModelConfig& model, const std::vector<ParameterSpec>& specs, int64_t tensor) {
  const auto fewest = std::min_element(specs.begin(), specs.end(), [&](const auto& a, const auto& b) {
    return tensor_pieces(a, model) < tensor_pieces(b, model);
  });
  tensor_box(*fewest, model, 0, tensor);  // refuses more ranks than that
}

}  // namespace

Placement::Placement(const ModelConfig& model, const ParallelConfig& parallel)
    : model_(model),
      mesh_(parallel),
      pipeline_(pipeline_of(parallel)),
      specs_(parameter_list(model)),
      parts_(stage_parts(model, fitting_stages(model, pipeline_))) {
  check_experts(model, parallel);
  check_tensor(model, specs_, parallel.tp);
}

Pipeline Placement::pipeline(int64_t n_micro_batches) const {
  Pipeline pipeline = pipeline_;
  pipeline.n_micro_batches = fitting_micro_batches(pipeline, n_micro_batches);
  return pipeline;
}

std::vector<HeldStage> Placement::stages_of(int64_t rank) const {
  std::vector<int64_t> numbers = pipeline_.stages_of_rank(mesh_.seat(rank).pipeline);
  std::sort(numbers.begin(), numbers.end());
  std::vector<HeldStage> stages;
  for (const int64_t number : numbers) stages.push_back({number, parts_[size_t(number)]});
  return stages;
}

std::vector<int64_t> Placement::pipeline_seats(const ParameterSpec& spec) const {
  const std::vector<int64_t> readers = stages_reading(model_, parts_, spec);
  std::vector<int64_t> seats;
  for (int64_t r = 0; r < pipeline_.n_ranks; ++r) {
    const std::vector<int64_t> own = pipeline_.stages_of_rank(r);
    if (std::find_first_of(own.begin(), own.end(), readers.begin(), readers.end()) != own.end()) seats.push_back(r);
  }
  return seats;
}

std::vector<Box> Placement::boxes(const ParameterSpec& spec) const {
  const ParallelConfig& p = mesh_.sizes();
  std::vector<Box> boxes;
  if (spec.kind == ParameterKind::routed_expert) {
    for (int64_t b = 0; b < p.ep; ++b) {
      Box box = Box::whole(spec.shape);
      box.size[0] = spec.shape[0] / p.ep;
      box.begin[0] = b * box.size[0];
      boxes.push_back(std::move(box));
    }
  } else if (tensor_cut(spec, model_)) {
    for (int64_t t = 0; t < p.tp; ++t) boxes.push_back(tensor_box(spec, model_, t, p.tp));
  } else {
    boxes.push_back(Box::whole(spec.shape));
  }
  return boxes;
}

std::vector<Holding> Placement::holdings(const ParameterSpec& spec) const {
  std::vector<Holding> holdings;
  for (Box& box : boxes(spec)) holdings.push_back({std::move(box), {}});
  const int64_t n = int64_t(holdings.size());  // of all sizes, neighbours hold neighbouring boxes
  for (const int64_t seat : pipeline_seats(spec)) {
    for (int64_t s = 0; s < mesh_.stage_ranks(); ++s)
      holdings[size_t(s % n)].ranks.push_back(int(seat * mesh_.stage_ranks() + s));
  }
  return holdings;
}

std::optional<Holding> Placement::holding_of(const ParameterSpec& spec, int64_t rank) const {
  for (Holding& holding : holdings(spec)) {
    if (std::binary_search(holding.ranks.begin(), holding.ranks.end(), int(rank))) return std::move(holding);
  }
  return std::nullopt;
}

}  // namespace hadal
