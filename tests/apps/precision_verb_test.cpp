// hadal precision as a user meets it: tables and pages of synthetic data, of a run's own tensors, of its gradients and
// of variants trained beside each other; and what it refuses.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/expect_words.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class PrecisionVerb : public ::testing::Test {
 protected:
  std::string q(const fs::path& path) { return SmallRun::quoted(path); }
  std::string page_at(const std::string& name) { return q(small.root() / name); }
  void refused(const std::string& arguments, std::initializer_list<const char*> words) {
    const auto result = run_hadal(arguments);
    EXPECT_EQ(result.code, 2) << result.out << result.err;
    expect_words(result.err, words);
  }
  const SmallRun small;
};

TEST_F(PrecisionVerb, ShowsOutliersAndGradientsOfARun) {
  ASSERT_EQ(run_hadal(small.train("run", "--steps 4 --set train.precision=fp8")).code, 0);
  const std::string model = " --model " + q(small.run()) + " --text " + q(small.text());
  const auto outliers = run_hadal("precision outliers --tokens 64 --html " + page_at("outliers.html") + model);
  ASSERT_EQ(outliers.code, 0) << outliers.err;
  expect_words(outliers.out, {"one per tensor", "1 x 32", "100000", "layers.0.attention", " dy"});
  expect_words(read_file(small.root() / "outliers.html"),
               {"<!doctype html>", "<svg", "layers.1.moe.experts.down", "</html>"});
  const auto errors = run_hadal("precision errors --quiet --tokens 48 --html " + page_at("errors.html") + model);
  ASSERT_EQ(errors.code, 0) << errors.err;
  expect_words(errors.out, {"report", "dy128", "bf16", "attention.o", "48 tokens"});
  expect_words(read_file(small.root() / "errors.html"),
               {"Each product alone", "dW of attention.kv_b", "in E4M3", "one scale per tensor", "</html>"});
  refused("precision errors --only retild" + model, {"no variant 'retild'", "did you mean 'retiled'?"});
  refused("precision outliers --model " + q(small.run()), {"--model needs a text"});
  refused("precision errors --model " + q(small.run()), {"--text"});
}

TEST_F(PrecisionVerb, ShowsWhatSingleChoicesAreWorth) {
  const auto products = run_hadal("precision products");
  ASSERT_EQ(products.code, 0) << products.err;
  expect_words(products.out, {"dy in 128 x 128", "in E5M6", "with one of 1e-4", "from codes in 1 x 128"});
}

TEST_F(PrecisionVerb, TrainsVariantsFromOneStartOnOneText) {
  const std::string begin = "precision ablate " + q(small.config()) + " --text " + q(small.text()) + " --run " +
                            q(small.run("study")) + " --html " + page_at("ablation.html") +
                            " --steps 4 --frozen-every 2 --frozen-tokens 24 --only report --only tensor --only bf16";
  const auto first = run_hadal(begin + " --seeds 2");
  ASSERT_EQ(first.code, 0) << first.err;
  expect_words(first.out, {"report", "tensor", "bf16", "gradient error"});
  expect_words(read_file(small.root() / "ablation.html"),
               {"<!doctype html>", "loss against BF16 on the same batch", "gradient error against FP64",
                "dQ of attention", "one scale per tensor", "</html>"});
  // Another run says the same of what does not depend on its speed.
  const auto second = run_hadal(begin + " --seeds 2 --threads 1");
  const auto without_time = [](const std::string& table) {
    std::string all;
    std::istringstream lines(table);
    for (std::string line; std::getline(lines, line);) all += line.substr(0, line.rfind("  ")) + "\n";
    return all;
  };
  EXPECT_EQ(without_time(first.out), without_time(second.out));
  refused(begin + " --only mxx", {"no variant 'mxx'", "did you mean 'mx'?"});
  refused(begin + " --set parallel.dp=2", {"one rank"});
  refused(begin + " --slow", {"--slow", "--only"});
  refused("precision ablate " + q(small.config()), {"--html"});
}

TEST_F(PrecisionVerb, TrainsTheEmulatedVariantOnlyWhereAsked) {
  const std::string begin = "precision ablate " + q(small.config()) + " --text " + q(small.text()) + " --run " +
                            q(small.run("study")) + " --html " + page_at("ablation.html") +
                            " --steps 1 --frozen-every 0 --frozen-tokens 8";
  const auto without = run_hadal(begin), with = run_hadal(begin + " --slow");
  ASSERT_EQ(without.code, 0) << without.err;
  ASSERT_EQ(with.code, 0) << with.err;
  expect_words(without.out, {"report", "dy128", "retiled", "tensor", "output-e4m3", "mx", "floor", "bf16"});
  expect_words(without.err, {"unpromoted", "--slow"});
  EXPECT_EQ(without.out.find("unpromoted"), std::string::npos) << without.out;
  expect_words(with.out, {"report", "unpromoted", "mx"});
  EXPECT_EQ(with.err.find("--slow"), std::string::npos) << with.err;
}

}  // namespace
}  // namespace hadal
