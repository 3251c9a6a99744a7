#include "layout/mesh_text.h"

#include <fmt/ranges.h>

#include "base/table.h"

namespace hadal {

std::string stage_text(const HeldStage& stage) {
  const StagePart& part = stage.part;
  std::string text = fmt::format("{}: ", stage.number);
  if (part.embedding) text += "embedding, ";
  text += part.end_layer - part.first_layer == 1 ? fmt::format("layer {}", part.first_layer)
                                                 : fmt::format("layers {}-{}", part.first_layer, part.end_layer - 1);
  if (part.head) text += ", head";
  return text;
}

std::string mesh_text(const ModelConfig& model, const Placement& placement) {
  const Mesh& mesh = placement.mesh();
  const ParallelConfig& p = mesh.sizes();
  std::vector<std::string> columns = {"rank", "stages"};
  const std::pair<const char*, int64_t> axes[] = {
      {"pipeline", p.pp}, {"data", p.dp}, {"context", p.cp}, {"tensor", p.tp}, {"experts", p.ep}};
  for (const auto& [axis, size] : axes)
    if (size > 1) columns.push_back(axis);
  Table table(columns);
  for (int64_t rank = 0; rank < mesh.n_ranks(); ++rank) {
    std::vector<std::string> stages;
    for (const HeldStage& stage : placement.stages_of(rank)) stages.push_back(stage_text(stage));
    std::vector<std::string> row = {std::to_string(rank), fmt::format("{}", fmt::join(stages, "; "))};
    const Seat seat = mesh.seat(rank);
    const int64_t at[] = {seat.pipeline, seat.data, seat.context, seat.tensor};
    for (size_t i = 0; i < 4; ++i)
      if (axes[i].second > 1) row.push_back(std::to_string(at[i]));
    if (p.ep > 1) {
      const int64_t each = model.n_routed_experts / p.ep, first = mesh.expert_seat(rank) * each;
      row.push_back(each == 1 ? std::to_string(first) : fmt::format("{}-{}", first, first + each - 1));
    }
    table.add(row);
  }
  return table.text();
}

}  // namespace hadal
