// What `hadal data check` says of a file of dialogues before anything is trained on it: what would be refused and why,
// how long samples are and how much of them is trained, and what is fine for the program and odd all the same.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/decontaminate.h"
#include "data/dialogue_samples.h"
#include "text/tokenizer.h"

namespace hadal::data {

enum class Lint {
  bad_line,       // no dialogue: broken JSON, roles, contents
  refused,        // a dialogue of which nothing can be learned, or not told where
  too_long,       // a sample longer than a sequence: it would be dropped
  empty_answer,   // of whose answer only the end is trained
  no_end,         // an answer whose last trained token ends no text: the model would not learn to stop
  duplicate,      // of an earlier dialogue
  spelt_control,  // people's text that spells a control token: it is trained as letters
  contaminated,   // holds an evaluation item
};
constexpr std::array kLintNames{
    "bad line", "refused", "too long", "empty answer", "no end", "duplicate", "spelt control token", "contaminated"};
constexpr size_t kLints = kLintNames.size();
constexpr bool keeps_from_training(Lint lint) { return lint == Lint::bad_line || lint == Lint::refused; }

struct LintFinding {
  Lint lint = Lint::bad_line;
  int64_t line = 0;  // of the file, from 1
  std::string text;
};

struct DialogueCheckOptions {
  SourceConfig source;                         // format, text_field, train_on
  int64_t sequence_length = 0;                 // 0: no sample is too long
  std::vector<int32_t> stop;                   // ids that end a text
  int64_t listed = 5;                          // findings of each kind that are kept
  const Decontaminator* evaluation = nullptr;  // items that no dialogue should hold; null: nobody asks
};

struct DialogueCheck {
  int64_t dialogues = 0, messages = 0, tokens = 0, trained = 0;
  std::vector<int64_t> lengths;  // of samples, ascending
  std::array<int64_t, kLints> counts{};
  std::vector<LintFinding> findings;  // the first of each kind, in the order of the file

  int64_t n_refused() const;
  std::string text(const DialogueCheckOptions& options) const;  // the table, and findings, for people
};

// Throws what reading throws: for a file that holds no dialogues of this format, and damaged ones.
DialogueCheck check_dialogues(const std::filesystem::path& file, const Tokenizer& tokenizer,
                              const DialogueWriter& writer, const DialogueCheckOptions& options);

// The format of a file's first object, by its members. Throws invalid where it has those of none.
SourceFormat guess_format(const std::filesystem::path& file);

}  // namespace hadal::data
