// hadal check engine: the proof that a served request gets what it gets alone, and what the trainer's forward says of
// it, for the user's own model. Exit 1 where anything differs.
#include "apps/check_engine.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/model_choice.h"
#include "apps/score.h"
#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/table.h"
#include "engine/engine_check.h"

namespace hadal {
namespace {

struct CheckEngineOptions {
  ModelChoice model;
  EngineCheckOptions drawn;
  int64_t seed = 1;
  bool json = false;
  CommonOptions common;
};

std::string distance_text(double distance) { return distance == 0 ? "0" : fmt::format("{:.1e}", distance); }

void print_json(const std::vector<EngineCondition>& all) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const EngineCondition& one : all) {
    json.push_back({{"condition", one.name}, {"tokens", one.tokens}, {"first", one.first}});
    json.back()["worst"] = std::isfinite(one.worst) ? nlohmann::ordered_json(one.worst) : nullptr;  // another id
  }
  fmt::print("{}\n", json_text(json, {.indent = 1}));
}

int run_check_engine(CheckEngineOptions o) {
  const OwnedExec owned = o.common.exec();
  const TextModel loaded = o.model.open(owned.exec, o.common.quiet);
  const Transformer& model = *loaded.model.transformer;
  std::optional<OwnedExec> one;
  if (owned.exec.device.kind == DeviceKind::cpu && owned.exec.compute->n_threads() > 1) one.emplace(1, owned.exec.isa);
  o.drawn.seed = uint64_t(o.seed);
  if (loaded.tokenizer) o.drawn.allowed_ids = loaded.tokenizer->vocab_size();
  Progress progress("checking", kEngineConditions, {.unit = "conditions", .quiet = o.common.quiet || o.json});
  o.drawn.begins = [&](const std::string&) { progress.add(1); };
  o.drawn.scorer = "hadal score";
  o.drawn.score = [&](const std::vector<int32_t>& tokens) { return scores_of(owned.exec, model, tokens).log_probs; };
  const std::vector<EngineCondition> all = check_engine(owned.exec, one ? &one->exec : nullptr, model, o.drawn);
  const std::string cache =
      model.options().cache == CacheFormat::fp8 ? fmt::format(", cache in {}", enum_name(model.options().cache)) : "";
  const ModelConfig& config = model.config();
  const std::string attention = config.is_latent() ? fmt::format("{} form", enum_name(model.options().attention_form))
                                                   : enum_name(config.attention);
  return print_engine_check(all, o.json,
                            fmt::format("{} ({}, {}{})", loaded.model.directory.string(),
                                        enum_name(model.options().precision), attention, cache));
}

}  // namespace

int print_engine_check(const std::vector<EngineCondition>& all, bool json, const std::string& model) {
  const bool agree = std::all_of(all.begin(), all.end(), [](const auto& c) { return c.first.empty(); });
  if (json) {
    print_json(all);
  } else {
    Table table({"compared with each request alone", "tokens", "max |d log p|", "first difference"});
    for (const EngineCondition& c : all)
      table.add({c.name, std::to_string(c.tokens), distance_text(c.worst), c.first.empty() ? "-" : c.first});
    fmt::print("{}\n{}: {}\n", table.text(), model,
               agree ? "every id and every log-probability is the same, to the bit" : "DIFFERS");
  }
  return agree ? kExitFine : kExitFailed;
}

void add_check_engine(Verb verb, Cli& cli) {
  auto o = std::make_shared<CheckEngineOptions>();
  Verb sub =
      verb.add_verb("engine",
                    "Serve drawn requests alone, together, in pieces, from a shared cache, preempted, and compare "
                    "every id and log-probability with the trainer's forward");
  add_model_options(sub, o->model, {.ema = true, .attention_form = true, .formats = true});
  sub.add_option("--requests", o->drawn.requests, "as many").positive();
  sub.add_option("--prompt-tokens", o->drawn.prompt_tokens, "of a request, at most").positive();
  sub.add_option("--max-tokens", o->drawn.text_tokens, "that are drawn for a request, at most").positive();
  sub.add_option("--seed", o->seed, "seed of the requests").positive();
  sub.add_flag("--json", o->json, "everything as JSON");
  add_place_options(sub, o->common);
  sub.add_examples({"hadal check engine --model runs/demo",
                    "hadal check engine --model DeepSeek-V2-Lite --precision bf16 --requests 3"});
  cli.on(sub, [o] { return run_check_engine(*o); });
}

}  // namespace hadal
