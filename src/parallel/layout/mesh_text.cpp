#include "layout/mesh_text.h"

#include <fmt/ranges.h>

#include "base/table.h"
#include "base/text_format.h"

namespace hadal {
namespace {

struct Axis {
  const char* name;
  int64_t size;
};

// Those that are cut; experts, which have no seats of their own, come last.
std::vector<Axis> axes_of(const ParallelConfig& p) {
  std::vector<Axis> axes;
  for (const Axis& axis : {Axis{"pipeline", p.pp}, {"data", p.dp}, {"context", p.cp}, {"tensor", p.tp}})
    if (axis.size > 1) axes.push_back(axis);
  return axes;
}

int64_t seat_along(const Seat& seat, const std::string& axis) {
  return axis == "pipeline"  ? seat.pipeline
         : axis == "data"    ? seat.data
         : axis == "context" ? seat.context
                             : seat.tensor;
}

std::vector<std::string> head_of(const std::string& first, const ParallelConfig& p) {
  std::vector<std::string> head = {first, "stages"};
  for (const Axis& axis : axes_of(p)) head.push_back(axis.name);
  if (p.ep > 1) head.push_back("experts");
  return head;
}

std::string rank_rows(const ModelConfig& model, const Placement& placement) {
  const Mesh& mesh = placement.mesh();
  const ParallelConfig& p = mesh.sizes();
  Table table(head_of("rank", p));
  for (int64_t rank = 0; rank < mesh.n_ranks(); ++rank) {
    std::vector<std::string> row = {std::to_string(rank), stages_text(placement, rank)};
    for (const Axis& axis : axes_of(p)) row.push_back(std::to_string(seat_along(mesh.seat(rank), axis.name)));
    const int64_t each = model.n_routed_experts / p.ep;
    if (p.ep > 1) row.push_back(range_text(mesh.expert_seat(rank) * each, each));
    table.add(row);
  }
  return table.text();
}

// All ranks of a pipeline seat in one row.
std::string seat_rows(const ModelConfig& model, const Placement& placement) {
  const Mesh& mesh = placement.mesh();
  const ParallelConfig& p = mesh.sizes();
  Table table(head_of("ranks", p));
  for (int64_t seat = 0; seat < p.pp; ++seat) {
    const int64_t first = seat * mesh.stage_ranks();
    std::vector<std::string> row = {range_text(first, mesh.stage_ranks()), stages_text(placement, first)};
    for (const Axis& axis : axes_of(p))
      row.push_back(axis.name == std::string("pipeline") ? std::to_string(seat) : range_text(0, axis.size));
    if (p.ep > 1)
      row.push_back(fmt::format("{}, {} each", range_text(0, model.n_routed_experts), model.n_routed_experts / p.ep));
    table.add(row);
  }
  return table.text();
}

// "0-63", "0, 128 .. 1920": ranks that are equally far apart.
std::string group_text(const std::vector<int>& ranks) {
  const int64_t n = int64_t(ranks.size()), step = ranks[1] - ranks[0];
  if (step == 1) return range_text(ranks[0], n);
  return n <= 3 ? fmt::format("{}", fmt::join(ranks, ", "))
                : fmt::format("{}, {} .. {}", ranks[0], ranks[1], ranks.back());
}

// Along each axis: whom a rank finds there, by the first group and the last.
std::string axis_rows(const Placement& placement) {
  const Mesh& mesh = placement.mesh();
  const ParallelConfig& p = mesh.sizes();
  const int64_t last = mesh.n_ranks() - 1;
  Table table({"axis", "ranks of a group", "groups", "the first", "the last"});
  const auto add = [&](const char* axis, const std::vector<int>& first, const std::vector<int>& behind) {
    if (first.size() > 1)
      table.add({axis, std::to_string(first.size()), format_count(mesh.n_ranks() / int64_t(first.size())),
                 group_text(first), group_text(behind)});
  };
  add("pipeline", mesh.pipeline_group(0), mesh.pipeline_group(last));
  add("data", mesh.data_group(0), mesh.data_group(last));
  add("context", mesh.context_group(0), mesh.context_group(last));
  add("tensor", mesh.tensor_group(0), mesh.tensor_group(last));
  if (p.ep > 1) add("experts", mesh.expert_group(0), mesh.expert_group(last));
  return table.text();
}

}  // namespace

std::string range_text(int64_t first, int64_t count) {
  return count == 1 ? std::to_string(first) : fmt::format("{}-{}", first, first + count - 1);
}

std::string stage_text(const HeldStage& stage) {
  const StagePart& part = stage.part;
  std::string text = fmt::format("{}: ", stage.number);
  if (part.embedding) text += "embedding, ";
  const int64_t n = part.end_layer - part.first_layer;
  text += fmt::format("layer{} {}", n == 1 ? "" : "s", range_text(part.first_layer, n));
  if (part.head) text += ", head";
  return text;
}

std::string stages_text(const Placement& placement, int64_t rank) {
  std::vector<std::string> stages;
  for (const HeldStage& stage : placement.stages_of(rank)) stages.push_back(stage_text(stage));
  return fmt::format("{}", fmt::join(stages, "; "));
}

std::string mesh_text(const ModelConfig& model, const Placement& placement) {
  if (placement.mesh().n_ranks() <= kMostRankRows) return rank_rows(model, placement);
  return seat_rows(model, placement) + "\n" + axis_rows(placement);
}

}  // namespace hadal
