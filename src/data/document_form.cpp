#include "data/document_form.h"

#include <algorithm>

#include "base/json_members.h"

namespace hadal::data {
namespace {

constexpr size_t kEnough = 1 << 20;  // of a file that is not named like JSON, or of a line
constexpr std::string_view kSpace = " \t\r\n";

class Guess {
 public:
  Guess(std::string_view start, bool whole, std::string_view extension, std::string_view field, bool any_value)
      : start_(start), whole_(whole), any_value_(any_value), field_(field) {
    lines_ = extension == ".jsonl" || extension == ".ndjson";
    json_ = extension == ".json";
  }

  FormGuess form() const {
    const size_t begin = start_.find_first_not_of(kSpace);
    if (begin == std::string_view::npos) return undecided();
    if (start_[begin] == '[') return list(begin);
    if (start_[begin] != '{') return json_ ? text("it begins with no object and no list") : otherwise();
    const size_t end = start_.find('\n', begin);
    if (end == std::string_view::npos && !whole_) return undecided();
    const std::string_view line = trimmed(start_.substr(begin, end == std::string_view::npos ? end : end - begin));
    std::string_view object;
    JsonMember wanted{field_};
    const JsonFault fault = read_json_members(line, object, {&wanted, 1});
    if (!fault) return first_line(object, wanted, end);
    const bool goes_on = fault.cut_off && fault.at >= line.size();  // between two tokens: no string holds a line end
    if (!goes_on) return no_json(fault);
    if (lines_ && line != "{" && is_object(next_line(end))) return {Form::lines};  // the first one was cut off
    return objects(begin);
  }

 private:
  FormGuess text(std::string why) const { return {Form::text, false, std::move(why)}; }
  FormGuess otherwise() const { return {lines_ ? Form::lines : Form::text}; }
  FormGuess no_json(const JsonFault& fault) const {
    return lines_ ? FormGuess{Form::lines} : json_ ? text("it is no JSON (" + fault.text() + ")") : FormGuess{};
  }
  FormGuess undecided() const {
    if (whole_ || (!json_ && start_.size() >= kEnough)) return otherwise();
    return {Form::text, true, ""};
  }
  static std::string_view trimmed(std::string_view line) {
    const size_t last = line.find_last_not_of(kSpace);
    return line.substr(0, last == std::string_view::npos ? 0 : last + 1);
  }
  std::string_view next_line(size_t end) const {  // that is not empty, behind the line end at `end`
    const size_t begin = end == std::string_view::npos ? end : start_.find_first_not_of(kSpace, end);
    if (begin == std::string_view::npos) return {};
    const size_t next = start_.find('\n', begin);
    return start_.substr(begin, next == std::string_view::npos ? next : next - begin);
  }
  static bool is_object(std::string_view line) {
    std::string_view value;
    return !read_json_members(line, value) && value.front() == '{';
  }

  FormGuess first_line(std::string_view object, const JsonMember& wanted, size_t end) const {
    if (lines_) return {Form::lines};
    if (!is_wanted(wanted)) return lacks_field(object);
    const std::string_view second = next_line(end);
    const bool cut = !whole_ && end != std::string_view::npos && start_.find('\n', end + 1) == std::string_view::npos;
    if (cut && start_.size() < kEnough) return undecided();
    if (cut || second.empty() || is_object(second)) return {Form::lines};
    return text("its second line is no JSON object");
  }

  FormGuess lacks_field(std::string_view object) const {
    return text("its objects have no " + std::string(any_value_ ? "'" : "string '") + std::string(field_) +
                "' (fields: " + json_member_names(object) + ")");
  }
  bool is_wanted(const JsonMember& member) const { return any_value_ ? !member.text.empty() : member.is_string(); }

  FormGuess list(size_t begin) const {
    const size_t element = start_.find_first_not_of(kSpace, begin + 1);
    if (element == std::string_view::npos) return undecided();
    if (start_[element] == ']' && (lines_ || json_)) return {Form::values};
    if (start_[element] == '{') return objects(element);
    return json_ ? text("it is a list, but not of objects") : otherwise();
  }

  FormGuess objects(size_t begin) const {  // one over several lines, or in a list
    std::string_view value, object;
    size_t at = begin;
    const JsonFault fault = next_json_value(start_, at, value);
    if (fault && fault.cut_off && !whole_) return undecided();
    if (lines_) return {Form::values};
    if (fault) return no_json(fault);
    JsonMember wanted{field_};
    read_json_members(value, object, {&wanted, 1});
    return is_wanted(wanted) ? FormGuess{Form::values} : lacks_field(object);
  }

  std::string_view start_;
  bool whole_, any_value_, lines_ = false, json_ = false;
  std::string_view field_;
};

}  // namespace

FormGuess guess_form(std::string_view start, bool whole, std::string_view extension, std::string_view field,
                     bool any_value) {
  return Guess(start, whole, extension, field, any_value).form();
}

}  // namespace hadal::data
