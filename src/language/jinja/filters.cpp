// Filters on texts, numbers and any value, and the table of all.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "jinja/characters.h"
#include "jinja/filters.h"

namespace hadal::jinja {
namespace {

Value filter_abs(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  if (input.is_undefined()) in.use_of_undefined(input);
  if (!input.is_number()) in.error(fmt::format("a {} has no absolute value", input.type_name()));
  if (input.is_float()) return Value(std::fabs(input.number()));
  return input.integer() < 0 ? in.arithmetic("-", Value(0), input) : Value(input.integer());
}

template <Case which>
Value filter_case(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  const MarkedText text = in.to_text(input);
  in.charge(text.size() * 4);
  return in.text(like(text, with_case(text, which)));
}

// Jinja's own title: words end at blanks, hyphens and opening brackets; unlike str.title, apostrophes end none.
Value filter_title(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  const MarkedText text = in.to_text(input);
  in.charge(text.size() * 4);
  MarkedText out;
  size_t at = 0, begin = 0;
  auto word = [&](size_t from, size_t to) {
    if (from == to) return;
    const MarkedText part = text.part(from, to);
    const size_t first = part.byte_of(1);
    out.append(with_case(part.part(0, first), Case::upper));
    out.append(with_case(part.part(first, part.size()), Case::lower));
  };
  text.for_each([&](std::string_view character, bool) {
    if (is_space(code_point(character)) ||
        (character.size() == 1 && std::string_view("-({[<").find(character[0]) != std::string_view::npos)) {
      word(begin, at);
      out.append(text, at, at + character.size());
      begin = at + character.size();
    }
    at += character.size();
  });
  word(begin, text.size());
  return in.text(std::move(out));
}

Value filter_default(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* otherwise = arguments.find(0, "default_value");
  const Value* boolean = arguments.find(1, "boolean");
  in.finish(arguments, 2);
  const bool missing = input.is_undefined() || (boolean != nullptr && in.truth(*boolean) && !in.truth(input));
  if (!missing) return input;
  return otherwise != nullptr ? *otherwise : in.text({});
}

std::string number_text(const MarkedText& text) {
  const auto [begin, end] = strip_range(text.bytes(), true, true);
  std::string out;
  for (size_t i = begin; i < end; ++i) {
    const char c = text.bytes()[i];
    const bool between = c == '_' && i > begin && i + 1 < end && std::isdigit(uint8_t(text.bytes()[i - 1])) &&
                         std::isdigit(uint8_t(text.bytes()[i + 1]));
    if (!between) out += c;
  }
  return out;
}

bool read_float(const MarkedText& text, double& out) {
  const std::string number = number_text(text);
  if (number.empty() || number.find_first_of("xXpP(") != std::string::npos || std::isspace(uint8_t(number[0])))
    return false;
  char* end = nullptr;
  out = std::strtod(number.c_str(), &end);
  return end == number.c_str() + number.size();
}

Value filter_float(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* otherwise = arguments.find(0, "default");
  in.finish(arguments, 1);
  if (input.is_undefined()) in.use_of_undefined(input);
  double number = 0;
  if (input.is_number()) return Value(input.number());
  if (input.text() != nullptr && read_float(*input.text(), number)) return Value(number);
  return otherwise != nullptr ? *otherwise : Value(0.0);
}

Value filter_int(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* otherwise = arguments.find(0, "default");
  const Value* base = arguments.find(1, "base");
  in.finish(arguments, 2);
  if (base != nullptr && in.small_integer(*base, "the base") != 10)
    in.unsupported("the filter 'int' with another base than 10");
  if (input.is_undefined()) in.use_of_undefined(input);
  if (input.is_bool() || input.is_integer()) return Value(input.integer());
  double number = 0;
  bool read = input.is_float();
  if (read) number = input.number();
  if (input.text() != nullptr) {
    const std::string digits = number_text(*input.text());
    const size_t sign = !digits.empty() && (digits[0] == '-' || digits[0] == '+');
    if (digits.size() > sign && digits.find_first_not_of("0123456789", sign) == std::string::npos) {
      Integer whole = 0;
      for (char c : digits.substr(sign)) {
        if (__builtin_mul_overflow(whole, Integer(10), &whole) ||
            __builtin_add_overflow(whole, Integer(c - '0'), &whole))
          in.error("a whole number beyond 127 bits");
      }
      return Value(digits[0] == '-' ? -whole : whole);
    }
    read = read_float(*input.text(), number);
  }
  if (input.is_float() && std::isinf(number)) in.error("infinity is no whole number");
  if (read && std::isfinite(number)) {
    if (std::fabs(number) > 1e37) in.error("a whole number beyond 127 bits");
    return Value(Integer(number));
  }
  return otherwise != nullptr ? *otherwise : Value(0);
}

Value filter_round(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* digits = arguments.find(0, "precision");
  const Value* method = arguments.find(1, "method");
  in.finish(arguments, 2);
  const int64_t n = digits != nullptr ? in.small_integer(*digits, "the precision") : 0;
  const std::string how = method != nullptr ? in.to_text(*method).bytes() : "common";
  if (how != "common" && how != "ceil" && how != "floor") in.error("the method of rounding is common, ceil or floor");
  if (n < 0 || n > 15) in.unsupported("rounding to other than 0 to 15 digits");
  if (input.is_undefined()) in.use_of_undefined(input);
  if (!input.is_number()) in.error(fmt::format("a {} cannot be rounded", input.type_name()));
  if (how != "common") {
    const double scale = std::pow(10.0, double(n)), scaled = input.number() * scale;
    if (!std::isfinite(scaled)) in.error("what is not finite cannot be rounded");
    return Value((how == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (!input.is_float()) return Value(input.integer());
  if (!std::isfinite(input.number())) return input;
  return Value(std::strtod(fmt::format("{:.{}f}", input.number(), n).c_str(), nullptr));
}

Value filter_indent(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* width = arguments.find(0, "width");
  const Value* first = arguments.find(1, "first");
  const Value* blank = arguments.find(2, "blank");
  in.finish(arguments, 3);
  MarkedText text = text_argument(in, input, "what is indented");
  const bool html = text.is_html();
  MarkedText by(std::string(4, ' '), true);
  if (width != nullptr && width->text() != nullptr) {
    by = *width->text();
  } else if (width != nullptr) {
    by = MarkedText(std::string(size_t(std::clamp<int64_t>(in.small_integer(*width, "the width"), 0, 10000)), ' '),
                    true);
  }
  const bool with_blank = blank != nullptr && in.truth(*blank);
  text.append("\n", true);
  Arguments none;
  const Value lines = call_text_method(in, text, "splitlines", none);
  MarkedText out;
  bool begins = true;
  for (const Value& line : in.iterate(lines)) {
    if (begins ? first != nullptr && in.truth(*first) : with_blank || !line.text()->empty()) {
      if (!begins) out.append("\n", true);
      out.append(by);
    } else if (!begins) {
      out.append("\n", true);
    }
    out.append(*line.text());
    in.check_size(out);
    begins = false;
  }
  if (html) out.set_html();
  return in.text(std::move(out));
}

Value filter_replace(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* old = arguments.find(0, "old");
  const Value* now = arguments.find(1, "new");
  const Value* count = arguments.find(2, "count");
  in.finish(arguments, 3);
  if (old == nullptr || now == nullptr) in.error("filter 'replace' wants the old and the new text");
  Arguments texts;
  texts.of = arguments.of;
  texts.values = {in.text(in.to_text(*old)), in.text(in.to_text(*now))};
  if (count != nullptr && !count->is_none()) texts.values.push_back(*count);
  const MarkedText text = in.to_text(input);
  return call_text_method(in, text.part(0, text.size()), "replace", texts);
}

Value filter_trim(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* characters = arguments.find(0, "chars");
  in.finish(arguments, 1);
  Arguments which;
  which.of = arguments.of;
  if (characters != nullptr) which.values.push_back(*characters);
  return call_text_method(in, in.to_text(input), "strip", which);
}

Value filter_string(Interpreter& in, const Value& input, Arguments& arguments) {
  in.finish(arguments, 0);
  return input.text() != nullptr ? input : in.text(in.to_text(input));
}

Value filter_tojson(Interpreter& in, const Value& input, Arguments& arguments) {
  const Value* ascii = arguments.find(0, "ensure_ascii");
  const Value* indent = arguments.find(1, "indent");
  const Value* separators = arguments.find(2, "separators");
  const Value* sorted = arguments.find(3, "sort_keys");
  in.finish(arguments, 4);
  JsonStyle style;
  style.ascii = ascii != nullptr && in.truth(*ascii);
  style.sort_keys = sorted != nullptr && in.truth(*sorted);
  style.indented = indent != nullptr && !indent->is_none();
  if (style.indented && indent->text() != nullptr) {
    style.indent = *indent->text();
  } else if (style.indented) {
    style.indent = MarkedText(
        std::string(size_t(std::clamp<int64_t>(in.small_integer(*indent, "the indent"), 0, 10000)), ' '), true);
  }
  style.item_separator = MarkedText(style.indented ? "," : ", ", true);
  style.key_separator = MarkedText(": ", true);
  if (separators != nullptr && !separators->is_none()) {
    const std::vector<Value> two = in.iterate(*separators);
    if (two.size() != 2) in.error("separators are two texts");
    style.item_separator = text_argument(in, two[0], "a separator");
    style.key_separator = text_argument(in, two[1], "a separator");
  }
  MarkedText out;
  write_json(in, input, style, 0, out);
  return in.text(std::move(out));
}

const std::unordered_map<std::string, FilterFunction>& filters() {
  static const std::unordered_map<std::string, FilterFunction> table = {{"abs", filter_abs},
                                                                        {"attr", filter_attr},
                                                                        {"batch", filter_batch},
                                                                        {"capitalize", filter_case<Case::capitalize>},
                                                                        {"center", filter_center},
                                                                        {"count", filter_length},
                                                                        {"d", filter_default},
                                                                        {"default", filter_default},
                                                                        {"dictsort", filter_dictsort},
                                                                        {"e", filter_escape},
                                                                        {"escape", filter_escape},
                                                                        {"first", filter_first},
                                                                        {"float", filter_float},
                                                                        {"forceescape", filter_force_escape},
                                                                        {"format", filter_format},
                                                                        {"groupby", filter_groupby},
                                                                        {"indent", filter_indent},
                                                                        {"int", filter_int},
                                                                        {"items", filter_items},
                                                                        {"join", filter_join},
                                                                        {"last", filter_last},
                                                                        {"length", filter_length},
                                                                        {"list", filter_list},
                                                                        {"lower", filter_case<Case::lower>},
                                                                        {"map", filter_map},
                                                                        {"max", filter_max},
                                                                        {"min", filter_min},
                                                                        {"reject", filter_reject},
                                                                        {"rejectattr", filter_rejectattr},
                                                                        {"replace", filter_replace},
                                                                        {"reverse", filter_reverse},
                                                                        {"round", filter_round},
                                                                        {"safe", filter_safe},
                                                                        {"select", filter_select},
                                                                        {"selectattr", filter_selectattr},
                                                                        {"slice", filter_slice},
                                                                        {"sort", filter_sort},
                                                                        {"string", filter_string},
                                                                        {"sum", filter_sum},
                                                                        {"title", filter_title},
                                                                        {"tojson", filter_tojson},
                                                                        {"trim", filter_trim},
                                                                        {"truncate", filter_truncate},
                                                                        {"unique", filter_unique},
                                                                        {"upper", filter_case<Case::upper>},
                                                                        {"urlencode", filter_urlencode},
                                                                        {"wordcount", filter_wordcount}};
  return table;
}

// Jinja's that are not here.
constexpr std::string_view kOtherFilters[] = {"filesizeformat", "pprint",   "random", "striptags",
                                              "urlize",         "wordwrap", "xmlattr"};

}  // namespace

void Interpreter::no_filter(const std::string& name) const {
  const bool known = std::find(std::begin(kOtherFilters), std::end(kOtherFilters), name) != std::end(kOtherFilters);
  if (known) unsupported("the filter '" + name + "'");
  fail(ErrorKind::unsupported, "chat template, line {}: there is no filter '{}'", line_, name);
}

FilterFunction find_filter(const std::string& name) {
  const auto found = filters().find(name);
  return found == filters().end() ? nullptr : found->second;
}

}  // namespace hadal::jinja
