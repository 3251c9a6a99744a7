#include "jinja/number_format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace hadal::jinja {
namespace {

constexpr int64_t kWidest = 100'000;  // of a field, and of a precision

struct Parts {
  std::string sign, prefix, digits, rest;  // rest: fraction, exponent, '%'
};

std::string grouped(const std::string& digits, char sign, size_t size) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % size == 0) out += sign;
    out += digits[i];
  }
  return out;
}

std::string filled(const std::string& fill, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += fill;
  return out;
}

std::string laid_out(Parts parts, const FormatSpec& spec) {
  const bool zeros = spec.zero && spec.align == 0;
  const std::string fill = zeros ? "0" : spec.fill;
  const char align = zeros ? '=' : spec.align != 0 ? spec.align : '>';
  const size_t width = size_t(spec.width), group = std::string_view("boxX").find(spec.type) < 4 && spec.type ? 4 : 3;
  const size_t around = parts.sign.size() + parts.prefix.size() + parts.rest.size();
  std::string digits = parts.digits;
  if (spec.grouping != 0) {
    digits = grouped(parts.digits, spec.grouping, group);
    while (align == '=' && fill == "0" && around + digits.size() < width) {
      parts.digits.insert(0, "0");
      digits = grouped(parts.digits, spec.grouping, group);
    }
  }
  const size_t size = around + digits.size(), missing = size < width ? width - size : 0;
  const size_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  const std::string head = parts.sign + parts.prefix, tail = digits + parts.rest;
  if (align == '=') return head + filled(fill, missing) + tail;
  return filled(fill, left) + head + tail + filled(fill, missing - left);
}

std::string sign_of(bool negative, const FormatSpec& spec) {
  if (negative) return "-";
  return spec.sign == '+' || spec.sign == ' ' ? std::string(1, spec.sign) : "";
}

std::string digits_of(unsigned __int128 value, unsigned base, bool upper) {
  std::string out;
  do {
    out += (upper ? "0123456789ABCDEF" : "0123456789abcdef")[size_t(value % base)];
    value /= base;
  } while (value != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string printed(double value, char type, int64_t precision, bool alternate) {
  const std::string format = std::string("%") + (alternate ? "#" : "") + ".*" + type;
  const int size = std::snprintf(nullptr, 0, format.c_str(), int(precision), value);
  std::string out(size_t(size), ' ');
  std::snprintf(out.data(), out.size() + 1, format.c_str(), int(precision), value);
  return out;
}

// As 'g', but with a digit behind the point: Python's format of a float with a precision and no type.
std::string general_with_point(double value, int64_t precision) {
  precision = std::max<int64_t>(precision, 1);
  const std::string scientific = printed(value, 'e', precision - 1, false);
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  std::string out;
  if (exponent < -4 || exponent >= precision - 1) {
    out = scientific;
    const size_t e = out.find('e');
    if (const size_t point = out.find('.'); point != std::string::npos) {
      const size_t last = out.find_last_not_of('0', e - 1);
      out.erase(last == point ? point : last + 1, e - (last == point ? point : last + 1));
    }
    return out;
  }
  out = printed(value, 'g', precision, false);
  return out.find('.') == std::string::npos ? out + ".0" : out;
}

int64_t take_number(Interpreter& in, const std::string& text, size_t& at) {
  int64_t number = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
    number = std::min(number * 10 + (text[at] - '0'), kWidest + 1);
  if (number > kWidest) in.error(fmt::format("a width or precision above {} in a format", kWidest));
  return number;
}

bool is_align(char c) { return c == '<' || c == '>' || c == '^' || c == '='; }

}  // namespace

FormatSpec parse_format_spec(Interpreter& in, const std::string& text) {
  FormatSpec spec;
  spec.empty = text.empty();
  if (spec.empty) return spec;
  size_t at = 0;
  const auto here = [&](std::string_view choices) {
    return at < text.size() && choices.find(text[at]) != std::string_view::npos;
  };
  const size_t first = size_t(std::max(1, utf8_length(text.data(), text.data() + text.size())));
  if (first < text.size() && is_align(text[first])) {
    spec.fill = text.substr(0, first), spec.align = text[first];
    at = first + 1;
  } else if (is_align(text[0])) {
    spec.align = text[at++];
  }
  if (here("+- ")) spec.sign = text[at++];
  if (here("#")) spec.alternate = true, ++at;
  if (here("0")) {
    spec.zero = true, ++at;
    if (spec.align == 0) spec.fill = "0";
  }
  spec.width = take_number(in, text, at);
  if (here(",_")) spec.grouping = text[at++];
  if (here(".")) {
    ++at;
    if (!here("0123456789")) in.error("a format has no precision behind its point");
    spec.precision = take_number(in, text, at);
  }
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size()) in.error(fmt::format("'{}' is no format", text.substr(0, 100)));
  return spec;
}

