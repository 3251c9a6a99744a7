#include "text/character_kinds.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/pcre2_owned.h"
#include "text/split_pattern.h"
#include "text/unicode_additions.h"

namespace hadal {
namespace {

// Sets the kinds of all characters, by PCRE2's tables: kinds[i] for those of the i-th class.
void set_kinds(const std::string& every, const std::vector<std::string>& classes,
               const std::vector<CharacterKind>& kinds, std::vector<CharacterKind>& of) {
  int error = 0;
  PCRE2_SIZE place = 0;
  std::string pattern;
  for (const std::string& set : classes) pattern += (pattern.empty() ? "([" : "|([") + set + "]++)";
  const std::unique_ptr<pcre2_code, CodeDeleter> code(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &place, nullptr));
  const std::unique_ptr<pcre2_match_data, MatchDataDeleter> data(
      pcre2_match_data_create(uint32_t(classes.size() + 1), nullptr));
  check(code && data, ErrorKind::internal, "PCRE2 does not know {}", pattern);
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(every.data());
  for (PCRE2_SIZE from = 0;;) {
    const int groups = pcre2_match(code.get(), subject, every.size(), from, PCRE2_NO_UTF_CHECK, data.get(), nullptr);
    if (groups <= 0) return;
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    const char *first = every.data() + bounds[0], *end = every.data() + bounds[1], *last = end;
    do --last;
    while ((uint8_t(*last) & 0xC0) == 0x80);
    const uint32_t last_character = utf8_decode(last, int(end - last));  // the text holds all characters in order
    for (uint32_t c = utf8_decode(first, utf8_length(first, end)); c <= last_character; ++c)
      of[c] = kinds[size_t(groups) - 2];
    from = bounds[1];
  }
}

std::string every_character() {
  std::string every;
  for (uint32_t c = 0; c < CharacterKinds::kKnown; ++c) {
    if (c < 0xD800 || c >= 0xE000) append_utf8(every, c);
  }
  return every;
}

constexpr const char* kWhiteSpace =
    "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

}  // namespace

const CharacterKinds& character_kinds() {
  static const CharacterKinds kinds = [] {
    const std::string every = every_character();
    std::vector<CharacterKind> of(CharacterKinds::kKnown, CharacterKind::other);
    const std::pair<char, CharacterKind> categories[] = {{'L', CharacterKind::letter},
                                                         {'M', CharacterKind::mark},
                                                         {'P', CharacterKind::punctuation},
                                                         {'S', CharacterKind::punctuation},
                                                         {'N', CharacterKind::number}};
    std::vector<std::string> classes = {kWhiteSpace};
    std::vector<CharacterKind> kinds_of = {CharacterKind::blank};
    for (const auto& [letter, kind] : categories) {
      classes.push_back(std::string("\\p{") + letter + "}");
      kinds_of.push_back(kind);
    }
    set_kinds(every, classes, kinds_of, of);
    of['\r'] = of['\n'] = CharacterKind::line_end;
    for (const UnicodeAddition& more : kUnicodeAdditions) {
      const auto* category = std::find_if(std::begin(categories), std::end(categories),
                                          [&](const auto& known) { return known.first == more.name[0]; });
      if (pcre2_unicode_major() >= kUnicodeMajor || more.name.size() != 2 || category == std::end(categories)) continue;
      for (uint32_t c = more.first; c <= more.last; ++c) of[c] = category->second;
    }
    return CharacterKinds(of);
  }();
  return kinds;
}

CharacterKinds::CharacterKinds(const std::vector<CharacterKind>& by_code_point) {
  std::map<std::string, uint16_t> known;
  for (size_t begin = 0; begin < kKnown; begin += 128) {
    const auto* block = by_code_point.data() + begin;
    const auto [place, fresh] =
        known.emplace(std::string(reinterpret_cast<const char*>(block), 128), uint16_t(known.size()));
    if (fresh) blocks_.insert(blocks_.end(), block, block + 128);
    block_of_.push_back(place->second);
  }
}

bool is_word_character(uint32_t code_point) {
  static const std::vector<bool> words = [] {
    const std::string every = every_character();
    std::vector<CharacterKind> of(CharacterKinds::kKnown, CharacterKind::other);
    set_kinds(every, {"\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}"}, {CharacterKind::letter}, of);
    for (const UnicodeAddition& more : kUnicodeAdditions) {
      const bool word = more.name.size() == 2 && (more.name[0] == 'L' || more.name[0] == 'M' || more.name == "Nd");
      for (uint32_t c = more.first; word && c <= more.last; ++c) of[c] = CharacterKind::letter;
    }
    std::vector<bool> set(of.size());
    for (size_t c = 0; c < of.size(); ++c) set[c] = of[c] == CharacterKind::letter;
    return set;
  }();
  return code_point < words.size() ? words[code_point] : character_kinds().of(code_point) == CharacterKind::mark;
}

bool is_white_space(uint32_t code_point) {
  const CharacterKind kind = character_kinds().of(code_point);
  return kind == CharacterKind::blank || kind == CharacterKind::line_end;
}

int pcre2_unicode_major() {
  char version[64] = "";
  pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version);
  return std::atoi(version);
}

}  // namespace hadal
