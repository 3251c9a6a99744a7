// SHA-256 against the vectors of FIPS 180-4, in one piece and in any pieces; the 64-bit hash tells near texts apart.
#include "base/hash.h"

#include <gtest/gtest.h>

#include <set>

namespace hadal {
namespace {

TEST(Sha256, GivesThePublishedVectors) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DoesNotDependOnThePieces) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += char(i * 7);
  for (size_t length : {0u, 1u, 55u, 56u, 63u, 64u, 65u, 119u, 120u, 128u, 1000u}) {
    const std::string part = text.substr(0, length);
    for (size_t piece : {1u, 3u, 64u, 100u}) {
      Sha256 hash;
      for (size_t at = 0; at < length; at += piece) hash.update(std::string_view(part).substr(at, piece));
      EXPECT_EQ(hash.hex(), sha256_hex(part)) << length << " in pieces of " << piece;
    }
  }
}

// As xxhsum 0.8.1 prints them.
TEST(Xxh3, GivesThePublishedTool) {
  EXPECT_EQ(xxh3_128_hex(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(xxh3_128_hex("abc"), "06b05ab6733a618578af5f94892f3950");
  EXPECT_EQ(xxh3_128_hex(std::string(1000000, 'a')), "a545df8e384a9579b1fd6fae5285c4eb");
}

TEST(Hash64, TellsNearTextsApartAndStaysStable) {
  std::set<uint64_t> seen;
  size_t n = 0;
  for (size_t length = 0; length < 70; ++length) {
    seen.insert(hash64(std::string(length, '\0')));
    ++n;
    for (size_t at = 0; at < length; ++at) {
      std::string text(length, '\0');
      text[at] = 1;
      seen.insert(hash64(text));
      ++n;
    }
  }
  EXPECT_EQ(seen.size(), n);
  EXPECT_NE(hash64("x", 1), hash64("x", 2));
  // Shards and splits on disk depend on these values.
  EXPECT_EQ(hash64(""), 0xcc69c003732f06b5ull);
  EXPECT_EQ(hash64("The quick brown fox jumps over the lazy dog"), 0xfbec8bb2b7467418ull);
}

}  // namespace
}  // namespace hadal
