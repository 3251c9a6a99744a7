// lm-eval of PyPI against `hadal serve` (tests/oracle/lm_eval_client.py): its log-likelihoods are `hadal score`'s.
#include <fmt/format.h>

#include "apps/command.h"
#include "server/server_testing.h"

namespace hadal {
namespace {

TEST(LmEval, FindsTheLogLikelihoodsOfScoreToTheBit) {
  const std::string source = HADAL_SOURCE_DIR;
  if (!std::filesystem::exists(source + "/.venv/bin/lm_eval"))
    GTEST_SKIP() << "no .venv with lm-eval in the source directory; ./setup --tests makes it";
  const testing::TempDir model;
  write_tiny_model(model.path(), {});
  const auto result =
      run_hadal("version > /dev/null; " +
                fmt::format("'{0}/.venv/bin/python' '{0}/tests/oracle/lm_eval_client.py' \"$HADAL\" '{1}'", source,
                            model.path()));
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("13 log-likelihoods, 4 texts the same"), std::string::npos) << result.out;
}

// tests/oracle/lm_eval_tasks.py: prompts, scores, extractions and metrics of every item of tasks of all types.
TEST(LmEval, FindsWhatEvalFindsOnTheSameTaskFiles) {
  const std::string source = HADAL_SOURCE_DIR;
  if (!std::filesystem::exists(source + "/.venv/bin/lm_eval"))
    GTEST_SKIP() << "no .venv with lm-eval in the source directory; ./setup --tests makes it";
  const testing::TempDir model;
  write_tiny_model(model.path(), {.positions = 512});
  const auto result = run_hadal(
      "version > /dev/null; " +
      fmt::format("'{0}/.venv/bin/python' '{0}/tests/oracle/lm_eval_tasks.py' \"$HADAL\" '{1}'", source, model.path()));
  EXPECT_EQ(result.code, 0) << result.out << result.err;
  EXPECT_NE(result.out.find("18 tasks, 408 items"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("in chats 360 items"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace hadal
