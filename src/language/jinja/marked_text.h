// Text that remembers, byte by byte, who wrote it: the template's author (its literals, the tokenizer's own special
// tokens, numbers) or the people in the messages. Every operation of the template language keeps these marks, so that
// in the end only the author's letters can become control tokens; and whether it stands for a model's answer. Always
// well-formed UTF-8; no stretch cuts a character.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"

namespace hadal::jinja {

class MarkedText {
 public:
  struct Stretch {
    size_t end = 0;  // one behind its last byte; it begins where the stretch before ends
    bool from_template = false;
    bool generated = false;  // written inside of {% generation %}: what a model is trained to write
  };

  MarkedText() = default;
  MarkedText(std::string bytes, bool from_template) : bytes_(std::move(bytes)) {
    if (!bytes_.empty()) stretches_.push_back({bytes_.size(), from_template});
  }

  const std::string& bytes() const { return bytes_; }
  const std::vector<Stretch>& stretches() const { return stretches_; }
  bool empty() const { return bytes_.empty(); }
  size_t size() const { return bytes_.size(); }  // in bytes

  void append(std::string_view bytes, bool from_template, bool generated = false);
  void append(const MarkedText& text) { append(text, 0, text.size()); }
  void append(const MarkedText& text, size_t begin, size_t end);  // bytes begin .. end-1 of it
  MarkedText part(size_t begin, size_t end) const {
    MarkedText out;
    out.append(*this, begin, end);
    return out;
  }

  void set_generated() {
    for (Stretch& stretch : stretches_) stretch.generated = true;
  }

  // Text that is HTML already (what `safe` and `escape` give): what is joined to it with + or % is escaped first. A
  // text that is made anew of others is none, a copy is.
  bool is_html() const { return html_; }
  void set_html() { html_ = true; }

  int64_t n_characters() const;
  size_t byte_of(int64_t character) const;  // where this character begins; size() when it is behind the last
  int64_t character_of(size_t byte) const;

  // visit(character's bytes, from_template) for every character.
  template <class Visit>
  void for_each(const Visit& visit) const {
    size_t at = 0;
    for (const Stretch& stretch : stretches_) {
      while (at < stretch.end) {
        const size_t length = size_t(utf8_length(bytes_.data() + at, bytes_.data() + bytes_.size()));
        visit(std::string_view(bytes_).substr(at, length), stretch.from_template);
        at += length;
      }
    }
  }

 private:
  std::string bytes_;
  std::vector<Stretch> stretches_;  // neighbours differ in their mark
  bool html_ = false;
};

MarkedText escaped_html(const MarkedText& text);  // & < > ' " as entities; the result is HTML

// `made` from `text`, which stays HTML if it was.
inline MarkedText like(const MarkedText& text, MarkedText made) {
  if (text.is_html()) made.set_html();
  return made;
}

}  // namespace hadal::jinja
