// A stranger's model is ours: random models of Hugging Face transformers (tests/oracle/hf_grid.py), loaded from the
// directories that it saved, against what it computed: log-probabilities in FP32 and BF16, loss, every gradient, greedy
// text, twenty steps of AdamW; a few of them through the command line. Those with Llama's attention also back again: as
// checkpoints of ours, exported, in transformers. Bounds are those of docs/numerics.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "base/files.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "engine/generator.h"
#include "exchange/exporter.h"
#include "exchange/loaded_model.h"
#include "optim/optimizer.h"
#include "storage/safetensors.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;

constexpr int kCases = 64, kHeadsCases = 44;  // of latent attention, of Llama's
constexpr double kLogProb = 2e-4, kGradient = 1e-4, kLoss = 1e-4, kBf16Ratio = 1.25, kTie = 1e-4;

struct PeerCase {
  std::filesystem::path directory;
  Json facts;
  std::shared_ptr<SafetensorsReader> tensors;
  std::string name() const { return directory.filename().string() + " (" + facts["summary"].get<std::string>() + ")"; }
};

PeerCase read_case(const std::filesystem::path& directory) {
  return {directory, read_json<Json>(directory / "expected.json"),
          std::make_shared<SafetensorsReader>(directory / "expected.safetensors.data")};
}

std::vector<PeerCase> all_cases(const std::filesystem::path& directory, int n) {
  std::vector<PeerCase> cases;
  for (int i = 0; i < n; ++i) cases.push_back(read_case(directory / fmt::format("case_{:03d}", i)));
  return cases;
}

// Rows [first, first + count) of the text: every token but the last is an input, its successor the target.
MicroBatch batch_of(const PeerCase& peer, int64_t first, int64_t count, const char* name = "tokens") {
  const Tensor tokens = peer.tensors->tensor(name);
  const int64_t length = tokens.cols() - 1;
  MicroBatch batch;
  for (int64_t row = first; row < first + count; ++row) {
    const int64_t begin = batch.n_tokens();
    for (int64_t i = 0; i < length; ++i) {
      batch.tokens.push_back(tokens.data<int32_t>()[row * tokens.cols() + i]);
      batch.targets.push_back(tokens.data<int32_t>()[row * tokens.cols() + i + 1]);
      batch.positions.push_back(int32_t(i));
    }
    batch.segments.push_back({begin, length, begin, length});
    batch.sequences.push_back({begin, length});
  }
  return batch;
}

LoadedModel load(const PeerCase& peer, Precision precision, bool training, const Exec& exec) {
  LoadOptions options;
  options.precision = precision, options.training = training;
  return load_model(peer.directory, options, exec);
}

double largest_difference(const std::vector<double>& ours, const Tensor& theirs) {
  double worst = 0;
  for (size_t i = 0; i < ours.size(); ++i) worst = std::max(worst, std::abs(ours[i] - element(theirs, int64_t(i))));
  return worst;
}

double mean_difference(const std::vector<double>& ours, const Tensor& theirs) {
  double sum = 0;
  for (size_t i = 0; i < ours.size(); ++i) sum += std::abs(ours[i] - element(theirs, int64_t(i)));
  return sum / double(ours.size());
}

std::vector<double> values(const Tensor& tensor) {
  std::vector<double> all;
  for (int64_t i = 0; i < tensor.count(); ++i) all.push_back(element(tensor, i));
  return all;
}

// ||ours - theirs|| / ||theirs|| of every gradient under its stored name; experts one by one.
void compare_gradients(const PeerCase& peer, const Parameters& parameters, Worst& worst) {
  size_t seen = 0;
  for (const Parameter* parameter : parameters) {
    if (!parameter->spec.trained) continue;
    for (int64_t e = 0; e < parameter->spec.n_experts(); ++e) {
      const std::string name = parameter->spec.hf_name_of(e);
      const bool stacked = parameter->spec.kind == ParameterKind::routed_expert;
      ASSERT_TRUE(peer.tensors->has("g." + name)) << peer.name() << ": transformers has no gradient of " << name;
      const Tensor theirs = peer.tensors->tensor("g." + name);
      const Tensor ours = stacked ? parameter->grad.slice(e) : parameter->grad;
      ++seen;
      double error = 0, norm = 0;
      const int64_t cols = theirs.cols(), head = parameter->spec.rotated_head;  // rows of q and k in their order
      for (int64_t i = 0; i < theirs.count(); ++i) {
        const int64_t row = head > 0 ? row_of_half_split(i / cols, head) : i / cols;
        const double a = element(ours, row * cols + i % cols), b = element(theirs, i);
        error += (a - b) * (a - b), norm += b * b;
      }
      const double relative = norm > 0 ? std::sqrt(error / norm) : std::sqrt(error);
      worst.see(relative, peer.name() + " " + name);
      EXPECT_LE(relative, kGradient) << peer.name() << ": gradient of " << name;
    }
  }
  size_t expected = 0;
  for (const auto& entry : peer.tensors->entries()) expected += entry.name.starts_with("g.");
  EXPECT_EQ(seen, expected) << peer.name() << ": gradients compared";
}

