// hadal data check: what a file of dialogues is worth, before anything is trained on it.
#include "apps/data_check.h"
#include "apps/cli.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "data/decontaminate.h"
#include "data/dialogue_check.h"
#include "exchange/model_directory.h"
#include "text/generation_config.h"

namespace hadal {
namespace {

struct CheckOptions {
  std::vector<std::string> files, against;
  std::string model, format, train_on = enum_name(TrainOn::assistant), field = "text", chat_template;
  int64_t length = 0, listed = 5;
};

std::vector<int32_t> stop_ids(const Tokenizer& tokenizer, const std::string& directory) {
  std::vector<int32_t> stop;
  if (const auto makers = load_generation_config(directory)) stop = makers->eos_ids;
  if (const auto eos = tokenizer.eos_id()) stop.push_back(*eos);
  return stop;
}

int run_check(const CheckOptions& o) {
  const std::string directory = locate_model(o.model).directory.string();
  const Tokenizer tokenizer = Tokenizer::load(directory);
  const data::DialogueWriter writer(tokenizer, o.chat_template);
  data::DialogueCheckOptions options;
  options.source.train_on = parse_enum<TrainOn>("--train-on", o.train_on);
  options.source.text_field = o.field;
  options.sequence_length = o.length > 0 ? o.length : read_model_config(o.model).max_positions;
  options.stop = stop_ids(tokenizer, directory);
  options.listed = o.listed;
  const data::Decontaminator decontaminator({.files = o.against});
  options.evaluation = &decontaminator;
  if (!o.against.empty()) fmt::print("held against {}\n", decontaminator.summary());
  fmt::print("written with {}; a sequence has {} tokens\n", writer.description(), options.sequence_length);
  int64_t refused = 0;
  for (const std::string& file : o.files) {
    options.source.format =
        o.format.empty() ? data::guess_format(file) : parse_enum<SourceFormat>("--format", o.format);
    const data::DialogueCheck found = data::check_dialogues(file, tokenizer, writer, options);
    fmt::print("{}: {}", file, found.text(options));
    refused += found.n_refused();
  }
  return refused > 0 ? kExitFailed : kExitFine;
}

}  // namespace

void add_data_check(Verb data, Cli& cli) {
  auto o = std::make_shared<CheckOptions>();
  Verb verb = data.add_verb(
      "check",
      "Look through files of dialogues as a model would be trained on them: roles, lengths, what "
      "is trained, empty and endless answers, duplicates, evaluation items; 1 if a build would refuse a line");
  verb.add_option("files", o->files, "JSON or JSON lines, also .gz or .zst").required();
  verb.add_option("--model", o->model, "the model to be trained: its tokenizer, chat template and longest sequence")
      .required();
  verb.add_option("--format", o->format, "as data.sources.N.format; default: told by the first line")
      .one_of({"messages", "sharegpt", "alpaca", "prompt_completion"});
  verb.add_option("--train-on", o->train_on, "as data.sources.N.train_on")
      .one_of({"assistant", "last", "all"})
      .show_default();
  verb.add_option("--field", o->field, "name of the list of messages, where it has another than usual");
  verb.add_option("--chat-template", o->chat_template, "as data.chat_template: a name of the model's, or a file");
  verb.add_option("--length", o->length, "tokens of a sequence; default: the model's max_positions").positive();
  verb.add_option("--against", o->against,
                  "evaluation files: say which dialogues hold items of them (data.decontaminate would remove these)");
  verb.add_option("--list", o->listed, "findings listed of each kind").not_negative().show_default();
  verb.add_examples({"hadal data check chats.jsonl --model models/moonlight",
                     "hadal data check chats.jsonl --model runs/demo --against gsm8k_test.jsonl",
                     "hadal data check alpaca.json --model runs/demo --length 512 --list 20"});
  cli.on(verb, [o] { return run_check(*o); });
}

}  // namespace hadal
