#include "picture/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/html.h"
#include "picture/axis.h"

namespace hadal {
namespace {

constexpr int kLeft = 64, kRight = 16, kTop = 52, kRow = 26, kGap = 4;
constexpr double kCharacter = 5.6;  // width of one in a label

// Plain colours and no variables: renderers that know no more than SVG 1.1 draw the light form.
constexpr const char* kStyle =
    "<style>text{font:11px system-ui,sans-serif;fill:#667}.t{font-weight:600;font-size:14px;fill:#1a1d21}"
    ".n{text-anchor:middle;font-size:9px}.n text{font-size:9px;fill:#1a1d21}.m{text-anchor:middle}.e{text-anchor:end}"
    ".bg{fill:#fff}.g{stroke:#e4e6ea}.b{stroke:#fff}"
    ".k0{fill:#8db4f5}.k0.l{fill:#cfe0fc}.k1{fill:#7ccf9f}.k1.l{fill:#c9edd8}.k2{fill:#f3c06b}.k2.l{fill:#fae5c0}"
    ".k3{fill:#c3a3ee}.k3.l{fill:#e5d8f9}.k4{fill:#f2a0a0}.k4.l{fill:#fad7d7}.k5{fill:#7fcfdc}.k5.l{fill:#cceef3}"
    "@media(prefers-color-scheme:dark){text{fill:#9aa3ad}.t,.n text{fill:#e8eaed}.bg{fill:#14161a}.g{stroke:#2b3038}"
    ".b{stroke:#14161a}.k0{fill:#2f62b5}.k0.l{fill:#1d3a69}.k1{fill:#23804f}.k1.l{fill:#174a30}.k2{fill:#a06a12}"
    ".k2.l{fill:#5c3f10}.k3{fill:#7443b5}.k3.l{fill:#452a69}.k4{fill:#b03a3a}.k4.l{fill:#642525}.k5{fill:#1f7f8f}"
    ".k5.l{fill:#164a53}}</style>\n";

struct Layout {
  Axis time;
  int width = 0;
  double x(double at) const { return kLeft + time.place(at) * (width - kLeft - kRight); }
  static double y(size_t row, BarPart part) {
    return kTop + double(row) * kRow + (part == BarPart::lower ? double(kRow - kGap) / 2 : 0);
  }
  static double height(BarPart part) { return part == BarPart::whole ? kRow - kGap : double(kRow - kGap) / 2; }
};

std::string number(double value) { return fmt::format("{:g}", std::round(value * 10) / 10); }

// Paths by class, then the labels above them.
std::string bars_of(const Timeline& timeline, const Layout& layout) {
  std::map<std::string, std::string> paths;
  std::string labels;
  for (size_t row = 0; row < timeline.rows.size(); ++row) {
    for (const TimelineBar& bar : timeline.rows[row].bars) {
      const double x = layout.x(bar.begin), width = layout.x(bar.end) - x, y = Layout::y(row, bar.part);
      const double height = Layout::height(bar.part);
      paths[fmt::format("k{}{}", bar.kind % 6, bar.faint ? " l" : "")] +=
          fmt::format("M{} {}h{}v{}h-{}z", number(x), number(y), number(width), number(height), number(width));
      if (bar.label.empty() || kCharacter * double(bar.label.size()) > width - 2) continue;
      labels += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>", number(x + width / 2), number(y + height / 2 + 3.2),
                            html_escape(bar.label));
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
    return fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"12\" height=\"10\"/>", kind, number(at), y - 9);
  };
  const auto entry = [&](const std::string& squares, double wide, const std::string& text) {
    svg += squares + fmt::format("<text x=\"{}\" y=\"{}\">{}</text>", number(x + wide + 5), y, html_escape(text));
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
  const std::string title = html_escape(timeline.title);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}"
      "<rect class=\"bg\" width=\"{}\" height=\"{}\"/><text class=\"t\" x=\"{}\" y=\"18\">{}</text>\n",
      width, height, title, kStyle, width, height, kLeft, title);
  svg += legend_of(timeline, 38);
  for (double value : ticks(layout.time)) {
    const std::string x = number(layout.x(value));
    svg += fmt::format("<path class=\"g\" d=\"M{} {}V{}\"/><text class=\"m\" x=\"{}\" y=\"{}\">{}</text>\n", x,
                       kTop - 4, bottom, x, bottom + 14, tick_text(value));
  }
  svg += fmt::format("<text class=\"e\" x=\"{}\" y=\"{}\">{}</text>\n", kLeft - 8, bottom + 14,
                     html_escape(timeline.x_label));
  for (size_t row = 0; row < timeline.rows.size(); ++row)
    svg += fmt::format("<text class=\"e\" x=\"{}\" y=\"{}\">{}</text>\n", kLeft - 8,
                       number(Layout::y(row, BarPart::whole) + 15), html_escape(timeline.rows[row].label));
  return svg + bars_of(timeline, layout) + "</svg>\n";
}

}  // namespace hadal
