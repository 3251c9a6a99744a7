// The rule sets, each in the order of the publication it comes from.
#include "data/quality_rules.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/json.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "data/c4_lines.h"
#include "data/repeated_words.h"
#include "data/words.h"

namespace hadal::data {
namespace {

struct Text {
  explicit Text(const SplitText& split) : characters(split.characters), words(split.words()) {}
  const std::vector<uint32_t>& characters;
  const std::vector<WordSpan>& words;
  double size() const { return double(std::max<size_t>(1, characters.size())); }
  double n_words() const { return double(std::max<size_t>(1, words.size())); }
  uint32_t at(int64_t i) const { return characters[size_t(i)]; }
};

// Where refusals go; whether the next rule is still asked.
class Verdicts {
 public:
  Verdicts(const char* set, size_t most, std::vector<Refusal>& found) : set_(set), most_(most), found_(found) {}
  bool settled() const { return found_.size() >= most_; }
  void above(const char* rule, double value, double limit) {
    if (!settled() && limit > 0 && value > limit) found_.push_back({fmt::format("{}.{}", set_, rule), value, limit});
  }
  void below(const char* rule, double value, double limit) {
    if (!settled() && limit > 0 && value < limit) found_.push_back({fmt::format("{}.{}", set_, rule), value, limit});
  }
  void holds(const char* rule, bool asked, bool found) {
    if (!settled() && asked && found) found_.push_back({fmt::format("{}.{}", set_, rule), 1, 0});
  }

