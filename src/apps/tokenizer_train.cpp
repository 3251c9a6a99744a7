// hadal tokenizer train: a byte-level BPE tokenizer from files of text.
#include "apps/tokenizer_train.h"

#include <filesystem>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/text_format.h"
#include "data/document_reader.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer.h"

namespace hadal {
namespace {

struct TrainOptions {
  std::vector<std::string> inputs;
  std::string output, text_field = "text";
  BpeOptions bpe;
  OnBadLine on_bad_line = OnBadLine::stop;
  bool overwrite = false;
  CommonOptions common;
};

constexpr const char* kInterrupted = "no tokenizer was written";

// One pass: a pipe gives its text once.
void add_input_file(BpeTrainer& trainer, const std::filesystem::path& path, const TrainOptions& options, bool named) {
  data::DocumentReader reader(
      path, {options.text_field, options.on_bad_line, named, "--on-bad-line skip", "--text-field names another"});
  const auto note = [&](const std::string& text) { print_notes({text}, options.common.quiet); };
  if (!reader.not_text().empty()) {
    check(!named, ErrorKind::invalid, "{}", reader.refusal());
    return note(fmt::format("passed over ({}): {}", reader.not_text(), path.string()));
  }
  if (reader.form() == data::Form::text) {
    trainer.add_stream([&](char* out, size_t size) {
      stop_if_interrupted(kInterrupted);
      return size_t(reader.read(out, int64_t(size)));
    });
  } else {
    trainer.add_texts([&](std::string& text) {
      stop_if_interrupted(kInterrupted);
      return reader.next(text);
    });
  }
  for (const std::string& text : reader.notes()) note(fmt::format("'{}' {}", path.string(), text));
  for (const data::BadLine& bad : reader.listed_bad_lines())
    note(fmt::format("skipped: '{}' line {}: {}", path.string(), bad.line, bad.reason));
  if (const int64_t more = reader.bad_lines() - int64_t(reader.listed_bad_lines().size()); more > 0)
    note(fmt::format("skipped: {} more lines of '{}'", more, path.string()));
  if (reader.replaced() > 0)
    note(fmt::format("'{}': {} lone surrogates became U+FFFD", path.string(), reader.replaced()));
}

void add_inputs(BpeTrainer& trainer, const TrainOptions& options) {
  for (const std::string& input : options.inputs) {
    std::vector<std::string> left_out;
    const std::vector<std::filesystem::path> files = list_files(input == "-" ? "/dev/stdin" : input, &left_out);
    for (const std::string& what : left_out) print_notes({"left out: " + what}, options.common.quiet);
    const bool named = files.size() == 1 && (input == "-" || files[0] == input);
    for (const std::filesystem::path& path : files) add_input_file(trainer, path, options, named);
  }
}

int train(const TrainOptions& options) {
  const std::filesystem::path file = std::filesystem::path(options.output) / "tokenizer.json";
  check(options.overwrite || !std::filesystem::exists(file), ErrorKind::invalid,
        "'{}' exists; models trained with it would no longer fit another one (--overwrite replaces it)", file.string());
  ThreadPool pool(options.common.threads);
  const CleanStop polled("stopping");
  BpeTrainer trainer(options.bpe, pool);
  std::unique_ptr<Progress> counting =
      std::make_unique<Progress>("counting words", 0, ProgressOptions{"B", options.common.quiet});
  std::unique_ptr<Progress> merging;
  trainer.on_progress([&](const BpeProgress& progress) {
    stop_if_interrupted(kInterrupted);
    if (std::string_view(progress.stage) == "counting words") {
      counting->set(progress.done);
      return;
    }
    if (!merging)
      merging = std::make_unique<Progress>("merging", progress.total, ProgressOptions{"merges", options.common.quiet});
    merging->set(progress.done);
  });
  const double start = steady_seconds();
  add_inputs(trainer, options);
  const int64_t bytes = trainer.bytes_seen(), words = trainer.distinct_words();
  counting->set(bytes);
  counting->finish();
  const Tokenizer tokenizer = trainer.train();
  if (merging) merging->finish();
  tokenizer.save(options.output);
  fmt::print("read        {} in {} distinct words, {}\n", format_bytes(double(bytes)), format_count(words),
             format_duration(steady_seconds() - start));
  fmt::print("vocabulary  {} = 256 bytes + {} merges + {} added tokens\n", format_count(tokenizer.vocab_size()),
             format_count(tokenizer.n_merges()), tokenizer.added_tokens().size());
  if (tokenizer.vocab_size() < options.bpe.vocab_size) {
    fmt::print("            smaller than the {} asked for: no further pair occurs {} times\n",
               format_count(options.bpe.vocab_size), options.bpe.min_count);
  }
  fmt::print("written     {}\n", file.string());
  return kExitFine;
}

}  // namespace

void add_tokenizer_train(Verb verb, Cli& cli) {
  auto o = std::make_shared<TrainOptions>();
  Verb sub = verb.add_verb("train", "Train a byte-level BPE tokenizer on text");
  sub.add_option("--input,-i", o->inputs,
                 "files, directories or patterns; text or JSON lines, also as .gz and .zst; - is standard input")
      .required();
  sub.add_option("--vocab-size,-n", o->bpe.vocab_size, "number of ids, added tokens included").required();
  sub.add_option("--output,-o", o->output, "directory for tokenizer.json and tokenizer_config.json").required();
  sub.add_option("--min-count", o->bpe.min_count, "do not merge pairs that occur less often").show_default();
  sub.add_option("--text-field", o->text_field, "field of .jsonl that holds the text").show_default();
  const auto take = [o](const std::string& name) { o->on_bad_line = parse_enum<OnBadLine>("on-bad-line", name); };
  sub.add_word("--on-bad-line", take, "a JSON line that is no JSON or lacks its text: stop (default), or skip it")
      .one_of({"stop", "skip"});
  sub.add_option("--extra-token", o->bpe.extra_tokens, "a further added token (repeatable)");
  sub.add_flag("--overwrite", o->overwrite, "replace a tokenizer that is already there");
  add_threads_option(sub, o->common);
  add_quiet_option(sub, o->common);
  sub.add_examples({"hadal tokenizer train --input book.txt --vocab-size 4096 --output tok",
                    "hadal tokenizer train --input 'texts/**/*.jsonl.zst' notes/ --vocab-size 32000 --output tok"});
  cli.on(sub, [o] { return train(*o); });
}

}  // namespace hadal
