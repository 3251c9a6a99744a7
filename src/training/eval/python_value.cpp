#include "eval/python_value.h"

#include "base/json.h"
#include "base/utf8.h"
#include "jinja/chat_template.h"

namespace hadal::eval {

using Json = nlohmann::ordered_json;

std::string python_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  static const ChatTemplate printed = ChatTemplate::parse_text("{{ value }}");
  return chat_text(printed.render_variables(json_text(Json{{"value", value}}, {.lossy = true})));
}

int64_t python_length(std::string_view text) {
  int64_t n = 0;
  for (const char c : text) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

namespace {

class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text) {}

  std::optional<Json> whole() {
    std::optional<Json> value = read(0);
    skip();
    return at_ == text_.size() ? value : std::nullopt;
  }

 private:
  void skip() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool take(char c) {
    skip();
    return at_ < text_.size() && text_[at_] == c && (++at_, true);
  }

  std::optional<Json> read(int depth) {
    skip();
    if (depth > 16 || at_ >= text_.size()) return std::nullopt;
    const char c = text_[at_];
    if (c == '[' || c == '(') return list(c == '[' ? ']' : ')', depth);
    if (c == '\'' || c == '"') return string();
    for (const auto& [word, value] :
         {std::pair<std::string_view, Json>{"True", true}, {"False", false}, {"None", nullptr}}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return value;
    }
    return number();
  }

  std::optional<Json> list(char close, int depth) {
    ++at_;
    Json items = Json::array();
    bool comma = true;
    while (!take(close)) {
      if (!comma) return std::nullopt;
      auto item = read(depth + 1);
      if (!item) return std::nullopt;
      items.push_back(std::move(*item));
      comma = take(',');
    }
    // (x) is x; (x,) is a tuple
    return close == ')' && items.size() == 1 && !comma ? items[0] : items;
  }

  std::optional<Json> number() {
    const size_t end = std::min(text_.find_first_not_of("+-0123456789.eE_", at_), text_.size());
    std::string digits;
    for (const char c : text_.substr(at_, end - at_))
      if (c != '_') digits += c;
    at_ = end;
    if (digits.starts_with('+')) digits.erase(0, 1);
    if (digits.starts_with('.')) digits.insert(0, "0");
    if (digits.ends_with('.')) digits += "0";
    try {
      const Json value = parse_json<Json>(digits, "a number");
      return value.is_number() ? std::optional(value) : std::nullopt;
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  std::optional<Json> string() {
    const char quote = text_[at_++];
    std::string out;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\n') return std::nullopt;
      if (text_[at_] != '\\') {
        out += text_[at_++];
      } else if (!escape(out)) {
        return std::nullopt;
      }
    }
    if (at_ >= text_.size()) return std::nullopt;
    ++at_;
    return Json(out);
  }

  bool escape(std::string& out) {
    static constexpr std::string_view kFrom = "\\'\"abfnrtv", kTo = "\\'\"\a\b\f\n\r\t\v";
    if (++at_ >= text_.size()) return false;
    const char c = text_[at_++];
    if (const size_t simple = kFrom.find(c); simple != std::string_view::npos) return out += kTo[simple], true;
    const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (n == 0) return out += '\\', out += c, true;
    const std::string_view digits = text_.substr(at_, n);
    if (digits.size() < n || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) return false;
    const auto code = uint32_t(std::stoul(std::string(digits), nullptr, 16));
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
    append_utf8(out, code);
    at_ += n;
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::optional<Json> python_literal(std::string_view text) { return Literal(text).whole(); }

}  // namespace hadal::eval
