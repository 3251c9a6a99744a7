// "..." % values and "...".format(...): Python's two ways to put values into a text.
#include <cmath>

#include "jinja/number_format.h"

namespace hadal::jinja {
namespace {

// What a conversion gives of a value: 's' str(), 'r' and 'a' repr().
MarkedText converted(Interpreter& in, const Value& value, char conversion) {
  if (conversion == 's') return in.to_text(value);
  if (conversion == 'a') in.unsupported("the conversion to ASCII in a format");
  MarkedText out;
  in.repr(value, out);
  return out;
}

class PercentFormat {
 public:
  PercentFormat(Interpreter& in, const MarkedText& format, const Value& values)
      : in_(in), format_(format), bytes_(format.bytes()), mapping_(values) {
    tuple_ = values.is_list(ListKind::tuple);
    given_ = tuple_ ? values.list()->items : std::vector<Value>{values};
  }

  MarkedText text() {
    MarkedText out;
    size_t done = 0;
    for (size_t at = bytes_.find('%'); at != std::string::npos; at = bytes_.find('%', done)) {
      out.append(format_, done, at);
      at_ = at + 1;
      out.append(conversion());
      done = at_;
      in_.check_size(out);
    }
    out.append(format_, std::min(done, bytes_.size()), bytes_.size());
    const bool may_rest = !tuple_ && (mapping_.dict() != nullptr || mapping_.is_list(ListKind::list) ||
                                      mapping_.is_list(ListKind::range));  // Python takes these for mappings
    if (used_ < given_.size() && !may_rest && !by_name_) in_.error("a format wants fewer values than there are");
    return out;
  }

 private:
  char now() const { return at_ < bytes_.size() ? bytes_[at_] : 0; }

  const Value& next() {
    if (used_ >= given_.size()) in_.error("a format wants more values than there are");
    return given_[used_++];
  }

  int64_t number() {  // a width or a precision
    if (now() == '*') {
      ++at_;
      const Value& value = next();
      if (!value.is_integer() && !value.is_bool()) in_.error("'*' in a format wants a whole number");
      return limited(in_.small_integer(value, "a width"));
    }
    int64_t n = 0;
    for (; now() >= '0' && now() <= '9'; ++at_) n = std::min<int64_t>(n * 10 + (now() - '0'), 1 << 20);
    return limited(n);
  }
  int64_t limited(int64_t n) const {
    if (n > 100'000 || n < -100'000) in_.error("a width or precision above 100000 in a format");
    return n;
  }

  MarkedText conversion() {
    std::optional<Value> named;
    if (now() == '(') named = by_name();
    FormatSpec spec;
    bool left = false;
    for (; std::string_view("-+ #0").find(now()) != std::string_view::npos && now() != 0; ++at_) {
      left |= now() == '-', spec.alternate |= now() == '#', spec.zero |= now() == '0';
      if (now() == '+' || (now() == ' ' && spec.sign == 0)) spec.sign = now();
    }
    spec.width = number();
    if (spec.width < 0) left = true, spec.width = -spec.width;
    if (now() == '.') {
      ++at_;
      spec.precision = std::max<int64_t>(0, number());
    }
    while (now() == 'h' || now() == 'l' || now() == 'L') ++at_;
    const char kind = now();
    if (kind == 0) in_.error("a format ends within a '%'");
    ++at_;
    if (left) spec.zero = false;
    spec.align = left ? '<' : 0;
    if (kind == '%') return MarkedText("%", true);
    return converted_by(kind, named ? *named : next(), spec);
  }

  Value by_name() {
    size_t depth = 1, end = at_ + 1;
    for (; end < bytes_.size() && depth > 0; ++end) depth += bytes_[end] == '(', depth -= bytes_[end] == ')';
    if (depth > 0) in_.error("the name in a format has no end");
    const std::string name = bytes_.substr(at_ + 1, end - at_ - 2);
    at_ = end;
    by_name_ = true;
    if (mapping_.dict() == nullptr)
      in_.error(fmt::format("a format with names wants a dict, not a {}", mapping_.type_name()));
    const Value* value = mapping_.dict()->find(name);
    if (value == nullptr) in_.error(fmt::format("a format wants '{}', which is not there", name.substr(0, 80)));
    return *value;
  }

