#include "apps/inspect_layout.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/layout_picture.h"
#include "base/error.h"
#include "base/files.h"
#include "base/table.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "layout/box_text.h"
#include "layout/mesh_text.h"
#include "train/resources.h"
#include "train/traffic.h"

namespace hadal {
namespace {

// Who sends whom what is said pair by pair.
constexpr int64_t kMostRanksWithTraffic = 8192;

// As it would run on a machine with BF16, where the configuration leaves that open.
Config chosen(Config config) {
  if (config.train.precision == Precision::automatic) config.train.precision = Precision::bf16;
  return config;
}

// Ranks of one pipeline seat differ only in which experts and micro-batches are theirs: the first speaks for all.
struct SeatFacts {
  std::vector<HeldStage> stages;
  int64_t parameters = 0;  // of its boxes
  MemoryPlan memory;
};

struct LayoutFacts {
  std::vector<SeatFacts> seats;
  int64_t unique_main = 0, unique_mtp = 0;  // elements of all boxes, each counted once
  Pipeline pipeline;
  int64_t n_micro_batches = 0;  // of each data rank, fillers not counted
  struct Sent {
    double all = 0, most = 0;  // bytes of a step, by all ranks and by the one that sends most
  };
  std::array<Sent, std::size(kTrafficKinds)> sent;  // nothing where there are too many ranks
};

void add_traffic(const Config& config, const Placement& placement, LayoutFacts& facts) {
  const int64_t n_ranks = placement.mesh().n_ranks();
  if (n_ranks > kMostRanksWithTraffic) return;
  std::array<std::vector<double>, std::size(kTrafficKinds)> by;
  by.fill(std::vector<double>(size_t(n_ranks), 0.0));
  each_transfer(config, placement, full_micro_batches(config),
                [&](TrafficKind kind, int64_t from, int64_t, double bytes) {
                  by[size_t(kind)][size_t(from)] += bytes;
                  facts.sent[size_t(kind)].all += bytes;
                });
  for (const TrafficKind kind : kTrafficKinds)
    facts.sent[size_t(kind)].most = *std::max_element(by[size_t(kind)].begin(), by[size_t(kind)].end());
}

LayoutFacts facts_of(const Config& config, const Placement& placement) {
  LayoutFacts facts;
  facts.n_micro_batches = micro_batches_each(config, config.train.batch_sequences);
  facts.pipeline = placement.pipeline(facts.n_micro_batches);
  const ModelOptions options = model_options(config, true);
  for (int64_t seat = 0; seat < config.parallel.pp; ++seat) {
    const int64_t rank = seat * placement.mesh().stage_ranks();
    SeatFacts of;
    of.stages = placement.stages_of(rank);
    of.memory = plan_rank_memory(config, options, placement, rank, 1);
    for (const ParameterSpec& spec : placement.specs())
      if (const auto holding = placement.holding_of(spec, rank)) of.parameters += holding->box.count();
    facts.seats.push_back(std::move(of));
  }
  for (const ParameterSpec& spec : placement.specs()) {
    for (const Holding& holding : placement.holdings(spec))
      (spec.layer >= config.model.n_layers ? facts.unique_mtp : facts.unique_main) += holding.box.count();
  }
  add_traffic(config, placement, facts);
  return facts;
}

void print_mesh(const Config& config, const Placement& placement) {
  const Mesh& mesh = placement.mesh();
  const ParallelConfig& p = config.parallel;
  fmt::print("layout {}: {} ranks = pp {} x dp {} x cp {} x tp {}\n", layout_text(p), format_count(mesh.n_ranks()),
             p.pp, p.dp, p.cp, p.tp);
  fmt::print("  rank = ((pipeline x {} + data) x {} + context) x {} + tensor\n", p.dp, p.cp, p.tp);
  if (p.ep > 1)
    fmt::print("  experts: {} each, expert e on member e / {} of a block of {} ranks; {} block{} per stage{}\n",
               config.model.n_routed_experts / p.ep, config.model.n_routed_experts / p.ep, p.ep,
               mesh.stage_ranks() / p.ep, mesh.stage_ranks() == p.ep ? "" : "s, replicas of each other",
               p.node_ranks > 0 && p.ep > p.node_ranks
                   ? fmt::format("; two hops over {} nodes of {}", p.ep / p.node_ranks, p.node_ranks)
                   : std::string());
  fmt::print("\n{}\n", mesh_text(config.model, placement));
}

void print_traffic(const Config& config, const LayoutFacts& facts) {
  if (config.parallel.ranks() > kMostRanksWithTraffic) return;
  Table table({"sent in a step", "by all ranks", "by the rank that sends most"});
  for (const TrafficKind kind : kTrafficKinds) {
    const LayoutFacts::Sent& sent = facts.sent[size_t(kind)];
    if (sent.all > 0) table.add({traffic_name(kind), format_bytes(sent.all), format_bytes(sent.most)});
  }
  fmt::print("{}", table.text());
  if (facts.sent[size_t(TrafficKind::experts)].all > 0)
    fmt::print("to experts and back: the expectation where tokens are routed evenly; all else is exact\n");
  fmt::print("\n");
}

}  // namespace

void draw_layout(const Config& asked, const std::string& path) {
  const Config config = chosen(asked);
  check(config.parallel.ranks() <= kMostRanksWithTraffic, ErrorKind::invalid,
        "--svg draws layouts of up to {} ranks; this one has {}", kMostRanksWithTraffic, config.parallel.ranks());
  atomic_write(path, layout_svg(config, Placement(config.model, config.parallel)));
}

void print_layout(const Config& asked) {
  const Config config = chosen(asked);
  const Placement placement(config.model, config.parallel);
  const LayoutFacts facts = facts_of(config, placement);
  print_mesh(config, placement);
  const Pipeline& pipeline = facts.pipeline;
  fmt::print("  schedule {}: {} stages, {} micro-batches of {} sequence(s) a step on each data rank{}\n\n",
             schedule_name(pipeline.schedule), pipeline.n_stages(), pipeline.n_micro_batches,
             std::max<int64_t>(1, config.train.micro_batch_sequences),
             pipeline.n_micro_batches > facts.n_micro_batches
                 ? fmt::format(", {} of them fillers", pipeline.n_micro_batches - facts.n_micro_batches)
                 : std::string());
  Table table({"pipeline seat", "stages", "parameters", "weights", "gradients", "optimizer", "activations", "total"});
  for (size_t seat = 0; seat < facts.seats.size(); ++seat) {
    const SeatFacts& of = facts.seats[seat];
    const auto bytes = [](int64_t n) { return format_bytes(double(n)); };
    table.add({std::to_string(seat), stages_text(placement, int64_t(seat) * placement.mesh().stage_ranks()),
               format_count(of.parameters), bytes(of.memory.weights), bytes(of.memory.gradients),
               bytes(of.memory.optimizer), bytes(of.memory.activations), bytes(of.memory.total())});
  }
  fmt::print("each rank of a pipeline seat holds, in memory of its own:\n{}", table.text());
  fmt::print("the ranks' parts make up {} parameters", format_count(facts.unique_main));
  if (facts.unique_mtp > 0) fmt::print(", and {} of MTP", format_count(facts.unique_mtp));
  fmt::print("\n\n");
  if (config.parallel.ranks() > 1) fmt::print("{}\n", boxes_text(placement));
  if (config.parallel.ranks() > 1) print_traffic(config, facts);
}

nlohmann::ordered_json layout_json(const Config& asked) {
  const Config config = chosen(asked);
  const Placement placement(config.model, config.parallel);
  const LayoutFacts facts = facts_of(config, placement);
  nlohmann::ordered_json seats = nlohmann::ordered_json::array();
  for (const SeatFacts& of : facts.seats) {
    nlohmann::ordered_json stages = nlohmann::ordered_json::array();
    for (const HeldStage& stage : of.stages)
      stages.push_back({{"stage", stage.number},
                        {"first_layer", stage.part.first_layer},
                        {"end_layer", stage.part.end_layer},
                        {"embedding", stage.part.embedding},
                        {"head", stage.part.head}});
    seats.push_back({{"stages", stages},
                     {"parameters", of.parameters},
                     {"weight_bytes", of.memory.weights},
                     {"gradient_bytes", of.memory.gradients},
                     {"optimizer_bytes", of.memory.optimizer},
                     {"activation_bytes", of.memory.activations},
                     {"total_bytes", of.memory.total()}});
  }
  nlohmann::ordered_json boxes = nlohmann::ordered_json::array();
  for (const CutParameter& cut : cut_parameters(placement)) {
    nlohmann::ordered_json held = nlohmann::ordered_json::array();
    for (const CutParameter::Range& range : cut.held) held.push_back({range.begin, range.end});
    boxes.push_back({{"parameter", cut.name},
                     {"axis", cut.axis},
                     {"unit", cut.unit},
                     {"held_by_seat", held},
                     {"holders", cut.n_holders}});
  }
  nlohmann::ordered_json sent = nlohmann::ordered_json::object();
  for (const TrafficKind kind : kTrafficKinds)
    if (const LayoutFacts::Sent& of = facts.sent[size_t(kind)]; of.all > 0)
      sent[traffic_name(kind)] = {{"bytes", std::llround(of.all)}, {"most_of_a_rank", std::llround(of.most)}};
  return {{"layout", layout_text(config.parallel)},
          {"ranks", placement.mesh().n_ranks()},
          {"micro_batches", facts.pipeline.n_micro_batches},
          {"parameters", facts.unique_main},
          {"mtp_parameters", facts.unique_mtp},
          {"pipeline_seats", seats},
          {"boxes", boxes},
          {"sent_in_a_step", sent}};
}

}  // namespace hadal
