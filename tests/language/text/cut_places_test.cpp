#include "text/cut_places.h"

#include <gtest/gtest.h>

#include "text/pre_tokenizer.h"
#include "text/text_testing.h"

namespace hadal {
namespace {

const std::string kLlama3 =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

TEST(CutPlaces, NoWordCrossesThem) {
  const std::vector<std::vector<std::string>> kinds = {PreTokenizer::default_splits(),
                                                       {kLlama3},
                                                       {PreTokenizer::gpt2_split()},
                                                       {"[\r\n]", "\\s?[A-Za-z]+", "\\s?[!-/:-~]+", "\\s+$", "\\p{N}"}};
  int64_t cuts = 0;
  for (const auto& splits : kinds) {
    const CutPlaces places = cut_places_of(splits);
    ASSERT_NE(places, CutPlaces::none);
    const PreTokenizer pre_tokenizer(splits);
    for (uint64_t seed = 0; seed < 400; ++seed) {
      const std::string text = testing::random_text(seed, 400);
      std::vector<std::string> parts;
      for (std::string_view left = text; !left.empty();) {
        const size_t size = part_before_cut(left, 5, places);
        for (std::string& word : pre_tokenizer.words(left.substr(0, size))) parts.push_back(std::move(word));
        left.remove_prefix(size);
        cuts += !left.empty();
      }
      ASSERT_EQ(parts, pre_tokenizer.words(text)) << splits[0] << " " << seed;
    }
  }
  EXPECT_GT(cuts, 5000);
}

TEST(CutPlaces, AreNoneForExpressionsThatAreNotKnown) {
  EXPECT_EQ(cut_places_of({"a"}), CutPlaces::none);
  EXPECT_EQ(cut_places_of({}), CutPlaces::none);
  EXPECT_EQ(part_before_cut("a\nb\nc", 1, CutPlaces::none), 5u);
}

}  // namespace
}  // namespace hadal
