// Hugging Face directories through the command line, as a person uses it: score, generate, grads and trace against what
// transformers computed (tests/oracle/hf_grid.py), and multi-token prediction, which it lacks, against the oracle.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "base/files.h"
#include "base/json.h"
#include "storage/safetensors.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::string quoted(const fs::path& path) { return "'" + path.string() + "'"; }

// ||ours - theirs|| / ||theirs|| of every tensor "g.NAME" of the expected file against NAME of ours, the largest.
Worst gradient_difference(const fs::path& ours_file, const SafetensorsReader& expected) {
  const SafetensorsReader ours(ours_file);
  Worst worst;
  size_t compared = 0;
  for (const auto& entry : expected.entries()) {
    if (!entry.name.starts_with("g.")) continue;
    const Tensor a = ours.tensor(entry.name.substr(2)), b = expected.tensor(entry.name);
    EXPECT_EQ(a.shape(), b.shape()) << entry.name;
    double error = 0, norm = 0;
    for (int64_t i = 0; i < b.count(); ++i) {
      error += std::pow(element(a, i) - element(b, i), 2), norm += std::pow(element(b, i), 2);
    }
    worst.see(norm > 0 ? std::sqrt(error / norm) : std::sqrt(error), entry.name);
    ++compared;
  }
  EXPECT_EQ(compared, ours.entries().size());
  return worst;
}

void write_input(const fs::path& file, const Tensor& tokens) {
  std::string lines;
  for (int64_t row = 0; row < tokens.rows(); ++row) {
    Json ids = Json::array();
    for (int64_t i = 0; i < tokens.cols(); ++i) ids.push_back(tokens.data<int32_t>()[row * tokens.cols() + i]);
    lines += json_text(Json{{"tokens", ids}}) + "\n";
  }
  atomic_write(file, lines);
}

void check_score(const fs::path& model, const fs::path& input, const SafetensorsReader& expected) {
  const auto scored =
      run_hadal(fmt::format("score --model {} --input {} --precision fp32", quoted(model), quoted(input)));
  ASSERT_EQ(scored.code, 0) << scored.err;
  const Tensor theirs = expected.tensor("log_probs");
  int64_t at = 0;
  for (size_t begin = 0; begin < scored.out.size();) {
    const size_t end = scored.out.find('\n', begin);
    const Json line = parse_json<Json>(scored.out.substr(begin, end - begin), "what it said");
    double sum = 0;
    for (double value : line["logprobs"].get<std::vector<double>>()) {
      EXPECT_NEAR(value, element(theirs, at++), 2e-4) << model;
      sum += value;
    }
    EXPECT_NEAR(line["sum"].get<double>(), sum, 1e-9);
    begin = end + 1;
  }
  EXPECT_EQ(at, theirs.count());
}

