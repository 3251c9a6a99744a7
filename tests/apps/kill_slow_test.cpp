// A run that is killed 20 times, 5 of them inside a checkpoint write, ends with the bytes of the untouched one; so do
// one in FP8 and one in FP16 that skips steps because its loss scale begins too high.
#include "apps/killed_run.h"

namespace hadal {
namespace {

TEST(KilledRun, EndsWithTheBytesOfTheUntouchedOne) { expect_bytes_of_the_untouched_run({"--steps", "60"}, 20, 5); }

// Ten kills of each: make proof.
TEST(KilledRun, InFp8Too) { expect_bytes_of_the_untouched_run(in_fp8(), 2, 1); }

TEST(KilledRun, InTheMiddleOfTheSkipsOfALossScaleToo) {
  expect_bytes_of_the_untouched_run(skipping_fp16(), 2, 1);
  const SmallRun small;
  std::string options;
  for (const std::string& word : skipping_fp16()) options += word + " ";
  ASSERT_EQ(run_hadal(small.train("run", options)).code, 0);
  const std::string metrics = read_file(small.run() / "metrics.jsonl");
  int64_t skips = 0;
  for (size_t at = 0; (at = metrics.find("\"skipped\"", at)) != std::string::npos; ++at) ++skips;
  EXPECT_GE(skips, 8) << "few skips to be killed in";
}

TEST(KilledRun, AnotherRunHasOtherBytes) {  // the comparison above can fail
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("a", "--steps 3")).code, 0);
  ASSERT_EQ(run_hadal(small.train("b", "--steps 3 --set train.seed=2")).code, 0);
  const auto a = state_hashes(small.run("a")), b = state_hashes(small.run("b"));
  EXPECT_NE(a.at("model.safetensors"), b.at("model.safetensors"));
  EXPECT_EQ(a.at("tokenizer.json"), b.at("tokenizer.json"));
}

}  // namespace
}  // namespace hadal
