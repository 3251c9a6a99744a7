// hadal precision errors: the gradients of one batch under each variant of the FP8 recipe, against those of FP64 with
// the same weights and routes; and each product of the report's recipe alone.
#include <algorithm>
#include <filesystem>

#include "apps/precision.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/table.h"
#include "study/pages.h"

namespace hadal {
namespace {

struct ErrorsOptions {
  ModelChoice model;
  std::string text, html;
  int64_t tokens = 256;
  double lambda = 0.3;
  std::vector<std::string> only;
  CommonOptions common;
};

std::vector<Variant> chosen(const std::vector<std::string>& only) {
  if (only.empty()) return variants();
  std::vector<Variant> result;
  for (const std::string& name : only) result.push_back(variant_named(name));
  return result;
}

struct Measured {
  VariantErrors variants;
  std::vector<std::string> missing;
  std::vector<ProductFinding> products;
};

// The products of all layers, each alone, of a model of the report's recipe.
std::vector<ProductFinding> shadow_of(const Exec& exec, Transformer& model, const GradientReference& reference) {
  ShadowCheck check(ShadowCheck::kEveryLayer);
  model.begin_step(1);
  model.forward_backward(with_watch(exec, &check), reference.batch(), reference.weights());
  return check.findings();
}

Measured measure(const ErrorsOptions& o, const Exec& exec, const TextModel& loaded, const MicroBatch& batch) {
  const Transformer& from = *loaded.model.transformer;
  Config config;
  config.model = from.config();
  config.fp8 = loaded.model.source.fp8;
  GradientReference reference(config.model, exec, batch, config.model.n_mtp > 0 ? o.lambda : 0);
  const std::vector<Variant> all = chosen(o.only);
  Progress progress("measuring", int64_t(all.size()), {.unit = "variants", .quiet = o.common.quiet});
  Measured result;
  for (const Variant& variant : all) {
    progress.note(variant.name);
    const VariantSetup setup = set_up(variant, config);
    if (!setup.missing.empty()) {
      result.missing.push_back(fmt::format("{} is left out: {}", variant.name, setup.missing));
    } else {
      Transformer model(config.model, setup.options, exec);
      copy_weights(exec, from, model);
      result.variants.emplace_back(variant, reference.errors_of(model));
      if (variant.name == "report") result.products = shadow_of(exec, model, reference);
    }
    progress.add(1);
  }
  return result;
}

std::string table_of(const VariantErrors& all) {
  std::vector<std::string> head = {"gradient of"};
  for (const auto& [variant, errors] : all) head.push_back(variant.name);
  Table table(head);
  const auto row = [&](const std::string& name, const auto& value) {
    std::vector<std::string> cells = {name};
    for (const auto& [variant, errors] : all) cells.push_back(fmt::format("{:.2f} %", 100 * value(errors)));
    table.add(cells);
  };
  for (const auto& [kind, ignored] : all.front().second.by_kind)
    row(kind, [&](const GradientErrors& errors) { return errors.by_kind.at(kind); });
  row("all", [](const GradientErrors& errors) { return errors.all; });
  return table.text();
}

int run_errors(ErrorsOptions o) {
  const OwnedExec owned = o.common.exec();
  o.model.load.training = true;
  o.model.load.precision = Precision::fp32;
  const TextModel loaded = o.model.open(owned.exec, o.common.quiet);
  const MicroBatch batch = batch_of_file(loaded, o.text, o.tokens);
  const Measured measured = measure(o, owned.exec, loaded, batch);
  loaded.model.check_intact();
  print_notes(measured.missing, o.common.quiet);
  check(!measured.variants.empty(), ErrorKind::unsupported, "none of these variants can be made here");
  fmt::print("{}{} tokens, gradients against FP64 of the same weights and routes\n", table_of(measured.variants),
             batch.n_tokens());
  if (!o.html.empty())
    write_page(o.html,
               errors_page(measured.variants, measured.products, product_errors(owned.exec), o.model.directory));
  return kExitFine;
}

}  // namespace

void add_precision_errors(Verb verb, Cli& cli) {
  auto o = std::make_shared<ErrorsOptions>();
  Verb sub = verb.add_verb("errors",
                           "A model's gradients of one batch under each variant of the FP8 recipe, against FP64 (by "
                           "plain formulas: for small models)");
  add_model_options(sub, o->model, {.precision = false, .ema = true});
  sub.add_option("--text", o->text, "a file whose first tokens are the batch").required();
  sub.add_option("--tokens", o->tokens, "as many of them").positive().show_default();
  sub.add_option("--mtp-weight", o->lambda, "lambda of the MTP losses").not_negative().show_default();
  sub.add_texts("--only", o->only,
                "a variant: report, dy128, retiled, tensor, unpromoted, output-e4m3, mx, floor, "
                "bf16; repeatable; default: all");
  sub.add_option("--html", o->html, "write a page here");
  add_threads_option(sub, o->common);
  add_isa_option(sub, o->common);
  add_quiet_option(sub, o->common);
  sub.add_examples({"hadal precision errors --model runs/shakespeare --text more.txt --html errors.html",
                    "hadal precision errors --model runs/demo --text more.txt --only report --only floor"});
  cli.on(sub, [o] { return run_errors(*o); });
}

}  // namespace hadal