using Cases = std::vector<PeerCase>;

void log_probabilities_loss_and_every_gradient_agree(const Cases& cases) {
  Worst log_prob, loss, gradient;
  for (const PeerCase& peer : cases) {
    OwnedExec owned(2);
    auto loaded = load(peer, Precision::fp32, true, owned.exec);
    Transformer& model = *loaded.transformer;
    const MicroBatch batch = batch_of(peer, 0, peer.tensors->entry("tokens").shape[0]);
    std::vector<double> ours;
    model.forward(owned.exec, batch, {.log_probs = &ours});
    const double difference = largest_difference(ours, peer.tensors->tensor("log_probs"));
    log_prob.see(difference, peer.name());
    EXPECT_LE(difference, kLogProb) << peer.name();

    model.begin_step();
    LossWeights weights;
    weights.main = 1.0 / double(batch.n_tokens());
    weights.mtp.assign(size_t(model.config().n_mtp), 0.0);
    const double mean = model.forward_backward(owned.exec, batch, weights).main * weights.main;
    loss.see(std::abs(mean - peer.facts["loss"].get<double>()), peer.name());
    EXPECT_NEAR(mean, peer.facts["loss"].get<double>(), kLoss) << peer.name();
    compare_gradients(peer, model.parameters(), gradient);
  }
  std::printf("WORST\tlog-probability, FP32\t%.1e of %.0e\t%s\n", log_prob.value, kLogProb, log_prob.where.c_str());
  std::printf("WORST\tloss, FP32\t%.1e of %.0e\t%s\n", loss.value, kLoss, loss.where.c_str());
  std::printf("WORST\tgradient, FP32\t%.1e of %.0e\t%s\n", gradient.value, kGradient, gradient.where.c_str());
}

double median_difference(const std::vector<double>& ours, const Tensor& theirs) {
  std::vector<double> all;
  for (size_t i = 0; i < ours.size(); ++i) all.push_back(std::abs(ours[i] - element(theirs, int64_t(i))));
  std::nth_element(all.begin(), all.begin() + int64_t(all.size() / 2), all.end());
  return all[all.size() / 2];
}

// By the median of every case, and by the mean of all. A token that BF16 sends to other experts is far from FP32, and
// which tokens these are is chance: where they are many (groups of experts whose scores are close), the mean of one
// case says how many, and is held to the bound only for `each`.
void bf16_is_as_near_to_fp32_as_transformers_itself(const Cases& cases, bool each) {
  Worst ratio, medians;
  double ours_sum = 0, theirs_sum = 0;
  for (const PeerCase& peer : cases) {
    OwnedExec owned(2);
    auto loaded = load(peer, Precision::bf16, false, owned.exec);
    std::vector<double> ours;
    loaded.transformer->forward(owned.exec,
                                batch_of(peer, 0, peer.tensors->entry("more_tokens").shape[0], "more_tokens"),
                                {.log_probs = &ours});
    const Tensor exact = peer.tensors->tensor("more_log_probs");
    const double error = mean_difference(ours, exact);
    const double theirs = mean_difference(values(peer.tensors->tensor("more_log_probs_bf16")), exact);
    ours_sum += error, theirs_sum += theirs;
    ratio.see(error / theirs, peer.name());
    const double median = median_difference(ours, exact),
                 their_median = median_difference(values(peer.tensors->tensor("more_log_probs_bf16")), exact);
    medians.see(median / their_median, peer.name());
    EXPECT_LE(median, kBf16Ratio * their_median) << peer.name();
    if (!each) continue;
    EXPECT_LE(error, kBf16Ratio * theirs) << peer.name() << ": ours " << error << ", theirs " << theirs;
  }
  EXPECT_LE(ours_sum, kBf16Ratio * theirs_sum);
  std::printf("WORST\tmedian BF16 error over transformers' own\t%.2f of %.2f\t%s\n", medians.value, kBf16Ratio,
              medians.where.c_str());
  std::printf("WORST\tBF16 error over transformers' own\t%.2f of %.2f (mean of all %.2f)\t%s\n", ratio.value,
              kBf16Ratio, ours_sum / theirs_sum, ratio.where.c_str());
}

