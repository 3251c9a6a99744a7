#include "study/pages.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/html.h"
#include "picture/chart.h"
#include "picture/html_table.h"

namespace hadal {
namespace {

std::string percent(double share) { return fmt::format("{:.2f} %", 100 * share); }

std::string products_part(const std::vector<ProductRow>& rows) {
  HtmlTable table(
      {"products of synthetic operands", "as the report has it", "error", "instead", "error", "ratio", "at least"});
  for (const ProductRow& r : rows) {
    const std::string least = r.least > 0 ? fmt::format("{}", r.least) : "";
    if (!r.missing.empty()) {
      table.add({html_escape(r.what), r.ours, "-", r.theirs, "-", "not measured: " + html_escape(r.missing), least});
      continue;
    }
    table.add({html_escape(r.what), r.ours, fmt::format("{:.3f} %", 100 * r.our_error), r.theirs,
               fmt::format("{:.3f} %", 100 * r.their_error), fmt::format("{:.2f}", r.ratio()), least});
  }
  return "<h2>Single choices</h2>\n" + table.text();
}

std::vector<std::string> cells_of(const SchemeErrors& errors) {
  std::vector<std::string> cells;
  for (const SchemeError& e : errors)
    cells.push_back(fmt::format("{} / {} / {}", percent(e.error), percent(e.small_rows), percent(e.flushed)));
  return cells;
}

std::vector<std::string> scheme_head(std::vector<std::string> head) {
  for (const Scheme& scheme : schemes()) head.push_back(scheme.name);
  return head;
}

std::string synthetic_part(const std::vector<OutlierRow>& rows) {
  HtmlTable table(scheme_head({"largest element"}));
  std::vector<ChartLine> errors, flushed;
  for (size_t s = 0; s < schemes().size(); ++s)
    errors.push_back({schemes()[s].name, {}}), flushed.push_back({schemes()[s].name, {}});
  for (const OutlierRow& row : rows) {
    std::vector<std::string> cells = {fmt::format("{:g}", row.ratio)};
    for (const std::string& cell : cells_of(row.errors)) cells.push_back(cell);
    table.add(cells);
    for (size_t s = 0; s < row.errors.size(); ++s) {
      errors[s].points.emplace_back(std::log10(row.ratio), 100 * row.errors[s].error);
      flushed[s].points.emplace_back(std::log10(row.ratio), 100 * row.errors[s].flushed);
    }
  }
  const char* below = "log10 of the one element over the deviation of the others";
  return "<h2>One outlier among 256 x 1024 Gaussian values</h2>\n<p>Of all values but the outlier: error / error of "
         "the "
         "tenth of the rows that are smallest / share flushed to zero.</p>\n" +
         table.text() +
         charts(line_chart(errors, {.title = "error of all others, %", .x_label = below, .log_y = true}) +
                line_chart(flushed, {.title = "flushed to zero, %", .x_label = below, .from_zero = true}));
}

std::string tensors_part(const std::vector<TensorRow>& rows) {
  HtmlTable table(scheme_head({"linear", "tensor", "largest / rms"}));
  std::vector<ChartLine> lines;
  for (const Scheme& scheme : schemes()) lines.push_back({scheme.name, {}});
  for (size_t i = 0; i < rows.size(); ++i) {
    const TensorRow& row = rows[i];
    std::vector<std::string> cells = {html_escape(row.linear), row.gradient ? "dy" : "x",
                                      fmt::format("{:.1f}", row.largest_over_rms)};
    for (const std::string& cell : cells_of(row.errors)) cells.push_back(cell);
    table.add(cells);
    for (size_t s = 0; s < row.errors.size(); ++s)
      lines[s].points.emplace_back(double(i), 100 * row.errors[s].small_rows);
  }
  return "<h2>The model's own activations and gradients</h2>\n<p>error / error of the tenth of the rows that are "
         "smallest / share flushed to zero</p>\n" +
         charts(line_chart(lines, {.title = "error of small rows, %, tensor by tensor as below",
                                   .x_label = "number of the tensor",
                                   .log_y = true})) +
         table.text();
}

// Of all layers together: the mean, and the worst.
std::string shadow_part(const std::vector<ProductFinding>& products) {
  struct Of {
    double sum = 0, worst = 0;
    int64_t n = 0;
    std::string where;
  };
  std::vector<std::pair<std::string, Of>> kinds;
  for (const ProductFinding& f : products) {
    const std::string prefix = fmt::format("layers.{}.", f.layer);
    const std::string kind = result_name(f.product) + std::string(" of ") +
                             (f.linear.starts_with(prefix) ? f.linear.substr(prefix.size()) : f.linear);
    auto found = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.first == kind; });
    if (found == kinds.end()) found = kinds.insert(kinds.end(), {kind, {}});
    Of& of = found->second;
    of.sum += f.error(), ++of.n;
    if (f.error() >= of.worst) of.worst = f.error(), of.where = f.linear;
  }
  HtmlTable table({"product", "error, mean of the layers", "largest", "where"});
  for (const auto& [kind, of] : kinds)
    table.add({html_escape(kind), percent(of.sum / double(of.n)), percent(of.worst), html_escape(of.where)});
  return fmt::format(
             "<h2>Each product alone</h2>\n<p>The products of the report's recipe repeated with values, in FP32; "
             "{} is to be expected.</p>\n",
             percent(kExpectedProductError)) +
         table.text();
}

