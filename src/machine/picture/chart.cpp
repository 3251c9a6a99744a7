#include "picture/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/html.h"
#include "base/utf8.h"
#include "picture/axis.h"

namespace hadal {

namespace {

constexpr int kLeft = 64, kRight = 16, kTop = 34, kBottom = 36;

bool has_place(const std::pair<double, double>& point, const ChartOptions& o) {
  return std::isfinite(point.second) && !(o.log_y && point.second <= 0);
}

void limits(const std::vector<ChartLine>& lines, const ChartOptions& options, Axis& x, Axis& y) {
  const double infinity = std::numeric_limits<double>::infinity();
  x.low = y.low = infinity, x.high = y.high = -infinity;
  for (const auto& line : lines) {
    for (const auto& point : line.points) {
      if (!has_place(point, options)) continue;
      const auto& [px, py] = point;
      x.low = std::min(x.low, px), x.high = std::max(x.high, px);
      y.low = std::min(y.low, py), y.high = std::max(y.high, py);
    }
  }
  if (!(x.low <= x.high)) x = {0, 1}, y = {options.log_y ? 0.1 : 0.0, 1};
  if (!options.bands.empty()) x.low = options.bands.front().begin, x.high = options.bands.back().end;
  if (x.low == x.high) x.high = x.low + 1;
  y.log = options.log_y;
  if (options.from_zero && !y.log) y.low = std::min(0.0, y.low);
  if (y.low == y.high) y.low -= y.log ? 0.5 * y.low : 0.5, y.high += 0.5;
  if (!y.log) {
    const double margin = 0.04 * (y.high - y.low);
    y.high += margin;
    if (!options.from_zero) y.low -= margin;
  }
}

// First, lowest, highest and last point of each pixel column.
std::string path_of(const ChartLine& line, const Axis& x, const Axis& y, const ChartOptions& o) {
  const double width = o.width - kLeft - kRight, height = o.height - kTop - kBottom;
  std::string path;
  bool pen_down = false;
  auto point = [&](const std::pair<double, double>& p) {
    path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", kLeft + x.place(p.first) * width,
                        kTop + (1 - y.place(p.second)) * height);
    pen_down = true;
  };
  for (size_t i = 0; i < line.points.size();) {
    const auto& p = line.points[i];
    if (!has_place(p, o)) {
      pen_down = false;
      ++i;
      continue;
    }
    const int column = int(x.place(p.first) * width);
    size_t end = i, low = i, high = i;
    while (end < line.points.size() && has_place(line.points[end], o) &&
           int(x.place(line.points[end].first) * width) == column) {
      if (line.points[end].second < line.points[low].second) low = end;
      if (line.points[end].second > line.points[high].second) high = end;
      ++end;
    }
    point(line.points[std::min(low, high)]);
    if (low != high) point(line.points[std::max(low, high)]);
    i = std::max(end, i + 1);
  }
  return path;
}

// Ten colours of the page, then others that lie as far apart as turning by the golden angle puts them.
std::string colour_of(size_t i, const char* property) {
  if (i < 10) return "";
  return fmt::format(" style=\"{}:hsl({:.0f} 60% {}%)\"", property, std::fmod(137.508 * double(i), 360.0),
                     i % 2 == 0 ? 45 : 62);
}

std::string colour_class(size_t i) { return i < 10 ? fmt::format(" c{}", i) : ""; }

constexpr size_t kFewPoints = 24;

std::string dots_of(const ChartLine& line, size_t i, const Axis& x, const Axis& y, const ChartOptions& o) {
  if (line.points.size() > kFewPoints) return "";
  std::string svg;
  for (const auto& point : line.points) {
    if (!has_place(point, o)) continue;
    svg += fmt::format("<circle class=\"fill{}\"{} r=\"2.5\" cx=\"{:.1f}\" cy=\"{:.1f}\"/>", colour_class(i),
                       colour_of(i, "fill"), kLeft + x.place(point.first) * (o.width - kLeft - kRight),
                       kTop + (1 - y.place(point.second)) * (o.height - kTop - kBottom));
  }
  return svg.empty() ? "" : svg + "\n";
}

// Mean that forgets over a fiftieth of the line, begun without a bias towards zero.
ChartLine smoothed(const ChartLine& line, const ChartOptions& o) {
  const double keep = 1 - 1 / std::max(2.0, double(line.points.size()) / 50);
  ChartLine out{line.name, {}};
  double sum = 0, weight = 0;
  for (const auto& point : line.points) {
    if (!has_place(point, o)) continue;
    sum = keep * sum + (1 - keep) * point.second, weight = keep * weight + (1 - keep);
    out.points.emplace_back(point.first, sum / weight);
  }
  return out;
}

std::string drawn(const ChartLine& line, size_t i, const Axis& x, const Axis& y, const ChartOptions& o) {
  const auto path = [&](const ChartLine& of, const char* kind) {
    return fmt::format("<path class=\"line{}{}\"{} d=\"{}\"/>\n", kind, colour_class(i), colour_of(i, "stroke"),
                       path_of(of, x, y, o));
  };
  if (o.smooth && line.points.size() > kFewPoints) return path(line, " raw") + path(smoothed(line, o), "");
  return path(line, "") + dots_of(line, i, x, y, o);
}

// The legend in as many rows as it takes, above the plot: names of any number of lines.
std::string legend_of(const std::vector<ChartLine>& lines, const ChartOptions& o, int& rows) {
  std::string svg;
  double at = kLeft;
  rows = lines.size() < 2 ? 0 : 1;
  for (size_t i = 0; i < lines.size() && lines.size() > 1; ++i) {
    const double width = 26 + 6.6 * double(lines[i].name.size());
    if (at > kLeft && at + width > o.width - kRight) at = kLeft, ++rows;
    const int y = o.height - 4 + 14 * rows;
    svg += fmt::format(
        "<rect class=\"fill{}\"{} x=\"{:.0f}\" y=\"{}\" width=\"10\" height=\"3\"/><text class=\"tick\" "
        "x=\"{:.0f}\" y=\"{}\">{}</text>\n",
        colour_class(i), colour_of(i, "fill"), at, y - 4, at + 13, y, html_escape(lines[i].name));
    at += width;
  }
  return svg;
}

// Behind everything: every second one shaded, each with its name at its top, cut where it is too narrow for it.
std::string drawn_bands(const Axis& x, const ChartOptions& o) {
  std::string svg;
  for (size_t i = 0; i < o.bands.size(); ++i) {
    const ChartBand& band = o.bands[i];
    const double wide = o.width - kLeft - kRight, begin = kLeft + x.place(band.begin) * wide;
    const double width = kLeft + x.place(band.end) * wide - begin;
    svg += fmt::format(
        "<rect class=\"band\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill-opacity=\"{}\">"
        "<title>{}</title></rect>\n",
        begin, kTop, width, o.height - kTop - kBottom, i % 2 == 0 ? "0.5" : "0", html_escape(band.name));
    const size_t fits = size_t(std::max(0.0, (width - 6) / 6.2));
    std::string name = band.name.substr(0, fits);
    name.resize(size_t(utf8_valid_prefix(name)));
    if (!name.empty())
      svg += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{}\">{}</text>\n", begin + 3, kTop + 11,
                         html_escape(name));
  }
  return svg;
}

}  // namespace

