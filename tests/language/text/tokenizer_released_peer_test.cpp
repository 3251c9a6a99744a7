// The released tokenizers (V3's and V4's files) and small ones of the styles of GPT-2, Llama 3 and Kimi-K2, against
// Hugging Face `tokenizers`; directories as Kimi-K2 and Moonlight are downloaded against tiktoken. All texts of the
// released ones: `make proof`.
#include <gtest/gtest.h>

#include "text/released_texts.h"

namespace hadal {
namespace {

using testing::released_tokenizer;
using testing::same_ids_as_hugging_face;
using testing::same_ids_as_tiktoken;

TEST(ReleasedTokenizer, OfV3GivesHuggingFacesIds) {
  same_ids_as_hugging_face("released", released_tokenizer("0.2.0"), 5'000'000, 4);
}
TEST(ReleasedTokenizer, OfV4GivesHuggingFacesIds) {
  same_ids_as_hugging_face("released", released_tokenizer("0.3.0"), 5'000'000, 4);
}
TEST(ReleasedTokenizer, OfTheStyleOfGpt2GivesHuggingFacesIds) { same_ids_as_hugging_face("gpt2", "", 3'000'000); }
TEST(ReleasedTokenizer, WithKimisExpressionInItsFileGivesHuggingFacesIds) {
  same_ids_as_hugging_face("kimi", "", 3'000'000, 3);
}
TEST(ReleasedTokenizer, AsKimisDirectoryGivesTiktokensIds) { same_ids_as_tiktoken("ranks", 2'000'000, 2); }
TEST(ReleasedTokenizer, OfRanksThatNoTrainingMakesGivesTiktokensIds) { same_ids_as_tiktoken("odd", 1'000'000, 4); }
TEST(ReleasedTokenizer, OfTheStyleOfLlama3GivesHuggingFacesIds) { same_ids_as_hugging_face("llama3", "", 3'000'000); }

}  // namespace
}  // namespace hadal
