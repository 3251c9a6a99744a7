// Builds the report page from metrics lines.
#include "train/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "base/html.h"
#include "base/text_format.h"
#include "base/thread_pool.h"
#include "picture/chart.h"
#include "picture/html_table.h"
#include "picture/page.h"
#include "train/evaluation_record.h"
#include "train/report_ranks.h"
#include "train/report_sections.h"
#include "train/resources.h"
#include "train/run_record.h"
#include "train/shadow_lines.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

ChartLine series(const std::string& name, const std::vector<ordered_json>& lines, const char* key, double scale = 1) {
  ChartLine line{name, {}};
  for (const auto& entry : lines) line.points.emplace_back(number(entry, "step"), scale * number(entry, key));
  return line;
}

std::vector<ChartLine> of_all(const std::vector<RunRecord>& runs, const char* key, double scale = 1) {
  std::vector<ChartLine> lines;
  for (const auto& run : runs) lines.push_back(series(run.name, run.steps, key, scale));
  return lines;
}

std::string loss_charts(const std::vector<RunRecord>& runs) {
  auto losses = of_all(runs, "loss");
  for (const auto& run : runs) {
    size_t depths = 0;
    for (const auto& step : run.steps) depths = std::max(depths, step.value("mtp_loss", ordered_json::array()).size());
    for (size_t k = 0; k < depths; ++k) {
      ChartLine line{fmt::format("{} MTP {}", run.name, k + 1), {}};
      for (const auto& step : run.steps) {
        const auto& values = step["mtp_loss"];
        if (values.size() > k && values[k].is_number())
          line.points.emplace_back(number(step, "step"), values[k].get<double>());
      }
      losses.push_back(std::move(line));
    }
  }
  std::vector<ChartLine> validation;
  for (const auto& run : runs) validation.push_back(series(run.name, run.validations, "bits_per_byte"));
  return line_chart(losses, {.title = "training loss (nats per token)", .smooth = true}) +
         line_chart(validation, {.title = "held-out bits per byte"});
}

// Of runs that scale their losses.
std::string loss_scales(const std::vector<RunRecord>& runs) {
  std::vector<ChartLine> lines;
  for (const auto& run : runs)
    if (run.steps.back().contains("loss_scale")) lines.push_back(series(run.name, run.steps, "loss_scale"));
  return lines.empty() ? "" : line_chart(lines, {.title = "loss scale", .log_y = true});
}

std::string layer_norms(const RunRecord& run) {
  std::vector<ChartLine> lines;
  for (const auto& step : run.steps) {
    if (!step.contains("layer_norms")) continue;
    const auto& norms = step["layer_norms"];
    if (lines.empty()) {
      for (size_t i = 0; i < norms.size(); ++i)
        lines.push_back({i + 1 == norms.size() ? "embedding, head" : fmt::format("layer {}", i), {}});
    }
    for (size_t i = 0; i < norms.size() && i < lines.size(); ++i) {
      if (norms[i].is_number()) lines[i].points.emplace_back(number(step, "step"), norms[i].get<double>());
    }
  }
  return line_chart(lines, {.title = "gradient norm per layer, " + run.name, .log_y = true});
}

// One row per (MoE layer, expert): load over the layer's mean.
std::string load_map(const RunRecord& run) {
  HeatMap map;
  map.title = fmt::format("expert load over its layer's mean (blue 0, green 1, red 2 and above), {}", run.name);
  for (const auto& step : run.steps) {
    if (!step.contains("expert_load") || step["expert_load"].empty()) continue;
    map.steps.push_back(number(step, "step"));
    size_t row = 0;
    for (const auto& layer : step["expert_load"]) {
      double total = 0;
      for (const auto& count : layer) total += count.get<double>();
      for (const auto& count : layer) {
        if (map.rows.size() <= row) map.rows.emplace_back();
        map.rows[row++].push_back(total > 0 ? count.get<double>() * double(layer.size()) / total : 0);
      }
      map.row_label = fmt::format("{} x {}", step["expert_load"].size(), layer.size());
    }
  }
  return map.rows.empty() ? "" : heat_map(map);
}

