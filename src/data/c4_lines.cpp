// Line by line, in the order of the published filter.
#include "data/c4_lines.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "data/words.h"

namespace hadal::data {
namespace {

std::string bytes_of(const std::vector<uint32_t>& characters, CharacterSpan span) {
  std::string text;
  for (int64_t i = span.first; i < span.second; ++i) append_utf8(text, characters[size_t(i)]);
  return text;
}

std::string in_small_letters(std::string text) {
  for (char& c : text) c = char(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return text;
}

// "[12]", "[]", "[edit]" and "[citation needed]".
std::string without_citations(const std::string& line) {
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
  for (int64_t i = span.first; i <= span.second; ++i) {
    if (i < span.second && !is_space(characters[size_t(i)])) {
      ++length;
      continue;
    }
    words.n += length > 0, words.longest = std::max(words.longest, length), length = 0;
  }
  return words;
}

// Ends of sentences in a row count once, where white space or the end follows; what is left over is a sentence too.
int64_t sentences_in(const std::string& line) {
  const std::vector<uint32_t> characters = characters_of(line);
  int64_t sentences = 0;
  bool open = false;
  for (size_t i = 0; i < characters.size(); ++i) {
    if (is_space(characters[i])) continue;
    open = true;
    const bool last = i + 1 == characters.size() || is_space(characters[i + 1]);
    const bool quoted = characters[i] == '"' || characters[i] == '\'' || characters[i] == 0x201D;
    if (last && (ends_sentence(characters[i]) || (quoted && i > 0 && ends_sentence(characters[i - 1]))))
      ++sentences, open = false;
  }
  return sentences + open;
}

bool ends_well(const std::string& line) {
  static constexpr std::string_view kEnds = ".?!\"'";
  return !line.empty() && kEnds.find(line.back()) != std::string_view::npos && !line.ends_with("...");
}

bool is_policy(const std::string& small) {
  static constexpr std::array<std::string_view, 6> kPhrases{"terms of use", "privacy policy", "cookie policy",
                                                            "uses cookies", "use of cookies", "use cookies"};
  return std::any_of(kPhrases.begin(), kPhrases.end(),
                     [&](std::string_view phrase) { return small.find(phrase) != std::string::npos; });
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
    if (limits.no_citations) line = without_citations(line);
    if (limits.ends_in_punctuation && !ends_well(line)) continue;
    if (words.n < limits.min_words_of_line) continue;
    const std::string small = in_small_letters(line);
    if (small.find("lorem ipsum") != std::string::npos) left.lorem_ipsum = true;
    if (limits.no_lorem_ipsum && left.lorem_ipsum) break;
    if (limits.no_javascript && small.find("javascript") != std::string::npos) continue;
    if (line.find('{') != std::string::npos) left.brackets = true;
    if (limits.no_brackets && left.brackets) break;
    if (limits.no_policy && is_policy(small)) continue;
    left.sentences += sentences_in(line);
    left.text += (first ? "" : "\n") + line, first = false;
  }
  const std::vector<uint32_t> joined = characters_of(left.text);
  const CharacterSpan inner = stripped(joined, {0, int64_t(joined.size())});
  if (inner.second - inner.first < int64_t(joined.size())) left.text = bytes_of(joined, inner);
  return left;
}

}  // namespace hadal::data
