// GSM8K's way from file to figure on problems of our own in its form (tests/oracle/gsm8k_problems.py), and lm-eval's
// own task gsm8k on the exported model, item by item; with GSM8K's own files: gsm8k_proof_test.cpp.
#include "apps/gsm8k_run.h"

namespace hadal {
namespace {

// Small, but so far that answers have the form and end.
constexpr const char* kSmall =
    "--set tokenizer.vocab_size=512 --set model.hidden_size=64 --set model.n_layers=2 --set train.steps=60 "
    "--set train.batch_sequences=4 --set phase.chat.train.batch_sequences=1 --set phase.chat.data.epochs=10 "
    "--set data.pack_window=8 --set validation.every_steps=0 --set checkpoint.every_steps=0";

TEST(Gsm8k, FromFilesToFiguresIsWhatLmEvalFindsItemByItemAndNotOfAnotherModel) {
  if (!has_lm_eval()) GTEST_SKIP() << kNoLmEval;
  const testing::TempDir folder;
  ASSERT_EQ(
      run_python(fmt::format("'{}/tests/oracle/gsm8k_problems.py' '{}' --test 8", HADAL_SOURCE_DIR, folder.path()))
          .code,
      0);
  const std::filesystem::path out = folder / "out";
  const auto made = run_gsm8k(folder.path(), out, kSmall, 0);
  ASSERT_EQ(made.code, 0) << made.out << made.err;
  for (const char* const filter : {"strict-match", "flexible-extract"})
    EXPECT_NE(made.out.find(filter), std::string::npos) << made.out;
  const auto again = run_gsm8k(folder.path(), out, kSmall, 0);
  EXPECT_EQ(again.code, 0) << again.out << again.err;
  EXPECT_EQ(again.out.find("hadal eval"), std::string::npos) << "what is there is not made again: " << again.out;
  const auto same = compare_gsm8k(folder.path(), out);
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  for (const char* const run : {"text: ", "chat: ", "turns: "})
    EXPECT_NE(same.out.find(run), std::string::npos) << same.out;
  const auto spoilt = compare_gsm8k(folder.path(), out, "--forms text --items 0:4 --spoil");
  EXPECT_EQ(spoilt.code, 1) << spoilt.out;
  EXPECT_NE(spoilt.err.find("differences that are no near ties"), std::string::npos) << spoilt.out << spoilt.err;
}

TEST(Gsm8k, SaysWhichOfItsFilesIsNotThere) {
  const testing::TempDir folder;
  const auto said = run_gsm8k(folder.path(), folder / "out", "", 0);
  EXPECT_EQ(said.code, 1);
  EXPECT_NE(said.err.find("there is no gsm8k_train.jsonl in '" + folder.path()), std::string::npos) << said.err;
}

}  // namespace
}  // namespace hadal
