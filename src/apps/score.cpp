// hadal score: log-probabilities of given texts or token ids, by the trainer's own forward.
// Input, one JSON object a line: {"tokens": [ids]} or {"text": "..."}; output, one a line: {"tokens", "logprobs",
// "sum"} and for text "bits_per_byte" (null of nothing) and, where escapes of lone surrogates became U+FFFD, their
// number "replaced". logprobs[i] is the natural log of the probability of tokens[i+1] given those
// before it. A text longer than the model's positions is read in windows, as validation reads held-out text: each token
// is scored once, in the window where it has the most context that the stride leaves it.
#include "apps/score.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
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

namespace {

using nlohmann::ordered_json;

struct ScoreOptions {
  ModelChoice model;
  std::string input, output, bos = "auto";
  int64_t stride = 0;
  bool cost = false;
  CommonOptions common;
};

double sum_of(const Scores& scores) {
  double sum = 0;
  for (const double value : scores.log_probs) sum += value;
  return sum;
}

ordered_json score_json(const Scores& scores, const TokenLine& line) {
  const auto& values = scores.log_probs;
  const double sum = sum_of(scores);
  ordered_json out = {{"tokens", line.tokens}, {"logprobs", values}, {"sum", sum}};
  if (scores.windows > 1) out["windows"] = scores.windows, out["stride"] = scores.stride;
  if (!line.is_text) return out;
  const bool predicted = !values.empty() && line.text_bytes > 0;  // of nothing there is no such number
  out["bits_per_byte"] = predicted ? ordered_json(-sum / std::log(2.0) / double(line.text_bytes)) : nullptr;
  if (line.replaced > 0) out["replaced"] = line.replaced;
  return out;
}

// What formats of weights and cache cost: all lines scored with them and with the values that they stand for.
class FormatCost {
 public:
  FormatCost(const ScoreOptions& o, const Exec& exec) : exec_(exec), stride_(o.stride) {
    const LoadOptions& load = o.model.load;
    const bool in_cache = load.cache != CacheFormat::values;
    check(load.weights != WeightFormat::values || in_cache, ErrorKind::invalid,
          "--cost compares formats with values: say --weights stored, fp8, int8 or int4, or --cache fp8");
    formats_ = fmt::format("weights as {}", enum_name(load.weights));
    if (in_cache) formats_ += fmt::format(", cache as {}", enum_name(load.cache));
    ModelChoice values = o.model;
    if (in_cache) values.load.attention_form = AttentionForm::absorbed;  // of the two the cache in FP8 has this alone
    values.load.weights = WeightFormat::values, values.load.cache = CacheFormat::values;
    values_ = values.open(exec, true);
  }
  void add(const TokenLine& line, const Scores& scores) {
    if (scores.log_probs.empty()) return;
    all_text_ &= line.is_text;
    units_ += line.is_text ? line.text_bytes : int64_t(scores.log_probs.size());
    in_format_ += sum_of(scores);
    in_values_ += sum_of(scores_of(exec_, *values_.model.transformer, line.tokens, stride_));
    values_.model.check_intact();
  }
  std::string text() const {
    if (units_ == 0) return "nothing was scored, so there is no cost";
    const double one = -1 / std::log(2.0) / double(units_), cost = (in_format_ - in_values_) * one;
    return fmt::format("{}: {:.5f} bits per {}, as values {:.5f}: {:+.5f} ({:+.2f} %)", formats_, in_format_ * one,
                       all_text_ ? "byte" : "token", in_values_ * one, cost, 100 * cost / (in_values_ * one));
  }

 private:
  const Exec& exec_;
  int64_t stride_;
  std::string formats_;
  TextModel values_;
  bool all_text_ = true;
  int64_t units_ = 0;  // bytes; where a line was ids, tokens
  double in_format_ = 0, in_values_ = 0;
};

int run_scoring(const ScoreOptions& o) {
  TokenLines lines(o.input);
  auto exec = o.common.exec();
  std::optional<FormatCost> cost;
  if (o.cost) cost.emplace(o, exec.exec);
  auto loaded = o.model.open(exec.exec, o.common.quiet);
  const int64_t positions = loaded.model.transformer->config().max_positions;
  check(o.stride <= positions, ErrorKind::invalid,
        "--stride {} is more than the model's {} positions: tokens would be left out", o.stride, positions);
  lines.begin(loaded, o.bos, true);
  LineOutput out(o.output);
  try {
    while (const auto line = lines.next()) {
      const Scores scores = scores_of(exec.exec, *loaded.model.transformer, line->tokens, o.stride);
      loaded.model.check_intact();
      if (cost) cost->add(*line, scores);
      out.write(json_text(score_json(scores, *line)) + "\n", lines.where());
    }
    out.commit();
    if (cost) fmt::print(stderr, "{}\n", cost->text());
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
  add_model_options(verb, o->model, {.ema = true, .attention_form = true, .formats = true});
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
  verb.add_flag("--cost", o->cost,
                "score with values of weights and cache too, and print on standard error what the formats of --weights "
                "and --cache cost");
  add_place_options(verb, o->common);
  verb.add_examples({"echo '{\"text\": \"To be, or not to be\"}' | hadal score --model runs/shakespeare",
                     "hadal score --model runs/demo --input texts.jsonl --output scores.jsonl --precision fp32",
                     "hadal score --model DeepSeek-V2-Lite --input texts.jsonl --weights int4 --cost"});
  cli.on(verb, [o] { return run_scoring(*o); });
}

}  // namespace hadal
