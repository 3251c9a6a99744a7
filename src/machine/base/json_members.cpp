// One scanner, without recursion: a stack of bits says whether the place stands in an object or an array. Strings are
// passed over sixteen bytes at a time.
#include "base/json_members.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/utf8.h"

namespace hadal {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

using Block = uint8_t __attribute__((vector_size(16)));  // of any machine that GCC and Clang compile for
constexpr size_t kBlock = sizeof(Block);

Block block_at(const char* bytes) {
  Block block;
  std::memcpy(&block, bytes, kBlock);
  return block;
}

// The first byte of a block whose comparison came out true, or kBlock.
template <class Flags>
size_t first_true(const Flags& flags) {
  uint64_t words[2];
  std::memcpy(words, &flags, kBlock);
  if constexpr (std::endian::native != std::endian::little)
    for (uint64_t& word : words) word = __builtin_bswap64(word);
  const bool low = words[0] != 0;  // selected without a branch: which half it is cannot be foreseen
  const uint64_t word = low ? words[0] : words[1];
  return word == 0 ? kBlock : (low ? 0 : 8) + size_t(std::countr_zero(word)) / 8;
}

bool is_special(char c) { return c == '"' || c == '\\' || uint8_t(c) < 0x20; }
auto are_special(const Block& block) { return (block == '"') | (block == '\\') | (block < 0x20); }

// The first byte from `at` on that is a quote, a backslash or a control character.
size_t next_special(std::string_view text, size_t at) {
  for (; at + kBlock <= text.size(); at += kBlock) {
    const size_t run = first_true(are_special(block_at(text.data() + at)));
    if (run < kBlock) return at + run;
  }
  while (at < text.size() && !is_special(text[at])) ++at;
  return at;
}

// The same, and what lies before it is copied; `out` has room for all of the text.
size_t copy_to_special(std::string_view text, size_t at, char*& out) {
  for (; at + kBlock <= text.size(); at += kBlock, out += kBlock) {
    const Block block = block_at(text.data() + at);
    std::memcpy(out, &block, kBlock);  // what lies behind the special byte is written over
    const size_t run = first_true(are_special(block));
    if (run < kBlock) return out += run, at + run;
  }
  while (at < text.size() && !is_special(text[at])) *out++ = text[at++];
  return at;
}

size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) ++at;
  return at;
}

// Of each byte: what it stands for behind a backslash (0: nothing), and its value as a hexadecimal digit (-1: none).
struct Letters {
  std::array<char, 256> escaped{};
  std::array<int8_t, 256> digit{};
  constexpr Letters() {
    constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    for (size_t i = 0; i < kFrom.size(); ++i) escaped[uint8_t(kFrom[i])] = kTo[i];
    for (int8_t& value : digit) value = -1;
    for (int i = 0; i < 16; ++i)
      digit[uint8_t("0123456789abcdef"[i])] = digit[uint8_t("0123456789ABCDEF"[i])] = int8_t(i);
  }
};
constexpr Letters kLetters;
char escaped_by(char letter) { return kLetters.escaped[uint8_t(letter)]; }

// The UTF-16 unit of the escape \uXXXX at `at`, negative where none stands there.
int32_t unit_at(std::string_view text, size_t at) {
  if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u') return -1;
  const auto digit = [&](size_t i) { return int32_t(kLetters.digit[uint8_t(text[at + i])]); };
  return digit(2) * 0x1000 | digit(3) * 0x100 | digit(4) * 0x10 | digit(5);
}

