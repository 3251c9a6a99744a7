#include "picture/grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/html.h"

namespace hadal {
namespace {

int letters_of(const std::vector<std::string>& labels) {
  size_t most = 3;
  for (const std::string& label : labels) most = std::max(most, label.size());
  return int(std::min<size_t>(most, 40));
}

}  // namespace

std::array<int, 3> share_colour(double share) {
  const double x = std::clamp(share, 0.0, 1.0);
  const auto mix = [](double from, double to, double part) { return int(from + (to - from) * part + 0.5); };
  if (x < 0.5) return {mix(200, 220, 2 * x), mix(60, 180, 2 * x), mix(60, 70, 2 * x)};
  return {mix(220, 60, 2 * x - 1), mix(180, 150, 2 * x - 1), mix(70, 90, 2 * x - 1)};
}

std::string grid_chart(const Grid& grid) {
  constexpr int kTop = 58, kHigh = 22, kLetter = 7;
  const int left = 20 + kLetter * letters_of(grid.rows), cell = 14 + kLetter * letters_of(grid.columns);
  const int width = std::max(left + cell * int(grid.columns.size()) + 20, left + 9 * int(grid.title.size()));
  const int height = kTop + kHigh * int(grid.rows.size()) + 12;
  const std::string title = html_escape(grid.title);
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {0} {1}\" style=\"max-width:{0}px\" role=\"img\" aria-label=\"{2}\"><text "
      "class=\"title\" x=\"{3}\" y=\"16\">{2}</text><text class=\"tick\" x=\"{3}\" y=\"33\">{4} across, {5} "
      "down</text>\n",
      width, height, title, left, html_escape(grid.across), html_escape(grid.down));
  for (size_t c = 0; c < grid.columns.size(); ++c)
    svg += fmt::format("<text class=\"tick\" text-anchor=\"middle\" x=\"{}\" y=\"{}\">{}</text>\n",
                       left + cell * int(c) + cell / 2, kTop - 8, html_escape(grid.columns[c]));
  for (size_t r = 0; r < grid.rows.size(); ++r) {
    const int y = kTop + kHigh * int(r);
    svg += fmt::format("<text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{}\">{}</text>\n", left - 8, y + 15,
                       html_escape(grid.rows[r]));
    for (size_t c = 0; c < grid.columns.size(); ++c) {
      const size_t at = r * grid.columns.size() + c;
      if (at >= grid.values.size() || std::isnan(grid.values[at])) continue;
      const auto [red, green, blue] = share_colour(grid.values[at] / grid.high);
      const int x = left + cell * int(c);
      svg += fmt::format(
          "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"rgb({},{},{})\"/><text x=\"{}\" "
          "y=\"{}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#000\">{:.2f}</text>\n",
          x + 1, y + 1, cell - 2, kHigh - 2, red, green, blue, x + cell / 2, y + 15, grid.values[at]);
    }
  }
  return svg + "</svg>\n";
}

}  // namespace hadal
