// hadal generate: text from a model, streamed as it comes.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/prompt_options.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "dialogue/text_model.h"

namespace hadal {
namespace {

struct Options {
  std::string model;
  std::optional<Precision> precision;
  std::shared_ptr<PromptOptions> prompt = std::make_shared<PromptOptions>();
  bool json = false, ema = false;
  int64_t max_tokens = 200;
  bool limited = false, given_temperature = false, given_top_k = false, given_top_p = false;  // by the user
  SamplingOptions sampling;
  CommonOptions common;
};

// Where the user said nothing, a Hugging Face directory's makers are asked (generation_config.json), and that is told.
void ask_makers(const TextModel& loaded, Options& o) {
  const auto makers = loaded.makers;
  if (!makers) return;
  std::string told;
  if (!o.given_temperature && (makers->temperature || makers->do_sample)) {
    o.sampling.temperature = makers->sampling_temperature(o.sampling.temperature);
    told += fmt::format(" temperature {}", o.sampling.temperature);
  }
  if (!o.given_top_p && makers->top_p) {
    o.sampling.top_p = *makers->top_p;
    told += fmt::format(" top-p {}", o.sampling.top_p);
  }
  if (!o.given_top_k && makers->top_k) {
    o.sampling.top_k = *makers->top_k;
    told += fmt::format(" top-k {}", o.sampling.top_k);
  }
  if (!told.empty()) fmt::print(stderr, "hadal: note: as generation_config.json says:{}\n", told);
  validate(o.sampling);
}

int print_ids(const Options& o, const Exec& exec, TextModel& loaded, std::vector<int32_t> prompt) {
  const CleanStop polled("stopping after the current token");
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = o.max_tokens;
  request.sampling = o.sampling;
  request.stop = loaded.stop;
  if (loaded.tokenizer) request.allowed_ids = loaded.tokenizer->vocab_size();
  request.on_token = [](int32_t) { return !interrupted(); };
  const auto result = generate(exec, *loaded.model.transformer, request);
  loaded.model.check_intact();
  nlohmann::ordered_json json = {{"tokens", result.tokens}};
  if (loaded.tokenizer) json["text"] = loaded.tokenizer->decode(result.tokens, true);
  json["stopped"] = result.stopped;
  fmt::print("{}\n", json_text(json, {.lossy = true}));
  return kExitFine;
}

// What was asked for, refused before anything is printed; without --max-tokens, as many as the model has positions for.
int64_t new_tokens(const Options& o, const Transformer& model, int64_t prompt) {
  const int64_t positions = model.config().max_positions, room = positions - prompt;
  check(room >= (o.limited ? o.max_tokens : 1), ErrorKind::invalid,
        "a prompt of {} tokens (the start of the text counts as one) leaves room for {} of the "
        "model's {} positions, {} new tokens were asked for",
        prompt, std::max<int64_t>(room, 0), positions, o.max_tokens);
  return std::min(o.max_tokens, room);
}

int run_generation(Options o) {
  validate(o.sampling);
  auto exec = o.common.exec();
  LoadOptions load;
  load.precision = o.precision;
  load.ema = o.ema;
  auto loaded = load_text_model(o.model, load, exec.exec);
  print_notes(loaded.model.source.notices());
  const auto prompt = prompt_ids(*o.prompt, loaded);
  o.max_tokens = new_tokens(o, *loaded.model.transformer, int64_t(prompt.size()));
  ask_makers(loaded, o);
  pack_for(exec.exec, *loaded.model.transformer, o.max_tokens);
  if (o.json || !loaded.tokenizer) return print_ids(o, exec.exec, loaded, prompt);
  auto print = [&](const std::string& fragment) {
    loaded.model.check_intact();
    check(std::fwrite(fragment.data(), 1, fragment.size(), stdout) == fragment.size() && std::fflush(stdout) == 0,
          ErrorKind::io, "standard output was closed");
  };
  print(o.prompt->shown());
  GenerateRequest request;
  request.prompt = prompt;
  request.max_tokens = o.max_tokens;
  request.sampling = o.sampling;
  request.stop = loaded.stop;
  generate_text(exec.exec, *loaded.model.transformer, loaded.text(), request, print);
  print("\n");
  return kExitFine;
}

}  // namespace

void add_generate(Verb root, Cli& cli) {
  auto o = std::make_shared<Options>();
  Verb verb = root.add_verb("generate", "Write text with a model");
  verb.add_option("--model", o->model, "a run directory, an exported model or a Hugging Face directory").required();
  add_prompt_options(verb, o->prompt);
  const Option limit = verb.add_option("--max-tokens", o->max_tokens, "new tokens at the most")
                           .within(int64_t(0), int64_t(1) << 40)
                           .show_default();
  const Option temperature =
      verb.add_option("--temperature", o->sampling.temperature, "0 takes the most likely token").show_default();
  const Option top_k =
      verb.add_option("--top-k", o->sampling.top_k, "draw among the k most likely; 0 = all").show_default();
  const Option top_p =
      verb.add_option("--top-p", o->sampling.top_p, "draw among the most likely with this much probability")
          .show_default();
  verb.add_option("--min-p", o->sampling.min_p, "drop tokens below this share of the most likely one").show_default();
  verb.add_option("--seed", o->sampling.seed, "the same seed writes the same text").show_default();
  add_precision_option(verb, o->precision);
  verb.add_flag("--ema", o->ema, "the moving average of the weights");
  verb.add_flag("--json", o->json, "print {\"tokens\": [...]} at the end instead of streaming text");
  add_threads_option(verb, o->common);
  add_isa_option(verb, o->common);
  verb.add_examples({"hadal generate --model runs/shakespeare --prompt 'O, ' --max-tokens 100 --temperature 0.8",
                     "hadal generate --model runs/demo --fim-prefix 'def add(a, b):\\n    return ' --fim-suffix '\\n'",
                     "hadal generate --model DeepSeek-V2-Lite-Chat --message 'Why is the sea salty?'",
                     "hadal generate --model runs/demo --prompt-tokens 1,2,3 --max-tokens 8 --temperature 0 --json"});
  cli.on(verb, [o, limit, temperature, top_k, top_p] {
    o->limited = limit.given();
    o->given_temperature = temperature.given();
    o->given_top_k = top_k.given();
    o->given_top_p = top_p.given();
    return run_generation(*o);
  });
}

}  // namespace hadal
