#include "picture/matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/html.h"
#include "base/text_format.h"
#include "picture/axis.h"
#include "picture/svg.h"

namespace hadal {
namespace {

constexpr int kWidth = 960, kCellsLeft = 24, kCellsTop = 40;
constexpr int kGap = 4, kLabel = 268;  // kLabel: where boxes begin, behind their row's label
constexpr int kInRow = 3, kSide = 264, kAcross = 312, kDown = 316;  // of matrices
constexpr double kCharacter = 5.2;                                  // width of one in a box
constexpr size_t kMostInLabel = 45;                                 // of a row

double box_width(const std::vector<PlaceRow>& rows) {
  size_t most = 1;
  for (const PlaceRow& row : rows) most = std::max(most, row.places.size());
  return std::min(120.0, double(kWidth - kLabel - kCellsLeft) / double(most));
}

// Of the box with most lines.
int box_height(const std::vector<PlaceRow>& rows) {
  size_t most = 2;
  for (const PlaceRow& row : rows)
    for (const auto& lines : row.places) most = std::max(most, lines.size());
  return 8 + 11 * int(most);
}

// kind: a class of the style, or none.
std::string text_at(const std::string& kind, double x, double y, const std::string& text) {
  return fmt::format("<text{} x=\"{}\" y=\"{}\">{}</text>", kind.empty() ? "" : fmt::format(" class=\"{}\"", kind),
                     svg_number(x), svg_number(y), html_escape(text));
}

std::string shortened(const std::string& label) {
  return label.size() <= kMostInLabel ? label : label.substr(0, kMostInLabel - 3) + "...";
}

std::string boxes_of(const std::vector<PlaceRow>& rows) {
  const double width = box_width(rows);
  const int height = box_height(rows);
  std::string svg;
  for (size_t r = 0; r < rows.size(); ++r) {
    const double y = kCellsTop + double(r) * (height + kGap);
    svg += text_at("e", kLabel - 8, y + 19, shortened(rows[r].label)) + "\n";
    for (size_t p = 0; p < rows[r].places.size(); ++p) {
      const double x = kLabel + double(p) * width, wide = std::max(1.0, width - kGap);
      const std::vector<std::string>& lines = rows[r].places[p];
      svg += fmt::format("<rect class=\"b k0 l\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}</title></rect>",
                         svg_number(x), svg_number(y), svg_number(wide), height,
                         html_escape(fmt::format("{}", fmt::join(lines, ", "))));
      for (size_t i = 0; i < lines.size(); ++i) {
        if (kCharacter * double(lines[i].size()) <= wide)
          svg += text_at("n", x + wide / 2, y + (lines.size() == 1 ? 18 : 13 + 11 * double(i)), lines[i]);
      }
    }
    svg += "\n";
  }
  return svg;
}

// The amounts that are drawn, least and most.
Axis scale_of(const std::vector<Matrix>& matrices) {
  Axis scale{0, 0, true};
  for (const Matrix& matrix : matrices) {
    for (const double amount : matrix.amounts) {
      if (!(amount > 0)) continue;
      scale.low = scale.low > 0 ? std::min(scale.low, amount) : amount;
      scale.high = std::max(scale.high, amount);
    }
  }
  return scale;
}

std::string matrix_at(const MatrixPicture& picture, size_t number, const Axis& scale, double x, double y) {
  const size_t n = picture.labels.size(), step = (n + 7) / 8;
  const double side = double(kSide) / double(n), border = side > 8 ? 1 : 0;
  const Matrix& matrix = picture.matrices[number];
  double total = 0;
  for (const double amount : matrix.amounts) total += amount;
  std::string svg = fmt::format("<g transform=\"translate({} {})\">", svg_number(x), svg_number(y));
  svg += text_at("", 0, -18, fmt::format("{}: {} {}", matrix.name, format_count(std::llround(total)), picture.unit));
  for (size_t i = 0; i < n; i += step) {
    const double middle = (double(i) + 0.5) * side;
    svg += text_at("m", middle, -4, picture.ticks[i]) + text_at("e", -4, middle + 4, picture.ticks[i]);
  }
  svg += fmt::format("<path class=\"g\" fill=\"none\" d=\"M0 0h{0}v{0}h-{0}z\"/>\n<g class=\"k{1}\">\n", kSide,
                     number % 6);
  for (size_t i = 0; i < matrix.amounts.size(); ++i) {
    const double amount = matrix.amounts[i];
    if (!(amount > 0)) continue;
    const double shade = scale.high > scale.low ? 0.25 + 0.75 * scale.place(amount) : 1;
    svg += fmt::format("<path d=\"M{} {}h{}v{}h-{}z\" opacity=\"{:.2f}\"><title>{} → {}: {} {}</title></path>\n",
                       svg_number(double(i % n) * side), svg_number(double(i / n) * side), svg_number(side - border),
                       svg_number(side - border), svg_number(side - border), shade, html_escape(picture.labels[i / n]),
                       html_escape(picture.labels[i % n]), format_count(std::llround(amount)), picture.unit);
  }
  return svg + "</g></g>\n";
}

}  // namespace

std::string matrix_svg(const MatrixPicture& picture) {
  const int below = kCellsTop + int(picture.rows.size()) * (box_height(picture.rows) + kGap) + 20;
  const int lines = (int(picture.matrices.size()) + kInRow - 1) / kInRow;
  std::string svg = svg_head(kWidth, below + 14 + lines * kDown, picture.title, kCellsLeft) + boxes_of(picture.rows);
  svg += text_at("", kCellsLeft, below, picture.note) + "\n";
  const Axis scale = scale_of(picture.matrices);
  for (size_t i = 0; i < picture.matrices.size(); ++i)
    svg += matrix_at(picture, i, scale, kCellsLeft + 24 + double(i % kInRow) * kAcross,
                     below + 50 + double(i / kInRow) * kDown);
  return svg + "</svg>\n";
}

}  // namespace hadal
