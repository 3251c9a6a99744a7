// hadal score: log-probabilities of given texts or token ids, by the trainer's own forward.
// Input, one JSON object a line: {"tokens": [ids]} or {"text": "..."}; output, one a line: {"tokens", "logprobs",
// "sum"} and for text "bits_per_byte". logprobs[i] is the natural log of the probability of tokens[i+1] given those
// before it.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/text_model.h"
#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/text_format.h"

namespace hadal {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string model, input, output, precision, bos = "auto";
  bool ema = false;
  RunOptions run;
};

std::vector<double> log_probs(Transformer& model, const std::vector<int32_t>& tokens) {
  MicroBatch batch;
  const int64_t rows = int64_t(tokens.size()) - 1;
  if (rows < 1) return {};
  batch.tokens.assign(tokens.begin(), tokens.end() - 1);
  batch.targets.assign(tokens.begin() + 1, tokens.end());
  for (int64_t i = 0; i < rows; ++i) batch.positions.push_back(int32_t(i));
  batch.segments = {{0, rows, 0, rows}};
  batch.sequences = {{0, rows}};
  std::vector<double> values;
  model.forward(batch, &values);
  return values;
}

class Scorer {
 public:
  Scorer(const Options& o, TextModel& loaded) : o_(o), loaded_(loaded) {
    if (loaded.tokenizer) start_ = text_start(loaded, o.bos);
  }

  ordered_json score(const std::string& line, int64_t number) {
    const std::string where = fmt::format("{}: line {}", o_.input == "-" ? "standard input" : o_.input, number);
    check(!nests_deeper_than(line, 16), ErrorKind::invalid, "{}: nested too deeply", where);
    const auto json = ordered_json::parse(line, nullptr, false);
    check(json.is_object(), ErrorKind::invalid, "{}: not a JSON object", where);
    const bool text = json.contains("text") && json["text"].is_string();
    const auto tokens = text ? encode(json["text"].get<std::string>()) : ids(json, where);
    const int64_t limit = loaded_.model.transformer->config().max_positions;
    check(!tokens.empty(), ErrorKind::invalid, "{}: no tokens", where);
    check(int64_t(tokens.size()) <= limit + 1, ErrorKind::invalid, "{}: {} tokens, more than the model's {} positions",
          where, tokens.size(), limit);
    const auto values = log_probs(*loaded_.model.transformer, tokens);
    loaded_.model.check_intact();
    double sum = 0;
    for (double value : values) sum += value;
    ordered_json out = {{"tokens", tokens}, {"logprobs", values}, {"sum", sum}};
    if (text)
      out["bits_per_byte"] =
          -sum / std::log(2.0) / double(std::max<size_t>(1, json["text"].get_ref<const std::string&>().size()));
    return out;
  }

 private:
  std::vector<int32_t> encode(const std::string& text) const {
    std::vector<int32_t> tokens = start_;
    loaded_.text().encode_to(text, SpecialTokens::as_text, tokens);
    return tokens;
  }
  std::vector<int32_t> ids(const ordered_json& json, const std::string& where) const {
    check(json.contains("tokens") && json["tokens"].is_array(), ErrorKind::invalid,
          "{}: must have \"tokens\": [ids] or \"text\": \"...\"", where);
    std::vector<int32_t> tokens;
    const int64_t rows = loaded_.model.transformer->config().vocab_size;
    for (const auto& id : json["tokens"]) {
      check(id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < rows, ErrorKind::invalid,
            "{}: token id {} must be a whole number in 0 .. {}", where, id.dump(), rows - 1);
      tokens.push_back(id.get<int32_t>());
    }
    return tokens;
  }

  const Options& o_;
  TextModel& loaded_;
  std::vector<int32_t> start_;  // before a text
};

void write_out(const std::string& text) {  // line by line: a reader that went away ends the work
  check(std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0, ErrorKind::io,
        "cannot write standard output");
}

int run_scoring(const Options& o) {
  std::ifstream file;
  if (o.input != "-") {
    file.open(o.input, std::ios::binary);
    check(bool(file), ErrorKind::not_found, "{}: no such file (or not readable)", o.input);
    check(!std::filesystem::is_directory(o.input), ErrorKind::invalid,
          "{}: a directory; --input takes a file of JSON lines", o.input);
  }
  std::istream& in = o.input == "-" ? std::cin : file;
  auto exec = o.run.exec();
  LoadOptions load;
  load.precision = o.precision;
  load.ema = o.ema;
  auto loaded = load_text_model(o.model, load, exec.exec);
  Scorer scorer(o, loaded);
  std::unique_ptr<AtomicFile> out = o.output == "-" ? nullptr : std::make_unique<AtomicFile>(o.output);
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    check(!interrupted(), ErrorKind::io, "interrupted before line {}", number);
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string text = scorer.score(line, number).dump() + "\n";
    if (out)
      out->write(text);
    else
      write_out(text);
  }
  check(!in.bad(), ErrorKind::io, "{}: cannot be read to its end", o.input);
  if (out) out->commit();
  return kExitFine;
}

}  // namespace

void add_score(CLI::App& root, Cli& cli) {
  auto o = std::make_shared<Options>();
  o->input = o->output = "-";
  CLI::App* verb = root.add_subcommand("score", "Log-probabilities of texts or token ids");
  verb->add_option("--model", o->model, "a run directory, an exported model or a Hugging Face directory")->required();
  verb->add_option("--input", o->input, "JSON lines with \"tokens\" or \"text\"; - is standard input")
      ->capture_default_str();
  verb->add_option("--output", o->output, "JSON lines with logprobs; - is standard output")->capture_default_str();
  verb->add_option("--precision", o->precision, "fp64, fp32 or bf16; default: as trained, else as stored")
      ->check(CLI::IsMember({"fp64", "fp32", "bf16"}));
  verb->add_option("--bos", o->bos, "token before a text: on = BOS, off = none, auto = as trained (BOS, else EOS), "
                                     "or as a Hugging Face tokenizer says")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  verb->add_flag("--ema", o->ema, "the moving average of the weights");
  add_threads_option(*verb, o->run);
  add_isa_option(*verb, o->run);
  add_examples(*verb, {"echo '{\"text\": \"To be, or not to be\"}' | hadal score --model runs/shakespeare",
                       "hadal score --model runs/demo --input texts.jsonl --output scores.jsonl --precision fp32"});
  cli.on(verb, [o] { return run_scoring(*o); });
}

}  // namespace hadal
