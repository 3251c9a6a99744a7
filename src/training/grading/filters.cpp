#include "grading/filters.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "grading/maths_answer.h"
#include "jinja/characters.h"

namespace hadal::grading {

std::string python_strip(std::string_view text) {
  const auto [begin, end] = jinja::strip_range(text, true, true);
  return std::string(text.substr(begin, end - begin));
}
namespace {

// Cases of characters are told of characters alone.
const std::string_view& checked(const std::string_view& text) {
  check(utf8_valid_prefix(text) == int64_t(text.size()), ErrorKind::internal, "an answer of {} bytes is no UTF-8",
        text.size());
  return text;
}

}  // namespace

std::string python_lower(std::string_view text) {
  return jinja::with_case(jinja::MarkedText(std::string(checked(text)), true), jinja::Case::lower).bytes();
}
std::string python_upper(std::string_view text) {
  return jinja::with_case(jinja::MarkedText(std::string(checked(text)), true), jinja::Case::upper).bytes();
}

FilterPipeline::FilterPipeline(std::string name, std::vector<Filter> filters)
    : name_(std::move(name)), filters_(std::move(filters)) {
  for (const Filter& filter : filters_)
    if (filter.kind == Filter::Kind::regex) patterns_.emplace_back(filter.pattern);
}

namespace {

// The match that is selected, its first group that holds something; nothing where there is none.
void take_match(const Filter& filter, const Pattern& pattern, Extracted& value) {
  const auto matches = pattern.find_all(value.answer);
  const int64_t n = int64_t(matches.size()), at = filter.select < 0 ? n + filter.select : filter.select;
  value.found = at >= 0 && at < n;
  if (value.found) {
    const auto& groups = matches[size_t(at)];
    const auto full = std::find_if(groups.begin(), groups.end(), [](const auto& g) { return !g.empty(); });
    // Of several groups the first that holds something; a single one may be empty.
    value.found = full != groups.end() || groups.size() == 1;
    value.answer = full != groups.end() ? python_strip(*full) : "";
    value.why += fmt::format("match {} of {} of {}; ", at + 1, n, filter.pattern);
  } else {
    value.why += fmt::format("no match of {}; ", filter.pattern);
  }
  if (!value.found) value.answer = filter.fallback;
}

}  // namespace

void FilterPipeline::step(const Filter& filter, const Pattern* pattern, Extracted& value) const {
  switch (filter.kind) {
    case Filter::Kind::regex: return take_match(filter, *pattern, value);
    case Filter::Kind::strip: value.answer = python_strip(value.answer); return;
    case Filter::Kind::lower: value.answer = python_lower(value.answer); return;
    case Filter::Kind::upper: value.answer = python_upper(value.answer); return;
    case Filter::Kind::maths: {
      Extracted taken = extract_maths(value.answer);
      value.answer = std::move(taken.answer), value.found = taken.found, value.why += taken.why + "; ";
      return;
    }
    case Filter::Kind::take_first: return;
    case Filter::Kind::map: break;
  }
  const auto known =
      std::find_if(filter.map.begin(), filter.map.end(), [&](const auto& pair) { return pair.first == value.answer; });
  value.found &= known != filter.map.end();
  value.why += known != filter.map.end() ? "mapped; " : "not in the map; ";
  value.answer = known != filter.map.end() ? known->second : filter.fallback;
}

Extracted FilterPipeline::apply(std::string_view text) const {
  Extracted value{std::string(text), true, ""};
  const Pattern* pattern = patterns_.data();
  for (const Filter& filter : filters_) step(filter, filter.kind == Filter::Kind::regex ? pattern++ : nullptr, value);
  if (value.why.empty()) value.why = "the whole text; ";
  value.why.resize(value.why.size() - 2);
  return value;
}

}  // namespace hadal::grading
