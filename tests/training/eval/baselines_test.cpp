// Baselines on texts whose answers are known.
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/expect_error.h"
#include "base/random.h"
#include "eval/baselines.h"

namespace hadal {
namespace {

std::string random_bytes(size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text += char(random_below(3, 3, i, 256));
  return text;
}

TEST(Baselines, RandomBytesCannotBeCompressed) {
  const auto noise = random_bytes(50000);
  EXPECT_NEAR(gzip_bits_per_byte(noise), 8, 0.05);
  EXPECT_NEAR(xz_bits_per_byte(noise), 8, 0.05);
  EXPECT_GT(ngram_bits_per_byte(random_bytes(1000), noise, 5), 7.9);
}

TEST(Baselines, WhatWasSeenBeforeIsNearlyFree) {
  const auto noise = random_bytes(20000);
  EXPECT_LT(xz_primed_bits_per_byte(noise, noise), 0.2);
  EXPECT_LT(xz_bits_per_byte(std::string(100000, 'a')), 0.1);
}

TEST(Baselines, NgramFollowsWittenBell) {
  // Order 1 after "aab": p(a) = (2 + 2/256) / (3 + 2), p(c) = (0 + 2/256) / 5.
  EXPECT_NEAR(ngram_bits_per_byte("aab", "a", 1), -std::log2((2 + 2.0 / 256) / 5), 1e-12);
  EXPECT_NEAR(ngram_bits_per_byte("aab", "c", 1), -std::log2((2.0 / 256) / 5), 1e-12);
  // Order 2, second byte: context "a" was followed by a and b once each.
  const double first = (2 + 2.0 / 256) / 5, b = (1 + 2.0 / 256) / 5, second = (1 + 2 * b) / (2 + 2);
  EXPECT_NEAR(ngram_bits_per_byte("aab", "ab", 2), (-std::log2(first) - std::log2(second)) / 2, 1e-12);
  EXPECT_ERROR(ngram_bits_per_byte("a", "", 2), ErrorKind::invalid, "no text to measure");
  EXPECT_ERROR(ngram_bits_per_byte("a", "a", 0), ErrorKind::invalid, "n-gram order 0 must lie in 1 .. 7");
}

}  // namespace
}  // namespace hadal
