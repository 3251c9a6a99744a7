#include "jinja/lexer.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "jinja/characters.h"

namespace hadal::jinja {

void corrupt_template(int line, const std::string& what) {
  fail(ErrorKind::corrupt, "chat template, line {}: {}", line, what);
}

namespace {

bool is_word(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string with_unix_lines(std::string_view source, bool keeps_last) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!keeps_last && !out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string source, bool trims) : source_(std::move(source)), trims_(trims) {}

  std::vector<Token> cut() {
    while (at_ < source_.size()) cut_text();
    put(TokenKind::end, "");
    return std::move(tokens_);
  }

 private:
  bool here(std::string_view what) const { return std::string_view(source_).substr(at_).starts_with(what); }
  void move_to(size_t to) {
    line_ += int(std::count(source_.begin() + int64_t(at_), source_.begin() + int64_t(to), '\n'));
    at_ = to;
  }
  size_t behind_spaces(size_t from) const {
    return from + strip_range(std::string_view(source_).substr(from), true, false).first;
  }

  void put(TokenKind kind, std::string value) { tokens_.push_back({kind, line_, std::move(value), ""}); }

  // Text up to the next tag, without what its sign or the rules take; then the tag.
  void cut_text() {
    size_t tag = at_;
    do {
      tag = source_.find('{', tag);
      if (tag == std::string::npos ||
          (tag + 1 < source_.size() && std::string_view("{%#").find(source_[tag + 1]) != std::string::npos))
        break;
      ++tag;
    } while (true);
    const size_t end = std::min(tag, source_.size());
    const char kind = end < source_.size() ? source_[end + 1] : 0;
    const char sign = end + 2 < source_.size() ? source_[end + 2] : 0;
    const bool signed_tag = kind != 0 && (sign == '-' || sign == '+');
    put_text(end, kind, signed_tag ? sign : 0);
    move_to(end);
    if (kind == 0) return;
    const int begins = line_;
    move_to(at_ + 2 + signed_tag);
    if (kind == '#') {
      skip_comment(begins);
    } else if (kind == '{') {
      put(TokenKind::print_begin, "");
      cut_tag(true, begins);
    } else if (!cut_raw(begins)) {
      put(TokenKind::block_begin, "");
      cut_tag(false, begins);
    }
  }

  void put_text(size_t end, char kind, char sign) {
    std::string_view text = std::string_view(source_).substr(at_, end - at_);
    if (sign == '-') {
      text = text.substr(0, strip_range(text, false, true).second);
    } else if (trims_ && sign != '+' && kind != 0 && kind != '{') {
      const size_t line_begin = text.rfind('\n') + 1;  // 0 when there is none
      const bool begins_line = line_begin > 0 || at_ == 0 || source_[at_ - 1] == '\n';
      if (begins_line && strip_range(text.substr(line_begin), true, false).first == text.size() - line_begin)
        text = text.substr(0, line_begin);
    }
    if (!text.empty()) put(TokenKind::text, std::string(text));
  }

  // Where a tag ends that closes here with "%}" or "#}" (and "+" or "-" before), or npos.
  size_t block_end(std::string_view close) const {
    size_t at = at_;
    const bool minus = source_[at] == '-', plus = source_[at] == '+';
    if (minus || plus) ++at;
    if (!std::string_view(source_).substr(at).starts_with(close)) return std::string::npos;
    at += 2;
    if (minus) return behind_spaces(at);
    return trims_ && !plus && at < source_.size() && source_[at] == '\n' ? at + 1 : at;
  }

  void skip_comment(int begins) {
    for (; at_ < source_.size(); move_to(at_ + 1)) {
      const size_t end = block_end("#}");
      if (end != std::string::npos) {
        move_to(end);
        return;
      }
    }
    corrupt_template(begins, "the comment that begins here has no end \"#}\"");
  }

  // {% raw %} ... {% endraw %}: false when this is another tag.
  bool cut_raw(int begins) {
    size_t at = behind_spaces(at_);
    if (!std::string_view(source_).substr(at).starts_with("raw")) return false;
    at = behind_spaces(at + 3);
    const std::string_view rest = std::string_view(source_).substr(at);
    if (!rest.starts_with("%}") && !rest.starts_with("-%}")) return false;
    move_to(rest[0] == '-' ? behind_spaces(at + 3) : at + 2);
    for (size_t open = source_.find("{%", at_); open != std::string::npos; open = source_.find("{%", open + 1)) {
      size_t word = open + 2;
      const char sign = word < source_.size() && (source_[word] == '-' || source_[word] == '+') ? source_[word] : 0;
      word = behind_spaces(word + (sign != 0));
      if (!std::string_view(source_).substr(word).starts_with("endraw")) continue;
      word = behind_spaces(word + 6);
      const size_t text_begin = at_;
      const int text_line = line_;
      move_to(std::min(word, source_.size() - 1));
      const size_t end = block_end("%}");
      at_ = text_begin, line_ = text_line;
      if (end == std::string::npos) continue;
      put_text(open, '%', sign);
      move_to(end);
      return true;
    }
    corrupt_template(begins, "{% raw %} has no {% endraw %}");
  }