std::string line_chart(const std::vector<ChartLine>& lines, const ChartOptions& o) {
  Axis x, y;
  limits(lines, o, x, y);
  const double width = o.width - kLeft - kRight, height = o.height - kTop - kBottom;
  int legend_rows = 0;
  const std::string legend = legend_of(lines, o, legend_rows);
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\"><text class=\"title\" x=\"{}\" y=\"16\">{}</text>\n",
      o.width, o.height + 14 * legend_rows, html_escape(o.title), kLeft, html_escape(o.title));
  svg += drawn_bands(x, o);
  for (double value : ticks(y)) {
    const double place = kTop + (1 - y.place(value)) * height;
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text class=\"tick\" "
        "text-anchor=\"end\" x=\"{}\" y=\"{:.1f}\">{}</text>\n",
        kLeft, o.width - kRight, place, place, kLeft - 6, place + 4, tick_text(value));
  }
  for (double value : ticks(x)) {
    const double place = kLeft + x.place(value) * width;
    svg += fmt::format("<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{}\">{}</text>\n", place,
                       o.height - kBottom + 16, tick_text(value));
  }
  svg += fmt::format("<text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{}\">{}</text>\n", o.width - kRight,
                     o.height - 4, html_escape(o.x_label));
  for (size_t i = 0; i < lines.size(); ++i) svg += drawn(lines[i], i, x, y, o);
  svg += legend;
  return svg + "</svg>\n";
}