std::string integer_in_format(Interpreter& in, Integer value, const FormatSpec& spec) {
  const char type = spec.type == 0 || spec.type == 'n' ? 'd' : spec.type;
  if (std::string_view("eEfFgG%").find(type) != std::string_view::npos) return float_in_format(in, double(value), spec);
  if (spec.precision >= 0) in.error("a precision does not go with a whole number");
  if (type == 'c') {
    if (value < 0 || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
      in.error(fmt::format("{} is no character", integer_text(value)));
    if (spec.sign != 0) in.error("a sign does not go with the format 'c'");
    std::string character;
    append_utf8(character, uint32_t(value));
    FormatSpec plain = spec;
    if (plain.align == 0) plain.align = '<';
    return text_in_format(in, MarkedText(character, true), plain).bytes();
  }
  const unsigned base = type == 'd' ? 10 : type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 0;
  if (base == 0) in.error(fmt::format("the format '{}' does not go with a whole number", type));
  Parts parts;
  parts.sign = sign_of(value < 0, spec);
  if (spec.alternate && base != 10) parts.prefix = std::string("0") + type;
  const auto size = static_cast<unsigned __int128>(value);
  parts.digits = digits_of(value < 0 ? -size : size, base, type == 'X');
  return laid_out(std::move(parts), spec);
}

std::string float_in_format(Interpreter& in, double value, const FormatSpec& spec) {
  const char type = spec.type == 'n' ? 'g' : spec.type;
  if (type != 0 && std::string_view("eEfFgG%").find(type) == std::string_view::npos)
    in.error(fmt::format("the format '{}' does not go with a float", type));
  Parts parts;
  parts.sign = sign_of(std::signbit(value) && !std::isnan(value), spec);
  const double size = std::isnan(value) ? value : std::fabs(value);
  std::string body;
  if (!std::isfinite(size)) {
    body = std::isnan(size) ? "nan" : "inf";
    if (type == 'E' || type == 'F' || type == 'G')
      for (char& c : body) c = char(c - 32);
    if (type == '%') body += '%';
  } else if (type == 0) {
    body = spec.precision < 0 ? float_text(size) : general_with_point(size, spec.precision);
  } else if (type == '%') {
    body = printed(size * 100, 'f', spec.precision < 0 ? 6 : spec.precision, spec.alternate) + "%";
  } else {
    body = printed(size, type, spec.precision < 0 ? 6 : spec.precision, spec.alternate);
  }
  in.charge(body.size());
  const size_t whole = std::min(body.find_first_not_of("0123456789"), body.size());
  parts.digits = body.substr(0, whole), parts.rest = body.substr(whole);
  return laid_out(std::move(parts), spec);
}

MarkedText text_in_format(Interpreter& in, const MarkedText& text, const FormatSpec& spec) {
  MarkedText cut = text.part(0, text.size());
  if (spec.precision >= 0 && text.n_characters() > spec.precision) cut = text.part(0, text.byte_of(spec.precision));
  const size_t size = size_t(cut.n_characters()), width = size_t(spec.width);
  if (size >= width) return cut;
  const size_t missing = width - size;
  const size_t left = spec.align == '>' ? missing : spec.align == '^' ? missing / 2 : 0;
  in.charge(missing * spec.fill.size());
  MarkedText out(filled(spec.fill, left), true);
  out.append(cut);
  out.append(filled(spec.fill, missing - left), true);
  return out;
}

}  // namespace hadal::jinja
