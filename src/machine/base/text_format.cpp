// See text_format.h. fmt ignores the locale unless asked, which is what we want.
#include "base/text_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"

namespace hadal {
namespace {
int decimals(double value) { return std::abs(value) < 9.995 ? 2 : std::abs(value) < 99.95 ? 1 : 0; }  // three digits
}  // namespace

std::string format_count(int64_t count) {
  std::string digits = fmt::format("{}", count);
  const int first = count < 0 ? 1 : 0;
  for (int i = int(digits.size()) - 3; i > first; i -= 3) digits.insert(size_t(i), 1, ',');
  return digits;
}

std::string format_bytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  int unit = 0;
  while (std::abs(bytes) >= 1024 && unit < 5) bytes /= 1024, ++unit;
  if (unit == 0) return fmt::format("{:.0f} B", bytes);
  return fmt::format("{:.{}f} {}", bytes, decimals(bytes), units[unit]);
}

std::string format_si(double value) {
  const char* units[] = {"", " k", " M", " G", " T", " P", " E"};
  int unit = 0;
  while (std::abs(value) >= 1000 && unit < 6) value /= 1000, ++unit;
  if (unit == 0 && value == std::floor(value)) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}f}{}", value, decimals(value), units[unit]);
}

std::string format_percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

int edit_distance(const std::string& a, const std::string& b) {
  std::vector<int> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = int(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = int(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

int64_t parse_bytes(const std::string& what, const std::string& text) {
  constexpr std::pair<const char*, int> kUnits[] = {{"", 0},     {"B", 0},    {"KiB", 10},
                                                    {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
  double number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  std::string unit(end, last);
  while (!unit.empty() && unit.front() == ' ') unit.erase(unit.begin());
  for (const auto& [name, shift] : kUnits) {
    const double bytes = number * double(int64_t(1) << shift);
    if (error == std::errc() && unit == name && bytes >= 1 && bytes < 9e18) return int64_t(bytes);
  }
  fail(ErrorKind::invalid, "{} is \"{}\"; a number of bytes is written like 40GiB, 512MiB or 1000000", what, text);
}

}  // namespace hadal
