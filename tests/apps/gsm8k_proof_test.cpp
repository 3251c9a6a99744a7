// GSM8K's own files, which are no part of this project: HADAL_GSM8K names a folder with gsm8k_train.jsonl and
// gsm8k_test.jsonl. A model of the shipped configuration, smaller and trained for fewer steps, is asked by `hadal eval`
// and by lm-eval's own task; every one of 60 items must be the same in three forms of the question.
#include "apps/gsm8k_run.h"

namespace hadal {
namespace {

TEST(Gsm8kFiles, AreAskedAndGradedAsByLmEvalItemByItem) {
  const char* const folder = std::getenv("HADAL_GSM8K");
  if (folder == nullptr)
    GTEST_SKIP() << "GSM8K is no part of this project; HADAL_GSM8K=FOLDER with gsm8k_train.jsonl and gsm8k_test.jsonl";
  if (!has_lm_eval()) GTEST_SKIP() << kNoLmEval;
  const testing::TempDir out;
  const auto made = run_gsm8k(folder, out.path(),
                              "--set model.hidden_size=64 --set model.n_layers=2 --set train.steps=60 "
                              "--set phase.chat.train.steps=60",
                              60);
  ASSERT_EQ(made.code, 0) << made.out << made.err;
  const auto same = compare_gsm8k(folder, out.path(), "--items 0:60");
  std::printf("%s", same.out.c_str());
  EXPECT_EQ(same.code, 0) << same.out << same.err;
}

}  // namespace
}  // namespace hadal
