// Numbers for people: always with a dot, whatever the locale.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace hadal {

std::string format_count(int64_t count);  // 671026419200 -> "671,026,419,200"
std::string format_bytes(double bytes);   // 1536 -> "1.50 KiB"
// The other way: "40GiB", "512 MiB", "1000000". Throws invalid, naming what it is for.
int64_t parse_bytes(const std::string& what, const std::string& text);
std::string format_si(double value);       // 1234567 -> "1.23 M"
std::string format_percent(double share);  // 0.1234 -> "12.3 %"

int edit_distance(const std::string& a, const std::string& b);

// The candidate nearest to `word` by edit distance, or "" when none is nearer than `limit` (for "did you mean").
template <class Container>
std::string nearest_name(const std::string& word, const Container& candidates, int limit) {
  std::string best;
  int best_distance = limit;
  for (const auto& candidate : candidates) {
    const int distance = edit_distance(word, std::string(candidate));
    if (distance < best_distance) best_distance = distance, best = std::string(candidate);
  }
  return best;
}
template <class Container>
std::string nearest_name(const std::string& word, const Container& candidates) {
  return nearest_name(word, candidates, int(word.size()) / 2 + 1);
}

}  // namespace hadal
