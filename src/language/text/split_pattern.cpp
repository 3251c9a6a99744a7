#include "text/split_pattern.h"

#include <algorithm>
#include <bitset>
#include <cctype>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/character_sets.h"
#include "text/unicode_additions.h"

namespace hadal {
namespace {

// The general categories, whose classes are each other's complements.
constexpr std::string_view kCategories[] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl",
                                            "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
                                            "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn"};

bool is_category(std::string_view name) {
  return std::any_of(std::begin(kCategories), std::end(kCategories), [&](std::string_view known) {
    return known == name || (name.size() == 1 && known[0] == name[0]);
  });
}

// A class as it is read. What PCRE2 cannot say (a class inside a class, a negated set there, &&) is worked out as a set
// of characters.
struct Class {
  struct Part {                           // between two &&: all of these together
    std::string plain;                    // as the inside of a class of PCRE2
    std::vector<Class> classes;           // those in it, and negated sets
    std::vector<std::string> categories;  // of \p{...} in `plain`
    bool only_categories = true;          // `plain` holds nothing else
  };
  bool negated = false;
  std::vector<Part> parts = std::vector<Part>(1);

  bool plain() const { return parts.size() == 1 && parts[0].classes.empty(); }
};

CharacterSet characters_of(const Class& set) {
  CharacterSet all;
  for (size_t i = 0; i < set.parts.size(); ++i) {
    const Class::Part& part = set.parts[i];
    CharacterSet one = part.plain.empty() ? CharacterSet() : characters_of_class("[" + part.plain + "]");
    for (const Class& more : part.classes) one = one.united(characters_of(more));
    all = i == 0 ? std::move(one) : all.intersected(one);
  }
  return set.negated ? all.complement() : all;
}

// The inside of the plain class [^...] that this part is, or nothing.
std::string negated_inside(const Class::Part& part) {
  const bool alone = part.plain.empty() && part.classes.size() == 1;
  return alone && part.classes[0].plain() && part.classes[0].negated ? part.classes[0].parts[0].plain : "";
}

// [categories && [^others]] is all but the other categories and the others: a class of properties, which PCRE2 matches
// much faster than one of hundreds of ranges. Nothing where the class has another form.
std::string as_one_negated_class(const Class& set) {
  if (set.negated || set.parts.size() != 2) return "";
  const bool turned = negated_inside(set.parts[1]).empty();
  const Class::Part& wanted = set.parts[turned ? 1 : 0];
  const std::string others = negated_inside(set.parts[turned ? 0 : 1]);
  if (!wanted.only_categories || wanted.categories.empty() || !wanted.classes.empty() || others.empty()) return "";
  std::string out = "[^";
  for (const std::string_view known : kCategories) {
    const bool is_wanted = std::any_of(
        wanted.categories.begin(), wanted.categories.end(),
        [&](const std::string& name) { return name == known || (name.size() == 1 && name[0] == known[0]); });
    if (!is_wanted) out += "\\p{" + std::string(known) + "}";
  }
  return out + others + "]";
}

// The White_Space property, as the inside of a class.
constexpr std::string_view kSpace =
    "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr std::string_view kSame = "nrtfaeAzZ";  // escapes that mean the same to both, besides those of marks

class Rewriter {
 public:
  Rewriter(std::string_view expression, int unicode_major, bool additions)
      : in_(expression), unicode_major_(unicode_major), additions_(additions && unicode_major < kUnicodeMajor) {}

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
    if (c == '[') return add_class();
    out_ += c;
    if (c == '(') {
      group();
    } else if (c == ')') {
      if (caseless_groups_.size() > 1) caseless_groups_.pop_back();
    } else if (c == '{' && next_is(",")) {
      out_ += '0';
    } else if (c == '}' && next_is("+")) {
      refuse("a possessive interval {n,m}+");
    }
  }

  void add_class() {
    const Class set = read_class(1);
    if (set.plain()) {
      out_ += (set.negated ? "[^" : "[") + set.parts[0].plain + "]";
      return;
    }
    if (caseless_groups_.back()) refuse("&& or a class inside a class without regard to case");
    const std::string one = additions_ ? "" : as_one_negated_class(set);
    out_ += one.empty() ? characters_of(set).as_class() : one;
  }

  // From behind its [ to its ].
  Class read_class(int depth) {
    if (depth > 20) refuse("classes nested deeper than 20");
    Class set;
    std::string outside;
    outside.swap(out_);  // what stands in the class is written to out_, then taken from there
    Class* const before = class_;
    class_ = &set;
    if (next_is("^")) {
      set.negated = true;
      ++at_;
    }
    if (next_is("]")) refuse("a class that begins with ]");
    while (true) {
      if (at_ >= in_.size()) refuse("a class without its ]");
      const char c = in_[at_];
      if (c == ']') break;
      if (c == '[') {
        class_inside(depth);
      } else if (next_is("&&")) {
        next_part();
      } else if (c == '\\' && at_ + 1 < in_.size()) {
        escape();
      } else {
        set.parts.back().only_categories = false;
        out_ += c;
        ++at_;
      }
    }
    ++at_;
    end_part();
    class_ = before;
    out_.swap(outside);
    return set;
  }

