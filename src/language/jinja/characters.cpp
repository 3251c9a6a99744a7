#include "jinja/characters.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/utf8.h"
#include "jinja/case_tables.h"

namespace hadal::jinja {
namespace {

// A class of characters that PCRE2 knows, e.g. "[\\p{L}]". Asked for single characters above ASCII only.
class CharacterClass {
 public:
  explicit CharacterClass(const char* pattern) {
    int error = 0;
    PCRE2_SIZE at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_ANCHORED,
                              &error, &at, nullptr));
    check(code_ != nullptr, ErrorKind::internal, "PCRE2 refuses the class {}", pattern);
  }
  bool has(uint32_t c) const {
    char bytes[4];
    size_t n = 0;
    if (c < 0x80) {
      bytes[n++] = char(c);
    } else if (c < 0x800) {
      bytes[n++] = char(0xC0 | c >> 6);
    } else if (c < 0x10000) {
      bytes[n++] = char(0xE0 | c >> 12), bytes[n++] = char(0x80 | (c >> 6 & 63));
    } else {
      bytes[n++] = char(0xF0 | c >> 18), bytes[n++] = char(0x80 | (c >> 12 & 63)),
      bytes[n++] = char(0x80 | (c >> 6 & 63));
    }
    if (c >= 0x80) bytes[n++] = char(0x80 | (c & 63));
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match(pcre2_match_data_create(1, nullptr),
                                                                                    &pcre2_match_data_free);
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(bytes), n, 0, PCRE2_NO_UTF_CHECK, match.get(),
                       nullptr) >= 0;
  }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
};

// The range that holds c, or none; the tables are sorted and disjoint.
template <size_t n>
const CaseRange* range_of(const CaseRange (&table)[n], uint32_t c) {
  const CaseRange* found = std::lower_bound(std::begin(table), std::end(table), c,
                                            [](const CaseRange& r, uint32_t x) { return r.last < x; });
  for (; found != std::end(table) && found->first <= c; ++found) {  // ranges of step 2 may interleave
    if (found->last >= c && (c - found->first) % found->step == 0) return found;
  }
  return nullptr;
}

template <size_t n>
const char* exception_of(const CaseException (&table)[n], uint32_t c) {
  const CaseException* found = std::lower_bound(std::begin(table), std::end(table), c,
                                                [](const CaseException& e, uint32_t x) { return e.character < x; });
  return found != std::end(table) && found->character == c ? found->becomes : nullptr;
}

std::string upper_of(uint32_t c) {
  std::string out;
  if (c < 0x80) {
    out += char(c >= 'a' && c <= 'z' ? c - 32 : c);
  } else if (const char* several = exception_of(kUpperExceptions, c)) {
    out = several;
  } else {
    const CaseRange* range = range_of(kUpper, c);
    append_utf8(out, range != nullptr ? uint32_t(int64_t(c) + range->difference) : c);
  }
  return out;
}

