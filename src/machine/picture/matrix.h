// Who is where, and how much goes from whom to whom: boxes in rows, and below them one matrix for each kind of what
// goes, as an SVG file that stands alone and follows its reader's light or dark setting.
#pragma once
#include <string>
#include <vector>

namespace hadal {

struct PlaceRow {
  std::string label;                             // cut where it is long
  std::vector<std::vector<std::string>> places;  // lines of text in each box
};

struct Matrix {
  std::string name;             // of what goes
  std::vector<double> amounts;  // [from][to], row by row; nothing is drawn for 0
};

struct MatrixPicture {
  std::string title, note;  // note: above the matrices
  std::vector<PlaceRow> rows;
  std::vector<std::string> labels;  // of those who send and receive
  std::vector<std::string> ticks;   // short ones, some of which stand beside lines and columns
  std::string unit;                 // of the amounts; each square says its own in whole units
  std::vector<Matrix> matrices;     // at most six have colours of their own
};

// The more, the darker, on one logarithmic scale for all matrices.
std::string matrix_svg(const MatrixPicture& picture);

}  // namespace hadal
