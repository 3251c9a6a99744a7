#define PCRE2_CODE_UNIT_WIDTH 8
#include "grading/pattern.h"

#include <pcre2.h>

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace hadal::grading {
namespace {

constexpr uint32_t kMostSteps = 2'000'000;  // of one match
constexpr size_t kMostBytes = 64 << 10;     // of an expression

std::string message_of(int code) {
  unsigned char text[256];
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Pattern::Code {
  pcre2_code* code = nullptr;
  pcre2_match_data* match = nullptr;
  pcre2_match_context* context = nullptr;
  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
  }
};

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;

Pattern::Pattern(const std::string& expression) : expression_(expression), code_(std::make_unique<Code>()) {
  check(expression.size() <= kMostBytes && utf8_valid_prefix(expression) == int64_t(expression.size()),
        ErrorKind::invalid, "a regular expression must be UTF-8 of at most {} bytes", kMostBytes);
  int error = 0;
  PCRE2_SIZE at = 0;
  const auto* text = reinterpret_cast<PCRE2_SPTR>(expression.data());
  code_->code =
      pcre2_compile(text, expression.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &at, nullptr);
  check(code_->code != nullptr, ErrorKind::invalid, "'{}' is no regular expression: {} at byte {}", expression,
        message_of(error), at);
  code_->match = pcre2_match_data_create_from_pattern(code_->code, nullptr);
  code_->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(code_->context, kMostSteps);
  pcre2_set_heap_limit(code_->context, 64 << 10);  // KiB
}

// Calls take(ends of the match and its groups) for each match. A match of nothing is taken once at a place, and the
// next one at the same place must be longer.
template <class Take>
void Pattern::each_match(std::string_view text, Take take) const {
  check(utf8_valid_prefix(text) == int64_t(text.size()), ErrorKind::internal, "a text for '{}' is no UTF-8",
        expression_);
  const auto* bytes = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t at = 0;
  bool empty_taken = false;
  while (at <= text.size()) {
    const uint32_t options = PCRE2_NO_UTF_CHECK | (empty_taken ? PCRE2_NOTEMPTY_ATSTART : 0);
    const int found = pcre2_match(code_->code, bytes, text.size(), at, options, code_->match, code_->context);
    if (found == PCRE2_ERROR_NOMATCH) return;
    check(found > 0, ErrorKind::invalid, "the regular expression '{}' takes too long on a text of {} bytes: {}",
          expression_, text.size(), message_of(found));
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(code_->match);
    const size_t end = std::max<size_t>(ends[1], at);  // \K may turn them around
    take(ends, found);
    check(!empty_taken || end > at, ErrorKind::invalid, "the regular expression '{}' does not move on", expression_);
    empty_taken = ends[0] >= ends[1];
    at = end;
  }
}

std::vector<std::vector<std::string>> Pattern::find_all(std::string_view text) const {
  uint32_t n_groups = 0;
  pcre2_pattern_info(code_->code, PCRE2_INFO_CAPTURECOUNT, &n_groups);
  std::vector<std::vector<std::string>> all;
  each_match(text, [&](const PCRE2_SIZE* ends, int found) {
    std::vector<std::string>& groups = all.emplace_back();
    for (uint32_t g = n_groups == 0 ? 0 : 1; g <= n_groups; ++g) {
      const bool there = int(g) < found && ends[2 * g] != PCRE2_UNSET && ends[2 * g] <= ends[2 * g + 1];
      groups.emplace_back(there ? text.substr(ends[2 * g], ends[2 * g + 1] - ends[2 * g]) : std::string_view());
    }
  });
  return all;
}

std::string Pattern::without_matches(std::string_view text) const {
  std::string out;
  size_t from = 0;
  each_match(text, [&](const PCRE2_SIZE* ends, int) {
    if (ends[0] >= from) out += text.substr(from, ends[0] - from);
    from = std::max<size_t>(from, ends[1]);
  });
  return out += text.substr(from);
}

}  // namespace hadal::grading