std::string lower_of(uint32_t c) {
  std::string out;
  if (c < 0x80) {
    out += char(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else if (const char* several = exception_of(kLowerExceptions, c)) {
    out = several;
  } else {
    const CaseRange* range = range_of(kLower, c);
    append_utf8(out, range != nullptr ? uint32_t(int64_t(c) + range->difference) : c);
  }
  return out;
}

std::string title_of(uint32_t c) {
  const char* other = c < 0x80 ? nullptr : exception_of(kTitleExceptions, c);
  return other != nullptr ? other : upper_of(c);
}

// Sigma is lowered to its final form behind a letter and before none (Unicode's Final_Sigma, marks left aside).
bool sigma_is_final(std::string_view text, size_t at) {
  size_t before = at;
  while (before > 0 && (uint8_t(text[--before]) & 0xC0) == 0x80) {
  }
  if (at == 0 || !is_cased(code_point(text.substr(before)))) return false;
  return at + 2 >= text.size() || !is_cased(code_point(text.substr(at + 2)));
}

}  // namespace

uint32_t code_point(std::string_view character) {
  const int length = utf8_length(character.data(), character.data() + character.size());
  return length == 0 ? 0xFFFD : utf8_decode(character.data(), length);
}

bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_end(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_printable(uint32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  static const CharacterClass others("[\\p{C}\\p{Z}]");
  return !others.has(c);
}

bool is_letter(uint32_t c) {
  if (c < 0x80) return (c | 32) >= 'a' && (c | 32) <= 'z';
  static const CharacterClass letters("[\\p{L}]");
  return letters.has(c);
}

bool is_word(uint32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
  static const CharacterClass words("[\\p{L}\\p{N}]");
  return words.has(c);
}

bool is_decimal(uint32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  static const CharacterClass decimals("[\\p{Nd}]");
  return decimals.has(c);
}

bool is_upper(uint32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  static const CharacterClass uppers(
      "[\\p{Lu}\\x{2160}-\\x{216F}\\x{24B6}-\\x{24CF}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}]");
  return uppers.has(c);
}

bool is_lower(uint32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  static const CharacterClass lowers(
      "[\\p{Ll}\\x{AA}\\x{BA}\\x{2B0}-\\x{2B8}\\x{2C0}-\\x{2C1}\\x{2E0}-\\x{2E4}\\x{345}\\x{37A}\\x{1D2C}-\\x{1D6A}\\x{"
      "1D78}\\x{1D9B}-\\x{1DBF}\\x{2071}\\x{207F}"
      "\\x{2090}-\\x{209C}\\x{2170}-\\x{217F}\\x{24D0}-\\x{24E9}\\x{2C7C}-\\x{2C7D}\\x{A69C}-\\x{A69D}\\x{A770}\\x{"
      "A7F8}-\\x{A7F9}\\x{AB5C}-\\x{AB5F}"
      "\\x{10780}\\x{10783}-\\x{10785}\\x{10787}-\\x{107B0}\\x{107B2}-\\x{107BA}]");
  return lowers.has(c);
}

bool is_cased(uint32_t c) {
  if (is_upper(c) || is_lower(c)) return true;
  return c >= 0x80 && (range_of(kUpper, c) != nullptr || range_of(kLower, c) != nullptr);
}

MarkedText with_case(const MarkedText& text, Case which) {
  MarkedText out;
  bool begins = true;  // the next letter is a word's (or the text's) first
  size_t at = 0;
  text.for_each([&](std::string_view character, bool from_template) {
    const uint32_t c = code_point(character);
    const bool title = begins && (which == Case::title || which == Case::capitalize);
    if (title) {
      out.append(title_of(c), from_template);
    } else if (which == Case::upper) {
      out.append(upper_of(c), from_template);
    } else if (c == 0x3A3 && sigma_is_final(text.bytes(), at)) {
      out.append("\xCF\x82", from_template);
    } else {
      out.append(lower_of(c), from_template);
    }
    begins = which == Case::title ? !is_cased(c) : false;
    at += character.size();
  });
  return out;
}

std::pair<size_t, size_t> strip_range(std::string_view text, bool left, bool right) {
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const size_t length = size_t(utf8_length(text.data() + begin, text.data() + end));
    if (!is_space(code_point(text.substr(begin)))) break;
    begin += std::max<size_t>(length, 1);
  }
  while (right && end > begin) {
    size_t last = end - 1;
    while (last > begin && (uint8_t(text[last]) & 0xC0) == 0x80) --last;
    if (!is_space(code_point(text.substr(last, end - last)))) break;
    end = last;
  }
  return {begin, end};
}

std::pair<size_t, size_t> strip_range(std::string_view text, std::string_view characters, bool left, bool right) {
  auto among = [&](std::string_view character) {
    for (size_t at = characters.find(character); at != std::string_view::npos;
         at = characters.find(character, at + 1)) {
      if (at + character.size() >= characters.size() || (uint8_t(characters[at + character.size()]) & 0xC0) != 0x80)
        return true;
    }
    return false;
  };
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const size_t length = size_t(std::max(1, utf8_length(text.data() + begin, text.data() + end)));
    if (!among(text.substr(begin, length))) break;
    begin += length;
  }
  while (right && end > begin) {
    size_t last = end - 1;
    while (last > begin && (uint8_t(text[last]) & 0xC0) == 0x80) --last;
    if (!among(text.substr(last, end - last))) break;
    end = last;
  }
  return {begin, end};
}

size_t find_bytes(std::string_view text, std::string_view what, size_t from) {
  if (from > text.size()) return std::string::npos;
  if (what.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, what.data(), what.size());
  return found == nullptr ? std::string::npos : size_t(static_cast<const char*>(found) - text.data());
}

size_t find_last_bytes(std::string_view text, std::string_view what) {
  const std::string backwards(text.rbegin(), text.rend()), what_backwards(what.rbegin(), what.rend());
  const size_t found = find_bytes(backwards, what_backwards, 0);
  return found == std::string::npos ? found : text.size() - found - what.size();
}

}  // namespace hadal::jinja