  MarkedText converted_by(char kind, const Value& value, FormatSpec& spec) {
    if (kind == 's' || kind == 'r' || kind == 'a') {
      MarkedText text = converted(in_, value, kind);
      if (format_.is_html() && !text.is_html()) text = escaped_html(text);
      if (spec.align == 0) spec.align = '>';
      return text_in_format(in_, text, spec);
    }
    if (kind == 'c' && value.text() != nullptr) {
      if (value.text()->n_characters() != 1) in_.error("the format '%c' wants one character");
      if (spec.align == 0) spec.align = '>';
      return text_in_format(in_, *value.text(), spec);
    }
    if (value.is_undefined()) in_.use_of_undefined(value);
    if (!value.is_number())
      in_.error(fmt::format("the format '%{}' wants a number, not a {}", kind, value.type_name()));
    if (std::string_view("eEfFgG").find(kind) != std::string_view::npos) {
      spec.type = kind;
      return MarkedText(float_in_format(in_, value.number(), spec), true);
    }
    return MarkedText(whole(kind, value, spec), true);
  }

  std::string whole(char kind, const Value& value, FormatSpec& spec) {
    if (std::string_view("diuxXoc").find(kind) == std::string_view::npos)
      in_.error(fmt::format("'%{}' is no format", kind));
    if (value.is_float() && (kind == 'x' || kind == 'X' || kind == 'o' || kind == 'c'))
      in_.error(fmt::format("the format '%{}' wants a whole number", kind));
    if (value.is_float() && !(std::fabs(value.number()) < 1e18))
      in_.error(fmt::format("the format '%{}' wants a number below 10^18", kind));
    const Integer number = value.is_float() ? Integer(value.number()) : value.integer();
    spec.type = kind == 'i' || kind == 'u' ? 'd' : kind;
    const int64_t digits = std::exchange(spec.precision, -1);
    if (kind == 'c' && spec.align == 0) spec.align = '>';
    if (digits < 0) return integer_in_format(in_, number, spec);
    FormatSpec inner;  // the least number of digits: filled with zeros, then the field with blanks
    inner.type = spec.type, inner.sign = spec.sign, inner.alternate = spec.alternate, inner.zero = true;
    const bool shows_sign = number < 0 || spec.sign != 0;
    inner.width = digits + shows_sign + (spec.alternate && spec.type != 'd' ? 2 : 0);
    const std::string text = integer_in_format(in_, number, inner);
    const std::string sign = shows_sign ? text.substr(0, 1) : "";
    FormatSpec outer = spec;
    if (spec.zero) return sign + text_of(text.substr(sign.size()), outer, int64_t(sign.size()));
    if (outer.align == 0) outer.align = '>';
    return text_in_format(in_, MarkedText(text, true), outer).bytes();
  }
  std::string text_of(const std::string& digits, FormatSpec spec, int64_t less) {
    spec.fill = "0", spec.align = '>', spec.width = std::max<int64_t>(0, spec.width - less);
    return text_in_format(in_, MarkedText(digits, true), spec).bytes();
  }

  Interpreter& in_;
  const MarkedText& format_;
  const std::string& bytes_;
  const Value& mapping_;
  std::vector<Value> given_;
  size_t used_ = 0, at_ = 0;
  bool tuple_ = false, by_name_ = false;
};

class BraceFormat {
 public:
  BraceFormat(Interpreter& in, Arguments& arguments, bool html) : in_(in), arguments_(arguments), html_(html) {}

  MarkedText text(const MarkedText& format, int level = 0) {
    if (level > 2) in_.error("a format nests too deep");
    const std::string& bytes = format.bytes();
    MarkedText out;
    for (size_t at = 0; at < bytes.size();) {
      const size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
      out.append(format, at, brace);
      if (brace == bytes.size()) break;
      if (brace + 1 < bytes.size() && bytes[brace + 1] == bytes[brace]) {
        out.append(format, brace, brace + 1);
        at = brace + 2;
        continue;
      }
      if (bytes[brace] == '}') in_.error("a single '}' in a format");
      const size_t end = field_end(bytes, brace);
      out.append(field(format.part(brace + 1, end), level));
      in_.check_size(out);
      at = end + 1;
    }
    return out;
  }

 private:
  size_t field_end(const std::string& bytes, size_t begin) const {
    int depth = 0;
    for (size_t at = begin; at < bytes.size(); ++at) {
      depth += bytes[at] == '{', depth -= bytes[at] == '}';
      if (depth == 0) return at;
    }
    in_.error("a '{' in a format has no end");
  }

