// Marks of thousands are seen here: digits in groups of three behind commas or blanks, outside of brackets.
#include "grading/maths_tokens.h"

#include <algorithm>

namespace hadal::grading {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

constexpr std::string_view kFunctions[] = {"sin",    "cos",  "tan",  "cot",  "sec", "csc", "arcsin", "arccos",
                                           "arctan", "sinh", "cosh", "tanh", "ln",  "log", "exp",    "sqrt"};
constexpr std::string_view kUnits[] = {"cm",  "mm", "km", "dm",    "kg",   "mg",      "ml",    "ft",
                                       "in",  "lb", "oz", "mi",    "hr",   "min",     "mph",   "kph",
                                       "sec", "am", "pm", "units", "unit", "degrees", "degree"};

class Cutter {
 public:
  Cutter(std::string_view text, std::vector<MathsToken>& tokens) : text_(text), tokens_(tokens) {}

  bool cut() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == ' ') {
        space_ = true, ++at_;
      } else if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]))) {
        number();
      } else if (is_alpha(c)) {
        letters();
      } else if (c == '\\') {
        if (!command()) return false;
      } else if (c > ' ' && c < 127) {
        brackets_ += c == '(' || c == '[';
        brackets_ -= c == ')' || c == ']';
        put(MathsTokenKind::sign, std::string(1, c));
        ++at_;
      } else if (!foreign_word()) {
        return false;
      }
    }
    put(MathsTokenKind::end, "");
    return true;
  }

 private:
  void put(MathsTokenKind kind, std::string text) {
    tokens_.push_back({kind, std::move(text), space_});
    space_ = false;
  }

  size_t behind_digits(size_t from) const {
    while (from < text_.size() && is_digit(text_[from])) ++from;
    return from;
  }
  // Whether exactly three digits stand behind a mark here.
  bool group_at(size_t at, char mark) const {
    return at < text_.size() && text_[at] == mark && behind_digits(at + 1) == at + 4;
  }

  void number() {
    size_t end = behind_digits(at_);
    std::string digits(text_.substr(at_, end - at_));
    const char mark = end < text_.size() ? text_[end] : 0;
    // A list in brackets has commas of its own.
    const bool marks = !digits.empty() && digits.size() <= 3 && digits[0] != '0' &&
                       ((mark == ',' && brackets_ == 0) || mark == ' ') && groups_of_three(end, mark);
    while (marks && group_at(end, mark)) digits += text_.substr(end + 1, 3), end += 4;
    if (end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
      const size_t behind = behind_digits(end + 1);
      digits += text_.substr(end, behind - end), end = behind;
    } else if (end < text_.size() && text_[end] == '.') {
      ++end;  // "7."
    }
    if (end + 1 < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      const size_t sign = end + 1 + (text_[end + 1] == '-' || text_[end + 1] == '+');
      const size_t behind = behind_digits(sign);
      if (behind > sign) digits += text_.substr(end, behind - end), end = behind;
    }
    put(MathsTokenKind::number, std::move(digits));
    at_ = end;
  }
  // All groups behind are of three digits, and nothing but a number's end follows.
  bool groups_of_three(size_t at, char mark) const {
    if (!group_at(at, mark)) return false;
    while (group_at(at, mark)) at += 4;
    return at >= text_.size() || text_[at] != mark || at + 1 >= text_.size() || !is_digit(text_[at + 1]);
  }

  void letters() {
    size_t end = at_;
    while (end < text_.size() && is_alpha(text_[end])) ++end;
    const std::string run(text_.substr(at_, end - at_));
    if (run.size() == 1) {
      put(MathsTokenKind::letter, run);
    } else if (is_function_name(run) || run == "pi") {
      put(MathsTokenKind::command, run);
    } else if (run == "or" || run == "and") {
      put(MathsTokenKind::sign, ",");
    } else if (is_words(run)) {
      words(end);
      return;
    } else {
      for (const char c : run) put(MathsTokenKind::letter, std::string(1, c));
    }
    at_ = end;
  }
  // Not a product of variables: three letters or more none of which is x, y or z, or a unit.
  bool is_words(const std::string& run) const {
    return is_unit(run) || run.size() > 4 || (run.size() >= 3 && run.find_first_of("xyz") == std::string::npos) ||
           run == "no";
  }
  void words(size_t end) {
    while (end < text_.size() && (is_alpha(text_[end]) || text_[end] == ' ' || text_[end] == '\'')) ++end;
    std::string text(text_.substr(at_, end - at_));
    // "dollars or" and what follows is a list
    if (const size_t at = std::min(text.find(" or "), text.find(" and ")); at != std::string::npos)
      end = at_ + at, text.resize(at);
    while (!text.empty() && text.back() == ' ') text.pop_back();
    put(MathsTokenKind::words, std::move(text));
    at_ = end;
  }

  // Words of other scripts, whole, up to a sign of ASCII.
  bool foreign_word() {
    size_t end = at_;
    while (end < text_.size() && static_cast<unsigned char>(text_[end]) >= 0x80) {
      // Marks that show nothing or turn the direction of writing are no words: U+200B..200F, 202A..202E, 2060..206F
      const std::string_view rest = text_.substr(end);
      if (rest.starts_with("\xe2\x80\x8b") || rest.starts_with("\xe2\x80\x8c") || rest.starts_with("\xe2\x80\x8d") ||
          rest.starts_with("\xe2\x80\x8e") || rest.starts_with("\xe2\x80\x8f") || rest.starts_with("\xe2\x80\xaa") ||
          rest.starts_with("\xe2\x80\xab") || rest.starts_with("\xe2\x80\xac") || rest.starts_with("\xe2\x80\xad") ||
          rest.starts_with("\xe2\x80\xae") || rest.starts_with("\xe2\x81") || rest.starts_with("\xef\xbb\xbf"))
        return false;
      ++end;
    }
    if (end == at_) return false;
    put(MathsTokenKind::words, std::string(text_.substr(at_, end - at_)));
    at_ = end;
    return true;
  }

  bool command() {
    if (at_ + 1 >= text_.size()) return false;
    size_t end = at_ + 1;
    while (end < text_.size() && is_alpha(text_[end])) ++end;
    if (end == at_ + 1) {  // \{ \} \\ and the like
      const char c = text_[end];
      if (c != '{' && c != '}' && c != '\\') return false;
      brackets_ += c == '{' ? 1 : c == '}' ? -1 : 0;
      put(MathsTokenKind::sign, std::string("\\") + c);
      at_ = end + 1;
      return true;
    }
    const std::string name(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end;
    if (name != "text") return put(MathsTokenKind::command, name), true;
    return text_braces();
  }

  // The words of \text{...}; "or" and "and" part a list.
  bool text_braces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    if (at_ >= text_.size() || text_[at_] != '{') return false;
    const size_t close = text_.find('}', at_);
    if (close == std::string_view::npos) return false;
    std::string_view inside = text_.substr(at_ + 1, close - at_ - 1);
    if (inside.find('{') != std::string_view::npos) return false;
    while (inside.starts_with(' ')) inside.remove_prefix(1);
    while (inside.ends_with(' ')) inside.remove_suffix(1);
    at_ = close + 1;
    if (inside == "or" || inside == "and") return put(MathsTokenKind::sign, ","), true;
    if (inside.empty()) return space_ = true, true;
    const bool number = std::all_of(inside.begin(), inside.end(), [](char c) { return is_digit(c) || c == '.'; });
    put(number ? MathsTokenKind::number : MathsTokenKind::words, std::string(inside));
    return true;
  }

  std::string_view text_;
  std::vector<MathsToken>& tokens_;
  size_t at_ = 0;
  int brackets_ = 0;
  bool space_ = false;
};

}  // namespace

bool is_function_name(std::string_view name) {
  return std::find(std::begin(kFunctions), std::end(kFunctions), name) != std::end(kFunctions);
}
bool is_unit(std::string_view word) {
  return std::find(std::begin(kUnits), std::end(kUnits), word) != std::end(kUnits);
}

bool cut_maths(std::string_view text, std::vector<MathsToken>& tokens) { return Cutter(text, tokens).cut(); }

}  // namespace hadal::grading
