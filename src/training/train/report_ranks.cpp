#include "train/report_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text_format.h"
#include "picture/chart.h"
#include "train/traffic.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

// Of a kind of traffic the share that a step hid, where some came and it was measured (older runs: of experts alone).
std::optional<double> hidden_share(const ordered_json& step, const std::string& kind) {
  if (!step.contains("waits") || !step["waits"].contains("traffic")) return std::nullopt;
  const auto& traffic = step["waits"]["traffic"];
  return traffic.contains(kind) ? std::optional(traffic[kind]["hidden"].get<double>()) : std::nullopt;
}

// Of all kinds that there are; of several runs, the name of each in front.
std::vector<ChartLine> hidden_lines(const std::vector<RunRecord>& runs) {
  std::vector<ChartLine> lines;
  for (const auto& run : runs) {
    for (const TrafficKind kind : kTrafficKinds) {
      ChartLine line{(runs.size() > 1 ? run.name + " " : "") + traffic_name(kind), {}};
      for (const auto& step : run.steps)
        if (const auto hidden = hidden_share(step, traffic_name(kind)))
          line.points.emplace_back(number(step, "step"), 100 * *hidden);
      if (!line.points.empty()) lines.push_back(std::move(line));
    }
  }
  return lines;
}

// The median of a share over the last steps that have it; "-" where none has.
std::string median_share(const RunRecord& run,
                         const std::function<std::optional<double>(const ordered_json& step)>& share) {
  std::vector<double> shares;
  for (size_t i = run.steps.size() > 100 ? run.steps.size() - 100 : 0; i < run.steps.size(); ++i)
    if (const auto one = share(run.steps[i])) shares.push_back(*one);
  if (shares.empty()) return "-";
  std::sort(shares.begin(), shares.end());
  return format_percent(shares[shares.size() / 2]);
}

}  // namespace

std::string wait_charts(const std::vector<RunRecord>& runs) {
  const auto of = [&](const char* what) {
    std::vector<ChartLine> all;
    for (const auto& run : runs) {
      ChartLine line{run.name, {}};
      for (const auto& step : run.steps)
        if (step.contains("waits") && step["waits"].contains(what))  // older ones lack some
          line.points.emplace_back(number(step, "step"), 100 * step["waits"][what].get<double>());
      if (!line.points.empty()) all.push_back(std::move(line));
    }
    return all;
  };
  if (of("pipeline").empty()) return "";
  return "</div>\n<h2>Ranks</h2><div class=\"charts\">" +
         line_chart(of("pipeline"),
                    {.title = "bubble: waiting for pipeline neighbours, % of a step", .from_zero = true}) +
         line_chart(of("data"), {.title = "waiting for gradients and new values, % of a step", .from_zero = true}) +
         line_chart(of("experts"), {.title = "waiting for experts' rows, % of a step", .from_zero = true}) +
         line_chart(hidden_lines(runs), {.title = "traffic hidden behind computing, %", .from_zero = true});
}

std::string median_bubble(const RunRecord& run) {
  return median_share(run, [](const ordered_json& step) {
    return step.contains("waits") ? std::optional(step["waits"]["pipeline"].get<double>()) : std::nullopt;
  });
}

std::string median_hidden(const RunRecord& run) {
  std::string text;
  for (const TrafficKind kind : kTrafficKinds) {
    const std::string share =
        median_share(run, [&](const auto& step) { return hidden_share(step, traffic_name(kind)); });
    if (share != "-") text += fmt::format("{}{} {}", text.empty() ? "" : ", ", traffic_name(kind), share);
  }
  return text.empty() ? "-" : text;
}

}  // namespace hadal
