// Words as they are compared.
#include "data/normal_words.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "data/words.h"

namespace hadal::data {
namespace {

std::vector<std::string> spelt(const std::string& text, bool fold_numbers = true) {
  const auto characters = characters_of(text);
  std::vector<std::string> words;
  for (const NormalWord& word : normal_words(characters, fold_numbers))
    words.push_back(normal_spelling(characters, word, fold_numbers));
  return words;
}

using Words = std::vector<std::string>;

TEST(NormalWords, CasePunctuationSpacesAndDiacriticsMakeNoDifference) {
  EXPECT_EQ(spelt("Don't  STOP,\n\"naïve\" Ünion--Straße!"), (Words{"don", "t", "stop", "naive", "union", "straße"}));
  EXPECT_EQ(spelt("cafe\u0301 ΆΛΦΑ Ёлка Đ ﷐ \xff x"), (Words{"cafe", "αλφα", "елка", "đ", "x"}));
  EXPECT_EQ(spelt("…—!? \u0301"), Words{}) << "a mark alone is no word";
  EXPECT_EQ(spelt("東京へ行く"), (Words{"東", "京", "へ", "行", "く"})) << "without spaces every sign is a word";
}

TEST(NormalWords, NumbersAreOneWordWhereTheyAreFolded) {
  EXPECT_EQ(spelt("7 apples, 1250 or 1,250 or 3.5 or ٣٫٤ and x12y"),
            (Words{"0", "apples", "0", "or", "0", "or", "0", "or", "0", "and", "x0y"}));
  EXPECT_EQ(spelt("7 and 3.5", false), (Words{"7", "and", "3", "5"}));
  EXPECT_EQ(spelt("1.2.3"), (Words{"0", "0"})) << "one point belongs to a number";
}

TEST(NormalWords, HashesAreEqualForEqualWordsAlone) {
  const auto a = normal_words(characters_of("Apple apple äpple apples 1 2"), true);
  EXPECT_EQ(a[0].hash, a[1].hash);
  EXPECT_EQ(a[0].hash, a[2].hash);
  EXPECT_NE(a[0].hash, a[3].hash);
  EXPECT_EQ(a[4].hash, a[5].hash);
  const auto b = normal_words(characters_of("1 2"), false);
  EXPECT_NE(b[0].hash, b[1].hash);
}

TEST(NormalWords, GroupsAreKnownByTheirWordsInOrderWhateverStandsAround) {
  const auto words = normal_words(characters_of("a b c d e f g a b c d e"), true);
  const auto groups = word_groups(words, 5);
  ASSERT_EQ(groups.size(), 8u);
  EXPECT_EQ(groups[0], groups[7]);
  for (size_t i = 0; i < 7; ++i)
    for (size_t k = i + 1; k < 7; ++k) EXPECT_NE(groups[i], groups[k]);
  EXPECT_NE(word_groups(words, 4)[0], groups[0]);
  const auto few = word_groups(normal_words(characters_of("a b c"), true), 5);
  EXPECT_EQ(few, word_groups(normal_words(characters_of("A, b: C!"), true), 5)) << "fewer words: all of them are one";
  EXPECT_NE(few, word_groups(normal_words(characters_of("a b"), true), 5));
  EXPECT_TRUE(word_groups({}, 5).empty());
}

}  // namespace
}  // namespace hadal::data
