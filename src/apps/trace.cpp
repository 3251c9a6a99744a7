// hadal trace: what every layer gives on given tokens, written to a file, or compared with such a file.
#include "proof/trace.h"
#include "apps/cli.h"
#include "apps/model_choice.h"
#include "base/error.h"
#include "base/table.h"
#include "dialogue/text_model.h"

namespace hadal {
namespace {

struct TraceOptions {
  ModelChoice model;
  std::string output, compare;
  std::vector<int32_t> tokens;
  double tolerance = 1e-3;
  CommonOptions common;
};

// The whole table, and the first place that differs; 1 if there is one.
int report(const std::vector<TraceDifference>& differences, const TraceOptions& o) {
  Table table({"place", "relative difference", "largest", "first token apart"});
  const TraceDifference* first = nullptr;
  for (const auto& d : differences) {
    const bool apart = d.first_row >= 0;
    if (apart && first == nullptr) first = &d;
    table.add({d.name, fmt::format("{:.1e}", d.relative), fmt::format("{:.1e}", d.largest),
               apart ? std::to_string(d.first_row) : "-"});
  }
  fmt::print("{}", table.text());
  if (first == nullptr) {
    fmt::print("no difference beyond {} in {} places\n", o.tolerance, differences.size());
    return kExitFine;
  }
  fmt::print("first difference: {} at token {} (id {}), relative difference {:.1e}, tolerance {}\n", first->name,
             first->first_row, o.tokens[size_t(first->first_row)], first->relative, o.tolerance);
  return kExitFailed;
}

int run_trace(const TraceOptions& o) {
  check(!o.output.empty() || !o.compare.empty(), ErrorKind::invalid, "give --output FILE, --compare FILE or both");
  std::unique_ptr<SafetensorsReader> other;
  if (!o.compare.empty()) other = std::make_unique<SafetensorsReader>(o.compare);
  auto exec = o.common.exec();
  const auto loaded = o.model.open(exec.exec, o.common.quiet);
  const int64_t ids = loaded.model.transformer->config().vocab_size;
  for (const int32_t id : o.tokens)
    check(id >= 0 && id < ids, ErrorKind::invalid, "--tokens: token id {} must lie in 0 .. {}", id, ids - 1);
  const auto trace = trace_model(exec.exec, *loaded.model.transformer, o.tokens);
  loaded.model.check_intact();
  if (!o.output.empty()) save_safetensors(o.output, trace, {{"format", "pt"}});
  return other ? report(compare_traces(trace, *other, o.tolerance), o) : kExitFine;
}

}  // namespace

void add_trace(Verb root, Cli& cli) {
  auto o = std::make_shared<TraceOptions>();
  Verb verb = root.add_verb("trace", "Hidden states, experts and weights of every layer, to keep or compare");
  add_model_options(verb, o->model, {.ema = true});
  verb.add_option("--tokens", o->tokens, "token ids, separated by commas").separated_by(',').required();
  verb.add_option("--output", o->output,
                  "safetensors file: tokens, embedding, layers.N.output, layers.N.moe.experts, "
                  "layers.N.moe.weights, final_norm");
  verb.add_option("--compare", o->compare, "a file with the same names: the first place that differs is named");
  verb.add_option("--tolerance", o->tolerance, "relative difference of a token's row that counts as one")
      .not_negative()
      .show_default();
  add_place_options(verb, o->common);
  verb.add_examples({"hadal trace --model DIR --tokens 5,17,3 --output ours.safetensors",
                     "hadal trace --model DIR --tokens 5,17,3 --compare theirs.safetensors --tolerance 1e-4"});
  cli.on(verb, [o] { return run_trace(*o); });
}

}  // namespace hadal
