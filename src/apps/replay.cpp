// hadal replay: an answer of a server once more, from its receipt, bit for bit.
#include "apps/model_choice.h"
#include "base/error.h"
#include "base/files.h"
#include "grammar/grammars.h"
#include "server/receipt.h"

namespace hadal {
namespace {

struct ReplayOptions {
  std::string receipt;
  ModelChoice model;
  CommonOptions common;
};

int run_replay(ReplayOptions o) {
  Receipt receipt = receipt_from_json(read_file(o.receipt), o.receipt);
  if (o.common.isa == "best" && !receipt.isa.empty() && o.common.device == "cpu") o.common.isa = receipt.isa;
  const OwnedExec owned = o.common.exec();
  o.model.load.precision = parse_enum<Precision>("precision", receipt.precision);
  o.model.load.weights = parse_enum<WeightFormat>("weights", receipt.weights);
  o.model.load.cache = parse_enum<CacheFormat>("cache", receipt.cache);
  o.model.load.attention_form = parse_enum<AttentionForm>("attention form", receipt.attention_form);
  const TextModel loaded = o.model.open(owned.exec, o.common.quiet);
  std::optional<Grammars> grammars;
  if (!receipt.format.empty()) receipt.asked.constraint = grammars.emplace(loaded.text()).constraint(receipt.format);
  Receipt here = receipt_of(owned.exec, *loaded.model.transformer, receipt.model);
  here.weights_identity = loaded.model.source.files->identity();
  const std::string other = what_is_other(receipt, here);
  if (!other.empty()) print_notes({other}, o.common.quiet);
  const Replayed replayed = replay(owned.exec, *loaded.model.transformer, receipt);
  if (replayed.first.empty()) {
    fmt::print("{} tokens and their log-probabilities came again, to the bit\n", replayed.same);
    return kExitFine;
  }
  fmt::print("DIFFERS after {} of {} tokens: {}{}{}\n", replayed.same, receipt.tokens.size(), replayed.first,
             other.empty() ? "" : "; ", other);
  return kExitFailed;
}

}  // namespace

void add_replay(Verb root, Cli& cli) {
  auto o = std::make_shared<ReplayOptions>();
  Verb verb = root.add_verb("replay", "Write an answer of a server once more, from its receipt, bit for bit");
  verb.add_option("receipt", o->receipt, "a file with the receipt, which requests with \"receipt\": true get")
      .required();
  add_model_options(verb, o->model, {.precision = false, .ema = true});
  add_place_options(verb, o->common);
  verb.add_examples({"hadal replay receipt.json --model runs/demo"});
  cli.on(verb, [o] { return run_replay(*o); });
}

}  // namespace hadal
