#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/character_sets.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/utf8.h"

namespace hadal {
namespace {

constexpr uint32_t kLast = 0x10FFFF, kSurrogates = 0xD800, kBehindSurrogates = 0xE000;

// Every character once, in order. A run of matches is a range, since UTF-8 keeps the order.
const std::string& all_characters() {
  static const std::string all = [] {
    std::string text;
    text.reserve(4'500'000);
    for (uint32_t c = 0; c <= kLast; ++c) {
      if (c >= kSurrogates && c < kBehindSurrogates) continue;
      append_utf8(text, c);
    }
    return text;
  }();
  return all;
}

uint32_t character_at(const std::string& text, size_t at) {
  const char* begin = text.data() + at;
  return utf8_decode(begin, utf8_length(begin, text.data() + text.size()));
}

uint32_t character_before(const std::string& text, size_t end) {
  do --end;
  while ((uint8_t(text[end]) & 0xC0) == 0x80);
  return character_at(text, end);
}

struct Free {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace

CharacterSet::CharacterSet(std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  for (const Range& range : ranges) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

CharacterSet CharacterSet::united(const CharacterSet& other) const {
  std::vector<Range> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  return CharacterSet(std::move(all));
}

CharacterSet CharacterSet::complement() const {
  std::vector<Range> gaps;
  const auto add = [&](uint32_t first, uint32_t end) {  // [first, end) without the surrogates
    if (first < std::min(end, kSurrogates)) gaps.push_back({first, std::min(end, kSurrogates) - 1});
    if (std::max(first, kBehindSurrogates) < end) gaps.push_back({std::max(first, kBehindSurrogates), end - 1});
  };
  uint32_t from = 0;
  for (const Range& range : ranges_) {
    add(from, range.first);
    from = range.last + 1;
  }
  add(from, kLast + 1);
  return CharacterSet(std::move(gaps));
}

CharacterSet CharacterSet::intersected(const CharacterSet& other) const {
  return complement().united(other.complement()).complement();
}

std::string CharacterSet::as_class() const {
  if (empty()) return "(?:(?!))";
  std::string text = "[";
  for (const Range& range : ranges_) {
    text += fmt::format("\\x{{{:x}}}", range.first);
    if (range.last > range.first) text += fmt::format("-\\x{{{:x}}}", range.last);
  }
  return text + "]";
}

CharacterSet characters_of_class(const std::string& pcre2_class) {
  const std::string pattern = pcre2_class + "++";
  int error = 0;
  PCRE2_SIZE place = 0;
  const std::unique_ptr<pcre2_code, Free> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &place, nullptr));
  check(code != nullptr, ErrorKind::invalid, "'{}' is no class of characters", pcre2_class.substr(0, 200));
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // without it the same matches, slower
  const std::unique_ptr<pcre2_match_data, Free> data(pcre2_match_data_create(1, nullptr));
  check(data != nullptr, ErrorKind::internal, "no memory for a regular expression's match data");
  const std::string& text = all_characters();
  std::vector<CharacterSet::Range> ranges;
  for (size_t from = 0; from < text.size();) {
    const int rc = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                               PCRE2_NO_UTF_CHECK, data.get(), nullptr);
    if (rc == PCRE2_ERROR_NOMATCH) break;
    check(rc >= 0, ErrorKind::invalid, "the class '{}' cannot be matched (PCRE2's error {})",
          pcre2_class.substr(0, 200), rc);
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    ranges.push_back({character_at(text, bounds[0]), character_before(text, bounds[1])});
    from = bounds[1];
  }
  return CharacterSet(std::move(ranges));
}

}  // namespace hadal
