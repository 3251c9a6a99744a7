// Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): a number is a function of (seed, stream, index),
// so nothing about order, threads or restarts changes it. Streams keep uses apart; make one with
// stream_id("data.shuffle", n).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace hadal {

std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t index);
uint64_t stream_id(std::string_view name, uint64_t a = 0, uint64_t b = 0);  // stable hash of the use and two numbers

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index);
double random_uniform(uint64_t seed, uint64_t stream, uint64_t index);              // [0, 1)
double random_normal(uint64_t seed, uint64_t stream, uint64_t index);               // mean 0, variance 1 (Box-Muller)
uint64_t random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n);  // unbiased in [0, n), n > 0

// A cursor over one stream, for code that draws in sequence. State is the index alone.
struct RandomStream {
  uint64_t seed = 0, stream = 0, index = 0;
  uint64_t bits() { return random_bits(seed, stream, index++); }
  double uniform() { return random_uniform(seed, stream, index++); }
  double normal() { return random_normal(seed, stream, index++); }
  uint64_t below(uint64_t n) { return random_below(seed, stream, index++, n); }
};

// Fisher-Yates over any random-access container, from (seed, stream).
template <class Container>
void random_shuffle(Container& items, uint64_t seed, uint64_t stream) {
  for (uint64_t i = items.size(); i > 1; --i) {
    uint64_t j = random_below(seed, stream, i, i);
    using std::swap;
    swap(items[i - 1], items[j]);
  }
}

}  // namespace hadal
