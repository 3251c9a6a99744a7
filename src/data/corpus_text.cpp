// A corpus that was scanned (scan.cpp): read again.
#include "data/corpus.h"

#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "data/dialogue.h"
#include "data/quality_rules.h"
#include "data/walk.h"

namespace hadal::data {

int64_t split_point(std::string_view text, const DocumentFacts& facts, const DataConfig& config) {
  DocumentFacts of = facts;
  of.bytes = int64_t(text.size()), of.to_border = to_border(text, config.holdout_fraction);
  return split_point(of, config);
}

int64_t split_point(const DocumentFacts& facts, const DataConfig& config) {
  if (facts.fate == Fate::held_out) return 0;
  if (facts.fate != Fate::training || facts.whole || config.holdout != Holdout::tail) return facts.bytes;
  return facts.bytes - int64_t(double(facts.bytes) * config.holdout_fraction) - facts.to_border;
}

// At most three bytes, so that bytes which are no text cannot move the cut far.
uint8_t to_border(std::string_view text, double holdout_fraction) {
  const int64_t bytes = int64_t(text.size()), cut = bytes - int64_t(double(bytes) * holdout_fraction);
  uint8_t back = 0;
  while (back < 3 && cut - back > 0 && cut < bytes && (text[size_t(cut - back)] & 0xC0) == 0x80) ++back;
  return back;
}

int64_t Corpus::training_bytes() const {
  int64_t bytes = 0;
  for (const auto& counts : counts_) bytes += counts.training_bytes;
  return bytes;
}

namespace {

std::vector<QualityRules> rules_of(const DataConfig& config) {
  std::vector<QualityRules> rules;
  for (const SourceConfig& source : config.sources) rules.emplace_back(source);
  return rules;
}

// The text as it was when scan() saw it, without the lines that rules cut.
void make_as_judged(const Walk& walk, const DocumentFacts& facts, const std::vector<QualityRules>& rules,
                    std::string& text) {
  walk.check_unchanged(text, facts);
  const bool stays = facts.fate == Fate::training || facts.fate == Fate::held_out;
  if (stays) rules[walk.source()].cut(text);
}

}  // namespace

void Corpus::read(int64_t first, const Visitor& visit) const {
  Walk walk(sources_, config_.on_bad_line, first);
  const std::vector<QualityRules> rules = rules_of(config_);
  std::string text;
  while (walk.next(text)) {
    stop_if_interrupted(kScanInterrupted);
    make_as_judged(walk, facts(walk.document()), rules, text);
    if (!visit(walk.document(), text)) return;
  }
}

std::string Corpus::place_of(int64_t document) const {
  Walk walk(sources_, config_.on_bad_line, document);
  std::string text;
  check(walk.next(text), ErrorKind::internal, "document {} of {}", document, n_documents());
  return walk.place();
}

std::function<bool(std::string&)> Corpus::training_texts(int64_t max_bytes) const {
  auto walk = std::make_shared<Walk>(sources_, config_.on_bad_line, 0);
  auto given = std::make_shared<int64_t>(0);
  return [this, walk, given, max_bytes, rules = rules_of(config_)](std::string& text) {
    while ((max_bytes == 0 || *given < max_bytes) && walk->next(text)) {
      stop_if_interrupted(kScanInterrupted);
      const DocumentFacts& known = facts(walk->document());
      if (known.fate != Fate::training) continue;
      make_as_judged(*walk, known, rules, text);
      text.resize(size_t(split_point(text, known, config_)));
      if (known.whole) text = words_of_dialogue(text);
      if (text.empty()) continue;
      if (max_bytes > 0 && *given + int64_t(text.size()) > max_bytes) text.resize(size_t(max_bytes - *given));
      *given += int64_t(text.size());
      return true;
    }
    return false;
  };
}

}  // namespace hadal::data
