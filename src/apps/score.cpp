// hadal score: log-probabilities of given texts or token ids, by the trainer's own forward.
// Input, one JSON object a line: {"tokens": [ids]} or {"text": "..."}; output, one a line: {"tokens", "logprobs",
// "sum"} and for text "bits_per_byte" (null of nothing) and, where escapes of lone surrogates became U+FFFD, their
// number "replaced". logprobs[i] is the natural log of the probability of tokens[i+1] given those
// before it. A text longer than the model's positions is read in windows, as validation reads held-out text: each token
// is scored once, in the window where it has the most context that the stride leaves it.
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/cli.h"
#include "apps/line_output.h"
#include "apps/model_choice.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "data/heldout.h"
#include "dialogue/text_model.h"
#include "dialogue/token_lines.h"

namespace hadal {
namespace {

using nlohmann::ordered_json;

struct ScoreOptions {
  ModelChoice model;
  std::string input, output, bos = "auto";
  int64_t stride = 0;
  CommonOptions common;
};

struct Scores {
  std::vector<double> log_probs;  // of all tokens but the first
  int64_t windows = 0, stride = 0;
};

Scores scores_of(const Exec& exec, const Transformer& model, const std::vector<int32_t>& tokens, int64_t stride) {
  Scores scores;
  if (tokens.size() < 2) return scores;
  const int64_t positions = model.config().max_positions;
  scores.stride = stride > 0 ? stride : std::max<int64_t>(1, positions / 2);
  data::HeldOutDocument document;
  document.tokens = tokens;
  for (const data::ScoringWindow& window : data::scoring_windows({document}, positions, scores.stride)) {
    stop_if_interrupted("the text was not read to its end");
    std::vector<double> values;
    const auto text = std::span(tokens).subspan(size_t(window.begin), size_t(window.end - window.begin + 1));
    model.forward(exec, batch_of_tokens(text), {.log_probs = &values}).check_routed();
    scores.log_probs.insert(scores.log_probs.end(), values.begin() + window.scored - 1 - window.begin, values.end());
    ++scores.windows;
  }
  return scores;
}

ordered_json score(const Exec& exec, TextModel& loaded, const TokenLine& line, int64_t stride) {
  const Scores scores = scores_of(exec, *loaded.model.transformer, line.tokens, stride);
  const auto& values = scores.log_probs;
  loaded.model.check_intact();
  double sum = 0;
  for (double value : values) sum += value;
  ordered_json out = {{"tokens", line.tokens}, {"logprobs", values}, {"sum", sum}};
  if (scores.windows > 1) out["windows"] = scores.windows, out["stride"] = scores.stride;
  if (!line.is_text) return out;
  const bool predicted = !values.empty() && line.text_bytes > 0;  // of nothing there is no such number
  out["bits_per_byte"] = predicted ? ordered_json(-sum / std::log(2.0) / double(line.text_bytes)) : nullptr;
  if (line.replaced > 0) out["replaced"] = line.replaced;
  return out;
}

int run_scoring(const ScoreOptions& o) {
  TokenLines lines(o.input);
  auto exec = o.common.exec();
  auto loaded = o.model.open(exec.exec, o.common.quiet);
  const int64_t positions = loaded.model.transformer->config().max_positions;
  check(o.stride <= positions, ErrorKind::invalid,
        "--stride {} is more than the model's {} positions: tokens would be left out", o.stride, positions);
  lines.begin(loaded, o.bos, true);
  LineOutput out(o.output);
  try {
    while (const auto line = lines.next())
      out.write(json_text(score(exec.exec, loaded, *line, o.stride)) + "\n", lines.where());
    out.commit();
  } catch (const Error& error) {
    throw Error(error.kind(), error.what() + out.kept());
  }
  return kExitFine;
}

}  // namespace

void add_score(Verb root, Cli& cli) {
  auto o = std::make_shared<ScoreOptions>();
  o->input = o->output = "-";
  Verb verb = root.add_verb("score", "Log-probabilities of texts or token ids");
  add_model_options(verb, o->model, {.ema = true});
  verb.add_option("--input", o->input, "JSON lines with \"tokens\" or \"text\"; - is standard input").show_default();
  verb.add_option("--output", o->output, "JSON lines with logprobs; - is standard output").show_default();
  verb.add_option("--bos", o->bos,
                  "token before a text: on = BOS, off = none, auto = as trained (BOS, else EOS), "
                  "or as a Hugging Face tokenizer says")
      .one_of({"auto", "on", "off"})
      .show_default();
  verb.add_option("--stride", o->stride,
                  "tokens between the windows in which a text longer than the model's positions is read; 0 = half of "
                  "them")
      .not_negative();
  add_place_options(verb, o->common);
  verb.add_examples({"echo '{\"text\": \"To be, or not to be\"}' | hadal score --model runs/shakespeare",
                     "hadal score --model runs/demo --input texts.jsonl --output scores.jsonl --precision fp32"});
  cli.on(verb, [o] { return run_scoring(*o); });
}

}  // namespace hadal
