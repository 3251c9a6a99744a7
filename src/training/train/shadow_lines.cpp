#include "train/shadow_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "base/html.h"
#include "base/json.h"
#include "model/options.h"
#include "picture/chart.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

constexpr double kWarnAbove = 1.5 * kExpectedProductError;
constexpr const char* kResults[] = {"y", "dx", "dW"};
constexpr const char* kOperands[] = {"x", "dy", "weight"};

std::string percent(double share) { return fmt::format("{:.2f} %", 100 * share); }

bool is_due(const Config& config, int64_t step) {
  if (config.fp8.shadow_every <= 0 || step % config.fp8.shadow_every != 0) return false;
  const Recipe recipe = recipe_of(config.train.precision, config.fp8);
  const std::array linears = Recipe::fp8_linears();
  return std::any_of(linears.begin(), linears.end(), [&](auto linear) { return (recipe.*linear).reads_codes(); });
}

ordered_json operand_json(const OperandStats& s) {
  ordered_json json = {{"error", s.error()},
                       {"flushed", s.share(s.flushed)},
                       {"saturated", s.share(s.saturated)},
                       {"subnormal", s.share(s.subnormal)},
                       {"binades", s.binades()}};
  if (s.not_finite > 0) json["not_finite"] = s.not_finite;
  ordered_json shares = ordered_json::array();
  size_t last = s.histogram.size();
  while (last > 0 && s.histogram[last - 1] == 0) --last;
  for (size_t i = 0; i < last; ++i) shares.push_back(std::round(1e6 * s.share(s.histogram[i])) / 1e6);
  json["histogram"] = shares;
  return json;
}

std::string without_layer(const std::string& name, int64_t layer) {
  const std::string prefix = fmt::format("layers.{}.", layer);
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

// The lines of the last round: those of the last step at which each layer was looked at.
std::map<int64_t, const ordered_json*> last_round(const std::vector<ordered_json>& lines) {
  std::map<int64_t, const ordered_json*> last;
  for (const ordered_json& line : lines) last[line.value("layer", int64_t(0))] = &line;
  return last;
}

// The worst linear's error of each layer and round, over what is to be expected.
std::string error_map(const std::vector<ordered_json>& lines, const std::string& result, const std::string& run) {
  std::map<int64_t, std::vector<std::pair<double, double>>> layers;  // (step, error)
  for (const ordered_json& line : lines) {
    double worst = -1;
    for (const ordered_json& product : line["products"])
      if (product.value("result", "") == result) worst = std::max(worst, product.value("error", 0.0));
    if (worst >= 0) layers[line.value("layer", int64_t(0))].emplace_back(line.value("step", 0.0), worst);
  }
  if (layers.empty()) return "";
  HeatMap map;
  map.title = fmt::format("error of {}, a layer's worst linear, over the {} to expect (blue 0, red 2), {}", result,
                          percent(kExpectedProductError), run);
  map.row_label = fmt::format("{} layers", layers.size());
  size_t rounds = 0;
  for (const auto& [layer, seen] : layers) rounds = std::max(rounds, seen.size());
  for (size_t i = 0; i < rounds; ++i) {
    double step = 0;
    for (const auto& [layer, seen] : layers)
      if (i < seen.size()) step = std::max(step, seen[i].first);
    map.steps.push_back(step);
  }
  for (const auto& [layer, seen] : layers) {
    std::vector<double> row(rounds, std::numeric_limits<double>::quiet_NaN());
    for (size_t i = 0; i < seen.size(); ++i) row[i] = seen[i].second / kExpectedProductError;
    map.rows.push_back(std::move(row));
  }
  return heat_map(map);
}

// How far below the largest of their tiles the values lie: of x, dy and weights of the last round, each its mean.
std::string histograms(const std::map<int64_t, const ordered_json*>& round, const std::string& run) {
  std::vector<ChartLine> charts;
  for (const char* operand : kOperands) {
    std::vector<double> shares(OperandStats::kBuckets, 0.0);
    double n = 0;
    for (const auto& [layer, line] : round) {
      for (const ordered_json& product : (*line)["products"]) {
        if (!product.contains(operand)) continue;
        n += 1;
        const auto& histogram = product[operand]["histogram"];
        for (size_t i = 0; i < histogram.size() && i < shares.size(); ++i) shares[i] += histogram[i].get<double>();
      }
    }
    if (n == 0) continue;
    ChartLine chart{operand, {}};
    for (size_t i = 0; i < shares.size(); ++i) chart.points.emplace_back(-double(i), 100 * shares[i] / n);
    std::reverse(chart.points.begin(), chart.points.end());
    charts.push_back(std::move(chart));
  }
  return line_chart(charts, {.title = "log2(|x| / largest of its tile), % of values, last round, " + run,
                             .x_label = "binades below the largest; codes end at -17.8",
                             .from_zero = true});
}

}  // namespace

