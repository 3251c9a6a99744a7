#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/character_kinds.h"

#include <pcre2.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/split_pattern.h"
#include "text/unicode_additions.h"

namespace hadal {
namespace {

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

// Sets the kind of all characters of a class, by PCRE2's tables.
void set_kind(const std::string& every, const char* set, CharacterKind kind, std::vector<CharacterKind>& kinds) {
  int error = 0;
  PCRE2_SIZE place = 0;
  const std::string pattern = std::string("[") + set + "]+";
  const std::unique_ptr<pcre2_code, CodeDeleter> code(pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &place, nullptr));
  const std::unique_ptr<pcre2_match_data, MatchDataDeleter> data(pcre2_match_data_create(1, nullptr));
  check(code && data, ErrorKind::internal, "PCRE2 does not know {}", pattern);
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(every.data());
  for (PCRE2_SIZE from = 0;
       pcre2_match(code.get(), subject, every.size(), from, PCRE2_NO_UTF_CHECK, data.get(), nullptr) > 0;) {
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    for (const char *at = every.data() + bounds[0], *end = every.data() + bounds[1]; at < end;) {
      const int length = utf8_length(at, end);
      kinds[utf8_decode(at, length)] = kind;
      at += length;
    }
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
    for (const auto& [letter, kind] : categories) {
      set_kind(every, (std::string("\\p{") + letter + "}").c_str(), kind, of);
      for (const UnicodeAddition& more : kUnicodeAdditions) {
        if (pcre2_unicode_major() >= kUnicodeMajor || more.name[0] != letter || more.name.size() != 2) continue;
        for (uint32_t c = more.first; c <= more.last; ++c) of[c] = kind;
      }
    }
    set_kind(every, kWhiteSpace, CharacterKind::blank, of);
    set_kind(every, "\r\n", CharacterKind::line_end, of);
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
    set_kind(every, "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}", CharacterKind::letter, of);
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