void greedy_text_is_the_same(const Cases& cases) {
  int64_t equal = 0, ties = 0;
  for (const PeerCase& peer : cases) {
    OwnedExec owned(2);
    auto loaded = load(peer, Precision::fp32, false, owned.exec);
    const auto theirs = peer.facts["text"].get<std::vector<int32_t>>();
    const auto gaps = peer.facts["gaps"].get<std::vector<double>>();
    EXPECT_GE(peer.facts["distinct"].get<int>(), 32);
    EngineRequest request;
    request.prompt = peer.facts["prompt"].get<std::vector<int32_t>>();
    request.max_tokens = int64_t(theirs.size());
    request.sampling.temperature = 0;
    Engine engine = engine_for(owned.exec, *loaded.transformer, request);
    const auto ours = generate(engine, request).tokens;
    ASSERT_EQ(ours.size(), theirs.size()) << peer.name();
    size_t at = 0;
    while (at < ours.size() && ours[at] == theirs[at]) ++at;
    equal += int64_t(at);
    if (at == ours.size()) continue;
    ++ties;
    EXPECT_LE(gaps[at], kTie) << peer.name() << ": token " << at << " is " << ours[at] << ", transformers' "
                              << theirs[at];
  }
  EXPECT_LE(ties, 2);
  std::printf("WORST\tgreedy text, FP32\t%lld tokens equal, %lld texts left at a tie\t\n",
              static_cast<long long>(equal), static_cast<long long>(ties));
}

void twenty_steps_of_adamw_give_the_same_losses(const Cases& cases) {
  Worst worst;
  double least_fall = 1e9;
  for (const PeerCase& peer : cases) {
    OwnedExec owned(2);
    auto loaded = load(peer, Precision::fp32, true, owned.exec);
    Transformer& model = *loaded.transformer;
    OptimConfig settings;
    settings.eps = 1e-6, settings.clip = 0;
    Optimizer optimizer(model.parameters(), settings, owned.exec);
    const auto theirs = peer.facts["losses"].get<std::vector<double>>();
    double first = 0, last = 0;
    for (size_t step = 0; step < theirs.size(); ++step) {
      const MicroBatch batch = batch_of(peer, step % 2 == 0 ? 0 : 2, 2);
      LossWeights weights;
      weights.main = 1.0 / double(batch.n_tokens());
      weights.mtp.assign(size_t(model.config().n_mtp), 0.0);
      model.begin_step();
      last = model.forward_backward(owned.exec, batch, weights).main * weights.main;
      if (step == 0) first = last;
      worst.see(std::abs(last - theirs[step]), peer.name());
      EXPECT_NEAR(last, theirs[step], kLoss) << peer.name() << ": loss of step " << step + 1;
      optimizer.step(owned.exec, 3e-4, optimizer.gradient_norms(owned.exec).global);
    }
    least_fall = std::min(least_fall, first - last);
  }
  EXPECT_GE(least_fall, 0.5);
  std::printf("WORST\tlosses of 20 AdamW steps\t%.1e of %.0e (least fall %.2f)\t%s\n", worst.value, kLoss, least_fall,
              worst.where.c_str());
}

// Cases made by two processes at once.
Cases made_cases(const ScratchDirectory& scratch, int n, const std::string& options) {
  std::string half[2];
  for (int i = 0; i < n; ++i) half[i % 2] += (half[i % 2].empty() ? "" : ",") + std::to_string(i);
  const auto make = [&](const std::string& cases) {
    run_python(fmt::format("hf_grid.py '{}' {} --cases {} --only {}", scratch.path().string(), options, n, cases));
  };
  auto other = std::async(std::launch::async, [&] { make(half[1]); });
  make(half[0]);
  other.get();
  return all_cases(scratch.path(), n);
}

// As a checkpoint of ours keeps it (model.json, rows in our order), exported in FP32.
void export_again(const PeerCase& peer, const std::filesystem::path& to) {
  OwnedExec owned(2);
  const auto loaded = load(peer, Precision::fp32, true, owned.exec);
  const std::filesystem::path ours = to.string() + ".ours";
  make_directories(ours);
  atomic_write(ours / "model.json", model_config_to_json(loaded.transformer->config()));
  save_safetensors(ours / "model.safetensors", model_tensors(loaded.transformer->parameters()), {{"format", "pt"}});
  const ExportSource source(open_model(ours));
  write_export(owned.exec, source, plan_hf(source, {"fp32"}), {to, uint64_t(1) << 40, true});
}

TEST(HfGrid, LogProbabilitiesGradientsGreedyTextAndTrainingAgreeWithTransformers) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  const ScratchDirectory scratch("hf_grid");
  const Cases cases = made_cases(scratch, kCases, "");
  log_probabilities_loss_and_every_gradient_agree(cases);
  bf16_is_as_near_to_fp32_as_transformers_itself(cases, true);
  greedy_text_is_the_same(cases);
  twenty_steps_of_adamw_give_the_same_losses(cases);
}

TEST(HfGrid, ModelsWithLlamasAttentionAgreeWithTransformersAndComeBackToIt) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  const ScratchDirectory scratch("hf_grid_heads");
  const Cases cases = made_cases(scratch, kHeadsCases, "--heads");
  log_probabilities_loss_and_every_gradient_agree(cases);
  bf16_is_as_near_to_fp32_as_transformers_itself(cases, false);
  greedy_text_is_the_same(cases);
  twenty_steps_of_adamw_give_the_same_losses(cases);
  for (const PeerCase& peer : cases) export_again(peer, peer.directory / "back");
  EXPECT_NO_THROW(run_python(fmt::format("hf_back.py '{}'", scratch.path().string())));
}

}  // namespace
}  // namespace hadal::oracle
