// hadal generate: text from a model, streamed as it comes.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/text_model.h"
#include "base/error.h"
#include "base/interrupt.h"

namespace hadal {
namespace {

struct Options {
  std::string model, prompt, prefix, suffix, precision;
  std::vector<int32_t> prompt_tokens;
  bool json = false, ema = false, has_fim = false;
  int64_t max_tokens = 200;
  bool limited = false;  // --max-tokens was given
  SamplingOptions sampling;
  RunOptions run;
};

std::vector<int32_t> prompt_ids(const Options& o, const TextModel& loaded) {
  if (!o.prompt_tokens.empty()) {
    check(o.prompt.empty() && !o.has_fim, ErrorKind::invalid,
          "give one of --prompt, --prompt-tokens and --fim-prefix/--fim-suffix");
    return o.prompt_tokens;
  }
  if (o.has_fim) {
    check(o.prompt.empty(), ErrorKind::invalid, "give one of --prompt, --prompt-tokens and --fim-prefix/--fim-suffix");
    return fim_prompt(loaded.text(), o.prefix, o.suffix);
  }
  auto ids = text_start(loaded);
  loaded.text().encode_to(o.prompt, SpecialTokens::as_text, ids);
  check(!ids.empty(), ErrorKind::invalid,
        "this model's tokenizer puts no token before a text: give at least one character with --prompt");
  return ids;
}

int print_ids(const Options& o, TextModel& loaded, std::vector<int32_t> prompt) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = o.max_tokens;
  request.sampling = o.sampling;
  request.stop = loaded.stop;
  if (loaded.tokenizer) request.allowed_ids = loaded.tokenizer->vocab_size();
  request.on_token = [](int32_t) { return !interrupted(); };
  const auto result = generate(*loaded.model.transformer, request);
  loaded.model.check_intact();
  nlohmann::ordered_json json = {{"tokens", result.tokens}};
  if (loaded.tokenizer) json["text"] = loaded.tokenizer->decode(result.tokens, true);
  json["stopped"] = result.stopped;
  fmt::print("{}\n", json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
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
  auto exec = o.run.exec();
  LoadOptions load;
  load.precision = o.precision;
  load.ema = o.ema;
  auto loaded = load_text_model(o.model, load, exec.exec);
  const auto prompt = prompt_ids(o, loaded);
  o.max_tokens = new_tokens(o, *loaded.model.transformer, int64_t(prompt.size()));
  if (o.json || !loaded.tokenizer) return print_ids(o, loaded, prompt);
  auto print = [&](const std::string& piece) {
    loaded.model.check_intact();
    check(std::fwrite(piece.data(), 1, piece.size(), stdout) == piece.size() && std::fflush(stdout) == 0, ErrorKind::io,
          "standard output was closed");
  };
  print(o.has_fim ? "" : o.prompt);
  GenerateRequest request;
  request.prompt = prompt;
  request.max_tokens = o.max_tokens;
  request.sampling = o.sampling;
  request.stop = loaded.stop;
  generate_text(*loaded.model.transformer, loaded.text(), request, print);
  print("\n");
  return kExitFine;
}

}  // namespace

void add_generate(CLI::App& root, Cli& cli) {
  auto o = std::make_shared<Options>();
  CLI::App* verb = root.add_subcommand("generate", "Write text with a model");
  verb->add_option("--model", o->model, "a run directory, an exported model or a Hugging Face directory")->required();
  verb->add_option("--prompt", o->prompt, "text to go on from");
  verb->add_option("--prompt-tokens", o->prompt_tokens, "token ids instead of text, separated by commas")
      ->delimiter(',');
  auto* prefix = verb->add_option("--fim-prefix", o->prefix, "fill in the middle: the text before");
  auto* suffix = verb->add_option("--fim-suffix", o->suffix, "fill in the middle: the text after");
  auto* limit = verb->add_option("--max-tokens", o->max_tokens, "new tokens at the most")
                    ->check(CLI::Range(int64_t(0), int64_t(1) << 40))
                    ->capture_default_str();
  verb->add_option("--temperature", o->sampling.temperature, "0 takes the most likely token")->capture_default_str();
  verb->add_option("--top-k", o->sampling.top_k, "draw among the k most likely; 0 = all")->capture_default_str();
  verb->add_option("--top-p", o->sampling.top_p, "draw among the most likely with this much probability")
      ->capture_default_str();
  verb->add_option("--min-p", o->sampling.min_p, "drop tokens below this share of the most likely one")
      ->capture_default_str();
  verb->add_option("--seed", o->sampling.seed, "the same seed writes the same text")->capture_default_str();
  verb->add_option("--precision", o->precision, "fp64, fp32 or bf16; default: as trained, else as stored")
      ->check(CLI::IsMember({"fp64", "fp32", "bf16"}));
  verb->add_flag("--ema", o->ema, "the moving average of the weights");
  verb->add_flag("--json", o->json, "print {\"tokens\": [...]} at the end instead of streaming text");
  add_threads_option(*verb, o->run);
  add_isa_option(*verb, o->run);
  add_examples(*verb,
               {"hadal generate --model runs/shakespeare --prompt 'O, ' --max-tokens 100 --temperature 0.8",
                "hadal generate --model runs/demo --fim-prefix 'def add(a, b):\\n    return ' --fim-suffix '\\n'",
                "hadal generate --model runs/demo --prompt-tokens 1,2,3 --max-tokens 8 --temperature 0 --json"});
  cli.on(verb, [o, prefix, suffix, limit] {
    o->limited = limit->count() > 0;
    o->has_fim = prefix->count() > 0 || suffix->count() > 0;
    return run_generation(*o);
  });
}

}  // namespace hadal
