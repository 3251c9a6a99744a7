#include "phases/phase_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/html.h"
#include "base/text_format.h"
#include "checkpoint/phase_record.h"
#include "phases/extension_part.h"
#include "phases/kinds.h"
#include "picture/html_table.h"
#include "picture/page.h"
#include "train/evaluation_record.h"
#include "train/report_sections.h"

namespace hadal {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

struct ShownPhase {
  Phase phase;
  RunRecord run;
  const PhaseRecord* ended = nullptr;
  double begin = 0, tokens = 0;             // on the axis of all phases
  std::map<double, double> tokens_at = {};  // behind each step
  std::vector<EvaluationRecord> evaluations = {};

  bool is_control() const { return !phase.control_of.empty(); }
  // Steps say their tokens, other lines the step behind which they stand.
  double place(const ordered_json& line) const {
    const auto found = tokens_at.find(number(line, "step"));
    return begin + (found != tokens_at.end() ? found->second : 0);
  }
};

struct Walked {
  std::string name;
  std::vector<PhaseRecord> records;
  std::vector<ShownPhase> phases;
  std::vector<std::string> waiting;  // phases that have made no step

  const ShownPhase* find(const std::string& phase) const {
    for (const ShownPhase& shown : phases)
      if (shown.phase.name == phase) return &shown;
    return nullptr;
  }
};

// Nothing of a phase that has made no step.
std::optional<RunRecord> begun_run(const fs::path& run) {
  try {
    return read_run(run);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    return std::nullopt;
  }
}

Walked read_walk(const fs::path& run) {
  Walked walk;
  walk.name = run.filename().empty() ? run.parent_path().filename().string() : run.filename().string();
  walk.records = read_phase_records(run);
  double at = 0;
  for (const Phase& phase : load_phases((run / kPhasesFile).string(), training_kinds()).phases) {
    std::optional<RunRecord> begun = begun_run(run / phase.name);
    if (!begun) {
      walk.waiting.push_back(phase.name);
      continue;
    }
    ShownPhase shown{phase, std::move(*begun)};
    for (const PhaseRecord& record : walk.records)
      if (record.name == phase.name) shown.ended = &record;
    shown.begin = at, shown.tokens = number(shown.run.steps.back(), "tokens");
    if (!shown.is_control()) {
      at += shown.tokens;
    } else if (const ShownPhase* other = walk.find(phase.control_of)) {
      shown.begin = other->begin;
    }
    for (const auto& step : shown.run.steps) shown.tokens_at[number(step, "step")] = number(step, "tokens");
    shown.evaluations = read_evaluations(run / phase.name);
    walk.phases.push_back(std::move(shown));
  }
  check(!walk.phases.empty(), ErrorKind::not_found, "{}: none of its phases has made a step yet", run.string());
  return walk;
}

using Value = std::function<double(const ShownPhase& phase, const ordered_json& line)>;
using Lines = MetricLines RunRecord::*;

// One line over the phases of the main line, or over controls in the places of what they repeat; broken between them.
ChartLine over_phases(const Walked& walk, const std::string& name, Lines lines, const Value& value,
                      bool controls = false) {
  ChartLine line{name, {}};
  for (const ShownPhase& phase : walk.phases) {
    if (phase.is_control() != controls || (controls && !walk.find(phase.phase.control_of))) continue;
    for (const auto& entry : phase.run.*lines) line.points.emplace_back(phase.place(entry), value(phase, entry));
    if (!line.points.empty()) line.points.emplace_back(line.points.back().first, NAN);
  }
  return line;
}

std::string chart(const Walked& walk, const std::vector<ChartLine>& lines, ChartOptions options) {
  for (const ShownPhase& phase : walk.phases)
    if (!phase.is_control()) options.bands.push_back({phase.phase.name, phase.begin, phase.begin + phase.tokens});
  options.x_label = "tokens";
  return line_chart(lines, options);
}

std::string key_chart(const Walked& walk, Lines lines, const char* key, const ChartOptions& options) {
  const auto value = [&](const ShownPhase&, const ordered_json& line) { return number(line, key); };
  std::vector<ChartLine> drawn{over_phases(walk, key, lines, value)};
  if (ChartLine controls = over_phases(walk, "the same without YaRN", lines, value, true); !controls.points.empty())
    drawn.push_back(std::move(controls));
  return chart(walk, drawn, options);
}

std::string domain_chart(const Walked& walk, Lines lines, const char* key, const ChartOptions& options) {
  std::vector<std::string> names;
  for (const ShownPhase& phase : walk.phases)
    for (const std::string& name : domains_in(phase.run.*lines))
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  std::vector<ChartLine> drawn;
  for (const std::string& name : names)
    drawn.push_back(over_phases(
        walk, name, lines, [&](const ShownPhase&, const ordered_json& line) { return of_domain(line, name, key); }));
  return drawn.empty() ? "" : chart(walk, drawn, options);
}

std::string one_axis(const Walked& walk) {
  const Lines steps = &RunRecord::steps, validations = &RunRecord::validations;
  const auto context = over_phases(walk, "context", steps, [](const ShownPhase& phase, const ordered_json&) {
    return double(phase.phase.config.data.sequence_length);
  });
  const auto batch = over_phases(walk, "batch", steps, [](const ShownPhase& phase, const ordered_json& line) {
    return number(line, "sequences") * double(phase.phase.config.data.sequence_length);
  });
  std::string charts = key_chart(walk, steps, "loss", {.title = "training loss (nats per token)", .log_y = true});
  charts += key_chart(walk, validations, "bits_per_byte", {.title = "held-out bits per byte (each phase's own text)"});
  charts += key_chart(walk, steps, "lr", {.title = "learning rate", .from_zero = true});
  charts += chart(walk, {context}, {.title = "context (tokens of a sequence)", .log_y = true});
  charts += chart(walk, {batch}, {.title = "batch (places for tokens)", .from_zero = true});
  charts += key_chart(walk, steps, "grad_norm", {.title = "gradient norm before clipping", .log_y = true});
  charts += key_chart(walk, steps, "load", {.title = "worst layer's max / mean load"});
  charts += key_chart(walk, steps, "tokens_per_second", {.title = "tokens per second", .from_zero = true});
  charts += domain_chart(walk, steps, "loss", {.title = "training loss by domain"});
  charts += domain_chart(walk, validations, "bits_per_byte", {.title = "held-out bits per byte by domain"});
  charts += domain_chart(walk, validations, "load", {.title = "max / mean load by domain, held out"});
  return "<h2>All phases on one axis</h2><div class=\"charts\">" + charts + "</div>\n";
}

std::string lineage(const Walked& walk) {
  HtmlTable table({"phase", "kind", "from", "steps", "tokens", "context", "learning rate", "last loss", "bits per byte",
                   "of the average", "model", "state"});
  for (const ShownPhase& shown : walk.phases) {
    const auto &first = shown.run.steps.front(), &last = shown.run.steps.back();
    table.add(escaped({shown.phase.name, kind_in_words(shown.phase.kind, shown.phase.control_of),
                       shown.phase.from.empty() ? "-" : shown.phase.from, format_count(int64_t(number(last, "step"))),
                       format_count(int64_t(shown.tokens)), format_count(shown.phase.config.data.sequence_length),
                       fmt::format("{:.3g} to {:.3g}", number(first, "lr"), number(last, "lr")),
                       fmt::format("{:.4f}", number(last, "loss")), last_bits(shown.run.validations),
                       last_bits(shown.run.averages), shown.ended ? shown.ended->model.substr(0, 12) : "-",
                       shown.ended ? "ended" : "has begun"}));
  }
  std::string out = table.text();
  for (const std::string& name : walk.waiting) out += "<p class=\"soft\">" + html_escape(name) + ": no step yet</p>\n";
  return out;
}

std::string evaluations_by_phase(const Walked& walk) {
  std::vector<EvaluationColumn> columns;
  for (const ShownPhase& shown : walk.phases) add_columns(columns, shown.phase.name, shown.evaluations);
  return evaluation_table(columns);
}

// A part of every phase under a heading of its own; nothing where no phase has it.
std::string by_phase(const Walked& walk, const std::string& title,
                     const std::function<std::string(const ShownPhase&)>& part) {
  std::string all;
  for (const ShownPhase& shown : walk.phases)
    if (const std::string text = part(shown); !text.empty())
      all += "<h3>" + html_escape(shown.phase.name) + "</h3>\n" + text;
  return all.empty() ? "" : "<h2>" + title + "</h2>\n" + all;
}

// Before an extension: the last phase of its ancestors that knew no YaRN.
std::vector<ContextExtension> extensions_of(const Walked& walk) {
  const auto under_yarn = [](const ShownPhase& shown) { return shown.phase.config.model.yarn.factor > 1; };
  std::vector<ContextExtension> all;
  for (const ShownPhase& shown : walk.phases) {
    if (shown.phase.kind != "extend" || !under_yarn(shown)) continue;
    const ShownPhase* before = walk.find(shown.phase.from);
    while (before && under_yarn(*before)) before = walk.find(before->phase.from);
    ContextExtension extension{shown.phase.name, {}};
    if (before) extension.sides.push_back({"before", before->phase.name, before->evaluations});
    extension.sides.push_back({"after", shown.phase.name, shown.evaluations});
    for (const ShownPhase& other : walk.phases)
      if (other.phase.control_of == shown.phase.name)
        extension.sides.push_back({"without YaRN", other.phase.name, other.evaluations});
    if (extension.can_be_compared()) all.push_back(std::move(extension));
  }
  return all;
}

std::string evaluation_part(const Walked& walk) {
  const std::string table = evaluations_by_phase(walk);
  if (table.empty()) return "";
  const std::vector<ContextExtension> extensions = extensions_of(walk);
  const auto compared = [&](const std::string& phase) {
    return std::any_of(extensions.begin(), extensions.end(), [&](const ContextExtension& extension) {
      return std::any_of(extension.sides.begin(), extension.sides.end(),
                         [&](const ExtensionSide& side) { return side.phase == phase; });
    });
  };
  std::string grids;
  for (const ShownPhase& shown : walk.phases) {
    if (compared(shown.phase.name)) continue;  // its grids stand there
    std::vector<EvaluationRecord> named = shown.evaluations;
    for (EvaluationRecord& record : named)
      for (Grid& grid : record.grids) grid.title = shown.phase.name + ": " + grid.title;
    grids += evaluation_grids(named);
  }
  return "<h2>Evaluations</h2>\n" + table + (grids.empty() ? "" : charts(grids)) + extension_part(extensions) +
         by_phase(walk, "What was asked, and what it answered",
                  [](const ShownPhase& shown) { return evaluation_samples(shown.evaluations); });
}

}  // namespace

std::string phase_report_html(const fs::path& run) {
  const Walked walk = read_walk(run);
  constexpr size_t kSamples = 3;
  std::string page = page_head(walk.name) + "<h1>Training report: " + html_escape(walk.name) + "</h1>\n" +
                     lineage(walk) + one_axis(walk);
  page += evaluation_part(walk);
  page += by_phase(walk, "What it wrote at the end of a phase",
                   [](const ShownPhase& shown) { return sample_timeline(shown.run, kSamples); });
  page += by_phase(walk, "Texts", [](const ShownPhase& shown) { return data_section(shown.run); });
  page += by_phase(walk, "Packed sequences", [](const ShownPhase& shown) { return packing_picture(shown.run); });
  page += by_phase(walk, "Experts by domain", [](const ShownPhase& shown) { return domain_loads(shown.run); });
  page += by_phase(walk, "Configurations", [](const ShownPhase& shown) { return configuration_details(shown.run); });
  return page + "</body></html>\n";
}

}  // namespace hadal