std::string kinds_part(const std::vector<std::pair<std::string, const GradientErrors*>>& variants) {
  std::vector<std::string> head = {"gradient of"};
  for (const auto& [name, errors] : variants) head.push_back(html_escape(name));
  HtmlTable table(head);
  std::vector<std::string> all = {"all"};
  for (const auto& [name, errors] : variants) all.push_back("<b>" + percent(errors->all) + "</b>");
  table.add(all);
  for (const auto& [kind, ignored] : variants.front().second->by_kind) {
    std::vector<std::string> cells = {html_escape(kind)};
    for (const auto& [name, errors] : variants) {
      const auto found = errors->by_kind.find(kind);
      cells.push_back(found == errors->by_kind.end() ? "-" : percent(found->second));
    }
    table.add(cells);
  }
  return table.text();
}

std::vector<double> of_runs(const VariantResult& result, double (*what)(const VariantRun&)) {
  std::vector<double> values;
  for (const VariantRun& run : result.runs) values.push_back(what(run));
  return values;
}

double last_loss(const VariantRun& run) {  // a mean of the last tenth: single batches differ more than variants
  const size_t n = std::max<size_t>(1, run.losses.size() / 10);
  double sum = 0;
  for (size_t i = run.losses.size() - n; i < run.losses.size(); ++i) sum += run.losses[i];
  return sum / double(n);
}

std::string spread(const std::vector<double>& values) {
  if (values.size() < 2) return "";
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return fmt::format(" ({:.4f} .. {:.4f})", *low, *high);
}

double mean_gradient_error(const VariantRun& run) {
  double sum = 0;
  for (const FrozenPoint& point : run.frozen) sum += point.errors.all;
  return run.frozen.empty() ? 0 : sum / double(run.frozen.size());
}

std::string summary_part(const Ablation& a) {
  HtmlTable table({"variant", "how", "loss, last tenth of the steps: median (all seeds)",
                   "held-out bits per byte: median (all seeds)", "gradient error, mean of the looks",
                   "seconds a step"});
  for (const VariantResult& r : a.results) {
    if (r.runs.empty()) {
      table.add({html_escape(r.variant.title), html_escape(r.variant.how),
                 "left out: " + html_escape(r.missing.empty() ? "stopped before" : r.missing), "", "", ""});
      continue;
    }
    const auto losses = of_runs(r, last_loss), errors = of_runs(r, mean_gradient_error);
    const auto bits = of_runs(r, [](const VariantRun& run) { return run.bits_per_byte; });
    const auto seconds = of_runs(r, [](const VariantRun& run) { return run.seconds / double(run.losses.size()); });
    table.add({html_escape(r.variant.title), html_escape(r.variant.how),
               fmt::format("{:.4f}{}", median(losses), spread(losses)),
               median(bits) > 0 ? fmt::format("{:.4f}{}", median(bits), spread(bits)) : "-", percent(median(errors)),
               fmt::format("{:.3f}", median(seconds))});
  }
  return table.text();
}

