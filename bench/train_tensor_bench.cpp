// How much of what tensor ranks send each other is hidden under their products: training steps, forward and backward,
// of narrow models in V3's proportions, executed on a virtual clock (comm/virtual_clock.h) on which traffic takes as
// long as the products that tensor ranks cut (attention, dense FFNs, the head), or as all of them. So the figures are
// of the code, not of this machine.
#include <fmt/format.h>

#include <algorithm>

#include "base/table.h"
#include "train/tensor_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr double kFloor = 0.7;  // where traffic takes as long as what tensor ranks cut

int run() {
  Table table(
      {"layers", "layout", "traffic as long as", "products, s", "traffic, s", "step, s", "hidden", "overlap off"});
  bool fine = true;
  for (const auto& [layers, dense] : {std::pair(8, 8), {16, 1}}) {
    for (const int ranks : {2, 4}) {
      for (const EqualTo equal : {EqualTo::tensor_products, EqualTo::all_products}) {
        if (layers == dense && equal == EqualTo::all_products) continue;  // the same
        ClockedCase c = tensor_case(narrow_v3(layers, dense), fmt::format("tp={}", ranks));
        c.rows = 512 * ranks, c.sequences = 8 * ranks;
        const TensorFigures on = tensor_figures(c, equal);
        c.sends_block = true;
        const TensorFigures off = tensor_figures(c, equal);
        table.add({fmt::format("{}, {} dense", layers, dense), fmt::format("tp={}", ranks),
                   equal == EqualTo::all_products ? "all products" : "those that are cut",
                   fmt::format("{:.2f}", on.products), fmt::format("{:.2f}", on.traffic),
                   fmt::format("{:.2f}", on.step), fmt::format("{:.1f} %", 100 * on.hidden()),
                   fmt::format("{:.1f} %", 100 * std::max(0.0, off.hidden()))});
        fine = fine && (equal == EqualTo::all_products || on.hidden() >= kFloor);
      }
    }
  }
  fmt::print("{}\nfloor of what is hidden where traffic takes as long as the products that are cut, 70 %: {}\n",
             table.text(), fine ? "held" : "MISSED");
  return fine ? 0 : 1;
}

}  // namespace
}  // namespace hadal

int main() { return hadal::run(); }
