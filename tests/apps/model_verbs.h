// A model trained for two steps, for the verbs that read one.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>

#include "apps/command.h"
#include "apps/small_run.h"

namespace hadal {

class ModelVerbs : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    small_ = std::make_unique<SmallRun>();
    const auto trained = run_hadal(small_->train("run", "--steps 2"));
    if (trained.code != 0) small_.reset();
  }
  static void TearDownTestSuite() { small_.reset(); }
  void SetUp() override { ASSERT_TRUE(small_) << "training failed"; }

  static CommandResult verb(const std::string& name, const std::string& rest, const std::string& before = "") {
    return run_hadal(name + " --model " + SmallRun::quoted(small_->run()) + " " + rest, before);
  }
  static void refused(const CommandResult& result, int code, std::initializer_list<std::string> words) {
    EXPECT_EQ(result.code, code) << result.out << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    for (const auto& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << "'" << word << "' is not in: " << result.err;
  }
  static std::unique_ptr<SmallRun> small_;
};
inline std::unique_ptr<SmallRun> ModelVerbs::small_;

}  // namespace hadal
