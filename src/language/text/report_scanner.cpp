#include "text/report_scanner.h"

#include "base/utf8.h"

namespace hadal {
namespace {

using Kind = CharacterKind;

bool ascii_letter(char c) { return uint8_t((c | 0x20) - 'a') < 26; }

// Walks over the characters of one text; `at` is always the begin of one, or the end.
class Scanner {
 public:
  Scanner(std::string_view text, const CharacterKinds& kinds, void (*emit)(void*, const char*, size_t), void* context)
      : end_(text.data() + text.size()), at_(text.data()), kinds_(kinds), emit_(emit), context_(context) {}

  void run() {
    while (at_ < end_) word();
    flush();
  }

 private:
  struct Character {
    Kind kind;
    int length;
  };

  // Where the second expression's characters begin or end, so does its match.
  Character read(const char* at) const {
    const auto byte = uint8_t(*at);
    if (byte < 0x80) return {in_han_kana_ ? Kind::border : kinds_.of(byte), 1};
    const int length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    const uint32_t c = utf8_decode(at, length);
    return {CharacterKinds::han_kana(c) == in_han_kana_ ? kinds_.of(c) : Kind::border, length};
  }
  Kind kind_at(const char* at) const { return at < end_ ? read(at).kind : Kind::border; }

  template <class Wanted>
  const char* run_of(const char* at, const Wanted& wanted) const {
    while (at < end_) {
      const Character c = read(at);
      if (!wanted(c.kind)) break;
      at += c.length;
    }
    return at;
  }
  static bool in_word(Kind kind) { return kind == Kind::letter || kind == Kind::mark; }
  const char* word_end(const char* at) const { return run_of(at, in_word); }

  void flush() {
    if (gap_ != nullptr) emit_(context_, gap_, size_t(at_ - gap_));
    gap_ = nullptr;
  }
  void take(const char* end) {
    flush();
    emit_(context_, at_, size_t(end - at_));
    at_ = end;
  }

  void word() {
    const int bytes = utf8_length(at_, end_);
    const bool han_kana = bytes == 3 && CharacterKinds::han_kana(utf8_decode(at_, bytes));
    if (han_kana != in_han_kana_) {
      flush();
      in_han_kana_ = han_kana;
    }
    const Character c = read(at_);
    const char* next = at_ + c.length;
    switch (c.kind) {
      case Kind::number: return take(digits_end());
      case Kind::letter:
      case Kind::mark: return take(word_end(next));
      case Kind::punctuation: return take(marks_end(next));
      case Kind::line_end: return take(space_end());
      case Kind::blank:
      case Kind::other:
      case Kind::border: break;
    }
    const Kind following = kind_at(next);
    if (in_word(following)) return take(word_end(next));
    if (c.kind == Kind::blank) {
      return take(*at_ == ' ' && following == Kind::punctuation ? marks_run_end(next) : space_end());
    }
    if (gap_ == nullptr) gap_ = at_;  // nothing matches here: up to the next match it is one word
    at_ = next;
  }

  // \p{N}{1,3}
  const char* digits_end() const {
    const char* at = at_;
    for (int i = 0; i < 3 && at < end_; ++i) {
      const Character c = read(at);
      if (c.kind != Kind::number) break;
      at += c.length;
    }
    return at;
  }

  // From behind the first mark: an ASCII mark takes ASCII letters, else marks take line ends.
  const char* marks_end(const char* next) const {
    if (next == at_ + 1 && next < end_ && ascii_letter(*next)) {
      while (next < end_ && ascii_letter(*next)) ++next;
      return next;
    }
    return marks_run_end(next);
  }
  const char* marks_run_end(const char* at) const {
    at = run_of(at, [](Kind kind) { return kind == Kind::punctuation; });
    return run_of(at, [](Kind kind) { return kind == Kind::line_end; });
  }

  // \s*[\r\n]+ | \s+(?!\S) | \s+
  const char* space_end() const {
    const char *at = at_, *behind_line_end = nullptr, *last = at_;
    while (at < end_) {
      const Character c = read(at);
      if (c.kind != Kind::blank && c.kind != Kind::line_end) break;
      last = at;
      at += c.length;
      if (c.kind == Kind::line_end) behind_line_end = at;
    }
    if (behind_line_end != nullptr) return behind_line_end;
    const Kind following = kind_at(at);
    return following == Kind::number || following == Kind::border || last == at_ ? at : last;
  }

  const char* end_;
  const char* at_;
  const char* gap_ = nullptr;
  bool in_han_kana_ = false;  // whether at_ is inside a match of the second expression
  const CharacterKinds& kinds_;
  void (*emit_)(void*, const char*, size_t);
  void* context_;
};

}  // namespace

void scan_report_words(std::string_view text, const CharacterKinds& kinds, void (*emit)(void*, const char*, size_t),
                       void* context) {
  Scanner(text, kinds, emit, context).run();
}

}  // namespace hadal
