#include "text/split_pattern.h"

#include <bitset>
#include <cctype>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/utf8.h"
#include "text/unicode_additions.h"

namespace hadal {
namespace {

// The White_Space property, as the inside of a class.
constexpr std::string_view kSpace =
    "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr std::string_view kSame = "nrtfaeAzZ";  // escapes that mean the same to both, besides those of marks

class Rewriter {
 public:
  Rewriter(std::string_view expression, int unicode_major) : in_(expression), unicode_major_(unicode_major) {}

  std::string run() {
    while (at_ < in_.size()) {
      if (in_[at_] == '\\' && at_ + 1 < in_.size()) {
        escape();
      } else {
        plain();
      }
    }
    return out_;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) {
    fail(ErrorKind::unsupported, "split expression '{}' uses {}, which is not supported", in_.substr(0, 200), what);
  }

  bool next_is(std::string_view text) const { return in_.substr(at_).starts_with(text); }

  void plain() {
    const char c = in_[at_++];
    out_ += c;
    if (in_class_) {
      if (c == '[') refuse("a class inside a class");
      if (c == '&' && next_is("&")) refuse("&& inside a class");
      if (c == ']') in_class_ = false;
    } else if (c == '[') {
      in_class_ = true;
      if (next_is("^")) out_ += in_[at_++];
      if (next_is("]")) refuse("a class that begins with ]");
    } else if (c == '(') {
      group();
    } else if (c == '{' && next_is(",")) {
      out_ += '0';
    } else if (c == '}' && next_is("+")) {
      refuse("a possessive interval {n,m}+");
    }
  }

  // PCRE2 and Ruby's syntax agree on these groups only; (?i) in the middle reaches further in one than in the other.
  void group() {
    if (next_is("*")) refuse("(*");
    if (!next_is("?")) return;
    for (const std::string_view known : {"?:", "?=", "?!", "?>", "?<=", "?<!"}) {
      if (next_is(known)) return;
    }
    const bool from_the_start = at_ == 1 && next_is("?i)");
    if (!next_is("?i:") && !from_the_start) refuse("a group (" + std::string(in_.substr(at_, 3)));
    // Without case, Oniguruma takes some pairs of letters for one (ss for U+00DF).
    std::string lower(in_);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? char(c + 32) : c;
    for (const std::string_view pair : {"ss", "ff", "fi", "fl", "st"}) {
      if (lower.find(pair) != std::string::npos) refuse("'" + std::string(pair) + "' without regard to case");
    }
  }

  void escape() {
    const char kind = in_[at_ + 1];
    at_ += 2;
    const auto letter_or_digit = [](char c) { return (c >= '0' && c <= '9') || uint8_t((c | 32) - 'a') < 26; };
    switch (kind) {
      case 's': return add_set(std::string(kSpace), false);
      case 'S': return add_set(std::string(kSpace), true);
      case 'd': return category("Nd", false);
      case 'D': return category("Nd", true);
      case 'p': return property(false);
      case 'P': return property(true);
      case 'v': out_ += "\\x0b"; return;
      case 'u': return hexadecimal(4, 4);
      case 'x': return hexadecimal(1, 2);
      default: break;
    }
    const bool anchor = kind == 'A' || kind == 'z' || kind == 'Z';
    if (letter_or_digit(kind) && (kSame.find(kind) == std::string_view::npos || (anchor && in_class_)))
      refuse(std::string("\\") + kind);
    out_ += '\\';
    out_ += kind;
  }

  // \uHHHH, \xHH (below 80: from there on Oniguruma means a byte) and \x{H...}.
  void hexadecimal(size_t least, size_t most) {
    size_t digits = 0;
    const bool braces = most == 2 && next_is("{");
    if (braces) {
      const size_t end = in_.find('}', at_);
      if (end == std::string_view::npos) refuse("\\x without }");
      out_ += "\\x" + std::string(in_.substr(at_, end + 1 - at_));
      at_ = end + 1;
      return;
    }
    while (digits < most && at_ + digits < in_.size() && std::isxdigit(uint8_t(in_[at_ + digits]))) ++digits;
    const std::string value(in_.substr(at_, digits));
    if (digits < least || (most == 2 && std::stoi(value, nullptr, 16) >= 0x80))
      refuse("\\x or \\u with '" + value + "'");
    out_ += "\\x{" + value + "}";
    at_ += digits;
  }

  // A set written as the inside of a class, or all but it.
  void add_set(const std::string& set, bool negated) {
    if (in_class_ && negated) refuse("a negated set (\\S, \\P) inside a class");
    out_ += in_class_ ? set : (negated ? "[^" : "[") + set + "]";
  }

  void property(bool negated) {
    std::string name;
    if (at_ < in_.size() && in_[at_] == '{') {
      const size_t end = in_.find('}', at_);
      if (end == std::string_view::npos) refuse("\\p without }");
      name = in_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    } else if (at_ < in_.size()) {
      name = in_[at_++];
    }
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    category(name, negated);
  }

  void category(const std::string& name, bool negated) {
    if ((name == "C" || name == "Cn") && unicode_major_ < kUnicodeMajor) refuse("\\p{" + name + "}");
    const bool script = name.size() > 2;
    std::string set = script ? "\\p{sc:" + name + "}" : "\\p{" + name + "}";
    const std::string added = additions(name);
    if (added.empty() && in_class_ && negated) {
      out_ += script ? "\\P{sc:" + name + "}" : "\\P{" + name + "}";
    } else {
      add_set(set + added, negated);
    }
  }

  std::string additions(std::string_view category) const {
    std::string set;
    if (unicode_major_ >= kUnicodeMajor) return set;
    for (const UnicodeAddition& more : kUnicodeAdditions) {
      const std::string_view name = more.name;
      if (name == category || (category.size() == 1 && name.size() == 2 && name[0] == category[0])) {
        set += fmt::format("\\x{{{:x}}}-\\x{{{:x}}}", more.first, more.last);
      }
    }
    return set;
  }

  std::string_view in_;
  int unicode_major_;
  size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

std::string split_pattern_for_pcre2(std::string_view expression, int unicode_major) {
  return Rewriter(expression, unicode_major).run();
}

bool may_hold_unicode_addition(std::string_view text) {
  using Blocks = std::bitset<0x110000 / 64>;  // of 64 code points each
  static const Blocks blocks = [] {
    Blocks set;
    for (const UnicodeAddition& more : kUnicodeAdditions) {
      for (uint32_t block = more.first / 64; block <= more.last / 64; ++block) set.set(block);
    }
    return set;
  }();
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    uint64_t eight;
    while (end - at >= 8 && (std::memcpy(&eight, at, 8), (eight & 0x8080808080808080ull) == 0)) at += 8;
    if (at == end) break;
    const auto byte = uint8_t(*at);
    const int length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    if (length > 1 && blocks[utf8_decode(at, length) / 64]) return true;
    at += length;
  }
  return false;
}

}  // namespace hadal