std::string breakdown(const RunRecord& run) {
  std::map<std::string, double> seconds;
  for (const auto& step : run.steps) {
    if (!step.contains("parts")) continue;
    for (const auto& item : step["parts"].items()) seconds[item.key()] += item.value().get<double>();
  }
  std::string out = share_bar("time by part of the model, " + run.name, {seconds.begin(), seconds.end()});
  if (!run.has_config) return out;
  const auto options = model_options(run.config, true);
  const auto plan = plan_memory(run.config, options, run.start.value("threads", granted_threads()));
  const auto parts = plan.parts();
  return out + share_bar(fmt::format("memory by part (estimate, {}), {}", format_bytes(double(plan.total())), run.name),
                         {parts.begin(), parts.end()});
}

// What FP8 does to the products of each layer, of runs that were looked at.
std::string fp8_part(const std::vector<RunRecord>& runs) {
  std::string charts, tables;
  for (const auto& run : runs) {
    if (run.shadows.empty()) continue;
    charts += shadow_charts(run.shadows, run.name);
    tables += "<p>The products that are farthest off, last round, " + html_escape(run.name) + "</p>\n" +
              shadow_table(run.shadows);
  }
  return charts.empty() ? "" : "<h2>FP8</h2><div class=\"charts\">" + charts + "</div>\n" + tables;
}

std::string summary(const std::vector<RunRecord>& runs) {
  constexpr int kRows = 13;
  std::string head = "<tr><th></th>", rows[kRows];
  const char* names[kRows] = {"steps",
                              "tokens",
                              "final loss",
                              "bits per byte",
                              "bits per byte of the moving average",
                              "tokens per second (median of the last 100)",
                              "model-FLOPs utilisation",
                              "parameters",
                              "kernels, precision",
                              "skipped steps",
                              "layout",
                              "bubble: waiting for pipeline neighbours (median of the last 100 steps)",
                              "traffic hidden behind computing, by kind (the same)"};
  for (const auto& run : runs) {
    head += "<th>" + html_escape(run.name) + "</th>";
    const auto& last = run.steps.back();
    std::vector<double> speed, mfu;
    int64_t skipped = 0;
    for (size_t i = run.steps.size() > 100 ? run.steps.size() - 100 : 0; i < run.steps.size(); ++i)
      speed.push_back(number(run.steps[i], "tokens_per_second")), mfu.push_back(number(run.steps[i], "mfu"));
    for (const auto& step : run.steps) skipped += step.contains("skipped");
    std::sort(speed.begin(), speed.end()), std::sort(mfu.begin(), mfu.end());
    const std::string cells[kRows] = {
        fmt::format("{:.0f}", number(last, "step")),
        format_count(int64_t(number(last, "tokens"))),
        fmt::format("{:.4f}", number(last, "loss")),
        last_bits(run.validations),
        last_bits(run.averages),
        format_count(int64_t(speed[speed.size() / 2])),
        format_percent(mfu[mfu.size() / 2]),
        format_count(int64_t(run.start.value("parameters", int64_t(0)))),
        html_escape(run.start.value("isa", "?") + ", " + run.start.value("precision", "?")),
        std::to_string(skipped),
        html_escape(run.start.value("layout", "dp=1")),
        median_bubble(run),
        median_hidden(run)};
    for (int i = 0; i < kRows; ++i) rows[i] += "<td>" + cells[i] + "</td>";
  }
  std::string table = "<div class=\"wide\"><table>" + head + "</tr>";
  for (int i = 0; i < kRows; ++i) table += fmt::format("<tr><th>{}</th>{}</tr>", names[i], rows[i]);
  return table + "</table></div>";
}

// What was trained, on what and where: sources, hashes, machine and the whole configuration.
std::string provenance(const RunRecord& run) {
  std::string out = fmt::format("<h2>What was trained, {}</h2>\n", html_escape(run.name));
  out += fmt::format("<p>{}, {} threads, kernels {}, precision {}; started {}</p>\n",
                     html_escape(run.start.value("cpu", "unknown CPU")), run.start.value("threads", 0),
                     html_escape(run.start.value("isa", "?")), html_escape(run.start.value("precision", "?")),
                     html_escape(run.start.value("time", "?")));
  return out + data_section(run) + packing_picture(run) + configuration_details(run);
}

