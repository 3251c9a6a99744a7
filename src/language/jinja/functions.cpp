// The functions that templates may call: range, namespace, dict, raise_exception, strftime_now.
#include <algorithm>
#include <chrono>

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

}  // namespace

std::string strftime_text(Interpreter& in, int64_t clock, const std::string& format) {
  using namespace std::chrono;
  static constexpr const char* kDays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
  static constexpr const char* kMonths[] = {"January", "February", "March",     "April",   "May",      "June",
                                            "July",    "August",   "September", "October", "November", "December"};
  const sys_seconds time{seconds(clock)};
  const sys_days day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock_face(time - day);
  const unsigned weekday_number = weekday(day).c_encoding(), month = unsigned(date.month());
  const int hour = int(clock_face.hours().count()), minute = int(clock_face.minutes().count()),
            second = int(clock_face.seconds().count());
  const int year_number = int(date.year());
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    const bool bare = format[i + 1] == '-' && i + 2 < format.size();  // %-d: without leading zero
    const char kind = format[i += bare ? 2 : 1];
    auto two = [&](int number) { return bare ? fmt::format("{}", number) : fmt::format("{:02}", number); };
    switch (kind) {
      case 'A': out += kDays[weekday_number]; break;
      case 'a': out += std::string_view(kDays[weekday_number]).substr(0, 3); break;
      case 'B': out += kMonths[month - 1]; break;
      case 'b': out += std::string_view(kMonths[month - 1]).substr(0, 3); break;
      case 'd': out += two(int(unsigned(date.day()))); break;
      case 'm': out += two(int(month)); break;
      case 'Y': out += fmt::format("{}", year_number); break;
      case 'y': out += two(year_number % 100); break;
      case 'H': out += two(hour); break;
      case 'I': out += two(hour % 12 == 0 ? 12 : hour % 12); break;
      case 'M': out += two(minute); break;
      case 'S': out += two(second); break;
      case 'p': out += hour < 12 ? "AM" : "PM"; break;
      case 'F': out += fmt::format("{}-{:02}-{:02}", year_number, month, unsigned(date.day())); break;
      case 'T': out += fmt::format("{:02}:{:02}:{:02}", hour, minute, second); break;
      case 'j': out += fmt::format("{:03}", (day - sys_days(date.year() / January / 1)).count() + 1); break;
      case '%': out += '%'; break;
      default: in.unsupported(fmt::format("the format '%{}' of strftime_now", kind));
    }
  }
  return out;
}

bool is_known_function(const std::string& name) {
  return name == "range" || name == "namespace" || name == "dict" || name == "raise_exception" ||
         name == "strftime_now";
}

Value call_function(Interpreter& in, const std::string& name, Arguments& arguments) {
  if (name == "range") return make_range(in, arguments);
  if (name == "namespace") return make_namespace(in, arguments);
  if (name == "dict") return in.dict(entries(in, arguments));
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
