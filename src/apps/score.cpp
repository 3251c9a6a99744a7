// hadal score: log-probabilities of given texts or token ids, by the trainer's own forward.
// Input, one JSON object a line: {"tokens": [ids]} or {"text": "..."}; output, one a line: {"tokens", "logprobs",
// "sum"} and for text "bits_per_byte" (null of nothing) and, where escapes of lone surrogates became U+FFFD, their
// number "replaced". logprobs[i] is the natural log of the probability of tokens[i+1] given those
// before it.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "dialogue/text_model.h"
#include "dialogue/token_lines.h"

namespace hadal {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string model, input, output, bos = "auto";
  std::optional<Precision> precision;
  bool ema = false;
  CommonOptions common;
};

std::vector<double> log_probs(const Exec& exec, const Transformer& model, const std::vector<int32_t>& tokens) {
  if (tokens.size() < 2) return {};
  std::vector<double> values;
  model.forward(exec, batch_of_tokens(tokens), {.log_probs = &values}).check_routed();
  return values;
}

ordered_json score(const Exec& exec, TextModel& loaded, const TokenLine& line) {
  const auto values = log_probs(exec, *loaded.model.transformer, line.tokens);
  loaded.model.check_intact();
  double sum = 0;
  for (double value : values) sum += value;
  ordered_json out = {{"tokens", line.tokens}, {"logprobs", values}, {"sum", sum}};
  if (!line.is_text) return out;
  const bool predicted = !values.empty() && line.text_bytes > 0;  // of nothing there is no such number
  out["bits_per_byte"] = predicted ? ordered_json(-sum / std::log(2.0) / double(line.text_bytes)) : nullptr;
  if (line.replaced > 0) out["replaced"] = line.replaced;
  return out;
}

void write_out(const std::string& text) {  // line by line: a reader that went away ends the work
  check(std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0, ErrorKind::io,
        "cannot write standard output");
}

int run_scoring(const Options& o) {
  TokenLines lines(o.input);
  auto exec = o.common.exec();
  LoadOptions load;
  load.precision = o.precision;
  load.ema = o.ema;
  auto loaded = load_text_model(o.model, load, exec.exec);
  print_notes(loaded.model.source.notices(), o.common.quiet);
  lines.begin(loaded, o.bos);
  std::unique_ptr<AtomicFile> out = o.output == "-" ? nullptr : std::make_unique<AtomicFile>(o.output);
  while (const auto line = lines.next()) {
    const std::string text = json_text(score(exec.exec, loaded, *line)) + "\n";
    if (out)
      out->write(text);
    else
      write_out(text);
  }
  if (out) out->commit();
  return kExitFine;
}

}  // namespace

void add_score(Verb root, Cli& cli) {
  auto o = std::make_shared<Options>();
  o->input = o->output = "-";
  Verb verb = root.add_verb("score", "Log-probabilities of texts or token ids");
  verb.add_option("--model", o->model, "a run directory, an exported model or a Hugging Face directory").required();
  verb.add_option("--input", o->input, "JSON lines with \"tokens\" or \"text\"; - is standard input").show_default();
  verb.add_option("--output", o->output, "JSON lines with logprobs; - is standard output").show_default();
  add_precision_option(verb, o->precision);
  verb.add_option("--bos", o->bos,
                  "token before a text: on = BOS, off = none, auto = as trained (BOS, else EOS), "
                  "or as a Hugging Face tokenizer says")
      .one_of({"auto", "on", "off"})
      .show_default();
  verb.add_flag("--ema", o->ema, "the moving average of the weights");
  add_threads_option(verb, o->common);
  add_quiet_option(verb, o->common);
  add_isa_option(verb, o->common);
  verb.add_examples({"echo '{\"text\": \"To be, or not to be\"}' | hadal score --model runs/shakespeare",
                     "hadal score --model runs/demo --input texts.jsonl --output scores.jsonl --precision fp32"});
  cli.on(verb, [o] { return run_scoring(*o); });
}

}  // namespace hadal
