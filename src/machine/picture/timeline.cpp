#include "picture/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/html.h"
#include "picture/axis.h"
#include "picture/svg.h"

namespace hadal {
namespace {

constexpr int kLeft = 64, kRight = 16, kTop = 52, kRow = 26, kRowGap = 4;
constexpr double kLabelCharacter = 5.6;  // width of one in a label

struct Layout {
  Axis time;
  int width = 0;
  double x(double at) const { return kLeft + time.place(at) * (width - kLeft - kRight); }
  static double y(size_t row, BarPart part) {
    return kTop + double(row) * kRow + (part == BarPart::lower ? double(kRow - kRowGap) / 2 : 0);
  }
  static double height(BarPart part) { return part == BarPart::whole ? kRow - kRowGap : double(kRow - kRowGap) / 2; }
};

// Paths by class, then the labels above them.
std::string bars_of(const Timeline& timeline, const Layout& layout) {
  std::map<std::string, std::string> paths;
  std::string labels;
  for (size_t row = 0; row < timeline.rows.size(); ++row) {
    for (const TimelineBar& bar : timeline.rows[row].bars) {
      const double x = layout.x(bar.begin), width = layout.x(bar.end) - x, y = Layout::y(row, bar.part);
      const double height = Layout::height(bar.part);
      paths[fmt::format("k{}{}", bar.kind % 6, bar.faint ? " l" : "")] += fmt::format(
          "M{} {}h{}v{}h-{}z", svg_number(x), svg_number(y), svg_number(width), svg_number(height), svg_number(width));
      if (bar.label.empty() || kLabelCharacter * double(bar.label.size()) > width - 2) continue;
      labels += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>", svg_number(x + width / 2),
                            svg_number(y + height / 2 + 3.2), html_escape(bar.label));
    }
  }
  std::string svg;
  for (const auto& [kind, path] : paths) svg += fmt::format("<path class=\"b {}\" d=\"{}\"/>\n", kind, path);
  return svg + "<g class=\"n\">" + labels + "</g>\n";
}

std::string legend_of(const Timeline& timeline, int y) {
  std::string svg;
  double x = kLeft;
  const auto square = [&](const std::string& kind, double at) {
    return fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"12\" height=\"10\"/>", kind, svg_number(at),
                       y - 9);
  };
  const auto entry = [&](const std::string& squares, double wide, const std::string& text) {
    svg += squares + fmt::format("<text x=\"{}\" y=\"{}\">{}</text>", svg_number(x + wide + 5), y, html_escape(text));
    x += wide + 22 + 5.9 * double(text.size());
  };
  for (size_t kind = 0; kind < timeline.kinds.size(); ++kind)
    entry(square(fmt::format("k{}", kind % 6), x), 12, timeline.kinds[kind]);
  if (!timeline.faint_note.empty()) entry(square("k0 l", x) + square("k1 l", x + 12), 24, timeline.faint_note);
  return svg + "\n";
}

}  // namespace

std::string timeline_svg(const Timeline& timeline, int width) {
  Layout layout{.time = {0, 0}, .width = width};
  for (const TimelineRow& row : timeline.rows)
    for (const TimelineBar& bar : row.bars) layout.time.high = std::max(layout.time.high, bar.end);
  if (!(layout.time.high > 0)) layout.time.high = 1;
  const int bottom = kTop + int(timeline.rows.size()) * kRow, height = bottom + 26;
  std::string svg = svg_head(width, height, timeline.title, kLeft);
  svg += legend_of(timeline, 38);
  for (double value : ticks(layout.time)) {
    const std::string x = svg_number(layout.x(value));
    svg += fmt::format("<path class=\"g\" d=\"M{} {}V{}\"/><text class=\"m\" x=\"{}\" y=\"{}\">{}</text>\n", x,
                       kTop - 4, bottom, x, bottom + 14, tick_text(value));
  }
  svg += fmt::format("<text class=\"e\" x=\"{}\" y=\"{}\">{}</text>\n", kLeft - 8, bottom + 14,
                     html_escape(timeline.x_label));
  for (size_t row = 0; row < timeline.rows.size(); ++row)
    svg += fmt::format("<text class=\"e\" x=\"{}\" y=\"{}\">{}</text>\n", kLeft - 8,
                       svg_number(Layout::y(row, BarPart::whole) + 15), html_escape(timeline.rows[row].label));
  return svg + bars_of(timeline, layout) + "</svg>\n";
}

}  // namespace hadal