  void class_inside(int depth) {
    if (in_.substr(at_).starts_with("[:")) refuse("a class [:name:]");
    if (out_.ends_with('-') && !out_.ends_with("\\-")) refuse("- before a class");
    ++at_;
    Class inner = read_class(depth + 1);
    class_->parts.back().classes.push_back(std::move(inner));
    if (next_is("-") && !next_is("-]")) refuse("- behind a class");
  }

  void next_part() {
    end_part();
    at_ += 2;
    if (next_is("^") || next_is("&")) refuse("&& before " + std::string(in_.substr(at_, 1)));
    class_->parts.emplace_back();
  }

  void end_part() {
    Class::Part& part = class_->parts.back();
    part.plain = std::move(out_);
    out_.clear();
    if (part.plain.empty() && part.classes.empty()) refuse("&& with nothing beside it");
  }

  // PCRE2 and Ruby's syntax agree on these groups only; (?i) in the middle reaches further in one than in the other.
  void group() {
    if (next_is("*")) refuse("(*");
    caseless_groups_.push_back(caseless_groups_.back());
    if (!next_is("?")) return;
    for (const std::string_view known : {"?:", "?=", "?!", "?>", "?<=", "?<!"}) {
      if (next_is(known)) return;
    }
    const bool from_the_start = at_ == 1 && next_is("?i)");
    if (!next_is("?i:") && !from_the_start) refuse("a group (" + std::string(in_.substr(at_, 3)));
    caseless_groups_.back() = true;
    if (from_the_start) caseless_groups_.front() = true;
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
      case 'v': return literal("\\x0b");
      case 'u': return hexadecimal(4, 4);
      case 'x': return hexadecimal(1, 2);
      default: break;
    }
    const bool anchor = kind == 'A' || kind == 'z' || kind == 'Z';
    if (letter_or_digit(kind) && (kSame.find(kind) == std::string_view::npos || (anchor && class_ != nullptr)))
      refuse(std::string("\\") + kind);
    if (class_ != nullptr) class_->parts.back().only_categories = false;
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
      literal("\\x" + std::string(in_.substr(at_, end + 1 - at_)));
      at_ = end + 1;
      return;
    }
    while (digits < most && at_ + digits < in_.size() && std::isxdigit(uint8_t(in_[at_ + digits]))) ++digits;
    const std::string value(in_.substr(at_, digits));
    if (digits < least || (most == 2 && std::stoi(value, nullptr, 16) >= 0x80))
      refuse("\\x or \\u with '" + value + "'");
    literal("\\x{" + value + "}");
    at_ += digits;
  }

  void literal(const std::string& text) {
    if (class_ != nullptr) class_->parts.back().only_categories = false;
    out_ += text;
  }

  // A set written as the inside of a class, or all but it.
  void add_set(const std::string& set, bool negated) {
    if (class_ == nullptr) {
      out_ += (negated ? "[^" : "[") + set + "]";
      return;
    }
    Class::Part& part = class_->parts.back();
    if (negated) {
      Class& all_but = part.classes.emplace_back();
      all_but.negated = true;
      all_but.parts[0].plain = set;
    } else {
      part.only_categories = false;
      out_ += set;
    }
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
    const std::string set = script ? "\\p{sc:" + name + "}" : "\\p{" + name + "}";
    const std::string added = additions(name);
    if (class_ == nullptr) return add_set(set + added, negated);
    Class::Part& part = class_->parts.back();
    if (negated && added.empty()) {
      part.only_categories = false;
      out_ += script ? "\\P{sc:" + name + "}" : "\\P{" + name + "}";
    } else if (negated || !is_category(name)) {
      add_set(set + added, negated);
    } else {
      part.categories.push_back(name);
      out_ += set + added;
    }
  }

  std::string additions(std::string_view category) const {
    std::string set;
    if (!additions_) return set;
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
  bool additions_;
  size_t at_ = 0;
  Class* class_ = nullptr;                       // the innermost that is being read
  std::vector<bool> caseless_groups_ = {false};  // whether case counts for nothing: outside, in each open group
  std::string out_;
};

}  // namespace

std::string split_pattern_for_pcre2(std::string_view expression, int unicode_major, bool additions) {
  return Rewriter(expression, unicode_major, additions).run();
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
