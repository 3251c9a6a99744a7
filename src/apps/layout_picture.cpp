#include "apps/layout_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "config/config_io.h"
#include "layout/mesh_text.h"
#include "picture/matrix.h"
#include "train/traffic.h"

namespace hadal {
namespace {

constexpr int64_t kMostSquares = 64;

// The ranks of a square, the ranges of their seats along the axes that are cut, and their experts.
std::vector<std::string> place_text(const Config& config, const Mesh& mesh, int64_t first, int64_t count) {
  std::vector<std::string> lines = {"rank " + range_text(first, count)};
  const ParallelConfig& p = mesh.sizes();
  const auto along = [&](const char* axis, int64_t size, int64_t each, const std::function<int64_t(int64_t)>& seat) {
    if (size == 1) return;
    int64_t least = size, most = 0;
    for (int64_t rank = first; rank < first + count; ++rank)
      least = std::min(least, seat(rank)), most = std::max(most, seat(rank));
    lines.push_back(fmt::format("{} {}", axis, range_text(least * each, (most - least + 1) * each)));
  };
  along("data", p.dp, 1, [&](int64_t rank) { return mesh.seat(rank).data; });
  along("context", p.cp, 1, [&](int64_t rank) { return mesh.seat(rank).context; });
  along("tensor", p.tp, 1, [&](int64_t rank) { return mesh.seat(rank).tensor; });
  along("experts", p.ep, config.model.n_routed_experts / p.ep, [&](int64_t rank) { return mesh.expert_seat(rank); });
  return lines;
}

std::vector<PlaceRow> rows_of(const Config& config, const Placement& placement, int64_t of_square) {
  const Mesh& mesh = placement.mesh();
  std::vector<PlaceRow> rows;
  for (int64_t first = 0; first < mesh.n_ranks(); first += std::max(of_square, mesh.stage_ranks())) {
    PlaceRow row{stages_text(placement, first), {}};
    if (of_square > mesh.stage_ranks()) row.label += " and on";
    for (int64_t at = first; at < first + std::max(of_square, mesh.stage_ranks()); at += of_square)
      row.places.push_back(place_text(config, mesh, at, of_square));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

int64_t ranks_of_a_square(int64_t n_ranks) {
  int64_t of_square = (n_ranks + kMostSquares - 1) / kMostSquares;
  while (n_ranks % of_square != 0) ++of_square;
  return of_square;
}

std::string layout_svg(const Config& config, const Placement& placement) {
  const int64_t n_ranks = placement.mesh().n_ranks(), of_square = ranks_of_a_square(n_ranks);
  const int64_t n = n_ranks / of_square;
  MatrixPicture picture{.title = fmt::format("{}: {} ranks", layout_text(config.parallel), n_ranks), .unit = "bytes"};
  picture.note = "bytes of a step from the rank of a line to that of a column, the darker the more" +
                 std::string(of_square > 1 ? fmt::format("; each square is {} x {} ranks", of_square, of_square) : "") +
                 (config.parallel.ep > 1 ? "; experts: expectation of even routing" : "");
  picture.rows = rows_of(config, placement, of_square);
  for (int64_t i = 0; i < n; ++i) {
    picture.labels.push_back(range_text(i * of_square, of_square));
    picture.ticks.push_back(std::to_string(i * of_square));
  }
  std::vector<Matrix> matrices;
  for (const TrafficKind kind : kTrafficKinds)
    matrices.push_back({traffic_name(kind), std::vector<double>(size_t(n * n), 0.0)});
  each_transfer(config, placement, full_micro_batches(config),
                [&](TrafficKind kind, int64_t from, int64_t to, double bytes) {
                  matrices[size_t(kind)].amounts[size_t(from / of_square * n + to / of_square)] += bytes;
                });
  for (Matrix& matrix : matrices)
    if (*std::max_element(matrix.amounts.begin(), matrix.amounts.end()) > 0) picture.matrices.push_back(matrix);
  return matrix_svg(picture);
}

}  // namespace hadal
