#include "layout/box_text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "arch/tensor_cut.h"
#include "base/table.h"
#include "base/text_format.h"
#include "layout/mesh_text.h"

namespace hadal {
namespace {

// "layers.*.attention.q_b": the same of each layer.
std::string name_of_all(const ParameterSpec& spec) {
  return spec.layer < 0 ? spec.name : "layers.*" + spec.name.substr(spec.name.find('.', std::string("layers.").size()));
}

// What a range along the cut dimension counts, and how many indexes of it are one.
std::pair<std::string, int64_t> unit_of(const ParameterSpec& spec, const ModelConfig& model) {
  if (spec.kind == ParameterKind::routed_expert) return {"experts", 1};
  const TensorCut cut = tensor_cut(spec, model);
  if (spec.kind != ParameterKind::attention) return {cut.dimension == 0 ? "rows" : "columns", 1};
  const bool shared = spec.name.ends_with("attention.k") || spec.name.ends_with("attention.v");
  const int64_t n_heads = shared ? model.key_value_heads() : model.n_heads;
  return {shared ? "key/value heads" : "heads", spec.shape[size_t(cut.dimension)] / n_heads};
}

CutParameter cut_of(const ParameterSpec& spec, const ModelConfig& model, const std::vector<Holding>& holdings) {
  CutParameter cut{.name = name_of_all(spec), .shape = spec.shape};
  const bool experts = spec.kind == ParameterKind::routed_expert;
  const size_t d = experts ? 0 : size_t(tensor_cut(spec, model).dimension);
  cut.axis = experts ? "experts" : "tensor";
  const auto [unit, indexes] = unit_of(spec, model);
  cut.unit = unit;
  for (const Holding& holding : holdings)
    cut.held.push_back({holding.box.begin[d] / indexes, (holding.box.begin[d] + holding.box.size[d]) / indexes});
  cut.n_holders = int64_t(holdings.front().ranks.size());
  return cut;
}

// The first seats and the last.
std::string held_text(const std::vector<CutParameter::Range>& held) {
  constexpr size_t kShown = 4;
  std::vector<std::string> texts;
  for (size_t seat = 0; seat < held.size(); ++seat) {
    const bool shown = held.size() <= kShown || seat < 2 || seat + 1 == held.size();
    if (shown) texts.push_back(range_text(held[seat].begin, held[seat].end - held[seat].begin));
    if (!shown && seat == 2) texts.push_back("..");
  }
  return fmt::format("{}", fmt::join(texts, " | "));
}

}  // namespace

std::vector<CutParameter> cut_parameters(const Placement& placement) {
  std::vector<CutParameter> cuts;
  std::set<std::string> seen;
  for (const ParameterSpec& spec : placement.specs()) {
    if (!seen.insert(name_of_all(spec)).second) continue;
    const std::vector<Holding> holdings = placement.holdings(spec);
    if (holdings.size() > 1) cuts.push_back(cut_of(spec, placement.model(), holdings));
  }
  return cuts;
}

std::string boxes_text(const Placement& placement) {
  const std::vector<CutParameter> cuts = cut_parameters(placement);
  if (cuts.empty()) return "each rank holds the parameters of its stages whole\n";
  Table table({"parameter", "shape", "axis", "a rank holds", "by its seat: 0 | 1 | ..", "held by"});
  std::set<std::string> cut_names;
  for (const CutParameter& cut : cuts) {
    cut_names.insert(cut.name);
    table.add({cut.name, fmt::format("[{}]", fmt::join(cut.shape, ", ")), cut.axis, cut.unit, held_text(cut.held),
               format_count(cut.n_holders) + (cut.n_holders == 1 ? " rank" : " ranks")});
  }
  std::vector<std::string> whole;
  for (const ParameterSpec& spec : placement.specs()) {
    const std::string name = name_of_all(spec);
    if (!cut_names.contains(name) && std::find(whole.begin(), whole.end(), name) == whole.end()) whole.push_back(name);
  }
  return table.text() + fmt::format("whole on every rank of their stages: {}\n", fmt::join(whole, ", "));
}

}  // namespace hadal