std::string change_list(const std::vector<RunRecord>& runs) {
  std::string items;
  for (const auto& run : runs) {
    for (const auto& change : run.changes)
      items += fmt::format("<li>{}, after step {:.0f}: {}</li>\n", html_escape(run.name), number(change, "step"),
                           html_escape(change.value("change", "")));
  }
  return items.empty() ? "" : "<h2>Settings changed on the way</h2>\n<ul>" + items + "</ul>\n";
}

// What evaluations kept in the run (--record).
std::string evaluations(const RunRecord& run) {
  const auto records = read_evaluations(run.directory);
  if (records.empty()) return "";
  std::map<std::string, std::vector<EvaluationRecord>> by_checkpoint;
  for (const EvaluationRecord& record : records) by_checkpoint[record.checkpoint].push_back(record);
  std::vector<EvaluationColumn> columns;
  for (const auto& [checkpoint, of_it] : by_checkpoint) add_columns(columns, checkpoint, of_it);
  return "<h2>Evaluations, " + html_escape(run.name) + "</h2>\n" + evaluation_table(columns) +
         charts(evaluation_grids(records)) + evaluation_samples(records);
}

// By domain: loss of the batches, held-out bits per byte, the worst layer's load.
std::string domain_part(const std::vector<RunRecord>& runs) {
  std::string charts;
  for (const RunRecord& run : runs) {
    const auto chart = [&](const MetricLines& lines, const char* key, const ChartOptions& options) {
      std::vector<ChartLine> drawn;
      for (const std::string& domain : domains_in(lines)) {
        ChartLine line{domain, {}};
        for (const auto& entry : lines) line.points.emplace_back(number(entry, "step"), of_domain(entry, domain, key));
        drawn.push_back(std::move(line));
      }
      if (!drawn.empty()) charts += line_chart(drawn, options);
    };
    chart(run.steps, "loss", {.title = "training loss by domain, " + run.name, .smooth = true});
    chart(run.validations, "bits_per_byte", {.title = "held-out bits per byte by domain, " + run.name});
    chart(run.validations, "load", {.title = "worst layer's max / mean load by domain, held out, " + run.name});
    charts += domain_loads(run);
  }
  return charts.empty() ? "" : "<h2>Domains</h2><div class=\"charts\">" + charts + "</div>\n";
}

}  // namespace

std::string report_html(const std::vector<std::filesystem::path>& directories) {
  std::vector<RunRecord> runs;
  for (const auto& directory : directories) runs.push_back(read_run(directory));
  std::string title = runs[0].name;
  for (size_t i = 1; i < runs.size(); ++i) title += " and " + runs[i].name;
  std::string page = page_head(title) + "<h1>Training report: " + html_escape(title) + "</h1>\n" + summary(runs) +
                     change_list(runs) + "\n<h2>Loss</h2><div class=\"charts\">" + loss_charts(runs) + "</div>\n" +
                     domain_part(runs);
  page +=
      "<h2>Optimisation</h2><div class=\"charts\">" +
      line_chart(of_all(runs, "lr"), {.title = "learning rate", .from_zero = true}) +
      line_chart(of_all(runs, "grad_norm"), {.title = "gradient norm before clipping", .log_y = true, .smooth = true});
  page += loss_scales(runs);
  for (const auto& run : runs) page += layer_norms(run);
  page += "</div>\n<h2>Experts</h2><div class=\"charts\">" +
          line_chart(of_all(runs, "load"), {.title = "worst layer's max / mean load", .smooth = true});
  for (const auto& run : runs) page += load_map(run);
  page += wait_charts(runs);
  page +=
      "</div>\n<h2>Speed and memory</h2><div class=\"charts\">" +
      line_chart(of_all(runs, "tokens_per_second"), {.title = "tokens per second", .from_zero = true, .smooth = true}) +
      line_chart(of_all(runs, "memory_bytes", 1.0 / (1 << 20)), {.title = "resident memory (MiB)", .from_zero = true});
  for (const auto& run : runs) page += breakdown(run);
  page += "</div>\n" + fp8_part(runs);
  for (const auto& run : runs) {
    page += evaluations(run);
    if (!run.samples.empty()) page += "<h2>Samples, " + html_escape(run.name) + "</h2>\n" + sample_timeline(run);
  }
  for (const auto& run : runs) page += provenance(run);
  return page + "</body></html>\n";
}

}  // namespace hadal
