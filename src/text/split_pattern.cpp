#include "text/split_pattern.h"

#include <bitset>
#include <cstring>

#include "base/error.h"
#include "text/unicode_additions.h"
#include "text/utf8.h"

namespace hadal {
namespace {

// The White_Space property, as the inside of a class.
constexpr std::string_view kSpace = "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr std::string_view kRefused = "wWbBhHRX";

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
    fail(ErrorKind::unsupported, "split expression '{}' uses {}, which is not supported", in_, what);
  }

  void plain() {
    const char c = in_[at_++];
    out_ += c;
    if (in_class_) {
      if (c == '[') refuse("a class inside a class");
      if (c == '&' && at_ < in_.size() && in_[at_] == '&') refuse("&& inside a class");
      if (c == ']') in_class_ = false;
    } else if (c == '[') {
      in_class_ = true;
      if (at_ < in_.size() && in_[at_] == '^') out_ += in_[at_++];
    }
  }

  void escape() {
    const char kind = in_[at_ + 1];
    at_ += 2;
    if (kind == 's') {
      add_set(std::string(kSpace), false);
    } else if (kind == 'S') {
      add_set(std::string(kSpace), true);
    } else if (kind == 'p' || kind == 'P') {
      property(kind == 'P');
    } else if (kRefused.find(kind) != std::string_view::npos) {
      refuse(std::string("\\") + kind);
    } else {
      out_ += '\\';
      out_ += kind;
    }
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
      const std::string_view name = more.category;
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