// The code point of the escape \uXXXX at `at`, which is moved behind it and the second half that belongs to it; U+FFFD
// for a lone surrogate, which is counted. Negative where there is no such escape.
int32_t code_point_at(std::string_view text, size_t& at, int64_t& replaced) {
  const int32_t unit = unit_at(text, at);
  if (unit < 0) return unit;
  at += 6;
  if (unit < 0xD800 || unit > 0xDFFF) return unit;
  const int32_t second = unit_at(text, at);
  if (unit > 0xDBFF || second < 0xDC00 || second > 0xDFFF) return ++replaced, 0xFFFD;
  at += 6;
  return 0x10000 + ((unit - 0xD800) << 10) + (second - 0xDC00);
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  JsonFault value(size_t& at) {
    at_ = at;
    const size_t depth = in_object_.size();
    JsonFault fault = open_value();
    while (!fault && in_object_.size() > depth) fault = go_on();
    at = at_;
    return fault;
  }
  JsonFault string(size_t& at) {
    at_ = at;
    const JsonFault fault = pass_string();
    at = at_;
    return fault;
  }
  // The same, and what it stands for, in place of `out`; counts lone surrogates.
  JsonFault string(size_t& at, std::string& out, int64_t& replaced) {
    at_ = at + 1;
    out.resize(text_.size() - at);  // no escape is shorter than what it stands for
    char* end = out.data();
    JsonFault fault = take_string(end, replaced);
    if (fault) fault = string(at);  // says what is wrong
    out.resize(size_t(end - out.data()));
    at = at_;
    return fault;
  }
  JsonFault expected(const char* what, size_t at) const { return {what, at, at >= text_.size()}; }

 private:
  char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void space() { at_ = skip_space(text_, at_); }

  // Goes down to the first value that is no filled object or array, and passes over it.
  JsonFault open_value() {
    for (;;) {
      const char c = here();
      if (c == '"') return pass_string();
      if (c != '{' && c != '[') break;
      ++at_;
      space();
      if (here() == (c == '{' ? '}' : ']')) return ++at_, JsonFault{};
      in_object_.push_back(c == '{');
      if (c == '[') continue;
      if (const JsonFault fault = name()) return fault;
    }
    if (here() == '-' || (here() >= '0' && here() <= '9')) return pass_number();
    for (const std::string_view word : {"true", "false", "null", "NaN", "Infinity"})
      if (text_.substr(at_, word.size()) == word) return at_ += word.size(), JsonFault{};
    return expected("a value was expected", at_);
  }

  JsonFault name() {  // and its colon
    if (here() != '"') return expected("a name in quotes was expected", at_);
    if (const JsonFault fault = pass_string()) return fault;
    space();
    if (here() != ':') return expected("a colon was expected", at_);
    ++at_;
    space();
    return {};
  }

  JsonFault go_on() {  // behind a value inside of an object or array
    space();
    const bool object = in_object_.back();
    if (here() == (object ? '}' : ']')) return ++at_, in_object_.pop_back(), JsonFault{};
    if (here() != ',') return expected(object ? "a comma or } was expected" : "a comma or ] was expected", at_);
    ++at_;
    space();
    if (!object) return open_value();
    const JsonFault fault = name();
    return fault ? fault : open_value();
  }

  JsonFault pass_string() {
    const size_t begin = at_++;
    for (;;) {
      at_ = next_special(text_, at_);
      if (at_ >= text_.size()) return {"a string has no closing quote, it begins", begin, true};
      if (text_[at_] == '"') return ++at_, JsonFault{};
      if (text_[at_] != '\\') return {"a string holds a control character that is no escape", at_, false};
      do {
        if (const JsonFault fault = pass_escape()) return fault;
      } while (here() == '\\');
    }
  }

  // From behind the opening quote to behind the closing one; a fault, not said which, where the string is none.
  JsonFault take_string(char*& out, int64_t& replaced) {
    const JsonFault wrong{"", at_, false};
    for (;;) {
      at_ = copy_to_special(text_, at_, out);
      if (here() == '"') return ++at_, JsonFault{};
      if (here() != '\\') return wrong;
      while (here() == '\\') {
        const char c = at_ + 1 < text_.size() ? escaped_by(text_[at_ + 1]) : '\0';
        if (c != 0) {
          *out++ = c, at_ += 2;
          continue;
        }
        const int32_t code_point = code_point_at(text_, at_, replaced);
        if (code_point < 0) return wrong;
        out = write_utf8(out, uint32_t(code_point));
      }
    }
  }

  JsonFault pass_escape() {
    const char c = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (escaped_by(c) != 0) return at_ += 2, JsonFault{};
    if (at_ + 1 >= text_.size()) return {"a string has no closing quote", at_, true};
    if (c != 'u') return {"a string holds an unknown escape", at_, false};
    if (unit_at(text_, at_) >= 0) return at_ += 6, JsonFault{};
    return {"four hexadecimal digits were expected behind \\u", at_ + 2, at_ + 6 > text_.size()};
  }

  bool digits() {
    const size_t begin = at_;
    while (here() >= '0' && here() <= '9') ++at_;
    return at_ > begin;
  }

  JsonFault pass_number() {
    if (here() == '-') ++at_;
    constexpr std::string_view kInfinity = "Infinity";
    if (text_.substr(at_, kInfinity.size()) == kInfinity) return at_ += kInfinity.size(), JsonFault{};
    if (here() == '0')
      ++at_;
    else if (!digits())
      return expected("a digit was expected", at_);
    if (here() == '.' && (++at_, !digits())) return expected("a digit was expected", at_);
    if (here() != 'e' && here() != 'E') return {};
    ++at_;
    if (here() == '+' || here() == '-') ++at_;
    return digits() ? JsonFault{} : expected("a digit was expected", at_);
  }

  std::string_view text_;
  size_t at_ = 0;
  std::vector<bool> in_object_;
};

