// hadal precision ablate: trains variants of the FP8 recipe from the same start on the same batches, and writes one
// page of their losses and of the errors of their gradients.
#include <algorithm>
#include <filesystem>

#include "apps/precision.h"
#include "apps/run_config.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/open_device.h"
#include "base/progress.h"
#include "base/table.h"
#include "config/config_io.h"
#include "study/pages.h"
#include "train/resources.h"

namespace hadal {
namespace {

struct AblateOptions {
  std::string config, run, html;
  std::vector<std::string> text, only;
  bool slow = false;
  AblationOptions study;
  CommonOptions common;
};

std::string table_of(const Ablation& a) {
  Table table({"variant", "seeds", "last loss", "bits per byte", "gradient error", "at the end", "s a step"});
  for (const VariantResult& r : a.results) {
    if (r.runs.empty()) {
      table.add({r.variant.name, "-", "-", "-", "-", "-", "-"});
      continue;
    }
    std::vector<double> losses, bits, first, last, seconds;
    for (const VariantRun& run : r.runs) {
      losses.push_back(run.losses.back()), bits.push_back(run.bits_per_byte);
      first.push_back(run.frozen.front().errors.all), last.push_back(run.frozen.back().errors.all);
      seconds.push_back(run.seconds / double(run.losses.size()));
    }
    table.add({r.variant.name, std::to_string(r.runs.size()), fmt::format("{:.4f}", median(losses)),
               fmt::format("{:.4f}", median(bits)), fmt::format("{:.2f} %", 100 * median(first)),
               fmt::format("{:.2f} %", 100 * median(last)), fmt::format("{:.3f}", median(seconds))});
  }
  return table.text();
}

int run_ablate(AblateOptions o) {
  if (o.run.empty()) o.run = (std::filesystem::path("runs") / "precision").string();
  RunArguments arguments{o.text, o.common.set, o.run};
  Config config = read_run_config(o.config, arguments);
  check(config.parallel.ranks() == 1, ErrorKind::invalid, "variants are trained on one rank: leave the layout {} out",
        layout_text(config.parallel));
  check(!o.slow || o.only.empty(), ErrorKind::invalid, "--slow trains every variant: leave it or --only out");
  const OwnedExec owned = o.common.exec();
  for (const std::string& name : o.only) o.study.variants.push_back(variant_named(name));
  std::vector<std::string> notes;
  for (const Variant& variant : variants()) {
    if (!o.only.empty()) break;
    if (!variant.slow || o.slow)
      o.study.variants.push_back(variant);
    else
      notes.push_back(fmt::format("{} is emulated, many times slower: --slow trains it too", variant.name));
  }
  data::PrepareOptions how;
  how.quiet = o.common.quiet;
  const data::Prepared prepared = data::prepare(config, owned.exec, how);
  const Tokenizer& tokenizer = prepared.tokenizer;
  resolve(config, config.model.vocab_size == 0 ? tokenizer.vocab_size() : tokenizer.rows_needed(), owned.exec,
          available_memory(*owned.exec.memory));
  validate(config.model);
  const CleanStop stop("stopping after this step, with a page of what is complete");
  const int64_t n_variants =
      std::count_if(o.study.variants.begin(), o.study.variants.end(),
                    [&](const Variant& variant) { return set_up(variant, config).missing.empty(); });
  Progress progress("training", o.study.steps * o.study.seeds * n_variants, {.unit = "steps", .quiet = o.common.quiet});
  o.study.stop = interrupted;
  o.study.done = [&](int64_t steps, const std::string& what) { progress.note(what), progress.add(steps); };
  Ablation result = run_ablation(config, prepared, owned.exec, o.study);
  result.title = o.config;
  progress.finish();
  for (const VariantResult& r : result.results)
    if (!r.missing.empty()) notes.push_back(fmt::format("{} is left out: {}", r.variant.name, r.missing));
  print_notes(notes, o.common.quiet);
  fmt::print("{}", table_of(result));
  write_page(o.html, ablation_page(result, product_errors(owned.exec)));
  return result.complete ? kExitFine : kExitFailed;
}

}  // namespace

void add_precision_ablate(Verb verb, Cli& cli) {
  auto o = std::make_shared<AblateOptions>();
  Verb sub = verb.add_verb("ablate",
                           "Train variants of the FP8 recipe from the same start on the same batches: one page with "
                           "their losses and the errors of their gradients against FP64");
  sub.add_option("config", o->config, "a configuration (TOML) of a small model, or a run directory").required();
  sub.add_option("--steps", o->study.steps, "of each variant").positive().show_default();
  sub.add_option("--seeds", o->study.seeds, "starts of each variant").positive().show_default();
  sub.add_texts("--only", o->only,
                "a variant: report, dy128, retiled, tensor, unpromoted, output-e4m3, mx, floor, "
                "bf16; repeatable; default: all but unpromoted, which is slow");
  sub.add_flag("--slow", o->slow, "unpromoted too, whose sums are emulated: for small models");
  sub.add_option("--frozen-every", o->study.frozen_every,
                 "steps between two looks at the gradients of a frozen batch; 0: at the beginning and the end")
      .not_negative()
      .show_default();
  sub.add_option("--frozen-tokens", o->study.frozen_tokens, "tokens of that batch").positive().show_default();
  sub.add_option("--text", o->text, "text instead of the configuration's sources").values(1, 1 << 20);
  sub.add_option("--run", o->run, "directory for the prepared text; default runs/precision");
  sub.add_option("--html", o->html, "the page").required();
  add_set_option(sub, o->common);
  add_threads_option(sub, o->common);
  add_isa_option(sub, o->common);
  add_quiet_option(sub, o->common);
  sub.add_examples({"hadal precision ablate configs/ablation.toml --slow --steps 60 --seeds 2 --html all.html",
                    "hadal precision ablate configs/shakespeare.toml --steps 300 --seeds 3 --html ablation.html",
                    "hadal precision ablate configs/shakespeare.toml --only report --only bf16 --html two.html"});
  cli.on(sub, [o] { return run_ablate(*o); });
}

}  // namespace hadal
