#include "phases/extension_part.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/html.h"
#include "picture/chart.h"
#include "picture/html_table.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNeedle = "needle";
constexpr const char* kPositions = "positions";

const EvaluationRecord* record_of(const ExtensionSide& side, const std::string& task) {
  for (const EvaluationRecord& record : side.evaluations)
    if (record.task == task && !record.average) return &record;
  return nullptr;
}

int64_t sides_with(const ContextExtension& extension, const std::string& task) {
  return std::count_if(extension.sides.begin(), extension.sides.end(),
                       [&](const ExtensionSide& side) { return record_of(side, task) != nullptr; });
}

std::string title_of(const ExtensionSide& side) { return side.role + ": " + side.phase; }

// One sentence where a side was asked otherwise than the first that was asked at all; nothing where all were alike.
std::string asked_alike(const ContextExtension& extension, const std::string& task) {
  const EvaluationRecord* first = nullptr;
  std::string others;
  for (const ExtensionSide& side : extension.sides) {
    const EvaluationRecord* record = record_of(side, task);
    if (!record) {
      others += fmt::format("; {} was not asked", side.phase);
    } else if (!first) {
      first = record;
    } else {
      const auto same = [&](const char* key) {
        return first->asked.value(key, Json()) == record->asked.value(key, Json());
      };
      if (record->items != first->items)
        others += fmt::format("; {} was asked {} items, not {}", side.phase, record->items, first->items);
      else if (!same("bos") || !same("chat") || !same("seed") || !same("limit"))
        others += fmt::format("; {} was asked with other settings", side.phase);
    }
  }
  return others.empty() ? "" : "<p class=\"soft\">Not asked alike" + html_escape(others) + "</p>\n";
}

std::string needle_part(const ContextExtension& extension) {
  std::vector<std::string> titles;
  for (const ExtensionSide& side : extension.sides)
    if (const EvaluationRecord* record = record_of(side, kNeedle))
      for (const Grid& grid : record->grids)
        if (std::find(titles.begin(), titles.end(), grid.title) == titles.end()) titles.push_back(grid.title);
  std::string out;
  for (const std::string& title : titles) {
    std::string grids;
    for (const ExtensionSide& side : extension.sides)
      if (const EvaluationRecord* record = record_of(side, kNeedle))
        for (Grid grid : record->grids) {
          if (grid.title != title) continue;
          grid.title = title_of(side);
          grids += grid_chart(grid);
        }
    out += "<p>" + html_escape(title) + "</p>\n" + charts(grids);
  }
  return out.empty() ? "" : out + asked_alike(extension, kNeedle);
}

// Of "bits_64_127": 64 and 127. False for a metric that is no bucket.
bool bucket_of(const std::string& metric, int64_t& begin, int64_t& last) {
  long long from = 0, to = 0;
  char more = 0;
  if (std::sscanf(metric.c_str(), "bits_%lld_%lld%c", &from, &to, &more) != 2 || from < 1) return false;
  begin = from, last = to;
  return true;
}

std::string positions_part(const ContextExtension& extension) {
  std::vector<std::string> head{"positions"};
  std::vector<std::pair<int64_t, int64_t>> buckets;
  std::vector<ChartLine> lines;
  for (const ExtensionSide& side : extension.sides) {
    const EvaluationRecord* record = record_of(side, kPositions);
    if (!record) continue;
    head.push_back(title_of(side));
    lines.push_back({title_of(side), {}});
    for (const auto& metric : record->metrics) {
      int64_t begin = 0, last = 0;
      if (!bucket_of(metric.name, begin, last)) continue;
      buckets.emplace_back(begin, last);
      lines.back().points.emplace_back(std::log2(double(begin)), metric.value);
    }
  }
  std::sort(buckets.begin(), buckets.end());
  buckets.erase(std::unique(buckets.begin(), buckets.end()), buckets.end());
  if (buckets.empty()) return "";
  HtmlTable table(escaped(head));
  for (const auto& [begin, last] : buckets) {
    std::vector<std::string> row{fmt::format("{} to {}", begin, last)};
    for (const ExtensionSide& side : extension.sides) {
      const EvaluationRecord* record = record_of(side, kPositions);
      if (!record) continue;
      row.push_back("-");
      for (const auto& metric : record->metrics)
        if (metric.name == fmt::format("bits_{}_{}", begin, last))
          row.back() =
              fmt::format("{:.4f}{}", metric.value, metric.error ? fmt::format(" ± {:.4f}", *metric.error) : "");
    }
    table.add(escaped(row));
  }
  return "<p>bits per token by its position in a long text</p>\n" + table.text() +
         charts(
             line_chart(lines, {.title = "bits per token", .x_label = "where a bucket begins, log2 of the position"})) +
         asked_alike(extension, kPositions);
}

}  // namespace

bool ContextExtension::can_be_compared() const {
  return sides_with(*this, kNeedle) > 1 || sides_with(*this, kPositions) > 1;
}

std::string extension_part(const std::vector<ContextExtension>& extensions) {
  std::string all;
  for (const ContextExtension& extension : extensions)
    if (extension.can_be_compared())
      all += "<h3>" + html_escape(extension.phase) + "</h3>\n" + needle_part(extension) + positions_part(extension);
  return all.empty() ? "" : "<h2>The longer context: before, after, and the same steps without YaRN</h2>\n" + all;
}

}  // namespace hadal
