// hadal generate: text from a model, streamed as it comes.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/form_options.h"
#include "apps/line_output.h"
#include "apps/model_choice.h"
#include "apps/prompt_options.h"
#include "apps/sampling_options.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "dialogue/text_model.h"

namespace hadal {
namespace {

struct GenerateOptions {
  ModelChoice model;
  std::shared_ptr<PromptOptions> prompt = std::make_shared<PromptOptions>();
  bool json = false, show_prompt = false;
  int64_t drafts = 0;
  std::shared_ptr<DrawOptions> draw = std::make_shared<DrawOptions>();
  std::shared_ptr<FormOptions> form = std::make_shared<FormOptions>();
  CommonOptions common;
};

EngineRequest request_of(const DrawOptions& draw, const TextModel& loaded, std::vector<int32_t> prompt) {
  EngineRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = draw.max_tokens;
  request.sampling = draw.sampling;
  request.stop = loaded.stop;
  return request;
}

int print_json(const DrawOptions& draw, Engine& engine, TextModel& loaded, EngineRequest request) {
  nlohmann::ordered_json json;
  if (loaded.tokenizer) {
    const auto result = generate_text(engine, *loaded.tokenizer, std::move(request), draw.stop_strings);
    json = {{"tokens", result.tokens}, {"text", result.text}, {"stopped", result.stopped}};
  } else {
    const CleanStop polled("stopping after the current token");
    request.on_token = [](const ScoredToken&) { return !interrupted(); };
    const auto result = generate(engine, std::move(request));
    json = {{"tokens", result.tokens}, {"stopped", result.stopped}};
  }
  loaded.model.check_intact();
  if (draw.sampling.temperature > 0) json["seed"] = draw.sampling.seed;
  fmt::print("{}\n", json_text(json, {.lossy = true}));
  return kExitFine;
}

// What was asked for, refused before anything is printed; without --max-tokens, as many as the model has positions for.
int64_t new_tokens(const DrawOptions& o, const Transformer& model, int64_t prompt) {
  const int64_t positions = model.config().max_positions, room = positions - prompt;
  check(room >= (o.given_max_tokens ? o.max_tokens : 1), ErrorKind::invalid,
        "a prompt of {} tokens (the start of the text counts as one) leaves room for {} of the "
        "model's {} positions, {} new tokens were asked for",
        prompt, std::max<int64_t>(room, 0), positions, o.max_tokens);
  return std::min(o.max_tokens, room);
}

// The prompt as the model gets it: control tokens spelt out, and its ids.
int show_prompt(const GenerateOptions& o, const TextModel& loaded, const std::vector<int32_t>& prompt) {
  const std::string text = loaded.tokenizer ? loaded.tokenizer->decode(prompt) : "";
  if (o.json) {
    nlohmann::ordered_json json = {{"prompt", text}, {"tokens", prompt}};
    fmt::print("{}\n", json_text(json, {.lossy = true}));
  } else {
    fmt::print("{}\n\n{} tokens: {}\n", text, prompt.size(), fmt::join(prompt, ","));
  }
  return kExitFine;
}

int run_generation(GenerateOptions o) {
  DrawOptions& draw = *o.draw;
  follow_request(draw, read_prompt(*o.prompt), o.common.quiet);
  validate(draw.sampling);
  const std::optional<Json> format = format_of_options(*o.form);
  auto exec = o.common.exec();
  auto loaded = o.model.open(exec.exec, o.common.quiet);
  const auto prompt = prompt_ids(*o.prompt, loaded, o.common.quiet);
  if (o.show_prompt) return show_prompt(o, loaded, prompt);
  complete_draw_options(draw, loaded, prompt, o.common.quiet);
  draw.max_tokens = new_tokens(draw, *loaded.model.transformer, int64_t(prompt.size()));
  check(loaded.tokenizer || draw.stop_strings.empty(), ErrorKind::invalid, "--stop needs a tokenizer; {} has none",
        loaded.model.directory.string());
  EngineRequest request = request_of(draw, loaded, prompt);
  const bool thinking = (o.prompt->has_message || o.prompt->has_chat) && opens_thought(loaded.text().decode(prompt));
  if (format) request.constraint = constraint_of_options(*o.form, *format, loaded, thinking);
  const int64_t n_mtp = draft_modules(*loaded.model.transformer, {.drafts = o.drafts});
  pack_for(exec.exec, *loaded.model.transformer, draw.max_tokens, n_mtp);
  Engine engine = engine_for(exec.exec, *loaded.model.transformer, request, o.drafts);
  if (o.json || !loaded.tokenizer) return print_json(draw, engine, loaded, std::move(request));
  auto print = [&](const std::string& fragment) {
    loaded.model.check_intact();
    write_out(fragment);
  };
  print(o.prompt->shown());
  const auto result = generate_text(engine, loaded.text(), std::move(request), draw.stop_strings, print);
  print("\n");
  if (format && !result.stopped)
    print_notes({"the text is not whole: --max-tokens or the model's positions cut it off"}, o.common.quiet);
  return kExitFine;
}

}  // namespace

void add_generate(Verb root, Cli& cli) {
  auto o = std::make_shared<GenerateOptions>();
  Verb verb = root.add_verb("generate", "Write text with a model");
  add_model_options(verb, o->model, {.ema = true, .formats = true});
  add_prompt_options(verb, o->prompt);
  const auto note_given = add_draw_options(verb, o->draw);
  verb.add_flag(
      "--json", o->json,
      "print {\"tokens\": [...], \"text\": ..., \"stopped\": ..., \"seed\": ...} at the end instead of streaming");
  add_form_options(verb, o->form);
  add_drafts_option(verb, o->drafts);
  verb.add_flag("--show-prompt", o->show_prompt,
                "print the prompt as the model gets it, control tokens and all, and its token ids; then stop");
  add_place_options(verb, o->common);
  verb.add_examples(
      {"hadal generate --model runs/shakespeare --prompt 'O, ' --max-tokens 100 --temperature 0.8",
       "hadal generate --model runs/demo --fim-prefix $'def add(a, b):\\n    return ' --fim-suffix $'\\n'",
       "hadal generate --model DeepSeek-V2-Lite-Chat --message 'Why is the sea salty?'",
       "hadal generate --model runs/demo --prompt 'Weather: ' --regex '(sunny|rainy), [1-3]?[0-9] degrees'",
       "hadal generate --model runs/demo --prompt-tokens 1,2,3 --max-tokens 8 --temperature 0 --json"});
  cli.on(verb, [o, note_given] {
    note_given();
    return run_generation(*o);
  });
}

}  // namespace hadal