  // name[!conversion][:spec]
  MarkedText field(const MarkedText& whole, int level) {
    const std::string& bytes = whole.bytes();
    size_t name_end = 0;
    for (bool inside = false; name_end < bytes.size() && (inside || (bytes[name_end] != '!' && bytes[name_end] != ':'));
         ++name_end) {
      if (bytes[name_end] == '[') inside = true;
      if (bytes[name_end] == ']') inside = false;
    }
    Value value = named(bytes.substr(0, name_end));
    size_t at = name_end;
    if (at < bytes.size() && bytes[at] == '!') {
      const char conversion = at + 1 < bytes.size() ? bytes[at + 1] : 0;
      if ((conversion != 's' && conversion != 'r' && conversion != 'a') ||
          (at + 2 < bytes.size() && bytes[at + 2] != ':'))
        in_.error("a conversion in a format is !s, !r or !a");
      value = in_.text(converted(in_, value, conversion));
      at += 2;
    }
    std::string spec;
    if (at < bytes.size()) spec = text(whole.part(at + 1, bytes.size()), level + 1).bytes();
    MarkedText shown = formatted(value, parse_format_spec(in_, spec));
    const bool safe = value.text() != nullptr && value.text()->is_html();
    return html_ && !safe ? escaped_html(shown) : shown;
  }

  Value named(const std::string& path) {
    const size_t first_end = std::min(path.find_first_of(".["), path.size());
    const std::string first = path.substr(0, first_end);
    Value now = argument(first);
    for (size_t at = first_end; at < path.size();) {
      const bool item = path[at] == '[';
      const size_t end = std::min(item ? path.find(']', at) : path.find_first_of(".[", at + 1), path.size());
      if (item && end == path.size()) in_.error("a '[' in a format has no end");
      const std::string name = path.substr(at + 1, end - at - 1);
      if (name.empty()) in_.error("an empty attribute in a format");
      now = item ? in_.item(now, is_number(name) ? Value(int64_t(std::stoll(name))) : author_text(name))
                 : in_.attribute(now, name);
      at = item ? end + 1 : end;
    }
    return now;
  }

  static bool is_number(const std::string& name) {
    return !name.empty() && name.size() < 10 && name.find_first_not_of("0123456789") == std::string::npos;
  }

  Value argument(const std::string& name) {
    if (name.empty() || is_number(name)) {
      const bool by_itself = name.empty();
      if ((by_itself && counted_ < 0) || (!by_itself && counted_ > 0))
        in_.error("a format mixes numbered and unnumbered fields");
      const size_t at = by_itself ? size_t(counted_) : size_t(std::stoll(name));
      counted_ = by_itself ? counted_ + 1 : -1;
      if (at >= arguments_.values.size()) in_.error("a format wants more values than there are");
      return arguments_.values[at];
    }
    for (const auto& [known, value] : arguments_.named)
      if (known == name) return value;
    in_.error(fmt::format("a format wants '{}', which is not there", name.substr(0, 80)));
  }

  MarkedText formatted(const Value& value, const FormatSpec& spec) {
    if (spec.empty) return in_.to_text(value);
    if (value.is_number()) {
      if (value.is_float()) return MarkedText(float_in_format(in_, value.number(), spec), true);
      return MarkedText(integer_in_format(in_, value.integer(), spec), true);
    }
    if (value.text() == nullptr) in_.error(fmt::format("a {} takes no format but the empty one", value.type_name()));
    const bool fits = (spec.type == 0 || spec.type == 's') && spec.align != '=' && spec.sign == 0 && !spec.alternate &&
                      spec.grouping == 0;
    if (!fits) in_.error("this format does not go with a text");
    return text_in_format(in_, *value.text(), spec);
  }

  Interpreter& in_;
  Arguments& arguments_;
  const bool html_;
  int64_t counted_ = 0;  // fields without a name so far; -1: fields have numbers
};

}  // namespace

Value Interpreter::format_percent(const MarkedText& format, const Value& values) {
  MarkedText out = PercentFormat(*this, format, values).text();
  if (format.is_html()) out.set_html();
  return text(std::move(out));
}

Value Interpreter::format_braces(const MarkedText& format, Arguments& arguments) {
  return text(BraceFormat(*this, arguments, format.is_html()).text(format));
}

}  // namespace hadal::jinja
