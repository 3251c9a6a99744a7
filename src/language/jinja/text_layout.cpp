#include "jinja/text_layout.h"

#include <algorithm>
#include <functional>

#include "jinja/characters.h"

namespace hadal::jinja {
namespace {

constexpr int64_t kWidest = 1 << 20;  // of a field

// The text between this many fill characters.
Value between(Interpreter& in, const MarkedText& self, int64_t left, const MarkedText& fill, int64_t right) {
  in.charge(size_t(left + right) * fill.size() + self.size());
  MarkedText out;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(self);
  for (int64_t i = 0; i < right; ++i) out.append(fill);
  return in.text(std::move(out));
}

Value filled(Interpreter& in, const MarkedText& self, const std::string& name, Arguments& arguments) {
  in.finish(arguments, 2);
  if (arguments.values.empty()) in.error("'" + name + "' wants a width");
  const int64_t width = in.small_integer(arguments.values[0], "the width"), size = self.n_characters();
  if (width > kWidest) in.error(fmt::format("the width {} is above {}", width, kWidest));
  const MarkedText fill =
      arguments.values.size() > 1 ? text_argument(in, arguments.values[1], "what is filled in") : MarkedText(" ", true);
  if (fill.n_characters() != 1) in.error("what is filled in is one character");
  const int64_t missing = std::max<int64_t>(0, width - size);
  if (name == "ljust") return between(in, self, 0, fill, missing);
  if (name == "rjust") return between(in, self, missing, fill, 0);
  const int64_t left = missing / 2 + (missing & width & 1);  // as Python's str.center
  return between(in, self, left, fill, missing - left);
}

Value zero_filled(Interpreter& in, const MarkedText& self, Arguments& arguments) {
  in.finish(arguments, 1);
  if (arguments.values.empty()) in.error("'zfill' wants a width");
  const int64_t width = in.small_integer(arguments.values[0], "the width");
  if (width > kWidest) in.error(fmt::format("the width {} is above {}", width, kWidest));
  const bool has_sign = self.bytes().starts_with('+') || self.bytes().starts_with('-');
  MarkedText out = self.part(0, has_sign);
  const int64_t missing = std::max<int64_t>(0, width - self.n_characters());
  out.append(std::string(size_t(missing), '0'), true);
  out.append(self, has_sign, self.size());
  return in.text(std::move(out));
}

Value tabs_expanded(Interpreter& in, const MarkedText& self, Arguments& arguments) {
  const Value* size = arguments.find(0, "tabsize");
  in.finish(arguments, 1);
  const int64_t by = size != nullptr ? std::min<int64_t>(in.small_integer(*size, "the size of tabs"), 10'000) : 8;
  MarkedText out;
  int64_t column = 0;
  self.for_each([&](std::string_view character, bool from_template) {
    if (character != "\t") {
      out.append(character, from_template);
      column = character == "\n" || character == "\r" ? 0 : column + 1;
    } else if (by > 0) {
      const int64_t blanks = by - column % by;
      out.append(std::string(size_t(blanks), ' '), from_template);
      in.check_size(out);
      column += blanks;
    }
  });
  return in.text(std::move(out));
}

// str.casefold of one character: the lower case of its upper case, but for the dotless i and Cherokee.
MarkedText case_folded(const MarkedText& character, uint32_t c) {
  if (c == 0x131) return character;
  const MarkedText upper = with_case(character, Case::upper);
  const bool cherokee = (c >= 0x13A0 && c <= 0x13FD) || (c >= 0xAB70 && c <= 0xABBF);
  return cherokee ? upper : with_case(upper, Case::lower);
}

Value case_swapped(Interpreter& in, const MarkedText& self, bool folded) {
  MarkedText out;
  in.charge(self.size() * 4);
  self.for_each([&](std::string_view character, bool from_template) {
    const uint32_t c = code_point(character);
    const MarkedText whole(std::string(character), from_template);
    if (folded) {
      out.append(case_folded(whole, c));
    } else {
      out.append(with_case(whole, is_upper(c) ? Case::lower : Case::upper));
    }
  });
  return in.text(std::move(out));
}

// Upper case begins each run of letters, lower case goes on, and there is one.
Value is_title(Interpreter& in, const MarkedText& self) {
  in.charge(self.size());
  bool title = true, any = false, inside = false;
  self.for_each([&](std::string_view character, bool) {
    const uint32_t c = code_point(character);
    if (is_upper(c)) {
      title = title && !inside;
      any = true;
    } else if (is_lower(c)) {
      title = title && inside;
      any = true;
    }
    inside = is_cased(c);
  });
  return Value(title && any);
}

Value all_are(Interpreter& in, const MarkedText& self, const std::function<bool(uint32_t)>& test) {
  bool all = !self.empty();
  in.charge(self.size());
  self.for_each([&](std::string_view character, bool) { all = all && test(code_point(character)); });
  return Value(all);
}

}  // namespace

Value is_class(Interpreter& in, const MarkedText& self, const std::string& name) {
  if (name == "isspace") return all_are(in, self, is_space);
  if (name == "isalpha") return all_are(in, self, is_letter);
  if (name == "isdecimal") return all_are(in, self, is_decimal);
  if (name == "isprintable") return Value(self.empty() || in.truth(all_are(in, self, is_printable)));
  if (name == "isascii") return Value(self.empty() || in.truth(all_are(in, self, [](uint32_t c) { return c < 0x80; })));
  auto digit = [](uint32_t c) {
    return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ||
           (c >= 0x2080 && c <= 0x2089);
  };
  if (name == "isdigit") return all_are(in, self, digit);
  if (name == "isalnum") return all_are(in, self, [&](uint32_t c) { return is_letter(c) || digit(c); });
  if (name == "istitle") return is_title(in, self);
  if (name == "isidentifier" || name == "isnumeric") {
    bool first = true;
    const bool identifier = name == "isidentifier";
    return all_are(in, self, [&](uint32_t c) {
      if (c >= 0x80) in.unsupported("the method '" + name + "' of a str with letters beyond ASCII");
      const bool is_digit = c >= '0' && c <= '9', starts = std::exchange(first, false);
      return identifier ? c == '_' || is_letter(c) || (is_digit && !starts) : is_digit;
    });
  }
  bool any = false;  // islower, isupper: some cased character, and none of the other case
  const bool wants_lower = name == "islower";
  const bool none_other =
      std::get<bool>(all_are(in, self, [&](uint32_t c) {
                       if (wants_lower ? is_lower(c) : is_upper(c)) any = true;
                       return wants_lower ? is_lower(c) || !is_cased(c) : is_upper(c) || !is_cased(c);
                     }).v);
  return Value(any && none_other);
}

bool is_layout_method(const std::string& name) {
  static constexpr std::string_view kNames[] = {"center",     "ljust",    "rjust",   "zfill",
                                                "expandtabs", "swapcase", "casefold"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Value call_layout_method(Interpreter& in, const MarkedText& self, const std::string& name, Arguments& arguments) {
  if (name == "zfill") return zero_filled(in, self, arguments);
  if (name == "expandtabs") return tabs_expanded(in, self, arguments);
  if (name == "center" || name == "ljust" || name == "rjust") return filled(in, self, name, arguments);
  in.finish(arguments, 0);
  return case_swapped(in, self, name == "casefold");
}

}  // namespace hadal::jinja
