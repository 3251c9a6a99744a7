// Filters on texts that need more than a line.
#include <algorithm>

#include "jinja/characters.h"
#include "jinja/filters.h"

namespace hadal::jinja {

Value filter_center(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* width = arguments.find(0, "width");
  in.finish(arguments, 1);
  Arguments which;
  which.of = arguments.of;
  which.values = {width != nullptr ? *width : Value(80)};
  return call_text_method(in, in.to_text(input), "center", which);
}

// HTML already: what is joined to it with + or % will be escaped.
Value filter_safe(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  MarkedText text = in.to_text(input);
  text.set_html();
  return in.text(std::move(text));
}

Value filter_escape(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  const MarkedText text = in.to_text(input);
  in.charge(text.size() * 5);
  return in.text(text.is_html() ? text : escaped_html(text));
}

Value filter_force_escape(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  const MarkedText text = in.to_text(input);
  in.charge(text.size() * 5);
  return in.text(escaped_html(text));
}

Value filter_format(Interpreter& in, const Value& input, Arguments& arguments) {
  if (!arguments.values.empty() && !arguments.named.empty())
    in.error("filter 'format' takes values by position or by name, not both");
  const MarkedText format = in.to_text(input);
  if (arguments.named.empty()) return in.format_percent(format, in.list(arguments.values, ListKind::tuple));
  std::vector<std::pair<Value, Value>> named;
  for (const auto& [name, value] : arguments.named) named.emplace_back(author_text(name), value);
  return in.format_percent(format, in.dict(std::move(named)));
}

Value filter_truncate(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* given = arguments.find(0, "length");
  const Value* kill_words = arguments.find(1, "killwords");
  const Value* ending = arguments.find(2, "end");
  const Value* given_leeway = arguments.find(3, "leeway");
  in.finish(arguments, 4);
  const int64_t length = given != nullptr ? in.small_integer(*given, "the length") : 255;
  const int64_t leeway =
      given_leeway != nullptr && !given_leeway->is_none() ? in.small_integer(*given_leeway, "the leeway") : 5;
  const MarkedText end = ending != nullptr ? text_argument(in, *ending, "the end") : MarkedText("...", true);
  if (length < end.n_characters() || leeway < 0)
    in.error("filter 'truncate' wants a length for its end, and no negative leeway");
  if (in.length(input) <= length + leeway) return input;
  const MarkedText& text = text_argument(in, input, "what is truncated");
  size_t cut = text.byte_of(length - end.n_characters());
  if (kill_words == nullptr || !in.truth(*kill_words)) {
    const size_t blank = cut == 0 ? std::string::npos : text.bytes().rfind(' ', cut - 1);
    if (blank != std::string::npos) cut = blank;
  }
  MarkedText out = text.part(0, cut);
  out.append(text.is_html() && !end.is_html() ? escaped_html(end) : end);
  return in.text(like(text, std::move(out)));
}

namespace {

void url_quoted(const MarkedText& text, bool query, MarkedText& out) {
  text.for_each([&](std::string_view character, bool from_template) {
    for (const char c : character) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !query);
      if (plain) {
        out.append(std::string_view(&c, 1), from_template);
      } else {
        out.append(query && c == ' ' ? std::string("+") : fmt::format("%{:02X}", uint8_t(c)), from_template);
      }
    }
  });
}

}  // namespace

Value filter_urlencode(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  MarkedText out;
  if (input.dict() == nullptr && input.list() == nullptr) {
    const MarkedText text = in.to_text(input);
    in.charge(text.size() * 3);
    url_quoted(text, false, out);
    return in.text(std::move(out));
  }
  bool first = true;
  const auto pair = [&](const Value& key, const Value& value) {
    if (!std::exchange(first, false)) out.append("&", true);
    url_quoted(in.to_text(key), true, out);
    out.append("=", true);
    url_quoted(in.to_text(value), true, out);
    in.check_size(out);
  };
  if (input.dict() != nullptr) {
    for (const auto& [key, value] : input.dict()->items) pair(key, value);
  } else {
    for (const Value& item : in.iterate(input)) {
      const std::vector<Value> two = in.iterate(item);
      if (two.size() != 2) in.error("filter 'urlencode' wants a text, a dict or pairs");
      pair(two[0], two[1]);
    }
  }
  return in.text(std::move(out));
}

// Runs of letters, digits and '_'.
Value filter_wordcount(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  const MarkedText text = in.to_text(input);
  in.charge(text.size());
  int64_t words = 0;
  bool inside = false;
  text.for_each([&](std::string_view character, bool) {
    const uint32_t c = code_point(character);
    const bool word = c == '_' || is_word(c);
    words += word && !inside;
    inside = word;
  });
  return Value(words);
}

}  // namespace hadal::jinja
