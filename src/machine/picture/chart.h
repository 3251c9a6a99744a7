// Small charts as inline SVG text for pages: lines, a heat map, stacked bars. Colours come from the page's
// CSS variables.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace hadal {

struct ChartLine {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending; a NaN y breaks the line
};

// A named part of the x axis, shaded in turns.
struct ChartBand {
  std::string name;
  double begin = 0, end = 0;
};

struct ChartOptions {
  std::string title, x_label = "step", y_label;
  bool log_y = false, from_zero = false;
  bool smooth = false;  // for noisy lines: a running mean over the faint line itself
  int width = 720, height = 260;
  std::vector<ChartBand> bands;  // behind the lines; where there are some the x axis is what they cover
};

// Long lines are thinned to the extremes of each pixel column, so that spikes stay visible; of lines with few points
// each is drawn as a dot, so that one alone is seen. No two of the lines have one colour.
std::string line_chart(const std::vector<ChartLine>& lines, const ChartOptions& options);

// rows x columns of values (NaN: no cell), each row scaled by `high` (1 = the row's mean in load maps); x is the
// column's step.
struct HeatMap {
  std::string title, row_label;
  std::vector<double> steps;
  std::vector<std::vector<double>> rows;  // [row][column]
  double low = 0, high = 2;               // colour scale
};
std::string heat_map(const HeatMap& map, int width = 720);

// One horizontal bar divided by shares, with a legend.
std::string share_bar(const std::string& title, const std::vector<std::pair<std::string, double>>& parts,
                      int width = 720);

}  // namespace hadal