std::string heat_map(const HeatMap& map, int width) {
  const size_t rows = map.rows.size(), columns = map.steps.size();
  const int row_height = rows > 40 ? 4 : rows > 16 ? 8 : 12;
  const int height = kTop + int(rows) * row_height + 24;
  const double cell = double(width - kLeft - kRight) / double(std::max<size_t>(1, columns));
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\"><text class=\"title\" x=\"{}\" y=\"16\">{}</text>\n",
      width, height, html_escape(map.title), kLeft, html_escape(map.title));
  for (size_t row = 0; row < rows; ++row) {
    for (size_t column = 0; column < columns && column < map.rows[row].size(); ++column) {
      if (std::isnan(map.rows[row][column])) continue;
      const double share = std::clamp((map.rows[row][column] - map.low) / (map.high - map.low), 0.0, 1.0);
      svg +=
          fmt::format("<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"hsl({:.0f} 70% {:.0f}%)\"/>",
                      kLeft + double(column) * cell, kTop + int(row) * row_height, cell + 0.3, row_height,
                      240 - 240 * share, 30 + 30 * share);
    }
    svg += "\n";
  }
  svg += fmt::format("<text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{}\">{}</text>", kLeft - 6, kTop + 10,
                     html_escape(map.row_label));
  if (columns > 0) {
    svg += fmt::format(
        "<text class=\"tick\" x=\"{}\" y=\"{}\">step {:.0f}</text><text class=\"tick\" text-anchor=\"end\" x=\"{}\" "
        "y=\"{}\">step {:.0f}</text>",
        kLeft, height - 6, map.steps.front(), width - kRight, height - 6, map.steps.back());
  }
  return svg + "</svg>\n";
}

std::string share_bar(const std::string& title, const std::vector<std::pair<std::string, double>>& parts, int width) {
  double total = 0;
  for (const auto& part : parts) total += part.second;
  if (total <= 0) return "";
  const int rows = int(parts.size() + 2) / 3;
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\"><text class=\"title\" x=\"0\" y=\"16\">{}</text>\n",
      width, 64 + rows * 18, html_escape(title), html_escape(title));
  double at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const double share = parts[i].second / total;
    svg += fmt::format("<rect class=\"fill c{}\" x=\"{:.1f}\" y=\"26\" width=\"{:.1f}\" height=\"22\"/>", i % 10,
                       at * width, share * width);
    const int x = int(i % 3) * width / 3, y = 68 + int(i / 3) * 18;
    svg += fmt::format(
        "<rect class=\"fill c{}\" x=\"{}\" y=\"{}\" width=\"10\" height=\"10\"/><text class=\"tick\" x=\"{}\" "
        "y=\"{}\">{} {:.1f} %</text>\n",
        i % 10, x, y - 9, x + 14, y, html_escape(parts[i].first), 100 * share);
    at += share;
  }
  return svg + "</svg>\n";
}

}  // namespace hadal