std::string with_commas(const std::vector<int32_t>& ids) {
  std::string text;
  for (int32_t id : ids) text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

void check_generate(const fs::path& model, const Json& facts) {
  const auto prompt = facts["prompt"].get<std::vector<int32_t>>();
  const auto made = run_hadal(
      fmt::format("generate --model {} --prompt-tokens {} --max-tokens 64 --temperature 0 --json --precision fp32",
                  quoted(model), with_commas(prompt)));
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(parse_json<Json>(made.out, "what it said")["tokens"], facts["text"]) << model;
}

void check_trace(const fs::path& model) {
  const fs::path file = model / "trace.safetensors.data";
  const SafetensorsReader theirs(file);
  const Tensor tokens = theirs.tensor("tokens");
  std::vector<int32_t> ids(tokens.data<int32_t>(), tokens.data<int32_t>() + tokens.count());
  const auto trace = [&](const fs::path& other) {
    return run_hadal(fmt::format("trace --model {} --tokens {} --compare {} --tolerance 1e-4 --precision fp32",
                                 quoted(model), with_commas(ids), quoted(other)));
  };
  const auto same = trace(file);
  EXPECT_EQ(same.code, 0) << same.out << same.err;
  EXPECT_NE(same.out.find("no difference"), std::string::npos) << same.out;
  // One element of one layer is another: that place and token are named.
  std::vector<NamedTensor> changed;
  for (const auto& entry : theirs.entries()) {
    OwnedExec owned(1);
    changed.push_back({entry.name, theirs.tensor(entry.name).clone(owned.exec)});
    if (entry.name == "layers.1.output") {
      const int64_t at = 5 * changed.back().tensor.cols() + 2;
      set_element(changed.back().tensor, at, element(changed.back().tensor, at) + 5.0);
    }
  }
  const fs::path fault = model / "fault.data";
  save_safetensors(fault, changed);
  const auto apart = trace(fault);
  EXPECT_EQ(apart.code, 1) << apart.out << apart.err;
  EXPECT_NE(apart.out.find("first difference: layers.1.output at token 5"), std::string::npos) << apart.out;
}

TEST(HfVerbs, ScoreGenerateGradsAndTraceAgreeWithTransformers) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  const ScratchDirectory scratch("hf_verbs");
  run_python(fmt::format("hf_grid.py '{}' --only 0,3,4,9", scratch.path().string()));  // v2, v3, kimi; fp32, bf16, fp8
  for (const char* name : {"case_000", "case_003", "case_004", "case_009"}) {
    const fs::path model = scratch.path() / name, input = model / "input.jsonl.data", out = model / "grads";
    const SafetensorsReader expected(model / "expected.safetensors.data");
    const Json facts = read_json<Json>(model / "expected.json");
    write_input(input, expected.tensor("tokens"));
    check_score(model, input, expected);
    check_generate(model, facts);
    check_trace(model);
    const auto grads = run_hadal(fmt::format("grads --model {} --input {} --output {} --precision fp32", quoted(model),
                                             quoted(input), quoted(out)));
    ASSERT_EQ(grads.code, 0) << grads.err;
    EXPECT_NEAR(read_json<Json>(out / "loss.json")["loss"].get<double>(), facts["loss"].get<double>(), 1e-4);
    const Worst worst = gradient_difference(out / "gradients.safetensors", expected);
    EXPECT_LE(worst.value, 1e-4) << name << " " << worst.where;
  }
}

TEST(HfVerbs, MultiTokenPredictionInTheReleasedLayoutAgreesWithTheOracle) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  const ScratchDirectory scratch("hf_mtp");
  run_python(fmt::format("hf_mtp.py '{}'", scratch.path().string()));
  Worst worst;
  for (int i = 0; i < 4; ++i) {
    const fs::path model = scratch.path() / fmt::format("case_{}", i), out = model / "grads";
    const SafetensorsReader expected(model / "expected.safetensors.data");
    const auto grads =
        run_hadal(fmt::format("grads --model {} --input {} --output {} --precision fp64 --mtp-weight 0.3",
                              quoted(model), quoted(model / "input.jsonl"), quoted(out)));
    ASSERT_EQ(grads.code, 0) << grads.err;
    const Json losses = read_json<Json>(out / "loss.json");
    EXPECT_NEAR(losses["loss"].get<double>(), element(expected.tensor("loss"), 0), 1e-10);
    const Tensor mtp = expected.tensor("mtp_losses");
    ASSERT_EQ(int64_t(losses["mtp_losses"].size()), mtp.count());
    for (int64_t k = 0; k < mtp.count(); ++k)
      EXPECT_NEAR(losses["mtp_losses"][size_t(k)].get<double>(), element(mtp, k), 1e-10);
    const Worst here = gradient_difference(out / "gradients.safetensors", expected);
    EXPECT_LE(here.value, 1e-9) << model << " " << here.where;
    worst.see(here.value, here.where);
  }
  std::printf("WORST\tMTP gradient in the released layout, FP64\t%.1e of 1e-09\t%s\n", worst.value,
              worst.where.c_str());
}

}  // namespace
}  // namespace hadal::oracle
