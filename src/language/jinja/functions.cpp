// The functions that templates may call: range, namespace, dict, joiner, cycler, raise_exception, strftime_now.
#include <algorithm>
#include <ctime>

#include "jinja/characters.h"
#include "jinja/interpreter.h"

namespace hadal::jinja {
namespace {

constexpr int64_t kLongestRange = 100'000;  // as in Jinja's sandbox

Value make_range(Interpreter& in, Arguments& arguments) {
  in.finish(arguments, 3);
  if (arguments.values.empty()) in.error("'range' wants a number");
  std::vector<int64_t> numbers;
  for (const Value& value : arguments.values) numbers.push_back(in.small_integer(value, "an argument of range"));
  const int64_t begin = numbers.size() > 1 ? numbers[0] : 0;
  const int64_t end = numbers.size() > 1 ? numbers[1] : numbers[0];
  const int64_t by = numbers.size() > 2 ? numbers[2] : 1;
  if (by == 0) in.error("the step of a range is 0");
  const int64_t n =
      by > 0 ? (end > begin ? (end - begin + by - 1) / by : 0) : (end < begin ? (begin - end - by - 1) / -by : 0);
  if (n > kLongestRange) in.error(fmt::format("a range of {} numbers: at most {} are allowed", n, kLongestRange));
  std::vector<Value> items;
  for (int64_t i = 0; i < n; ++i) items.emplace_back(begin + i * by);
  in.step(n);
  return in.list(std::move(items), ListKind::range);
}

// What dict() and namespace() are given: a mapping or pairs, then names.
std::vector<std::pair<Value, Value>> entries(Interpreter& in, Arguments& arguments) {
  arguments.taken = arguments.named.size();
  in.finish(arguments, 1);
  std::vector<std::pair<Value, Value>> out;
  if (!arguments.values.empty()) {
    const Value& from = arguments.values[0];
    if (from.is_undefined()) in.use_of_undefined(from);
    if (from.dict() != nullptr) {
      in.charge(from.dict()->items.size() * 2 * sizeof(Value));
      out = from.dict()->items;
    } else {
      for (const Value& pair : in.iterate(from)) {
        std::vector<Value> two = in.iterate(pair);
        if (two.size() != 2) in.error("a dict is made of pairs");
        out.emplace_back(std::move(two[0]), std::move(two[1]));
      }
    }
  }
  for (const auto& [name, value] : arguments.named) out.emplace_back(author_text(name), value);
  return out;
}

Value make_namespace(Interpreter& in, Arguments& arguments) {
  const Value dict = in.dict(entries(in, arguments));
  Value space = in.space();
  for (const auto& [key, value] : dict.dict()->items) {
    const std::string& name = text_argument(in, key, "the name of an attribute").bytes();
    if (name.starts_with('_')) in.error(fmt::format("the attribute '{}' of a namespace begins with '_'", name));
    space.space()->items.emplace_back(name, value);
  }
  return space;
}

// joiner(sep): nothing when it is called first, then sep. cycler(a, b): .next() and .current give them in turn.
Value make_turns(Interpreter& in, const std::string& name, Arguments& arguments) {
  auto turns = std::make_shared<Turns>();
  turns->is_cycler = name == "cycler";
  if (turns->is_cycler) {
    in.finish(arguments, 1 << 20);
    if (arguments.values.empty()) in.error("'cycler' wants values");
    turns->items = arguments.values;
  } else {
    const Value* separator = arguments.find(0, "sep");
    in.finish(arguments, 1);
    turns->items = {author_text(""), separator != nullptr ? *separator : author_text(", ")};
  }
  return in.turns(std::move(turns));
}

// One directive of strftime: '%', flags, a width, its letter.
std::string directive_text(Interpreter& in, const std::tm& time, const std::string& directive) {
  const char kind = directive.back();
  if (kind == 'f') return "000000";           // the clock has whole seconds
  if (kind == 'z' || kind == 'Z') return "";  // as for Python's times without a zone
  if (directive.size() > 6) in.error("a width in the format of strftime_now is above 99");
  char buffer[512];
  return std::string(buffer, std::strftime(buffer, sizeof buffer, directive.c_str(), &time));
}

}  // namespace

std::string strftime_text(Interpreter& in, int64_t clock, const std::string& format) {
  const std::time_t seconds = clock;
  std::tm time{};
  ::gmtime_r(&seconds, &time);
  time.tm_isdst = -1;
  std::string out;
  for (size_t at = 0; at < format.size();) {
    const size_t percent = std::min(format.find('%', at), format.size());
    out += format.substr(at, percent - at);
    if (percent == format.size()) break;
    const size_t end = format.find_first_not_of("_-0^#123456789EO", percent + 1);
    if (end == std::string::npos) return out + format.substr(percent);
    if (uint8_t(format[end]) < 0x80) {
      out += directive_text(in, time, format.substr(percent, end + 1 - percent));
      at = end + 1;
    } else {  // no directive
      out += format.substr(percent, end - percent);
      at = end;
    }
  }
  return out;
}

bool is_known_function(const std::string& name) {
  return name == "range" || name == "namespace" || name == "dict" || name == "raise_exception" ||
         name == "strftime_now" || name == "joiner" || name == "cycler" || name == "lipsum";
}

Value call_function(Interpreter& in, const std::string& name, Arguments& arguments) {
  if (name == "range") return make_range(in, arguments);
  if (name == "namespace") return make_namespace(in, arguments);
  if (name == "dict") return in.dict(entries(in, arguments));
  if (name == "joiner" || name == "cycler") return make_turns(in, name, arguments);
  if (name == "lipsum") in.unsupported("the function 'lipsum'");
  if (name == "raise_exception") {
    const Value* message = arguments.find(0, "message");
    in.finish(arguments, 1);
    in.error("the template raised an exception: " +
             (message != nullptr ? in.to_text(*message).bytes().substr(0, 1000) : std::string("(no message)")));
  }
  const Value* format = arguments.find(0, "format");
  in.finish(arguments, 1);
  if (format == nullptr) in.error("strftime_now wants a format");
  const MarkedText& pattern = text_argument(in, *format, "the format of strftime_now");
  if (pattern.size() > 1000) in.error("the format of strftime_now is longer than 1000 bytes");
  return in.text(MarkedText(strftime_text(in, in.clock, pattern.bytes()), true));
}

}  // namespace hadal::jinja
