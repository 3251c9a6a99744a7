// The released tokenizers (V3's and V4's files) against Hugging Face `tokenizers`: the same ids for more than 20 MB of
// varied text each, which takes Hugging Face minutes.
#include <gtest/gtest.h>

#include "text/released_texts.h"

namespace hadal {
namespace {

using testing::released_tokenizer;
using testing::same_ids_as_hugging_face;

TEST(WholeReleasedTokenizer, OfV3GivesHuggingFacesIds) {
  same_ids_as_hugging_face("released", released_tokenizer("0.2.0"), 20'000'000);
}
TEST(WholeReleasedTokenizer, OfV4GivesHuggingFacesIds) {
  same_ids_as_hugging_face("released", released_tokenizer("0.3.0"), 20'000'000);
}

}  // namespace
}  // namespace hadal