// Visits the names of an object, as they are written, with the place of the value; visit(name, at) passes over it.
template <class Visit>
JsonFault each_member(std::string_view json, size_t& at, const Visit& visit) {
  Scanner scanner(json);
  at = skip_space(json, at + 1);
  if (at < json.size() && json[at] == '}') return ++at, JsonFault{};
  for (;;) {
    const size_t name = at;
    if (at >= json.size() || json[at] != '"') return scanner.expected("a name in quotes was expected", at);
    if (const JsonFault fault = scanner.string(at)) return fault;
    const std::string_view written = json.substr(name, at - name);
    at = skip_space(json, at);
    if (at >= json.size() || json[at] != ':') return scanner.expected("a colon was expected", at);
    at = skip_space(json, at + 1);
    if (const JsonFault fault = visit(scanner, written, at)) return fault;
    at = skip_space(json, at);
    if (at < json.size() && json[at] == '}') return ++at, JsonFault{};
    if (at >= json.size() || json[at] != ',') return scanner.expected("a comma or } was expected", at);
    at = skip_space(json, at + 1);
  }
}

bool is_name(std::string_view written, std::string_view name) {
  const std::string_view inside = written.substr(1, written.size() - 2);
  if (inside.find('\\') == std::string_view::npos) return inside == name;
  std::string content;
  json_string(written, content);
  return content == name;
}

}  // namespace

std::string JsonFault::text() const { return what == nullptr ? "" : fmt::format("{} at byte {}", what, at + 1); }

JsonFault next_json_value(std::string_view json, size_t& at, std::string_view& value) {
  const size_t begin = at = skip_space(json, at);
  const JsonFault fault = Scanner(json).value(at);
  value = json.substr(begin, at - begin);
  return fault;
}

JsonFault read_json_members(std::string_view json, std::string_view& value, std::span<JsonMember> members) {
  for (JsonMember& member : members) member.text = {}, member.replaced = 0;
  const size_t begin = skip_space(json, 0);
  size_t at = begin;
  const auto take = [&](Scanner& scanner, std::string_view written, size_t& place) {
    const size_t first = place;
    const auto wanted = std::find_if(members.begin(), members.end(),
                                     [&](const JsonMember& member) { return is_name(written, member.name); });
    const bool found = wanted != members.end();
    const bool content = found && wanted->content != nullptr && first < json.size() && json[first] == '"';
    if (content) wanted->replaced = 0;
    const JsonFault fault = content ? scanner.string(place, *wanted->content, wanted->replaced) : scanner.value(place);
    if (found) wanted->text = json.substr(first, place - first);
    return fault;
  };
  const bool object = begin < json.size() && json[begin] == '{';
  if (const JsonFault fault = object ? each_member(json, at, take) : Scanner(json).value(at)) return fault;
  value = json.substr(begin, at - begin);
  at = skip_space(json, at);
  return at == json.size() ? JsonFault{} : JsonFault{"more follows behind the value", at, false};
}

std::string json_member_names(std::string_view object) {
  std::string names, name;
  int64_t n = 0;
  size_t at = 0;
  each_member(object, at, [&](Scanner& scanner, std::string_view written, size_t& place) {
    if (++n == 9) names += ", ...";
    if (n <= 8) json_string(written, name), names += (names.empty() ? "" : ", ") + name;
    return scanner.value(place);
  });
  return names.empty() ? "none" : names;
}

int64_t json_string(std::string_view string, std::string& out) {
  int64_t replaced = 0;
  size_t at = 0;
  Scanner(string).string(at, out, replaced);
  return replaced;
}

namespace {

int64_t append_quoted(std::string_view content, std::string& out) {
  int64_t replaced = 0;
  out += '"';
  for (size_t at = 0; at < content.size();) {
    const int length = utf8_length(content.data() + at, content.data() + content.size());
    const char c = content[at];
    if (length == 0)
      out += kReplacement, ++replaced;
    else if (uint8_t(c) < 0x20)
      out += fmt::format("\\u{:04x}", int(c));
    else if (c == '"' || c == '\\')
      out += {'\\', c};
    else
      out.append(content, at, size_t(length));
    at += size_t(std::max(length, 1));
  }
  out += '"';
  return replaced;
}

// A number or word as it stands, or null for what only Python has.
std::string_view plain_scalar(const std::string& written) {
  if (written == "true" || written == "false") return written;
  const bool finite = std::isfinite(std::strtod(written.c_str(), nullptr));
  return finite && written != "null" ? std::string_view(written) : "null";
}

}  // namespace

std::string strict_json(std::string_view json, int64_t& replaced) {
  std::string_view whole;
  if (read_json_members(json, whole)) return std::string(json);
  std::string out, content;
  for (size_t at = 0; at < whole.size();) {
    const size_t begin = at;
    if (whole[at] == '"') {
      Scanner(whole).string(at);
      replaced += json_string(whole.substr(begin, at - begin), content);
      replaced += append_quoted(content, out);
    } else if (std::string_view("{}[],: \t\r\n").find(whole[at]) != std::string_view::npos) {
      out += whole[at++];
    } else {
      at = std::min(whole.find_first_of("}], \t\r\n", at), whole.size());
      out += plain_scalar(std::string(whole.substr(begin, at - begin)));
    }
  }
  return out;
}

}  // namespace hadal
