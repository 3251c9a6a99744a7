// Line by line, in the order of the published filter.
#include "data/c4_lines.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "data/words.h"

namespace hadal::data {
namespace {

std::string bytes_of(const std::vector<uint32_t>& characters, CharacterSpan span) {
  std::string text(size_t(4 * (span.second - span.first)), '\0');
  char* out = text.data();
  for (int64_t i = span.first; i < span.second; ++i) out = write_utf8(out, characters[size_t(i)]);
  text.resize(size_t(out - text.data()));
  return text;
}

// Phrases of a line, in either case.
struct Phrases {
  bool lorem_ipsum = false, javascript = false, policy = false;
};

constexpr std::array<std::string_view, 8> kPhrases{"lorem ipsum",   "javascript",   "terms of use",   "privacy policy",
                                                   "cookie policy", "uses cookies", "use of cookies", "use cookies"};

// For each of a phrase's first letters: bit p of [i][c] says that c, in either case, is the letter i of phrase p.
constexpr size_t kLettersAsked = 3;
using PhraseLetters = std::array<std::array<uint8_t, 256>, kLettersAsked>;
constexpr PhraseLetters kPhraseLetters = [] {
  PhraseLetters letters{};
  for (size_t p = 0; p < kPhrases.size(); ++p)
    for (size_t i = 0; i < kLettersAsked; ++i) {
      const auto c = size_t(kPhrases[p][i]);
      letters[i][c] |= uint8_t(1 << p), letters[i][c - 32] |= uint8_t(1 << p);
    }
  return letters;
}();

Phrases phrases_in(std::string_view line) {
  const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; };
  const auto stands_at = [&](size_t at, std::string_view phrase) {
    if (line.size() - at < phrase.size()) return false;
    for (size_t i = 0; i < phrase.size(); ++i)
      if (small(line[at + i]) != phrase[i]) return false;
    return true;
  };
  uint32_t found = 0;
  for (size_t at = 0; at + kLettersAsked <= line.size(); ++at) {
    uint32_t may = 255;
    for (size_t i = 0; i < kLettersAsked; ++i) may &= kPhraseLetters[i][static_cast<unsigned char>(line[at + i])];
    if (may == 0) continue;
    for (size_t p = 0; p < kPhrases.size(); ++p)
      if (may >> p & 1) found |= uint32_t(stands_at(at, kPhrases[p])) << p;
  }
  return {(found & 1) != 0, (found & 2) != 0, found > 3};
}

// "[12]", "[]", "[edit]" and "[citation needed]".
std::string without_citations(const std::string& line) {
  if (line.find('[') == std::string::npos) return line;
  std::string out;
  for (size_t i = 0; i < line.size();) {
    size_t end = std::string::npos;
    if (line[i] == '[') {
      size_t digits = i + 1;
      while (digits < line.size() && line[digits] >= '0' && line[digits] <= '9') ++digits;
      if (digits < line.size() && line[digits] == ']') end = digits + 1;
      for (const std::string_view note : {"[edit]", "[citation needed]"})
        if (line.compare(i, note.size(), note) == 0) end = i + note.size();
    }
    if (end == std::string::npos) {
      out += line[i++];
    } else {
      i = end;
    }
  }
  return out;
}

struct Words {
  int64_t n = 0, longest = 0;  // between white space
};
Words words_between_spaces(const std::vector<uint32_t>& characters, CharacterSpan span) {
  Words words;
  int64_t length = 0;
  for (int64_t i = span.first; i < span.second; ++i) {
    const int64_t inside = !is_space(characters[size_t(i)]);
    words.n += inside & int64_t(length == 0);
    length = (length + 1) * inside;
    words.longest = std::max(words.longest, length);
  }
  return words;
}

// Whether a sentence may end at c, as far as one can tell at a glance.
bool may_end(uint32_t c) {
  constexpr uint64_t kEnds =
      uint64_t(1) << '.' | uint64_t(1) << '?' | uint64_t(1) << '!' | uint64_t(1) << '"' | uint64_t(1) << '\'';
  return c < 64 ? kEnds >> c & 1 : c >= 0x80;
}

// Ends of sentences in a row count once, where white space or the end follows; what is left over is a sentence too.
int64_t sentences_in(const std::vector<uint32_t>& characters, CharacterSpan span) {
  int64_t sentences = 0, behind = span.first;  // the last one's end
  for (int64_t i = span.first; i < span.second; ++i) {
    const uint32_t c = characters[size_t(i)];
    if (!may_end(c) || (i + 1 < span.second && !is_space(characters[size_t(i) + 1]))) continue;
    const bool quoted = (c == '"' || c == '\'' || c == 0x201D) && i > span.first;
    if (ends_sentence(c) || (quoted && ends_sentence(characters[size_t(i) - 1]))) ++sentences, behind = i + 1;
  }
  const CharacterSpan rest = stripped(characters, {behind, span.second});
  return sentences + (rest.first < rest.second);
}

bool ends_well(const std::string& line) {
  static constexpr std::string_view kEnds = ".?!\"'";
  return !line.empty() && kEnds.find(line.back()) != std::string_view::npos && !line.ends_with("...");
}

}  // namespace

C4Lines c4_lines(std::string_view text, const C4Config& limits) {
  C4Lines left;
  bool first = true;
  const std::vector<uint32_t> characters = characters_of(text);
  for (const CharacterSpan& whole : lines_of(characters)) {
    const CharacterSpan span = stripped(characters, whole);
    const Words words = words_between_spaces(characters, span);
    if (limits.max_word > 0 && words.longest > limits.max_word) continue;
    std::string line = bytes_of(characters, span);
    const size_t with_citations = line.size();
    if (limits.no_citations) line = without_citations(line);
    if (limits.ends_in_punctuation && !ends_well(line)) continue;
    if (words.n < limits.min_words_of_line) continue;
    const Phrases phrases = phrases_in(line);
    if (phrases.lorem_ipsum) left.lorem_ipsum = true;
    if (limits.no_lorem_ipsum && left.lorem_ipsum) break;
    if (limits.no_javascript && phrases.javascript) continue;
    if (line.find('{') != std::string::npos) left.brackets = true;
    if (limits.no_brackets && left.brackets) break;
    if (limits.no_policy && phrases.policy) continue;
    if (line.size() == with_citations) {
      left.sentences += sentences_in(characters, span);
    } else {
      const std::vector<uint32_t> shorter = characters_of(line);
      left.sentences += sentences_in(shorter, {0, int64_t(shorter.size())});
    }
    left.text += (first ? "" : "\n") + line, first = false;
  }
  const auto is_plain = [](char c) { return c > ' ' && c < 0x7F; };
  if (left.text.empty() || (is_plain(left.text.front()) && is_plain(left.text.back()))) return left;
  const std::vector<uint32_t> joined = characters_of(left.text);
  const CharacterSpan inner = stripped(joined, {0, int64_t(joined.size())});
  if (inner.second - inner.first < int64_t(joined.size())) left.text = bytes_of(joined, inner);
  return left;
}

}  // namespace hadal::data