 private:
  const char* set_;
  size_t most_;
  std::vector<Refusal>& found_;
};

bool starts_with(const Text& text, CharacterSpan span, std::u32string_view what) {
  if (span.second - span.first < int64_t(what.size())) return false;
  for (size_t i = 0; i < what.size(); ++i)
    if (text.at(span.first + int64_t(i)) != what[i]) return false;
  return true;
}

bool ends_with(const Text& text, CharacterSpan span, std::u32string_view what) {
  return starts_with(text, {std::max(span.first, span.second - int64_t(what.size())), span.second}, what) &&
         span.second - span.first >= int64_t(what.size());
}

// Occurrences that do not overlap; of lower-case letters of the alphabet, either case when `folded`.
int64_t count_of(const Text& text, CharacterSpan span, std::u32string_view what, bool folded = false) {
  const auto fold = [&](uint32_t c) { return folded && c >= 'A' && c <= 'Z' ? c + 32 : c; };
  int64_t found = 0;
  for (int64_t i = span.first; i + int64_t(what.size()) <= span.second;) {
    size_t same = 0;
    while (same < what.size() && fold(text.at(i + int64_t(same))) == what[same]) ++same;
    found += same == what.size(), i += same == what.size() ? int64_t(what.size()) : 1;
  }
  return found;
}

CharacterSpan whole(const Text& text) { return {0, int64_t(text.characters.size())}; }

template <class Of>
double share(const std::vector<CharacterSpan>& spans, Of of) {
  return spans.empty() ? 0 : double(std::count_if(spans.begin(), spans.end(), of)) / double(spans.size());
}

void gopher_quality(const Text& text, const GopherQualityConfig& limits, Verdicts& verdicts) {
  static constexpr std::array<std::u32string_view, 8> kStopWords{U"the", U"be",   U"to",   U"of",
                                                                 U"and", U"that", U"have", U"with"};
  int64_t words = 0, characters = 0, with_letters = 0;
  std::array<bool, kStopWords.size()> met{};
  for (const WordSpan& word : text.words) {
    words += !word.symbols_alone, characters += word.symbols_alone ? 0 : word.size(), with_letters += word.has_letter;
    if (word.size() > 4) continue;
    for (size_t i = 0; i < kStopWords.size(); ++i)
      met[i] |=
          word.size() == int64_t(kStopWords[i].size()) && starts_with(text, {word.begin, word.end}, kStopWords[i]);
  }
  const double mean = words > 0 ? double(characters) / double(words) : 0;
  verdicts.below("min_words", double(words), double(limits.min_words));
  verdicts.above("max_words", double(words), double(limits.max_words));
  verdicts.below("min_mean_word", mean, limits.min_mean_word);
  verdicts.above("max_mean_word", mean, limits.max_mean_word);
  int64_t hashes = 0, ellipses = 0, points = 0;  // points in a row; three are an ellipsis
  for (const uint32_t c : text.characters) {
    hashes += c == '#', ellipses += c == 0x2026;
    points = c == '.' ? points + 1 : 0;
    if (points == 3) ++ellipses, points = 0;
  }
  verdicts.above("max_hashes", double(hashes) / text.n_words(), limits.max_hashes);
  verdicts.above("max_ellipses", double(ellipses) / text.n_words(), limits.max_ellipses);
  const auto lines = lines_of(text.characters);
  const auto bullet = [&](const CharacterSpan& line) {
    const CharacterSpan inner = stripped(text.characters, line);
    return starts_with(text, inner, U"•") || starts_with(text, inner, U"-");
  };
  const auto ellipsis = [&](const CharacterSpan& line) {
    const CharacterSpan inner = stripped(text.characters, line);
    return ends_with(text, inner, U"...") || ends_with(text, inner, U"…");
  };
  verdicts.above("max_bullet_lines", share(lines, bullet), limits.max_bullet_lines);
  verdicts.above("max_ellipsis_lines", share(lines, ellipsis), limits.max_ellipsis_lines);
  verdicts.below("min_words_with_letters", double(with_letters) / text.n_words(), limits.min_words_with_letters);
  verdicts.below("min_stop_words", double(std::count(met.begin(), met.end(), true)), double(limits.min_stop_words));
}

// Parts of a text between runs of at least `breaks` line feeds.
std::vector<CharacterSpan> parts_of(const Text& text, CharacterSpan span, int64_t breaks) {
  std::vector<CharacterSpan> parts;
  int64_t begin = span.first;
  for (int64_t i = span.first; i < span.second;) {
    if (text.at(i) != '\n') {
      ++i;
      continue;
    }
    int64_t end = i;
    while (end < span.second && text.at(end) == '\n') ++end;
    if (end - i >= breaks) parts.emplace_back(begin, i), begin = end;
    i = end;
  }
  parts.emplace_back(begin, span.second);
  return parts;
}

struct Duplicates {
  int64_t parts = 0, characters = 0;
};
Duplicates duplicates_of(const Text& text, const std::vector<CharacterSpan>& parts) {
  std::unordered_set<uint64_t> seen;
  Duplicates found;
  for (const CharacterSpan& part : parts)
    if (!seen.insert(hash_of(text.characters, part)).second)
      ++found.parts, found.characters += part.second - part.first;
  return found;
}

void gopher_repetition(const Text& text, const GopherRepetitionConfig& limits, Verdicts& verdicts) {
  const auto paragraphs = parts_of(text, stripped(text.characters, whole(text)), 2);
  Duplicates found = duplicates_of(text, paragraphs);
  verdicts.above("duplicate_paragraphs", double(found.parts) / double(paragraphs.size()), limits.duplicate_paragraphs);
  verdicts.above("duplicate_paragraph_characters", double(found.characters) / text.size(),
                 limits.duplicate_paragraph_characters);
  const auto lines = parts_of(text, whole(text), 1);
  found = duplicates_of(text, lines);
  verdicts.above("duplicate_lines", double(found.parts) / double(lines.size()), limits.duplicate_lines);
  verdicts.above("duplicate_line_characters", double(found.characters) / text.size(), limits.duplicate_line_characters);
  const std::pair<const char*, double> top[] = {
      {"top_2_gram", limits.top_2_gram}, {"top_3_gram", limits.top_3_gram}, {"top_4_gram", limits.top_4_gram}};
  const std::pair<const char*, double> repeated[] = {
      {"duplicate_5_grams", limits.duplicate_5_grams}, {"duplicate_6_grams", limits.duplicate_6_grams},
      {"duplicate_7_grams", limits.duplicate_7_grams}, {"duplicate_8_grams", limits.duplicate_8_grams},
      {"duplicate_9_grams", limits.duplicate_9_grams}, {"duplicate_10_grams", limits.duplicate_10_grams}};
  RepeatedWords grams(text.words);
  for (int64_t i = 0; i < 3 && !verdicts.settled(); ++i)
    verdicts.above(top[i].first, double(grams.top(i + 2)) / text.size(), top[i].second);
  for (int64_t i = 0; i < 6 && !verdicts.settled(); ++i)
    verdicts.above(repeated[i].first, double(grams.repeated(i + 5)) / text.size(), repeated[i].second);
}

void fineweb(const Text& text, const FinewebConfig& limits, Verdicts& verdicts) {
  std::vector<CharacterSpan> lines;
  int64_t breaks = 0;
  for (int64_t begin = 0, i = 0, n = int64_t(text.characters.size()); i <= n; ++i) {
    if (i < n && text.at(i) != '\n') continue;
    breaks += i < n;
    const CharacterSpan inner = stripped(text.characters, {begin, i});
    if (inner.first < inner.second) lines.emplace_back(begin, i);
    begin = i + 1;
  }
  verdicts.holds("empty", true, lines.empty());
  if (lines.empty()) return;
  const auto ended = [&](const CharacterSpan& line) { return ends_sentence(text.at(line.second - 1)); };
  const auto is_short = [&](const CharacterSpan& line) { return line.second - line.first <= limits.short_line; };
  verdicts.below("min_lines_with_punctuation", share(lines, ended), limits.min_lines_with_punctuation);
  verdicts.above("max_short_lines", share(lines, is_short), limits.max_short_lines);
  const double without_breaks = std::max(1.0, double(int64_t(text.characters.size()) - breaks));
  verdicts.above("duplicate_line_characters", double(duplicates_of(text, lines).characters) / without_breaks,
                 limits.duplicate_line_characters);
  verdicts.above("max_lines_per_word", double(breaks) / text.n_words(), limits.max_lines_per_word);
}

void code(const Text& text, const CodeConfig& limits, Verdicts& verdicts) {
  const auto lines = lines_of(text.characters);
  int64_t longest = 0, characters = 0, known = 0;
  for (const auto& [begin, end] : lines) longest = std::max(longest, end - begin), characters += end - begin;
  for (const WordSpan& word : text.words) known += word.symbols_alone ? 0 : word.size();
  verdicts.above("max_mean_line", double(characters) / double(std::max<size_t>(1, lines.size())), limits.max_mean_line);
  verdicts.above("max_line", double(longest), double(limits.max_line));
  verdicts.below("min_letters_and_digits", double(known) / text.size(), limits.min_letters_and_digits);
  const CharacterSpan head{0, lines.empty() ? 0 : lines[std::min<size_t>(lines.size(), 10) - 1].second};
  int64_t marks = 0;
  for (const std::u32string_view mark : {U"auto-generated", U"autogenerated", U"automatically generated",
                                         U"generated by", U"do not edit", U"@generated"})
    marks += count_of(text, head, mark, true);
  verdicts.holds("no_generated", limits.no_generated, marks > 0);
  const CharacterSpan begin{0, std::min<int64_t>(100, int64_t(text.characters.size()))};
  verdicts.holds("no_xml", limits.no_xml, count_of(text, begin, U"<?xml version=") > 0);
}

}  // namespace

QualityRules::QualityRules(const SourceConfig& source) : limits_(source.limits) {
  cuts_ = std::find(source.rules.begin(), source.rules.end(), "c4") != source.rules.end();
  for (const char* set : kRuleSets)
    if (std::find(source.rules.begin(), source.rules.end(), set) != source.rules.end()) sets_.push_back(set);
}

std::vector<Refusal> QualityRules::ask(std::string& text, size_t most, std::optional<SplitText>& split) const {
  std::vector<Refusal> found;
  const auto now = [&] { return Text(split ? *split : split.emplace(text)); };
  for (const std::string& set : sets_) {
    Verdicts verdicts(set.c_str(), most, found);
    if (verdicts.settled()) break;
    if (set == "gopher_quality") gopher_quality(now(), limits_.gopher_quality, verdicts);
    if (set == "gopher_repetition") gopher_repetition(now(), limits_.gopher_repetition, verdicts);
    if (set == "fineweb") fineweb(now(), limits_.fineweb, verdicts);
    if (set == "code") code(now(), limits_.code, verdicts);
    if (set != "c4") continue;
    C4Lines lines = c4_lines(text, limits_.c4);
    verdicts.holds("no_lorem_ipsum", limits_.c4.no_lorem_ipsum, lines.lorem_ipsum);
    verdicts.holds("no_brackets", limits_.c4.no_brackets, lines.brackets);
    verdicts.below("min_sentences", double(lines.sentences), double(limits_.c4.min_sentences));
    if (text != lines.text) text = std::move(lines.text), split.reset();
  }
  return found;
}

std::optional<Refusal> QualityRules::judge(std::string& text) const {
  std::optional<SplitText> split;
  const std::vector<Refusal> found = ask(text, 1, split);
  return found.empty() ? std::nullopt : std::optional(found.front());
}

std::vector<Refusal> QualityRules::all(std::string_view text) const {
  std::string copy(text);
  std::optional<SplitText> split;
  return ask(copy, SIZE_MAX, split);
}

void QualityRules::cut(std::string& text) const {
  if (cuts_) text = c4_lines(text, limits_.c4).text;
}

std::string rules_recipe(const SourceConfig& source) {
  using Json = nlohmann::ordered_json;
  Config alone;
  alone.data.sources.emplace_back().limits = source.limits;
  const Json limits = parse_json<Json>(config_to_json(alone), "limits")["data"]["sources"][0]["limits"];
  Json recipe{{"sets", source.rules}};
  for (const std::string& set : source.rules) recipe[set] = limits[set];
  return json_text(recipe);
}

}  // namespace hadal::data