std::string curves_part(const Ablation& a) {
  std::vector<ChartLine> losses, bits, gaps, gradients;
  const std::vector<double>* base = nullptr;
  for (const VariantResult& r : a.results)
    if (r.variant.name == "bf16" && !r.runs.empty()) base = &r.runs.front().losses;
  for (const VariantResult& r : a.results) {
    if (r.runs.empty()) continue;
    const VariantRun& run = r.runs.front();
    ChartLine loss{r.variant.title, {}}, gap{r.variant.title, {}}, gradient{r.variant.title, {}};
    for (size_t i = 0; i < run.losses.size(); ++i) {
      loss.points.emplace_back(double(i + 1), run.losses[i]);
      if (base) gap.points.emplace_back(double(i + 1), 100 * (run.losses[i] / (*base)[i] - 1));
    }
    for (const FrozenPoint& point : run.frozen)
      gradient.points.emplace_back(double(point.step), 100 * point.errors.all);
    losses.push_back(std::move(loss)), gradients.push_back(std::move(gradient));
    if (base && r.variant.name != "bf16") gaps.push_back(std::move(gap));
  }
  std::string all =
      line_chart(gradients, {.title = "gradient error against FP64 of the same weights, %", .log_y = true}) +
      line_chart(losses, {.title = "training loss, first seed", .smooth = true});
  if (!gaps.empty()) all += line_chart(gaps, {.title = "loss against BF16 on the same batch, %", .smooth = true});
  return charts(all);
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

std::string outliers_page(const std::vector<OutlierRow>& synthetic, const std::vector<TensorRow>& tensors,
                          const std::string& model) {
  std::string body = tensors.empty() ? "" : "<p>Model: " + html_escape(model) + "</p>\n";
  body += synthetic_part(synthetic);
  if (!tensors.empty()) body += tensors_part(tensors);
  return page_of("Outliers under five ways to scale", body);
}

std::string errors_page(const VariantErrors& variants, const std::vector<ProductFinding>& products,
                        const std::vector<ProductRow>& synthetic, const std::string& model) {
  std::vector<std::pair<std::string, const GradientErrors*>> columns;
  for (const auto& [variant, errors] : variants) columns.emplace_back(variant.title, &errors);
  std::string body = "<p>Model: " + html_escape(model) +
                     "</p>\n<h2>Gradients of one batch against FP64 of the same "
                     "weights and routes</h2>\n" +
                     kinds_part(columns);
  if (!products.empty()) body += shadow_part(products);
  return page_of("Errors of gradients", body + products_part(synthetic));
}

std::string ablation_page(const Ablation& a, const std::vector<ProductRow>& synthetic) {
  std::string body = fmt::format(
      "<p>{}: {} parameters, {} steps of {} tokens, the same start and the same batches for every variant of a seed; "
      "{}. "
      "Gradients are compared on {} frozen tokens, with the routes of the variant.{}</p>\n",
      html_escape(a.title), a.parameters, a.steps, a.tokens_a_step, html_escape(a.place), a.frozen_tokens,
      a.complete ? "" : " Stopped before its end: what was complete is here.");
  body += summary_part(a) + "<h2>Curves</h2>\n" + curves_part(a);
  std::vector<std::pair<std::string, const GradientErrors*>> columns;
  for (const VariantResult& r : a.results)
    if (!r.runs.empty() && !r.runs.front().frozen.empty())
      columns.emplace_back(r.variant.title, &r.runs.front().frozen.back().errors);
  if (!columns.empty()) body += "<h2>Gradients at the last look, first seed</h2>\n" + kinds_part(columns);
  return page_of("What each choice of the FP8 recipe does", body + products_part(synthetic));
}

}  // namespace hadal