std::unique_ptr<ShadowCheck> due_shadow_check(const Config& config, int64_t step, const Parameters& parameters) {
  if (!is_due(config, step)) return nullptr;
  const std::vector<int64_t> layers = layers_of_codes(parameters);
  if (layers.empty()) return nullptr;
  const int64_t round = step / config.fp8.shadow_every - 1;
  return std::make_unique<ShadowCheck>(layers[size_t(round % int64_t(layers.size()))]);
}

void tell_shadow(const Config& config, int64_t step, const ShadowCheck* check, Group& ranks,
                 const std::function<void(const ordered_json&)>& line) {
  if (!is_due(config, step)) return;
  const bool found = check && !check->findings().empty();
  for (const std::string& text : ranks.exchange(found ? json_text(shadow_line(*check, step, ranks.rank())) : ""))
    if (!text.empty()) line(parse_json<ordered_json>(text, "what a rank's shadow check found"));
}

ordered_json shadow_line(const ShadowCheck& check, int64_t step, int64_t rank) {
  ordered_json products = ordered_json::array();
  int64_t layer = -1;
  for (const ProductFinding& f : check.findings()) {
    layer = f.layer;
    ordered_json product = {
        {"linear", without_layer(f.linear, f.layer)}, {"result", result_name(f.product)}, {"error", f.error()}};
    if (f.as_received) product["as_received"] = true;
    const OperandStats* operands[] = {&f.x, &f.dy, &f.weight};
    for (size_t i = 0; i < std::size(operands); ++i)
      if (operands[i]->count > 0) product[kOperands[i]] = operand_json(*operands[i]);
    products.push_back(std::move(product));
  }
  return {{"kind", "shadow"},
          {"step", step},
          {"rank", rank},
          {"layer", layer},
          {"seconds", check.seconds()},
          {"products", std::move(products)}};
}

std::string shadow_warning(const ordered_json& line) {
  const ordered_json* worst = nullptr;
  for (const ordered_json& product : line["products"])
    if (!(product.value("error", 0.0) <= kWarnAbove) &&
        (!worst || product.value("error", 0.0) > worst->value("error", 0.0)))
      worst = &product;
  if (!worst) return "";
  std::string text =
      fmt::format("FP8 at step {}, layer {}: {} of {} is {} off, where {} is to be expected",
                  line.value("step", int64_t(0)), line.value("layer", int64_t(0)), worst->value("result", ""),
                  worst->value("linear", ""), percent(worst->value("error", 0.0)), percent(kExpectedProductError));
  for (const char* operand : kOperands) {
    if (!worst->contains(operand)) continue;
    const ordered_json& s = (*worst)[operand];
    text += fmt::format("; {}: {} of its values flushed to zero, {:.1f} binades between its tiles", operand,
                        percent(s.value("flushed", 0.0)), s.value("binades", 0.0));
  }
  return text;
}

std::string shadow_charts(const std::vector<ordered_json>& lines, const std::string& run) {
  if (lines.empty()) return "";
  std::string charts;
  for (const char* result : kResults) charts += error_map(lines, result, run);
  return charts + histograms(last_round(lines), run);
}

std::string shadow_table(const std::vector<ordered_json>& lines) {
  constexpr size_t kShown = 12;
  std::vector<std::pair<const ordered_json*, const ordered_json*>> all;  // line, product
  for (const auto& [layer, line] : last_round(lines))
    for (const ordered_json& product : (*line)["products"]) all.emplace_back(line, &product);
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second->value("error", 0.0) > b.second->value("error", 0.0);
  });
  if (all.size() > kShown) all.resize(kShown);
  std::string table =
      "<div class=\"wide\"><table><tr><th>layer</th><th>step</th><th>linear</th><th>result</th><th>error</th>"
      "<th>operand</th><th>error</th><th>flushed</th><th>saturated</th><th>subnormal</th><th>binades</th></tr>\n";
  for (const auto& [line, product] : all) {
    bool first = true;
    for (const char* operand : kOperands) {
      if (!product->contains(operand)) continue;
      const ordered_json& s = (*product)[operand];
      table += first
                   ? fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>", line->value("layer", 0),
                                 line->value("step", 0), html_escape(product->value("linear", "")),
                                 product->value("result", ""), percent(product->value("error", 0.0)))
                   : std::string("<tr><td></td><td></td><td></td><td></td><td></td>");
      table +=
          fmt::format("<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1f}</td></tr>\n", operand,
                      percent(s.value("error", 0.0)), percent(s.value("flushed", 0.0)),
                      percent(s.value("saturated", 0.0)), percent(s.value("subnormal", 0.0)), s.value("binades", 0.0));
      first = false;
    }
  }
  return table + "</table></div>\n";
}

}  // namespace hadal
