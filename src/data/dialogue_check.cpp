// See dialogue_check.h.
#include "data/dialogue_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/table.h"
#include "base/text_format.h"
#include "data/dialogue.h"
#include "data/document_reader.h"
#include "data/explain_parts.h"
#include "data/words.h"

namespace hadal::data {
namespace {

// Looks through the dialogues of one file.
class Checker {
 public:
  Checker(const Tokenizer& tokenizer, const DialogueWriter& writer, const DialogueCheckOptions& options)
      : tokenizer_(tokenizer), writer_(writer), options_(options) {
    for (const AddedToken& token : tokenizer.added_tokens())
      if (token.content != kThinkBeginToken && token.content != kThinkEndToken) names_.add(token.content, token.id);
  }

  void look(const std::string& dialogue, int64_t line) {
    ++result.dialogues;
    const auto json = parse_json<nlohmann::ordered_json>(dialogue, "a dialogue");
    result.messages += json.contains("messages") ? int64_t(json["messages"].size()) : 2;
    const auto [before, fresh] = seen_.emplace(hash64(dialogue), line);
    if (!fresh) found(Lint::duplicate, line, fmt::format("the same as line {}", before->second));
    const std::string words = words_of_dialogue(dialogue);
    if (const auto spelt = names_.find(words, 0); spelt.id >= 0)
      found(Lint::spelt_control, line, "spells " + words.substr(spelt.begin, spelt.end - spelt.begin));
    look_for_items(words, line);
    try {
      for (const DialogueSample& sample : writer_.samples(dialogue, options_.source.train_on)) look_at(sample, line);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid && error.kind() != ErrorKind::unsupported) throw;
      found(Lint::refused, line, error.what());
    }
  }

  void bad_lines(const DocumentReader& reader) {
    for (const BadLine& bad : reader.listed_bad_lines()) found(Lint::bad_line, bad.line, bad.reason);
    result.counts[size_t(Lint::bad_line)] = reader.bad_lines();
  }

  void found(Lint lint, int64_t line, std::string text) {
    if (result.counts[size_t(lint)]++ < options_.listed) result.findings.push_back({lint, line, std::move(text)});
  }

  DialogueCheck result;

 private:
  bool ends_a_text(int32_t id) const {
    return std::find(options_.stop.begin(), options_.stop.end(), id) != options_.stop.end();
  }

  void look_for_items(const std::string& words, int64_t line) {
    if (options_.evaluation == nullptr || options_.evaluation->empty()) return;
    const bool folds = options_.evaluation->config().fold_numbers;
    const auto item = options_.evaluation->find(normal_words(characters_of(words), folds));
    if (!item) return;
    found(Lint::contaminated, line,
          fmt::format("shares {} words with {}", item->words, options_.evaluation->item_in_words(item->item)));
  }

  void look_at(const DialogueSample& sample, int64_t line) {
    const int64_t n = int64_t(sample.ids.size());
    result.lengths.push_back(n);
    result.tokens += n, result.trained += sample.n_trained();
    if (options_.sequence_length > 0 && n > options_.sequence_length)
      found(Lint::too_long, line, fmt::format("{} tokens, a sequence has {}", n, options_.sequence_length));
    for (int64_t at = 0; at < n;) {  // runs of trained tokens
      int64_t end = at;
      while (end < n && sample.trained[size_t(end)]) ++end;
      if (end == at) {
        ++at;
        continue;
      }
      const bool ends = ends_a_text(sample.ids[size_t(end - 1)]);
      const std::string last(tokenizer_.token_bytes(sample.ids[size_t(end - 1)]));
      if (!ends) found(Lint::no_end, line, fmt::format("its answer ends with the token '{}'", visible_text(last)));
      if (ends && end - at == 1) found(Lint::empty_answer, line, "of an answer only the end is there");
      at = end;
    }
  }

  const Tokenizer& tokenizer_;
  const DialogueWriter& writer_;
  const DialogueCheckOptions& options_;
  AddedTokenFinder names_;
  std::unordered_map<uint64_t, int64_t> seen_;  // hash of a dialogue, its line
};

std::string share(int64_t part, int64_t whole) { return format_percent(whole > 0 ? double(part) / double(whole) : 0); }

}  // namespace

int64_t DialogueCheck::n_refused() const { return counts[size_t(Lint::bad_line)] + counts[size_t(Lint::refused)]; }

DialogueCheck check_dialogues(const std::filesystem::path& file, const Tokenizer& tokenizer,
                              const DialogueWriter& writer, const DialogueCheckOptions& options) {
  ReaderOptions how{options.source.text_field, OnBadLine::skip, true};
  how.format = options.source.format;
  DocumentReader reader(file, how);
  check(reader.not_text().empty(), ErrorKind::invalid, "{}", reader.refusal());
  Checker checker(tokenizer, writer, options);
  std::string dialogue;
  while (reader.next(dialogue)) {
    stop_if_interrupted("the file was not read to its end");
    checker.look(dialogue, reader.line());
  }
  checker.bad_lines(reader);
  DialogueCheck& result = checker.result;
  std::sort(result.lengths.begin(), result.lengths.end());
  std::stable_sort(result.findings.begin(), result.findings.end(),
                   [](const LintFinding& a, const LintFinding& b) { return a.line < b.line; });
  return std::move(result);
}

std::string DialogueCheck::text(const DialogueCheckOptions& options) const {
  std::string out =
      fmt::format("{} dialogues ({}), {} messages, {} samples\n", format_count(dialogues),
                  enum_name(options.source.format), format_count(messages), format_count(int64_t(lengths.size())));
  out += fmt::format("{} tokens, {} of them trained ({})\n", format_count(tokens), format_count(trained),
                     share(trained, tokens));
  if (!lengths.empty()) {
    const auto at = [&](double part) { return lengths[size_t(part * double(lengths.size() - 1))]; };
    out += fmt::format("lengths: shortest {}, median {}, 90 % up to {}, 99 % up to {}, longest {}\n", lengths.front(),
                       at(0.5), at(0.9), at(0.99), lengths.back());
  }
  Table table({"finding", "how many", "what becomes of it"});
  for (size_t i = 0; i < kLints; ++i) {
    const Lint lint = Lint(i);
    const char* fate = keeps_from_training(lint)    ? "ends a build, or is passed over (data.on_bad_line)"
                       : lint == Lint::too_long     ? "dropped, or ends the start (data.on_long)"
                       : lint == Lint::duplicate    ? "removed"
                       : lint == Lint::contaminated ? "is trained on, or removed (data.decontaminate)"
                                                    : "is trained on";
    if (counts[i] > 0) table.add({kLintNames[i], format_count(counts[i]), fate});
  }
  out += table.empty() ? "nothing to find fault with\n" : table.text();
  for (const LintFinding& finding : findings)
    out += fmt::format("line {}: {}: {}\n", finding.line, kLintNames[size_t(finding.lint)], finding.text);
  return out;
}

SourceFormat guess_format(const std::filesystem::path& file) {
  for (const SourceFormat format :
       {SourceFormat::messages, SourceFormat::sharegpt, SourceFormat::alpaca, SourceFormat::prompt_completion}) {
    ReaderOptions how;
    how.on_bad_line = OnBadLine::skip, how.format = format;
    DocumentReader reader(file, how);
    std::string dialogue;
    if (reader.not_text().empty() && reader.next(dialogue)) return format;
  }
  fail(ErrorKind::invalid,
       "'{}': no object in it is a dialogue of format messages, sharegpt, alpaca or prompt_completion; say which is "
       "meant with --format, to see why",
       file.string());
}

}  // namespace hadal::data
