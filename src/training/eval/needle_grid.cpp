// The grid of a needle task: means by length and depth, as text and as a picture.
#include <algorithm>

#include "base/error.h"
#include "eval/needle.h"
#include "picture/grid.h"
#include "picture/svg.h"

namespace hadal::eval {
namespace {

template <class T>
size_t place_in(std::vector<T>& values, const T& value) {
  const auto at = std::lower_bound(values.begin(), values.end(), value);
  return size_t(at - values.begin());
}

void collect(std::vector<int64_t>& values, int64_t value) {
  const auto at = std::lower_bound(values.begin(), values.end(), value);
  if (at == values.end() || *at != value) values.insert(at, value);
}

std::string rows_of(const NeedleGrid& grid, const std::vector<double>& values, const std::string& title, bool colour) {
  std::string text = title + "\n" + fmt::format("{:>9}", "tokens");
  for (const int64_t depth : grid.depths) text += fmt::format("{:>6}", fmt::format("{}%", depth));
  text += "\n";
  for (size_t l = 0; l < grid.lengths.size(); ++l) {
    text += fmt::format("{:>9}", grid.lengths[l]);
    for (size_t d = 0; d < grid.depths.size(); ++d) {
      const double value = values[l * grid.depths.size() + d];
      const auto [r, g, b] = share_colour(value);
      text += colour ? fmt::format(" \x1b[48;2;{};{};{}m\x1b[38;2;0;0;0m{:5.2f}\x1b[0m", r, g, b, value)
                     : fmt::format(" {:5.2f}", value);
    }
    text += "\n";
  }
  return text;
}

}  // namespace

NeedleGrid needle_grid(const TaskResult& result) {
  NeedleGrid grid;
  for (const Item& item : result.task.items) {
    collect(grid.lengths, item.doc.at("length").get<int64_t>());
    collect(grid.depths, item.doc.at("depth").get<int64_t>());
  }
  const size_t n = grid.lengths.size() * grid.depths.size();
  std::vector<double> counts(n);
  grid.first.assign(n, 0), grid.greedy.assign(n, 0);
  for (size_t i = 0; i < result.task.items.size(); ++i) {
    const Json& doc = result.task.items[i].doc;
    const size_t at = place_in(grid.lengths, doc.at("length").get<int64_t>()) * grid.depths.size() +
                      place_in(grid.depths, doc.at("depth").get<int64_t>());
    ++counts[at];
    grid.first[at] += result.grades[i].at(0).values.at(0).second.value;
    grid.greedy[at] += result.grades[i].at(0).values.at(1).second.value;
  }
  for (size_t i = 0; i < n; ++i) grid.first[i] /= std::max(1.0, counts[i]), grid.greedy[i] /= std::max(1.0, counts[i]);
  return grid;
}

std::string needle_table(const NeedleGrid& grid, bool colour) {
  return rows_of(grid, grid.first, "likeliest of 16 candidates, by length and depth (chance 0.06)", colour) + "\n" +
         rows_of(grid, grid.greedy, "written by greedy decoding", colour);
}

std::string needle_svg(const NeedleGrid& grid, const std::string& title) {
  constexpr int kCell = 46, kHigh = 30, kLeft = 90, kTop = 70;
  const int wide = int(grid.depths.size()) * kCell, high = int(grid.lengths.size()) * kHigh;
  const int width = kLeft + wide + 20, height = kTop + 2 * (high + 70);
  std::string svg = svg_head(width, height, title, kLeft);
  const auto grid_at = [&](const std::vector<double>& values, int top, const char* name) {
    svg += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", kLeft, top - 24, name);
    for (size_t d = 0; d < grid.depths.size(); ++d)
      svg += fmt::format("<text class=\"m\" x=\"{}\" y=\"{}\">{}%</text>\n", kLeft + int(d) * kCell + kCell / 2,
                         top - 6, grid.depths[d]);
    for (size_t l = 0; l < grid.lengths.size(); ++l) {
      const int y = top + int(l) * kHigh;
      svg += fmt::format("<text class=\"e\" x=\"{}\" y=\"{}\">{}</text>\n", kLeft - 8, y + 20, grid.lengths[l]);
      for (size_t d = 0; d < grid.depths.size(); ++d) {
        const double value = values[l * grid.depths.size() + d];
        const auto [r, g, b] = share_colour(value);
        const int x = kLeft + int(d) * kCell;
        svg += fmt::format(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"rgb({},{},{})\"/>"
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-size=\"12\" fill=\"#000\">{:.2f}</text>\n",
            x + 1, y + 1, kCell - 2, kHigh - 2, r, g, b, x + kCell / 2, y + 20, value);
      }
    }
  };
  grid_at(grid.first, kTop + 20, "likeliest of 16 candidates (chance 0.06): depth across, tokens down");
  grid_at(grid.greedy, kTop + 90 + high, "written by greedy decoding");
  return svg + "</svg>\n";
}

}  // namespace hadal::eval
