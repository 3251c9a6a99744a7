// Shares by two things (length and depth of a needle, domain and expert) as coloured cells with their values in them:
// inline SVG text for pages.
#pragma once
#include <array>
#include <string>
#include <vector>

namespace hadal {

struct Grid {
  std::string title, across, down;  // what the columns and the rows are
  std::vector<std::string> rows, columns;
  std::vector<double> values;  // [row][column]; NaN: an empty cell
  double high = 1;             // coloured from red (0) over yellow to green (high and above)
};

std::string grid_chart(const Grid& grid);

std::array<int, 3> share_colour(double share);  // red, green, blue of 0 .. 1, on that scale

}  // namespace hadal
