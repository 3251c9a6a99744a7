// What a sweep found: a table, a sentence, a page.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/html.h"
#include "base/table.h"
#include "base/text_format.h"
#include "picture/chart.h"
#include "picture/html_table.h"
#include "study/pages.h"
#include "study/sweep.h"

namespace hadal {
namespace {

bool all_done(const SweepResult& result, const SweptArm& arm, size_t budget) {
  for (size_t seed = 0; seed < result.sweep.config.seeds.size(); ++seed)
    if (!arm.run(result.sweep.config, budget, seed).done) return false;
  return true;
}

std::vector<double> losses_at(const SweepResult& result, const SweptArm& arm, size_t budget) {
  std::vector<double> losses;
  for (size_t seed = 0; seed < result.sweep.config.seeds.size(); ++seed) {
    const SweepRun& run = arm.run(result.sweep.config, budget, seed);
    if (run.done) losses.push_back(run.bits_per_byte);
  }
  return losses;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? std::numeric_limits<double>::quiet_NaN() : sum / double(values.size());
}

// Of budgets that both have ended.
LossesByFlops losses_of(const SweepResult& result, const SweptArm& arm, const SweptArm& other) {
  LossesByFlops all;
  for (size_t b = 0; b < result.sweep.config.budgets.size(); ++b) {
    if (!all_done(result, arm, b) || !all_done(result, other, b)) continue;
    all.flops.push_back(result.sweep.config.budgets[b]);
    all.losses.push_back(losses_at(result, arm, b));
  }
  return all;
}

const SweptArm& baseline_of(const SweepResult& result) {
  const std::string& name = result.sweep.baseline().name;
  return *std::find_if(result.arms.begin(), result.arms.end(), [&](const SweptArm& arm) { return arm.name == name; });
}

double speed_of(const SweptArm& arm) {
  std::vector<double> speeds;
  for (const SweepRun& run : arm.runs)
    if (run.done && run.tokens_per_second > 0) speeds.push_back(run.tokens_per_second);
  return speeds.empty() ? 0 : median(speeds);
}

// Of a budget: what its runs ended at, or the steps that they will take.
std::string loss_text(const std::vector<double>& losses, const SweepRun& first) {
  if (losses.empty()) return format_count(first.steps) + " steps";
  if (losses.size() == 1) return fmt::format("{:.4f}", losses[0]);
  const auto [low, high] = std::minmax_element(losses.begin(), losses.end());
  return fmt::format("{:.4f} ({:.4f} .. {:.4f})", mean(losses), *low, *high);
}

std::string multiplier_text(const SweepResult& result, const SweptArm& arm, size_t budget) {
  if (&arm == &baseline_of(result)) return "1";
  const ComputeMultiplier m = multiplier_of(result, arm, budget);
  return m.told() ? fmt::format("{:.2f} ({:.2f} .. {:.2f})", m.value, m.low, m.high) : "-";
}

std::string rate_text(const SweptArm& arm) {
  if (arm.learning_rate == 0) return "-";
  return fmt::format("{:g}{}", arm.learning_rate, arm.rate_at_edge ? " (at the edge of those tried)" : "");
}

std::vector<std::string> head_of(const SweepResult& result) {
  std::vector<std::string> head = {"arm",           "parameters", "activated",     "FLOP a token",
                                   "of it trained", "cache",      "learning rate", "tokens/s"};
  for (const double budget : result.sweep.config.budgets) head.push_back(fmt::format("{:.3g} FLOP", budget));
  head.push_back("compute multiplier");
  return head;
}

std::vector<std::string> cells_of(const SweepResult& result, const SweptArm& arm) {
  std::vector<std::string> cells = {arm.title,
                                    format_si(double(arm.parameters.total)),
                                    format_si(double(arm.parameters.activated)),
                                    format_si(arm.forward_flops),
                                    format_si(arm.training_flops),
                                    fmt::format("{} B", arm.cache_bytes),
                                    rate_text(arm),
                                    speed_of(arm) > 0 ? format_si(speed_of(arm)) : "-"};
  const size_t budgets = result.sweep.config.budgets.size();
  for (size_t b = 0; b < budgets; ++b)
    cells.push_back(loss_text(losses_at(result, arm, b), arm.run(result.sweep.config, b, 0)));
  cells.push_back(multiplier_text(result, arm, budgets - 1));
  return cells;
}

ChartLine ends_of(const SweepResult& result, const SweptArm& arm) {
  ChartLine line{arm.title, {}};
  for (size_t b = 0; b < result.sweep.config.budgets.size(); ++b) {
    const std::vector<double> losses = losses_at(result, arm, b);
    if (!losses.empty()) line.points.emplace_back(std::log10(result.sweep.config.budgets[b]), mean(losses));
  }
  return line;
}

ChartLine curve_of(const SweptArm& arm) {  // of the longest run of the first seed that has ended
  ChartLine line{arm.title, {}};
  for (const SweepRun& run : arm.runs)
    if (run.done && run.seed == arm.runs.front().seed) line.points = run.curve;
  return line;
}

std::string charts_part(const SweepResult& result) {
  std::vector<ChartLine> ends, curves;
  for (const SweptArm& arm : result.arms) ends.push_back(ends_of(result, arm)), curves.push_back(curve_of(arm));
  return charts(line_chart(ends, {.title = "held-out bits per byte at the end of a run, mean of the seeds",
                                  .x_label = "log10 of the run's FLOPs"}) +
                line_chart(curves, {.title = "the longest run of the first seed on its way, bits per byte",
                                    .x_label = "FLOPs so far"}));
}

std::string tries_part(const SweepResult& result) {
  std::vector<std::string> head = {"arm"};
  for (const double rate : result.sweep.config.learning_rates) head.push_back(fmt::format("{:g}", rate));
  HtmlTable table(head);
  for (const SweptArm& arm : result.arms) {
    std::vector<std::string> cells = {html_escape(arm.title)};
    for (const SweepRun& run : arm.tries) {
      const std::string text = run.done ? fmt::format("{:.4f}", run.bits_per_byte) : "-";
      cells.push_back(run.done && run.learning_rate == arm.learning_rate ? "<b>" + text + "</b>" : text);
    }
    table.add(cells);
  }
  return fmt::format(
             "<h2>Learning rates</h2>\n<p>Each arm tried these with {:.3g} FLOP and the first seed; the best serves "
             "all "
             "its runs.</p>\n",
             result.sweep.config.budgets.front()) +
         table.text();
}

std::string multipliers_part(const SweepResult& result) {
  std::vector<std::string> head = {"arm"};
  for (const double budget : result.sweep.config.budgets) head.push_back(fmt::format("{:.3g} FLOP", budget));
  HtmlTable table(head);
  for (const SweptArm& arm : result.arms) {
    std::vector<std::string> cells = {html_escape(arm.title)};
    for (size_t b = 0; b < result.sweep.config.budgets.size(); ++b) cells.push_back(multiplier_text(result, arm, b));
    table.add(cells);
  }
  return fmt::format(
             "<h2>Compute multipliers over {}</h2>\n<p>As many times the FLOPs the baseline would need for the same "
             "loss, by a line through its losses over the logarithm of FLOPs; in brackets 95 % of a bootstrap over {} "
             "seeds, which so few make too narrow. An interval that holds 1 is a tie.</p>\n",
             html_escape(baseline_of(result).title), result.sweep.config.seeds.size()) +
         table.text();
}

}  // namespace

ComputeMultiplier multiplier_of(const SweepResult& result, const SweptArm& arm, size_t budget) {
  const SweptArm& baseline = baseline_of(result);
  const LossesByFlops own = losses_of(result, arm, baseline), others = losses_of(result, baseline, arm);
  const auto at = std::find(own.flops.begin(), own.flops.end(), result.sweep.config.budgets[budget]);
  ComputeMultiplier none;
  none.value = std::numeric_limits<double>::quiet_NaN();
  return at == own.flops.end() ? none : compute_multiplier(own, others, size_t(at - own.flops.begin()));
}

std::string sweep_table(const SweepResult& result) {
  Table table(head_of(result));
  for (const SweptArm& arm : result.arms) table.add(cells_of(result, arm));
  return table.text();
}

std::string sweep_sentence(const SweepResult& result) {
  if (!result.complete()) return "";
  const SweptArm& baseline = baseline_of(result);
  const size_t last = result.sweep.config.budgets.size() - 1;
  std::string text =
      fmt::format("With {:.3g} FLOP a run, {} ends at {:.4f} bits per byte", result.sweep.config.budgets[last],
                  baseline.title, mean(losses_at(result, baseline, last)));
  for (const SweptArm& arm : result.arms) {
    if (&arm == &baseline) continue;
    const ComputeMultiplier m = multiplier_of(result, arm, last);
    text += fmt::format("; {} at {:.4f}", arm.title, mean(losses_at(result, arm, last)));
    if (!m.told()) continue;
    text += fmt::format(", worth {:.2f} times its FLOPs ({:.2f} to {:.2f}{})", m.value, m.low, m.high,
                        m.low <= 1 && m.high >= 1 ? ": a tie" : "");
  }
  return text + ".";
}

std::string sweep_page(const SweepResult& result) {
  const SweepConfig& config = result.sweep.config;
  std::string body = fmt::format(
      "<p>{} arms, {} budgets, {} seeds; steps of {} tokens, the same text in the same order for every arm of a seed; "
      "{}. "
      "A budget pays for three times the forward pass, MTP included; FLOP a token are those of a forward without MTP, "
      "equal within {:g} %.{}</p>\n",
      result.arms.size(), config.budgets.size(), config.seeds.size(), result.tokens_a_step, html_escape(result.place),
      100 * config.tolerance, result.complete() ? "" : " Not all runs have ended: what has is here.");
  const std::string sentence = sweep_sentence(result);
  if (!sentence.empty()) body += "<p><b>" + html_escape(sentence) + "</b></p>\n";
  HtmlTable table(head_of(result));
  for (const SweptArm& arm : result.arms) table.add(escaped(cells_of(result, arm)));
  body += table.text() + charts_part(result) + multipliers_part(result) + tries_part(result);
  return page_of("Models of equal FLOPs, compared by what they learn", body);
}

}  // namespace hadal