  void cut_tag(bool print, int begins) {
    std::string open;  // brackets that still want to be closed
    while (at_ < source_.size()) {
      if (open.empty()) {
        size_t end = std::string::npos;
        if (!print) {
          end = block_end("%}");
        } else if (here("-}}")) {
          end = behind_spaces(at_ + 3);
        } else if (here("}}")) {
          end = at_ + 2;
        }
        if (end != std::string::npos) {
          put(print ? TokenKind::print_end : TokenKind::block_end, "");
          move_to(end);
          return;
        }
      }
      cut_token(open);
    }
    corrupt_template(begins, fmt::format("the tag \"{}\" that begins here has no end", print ? "{{" : "{%"));
  }

  void cut_token(std::string& open) {
    const size_t spaces = behind_spaces(at_);
    if (spaces > at_) {
      move_to(spaces);
    } else if (is_digit(source_[at_])) {
      cut_number();
    } else if (is_word(source_[at_])) {
      size_t end = at_;
      while (end < source_.size() && is_word(source_[end])) ++end;
      put(TokenKind::name, source_.substr(at_, end - at_));
      at_ = end;
    } else if (source_[at_] == '\'' || source_[at_] == '"') {
      cut_string();
    } else {
      cut_sign(open);
    }
  }

  size_t behind_digits(size_t from) const {  // digits, single underscores between them
    while (from < source_.size() && (is_digit(source_[from]) || (source_[from] == '_' && from + 1 < source_.size() &&
                                                                 is_digit(source_[from + 1]))))
      ++from;
    return from;
  }

  void cut_number() {
    const size_t begin = at_;
    size_t end = behind_digits(begin);
    bool real = false;
    const bool after_dot = begin > 0 && source_[begin - 1] == '.';
    if (!after_dot && end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      real = true;
      end = behind_digits(end + 1);
    }
    if (!after_dot && end < source_.size() && (source_[end] | 32) == 'e') {
      const size_t sign = end + 1 + (end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-'));
      if (sign < source_.size() && is_digit(source_[sign])) {
        real = true;
        end = behind_digits(sign);
      }
    }
    std::string digits;
    if (!real && end == begin + 1 && source_[begin] == '0' && end < source_.size() &&
        std::string_view("xXoObB").find(source_[end]) != std::string_view::npos) {
      ++end;
      while (end < source_.size() && is_word(source_[end])) ++end;
    }
    for (size_t i = begin; i < end; ++i) {
      if (source_[i] != '_') digits += source_[i];
    }
    if (!real && digits.size() > 1 && digits[0] == '0' && is_digit(digits[1]) &&
        digits.find_first_not_of('0') != std::string::npos) {
      corrupt_template(line_, fmt::format("the number {} begins with a zero", digits));
    }
    put(real ? TokenKind::real : TokenKind::integer, digits);
    at_ = end;
  }

  void cut_string() {
    const char quote = source_[at_];
    const int begins = line_;
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) corrupt_template(begins, "the string that begins here has no end");
    Token token{TokenKind::string, begins, "", ""};
    token.value = unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1), token.refused);
    tokens_.push_back(std::move(token));
    move_to(end + 1);
  }

  void put_code_point(std::string_view digits, int base, std::string& out) const {
    const uint32_t c = uint32_t(std::stoul(std::string(digits), nullptr, base));
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
      corrupt_template(line_, fmt::format("the escape of U+{:04X} in a string is no character", c));
    append_utf8(out, c);
  }

  // Python's escapes; an unknown one stays as it is.
  std::string unescape(std::string_view text, std::string& refused) const {
    static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      const char c = text[++i];  // the string's end is never escaped
      if (const size_t simple = kFrom.find(c); simple != std::string_view::npos) {
        out += kTo[simple];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        const std::string_view digits = text.substr(i + 1, n);
        const bool hexadecimal =
            digits.size() == n && digits.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
        if (!hexadecimal)
          corrupt_template(line_, fmt::format("the escape \\{} in a string wants {} hexadecimal digits", c, n));
        put_code_point(digits, 16, out);
        i += n;
      } else if (c >= '0' && c <= '7') {
        size_t n = 1;
        while (n < 3 && i + n < text.size() && text[i + n] >= '0' && text[i + n] <= '7') ++n;
        put_code_point(text.substr(i, n), 8, out);
        i += n - 1;
      } else if (c == 'N') {
        refused = "\\N{...}";
      } else if (c != '\n') {
        (out += '\\') += c;
      }
    }
    return out;
  }

  void cut_sign(std::string& open) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    for (const std::string_view two : kTwo) {
      if (!here(two)) continue;
      put(TokenKind::sign, std::string(two));
      at_ += 2;
      return;
    }
    const char c = source_[at_];
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos || c == 0) {
      const size_t length = size_t(std::max(1, utf8_length(source_.data() + at_, source_.data() + source_.size())));
      corrupt_template(line_, fmt::format("unexpected character '{}' in a tag", source_.substr(at_, length)));
    }
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) corrupt_template(line_, fmt::format("unexpected '{}'", c));
      open.pop_back();
    }
    put(TokenKind::sign, std::string(1, c));
    ++at_;
  }

  const std::string source_;
  const bool trims_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> cut_template(std::string_view source, TemplateStyle style) {
  const int64_t valid = utf8_valid_prefix(source);
  if (valid != int64_t(source.size())) {
    const int line = 1 + int(std::count(source.begin(), source.begin() + valid, '\n'));
    corrupt_template(line, fmt::format("byte {} is not UTF-8", valid));
  }
  const bool chat = style == TemplateStyle::chat;
  return Lexer(with_unix_lines(source, !chat), chat).cut();
}

}  // namespace hadal::jinja
