// Fine-tuning on dialogues is what transformers computes when it is fed one sample at a time: the loss and every
// gradient, with samples packed into sequences, one in each sequence, and in micro-batches of their own. The samples go
// the whole way, from a file of dialogues through shards and loader.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "comm/group.h"
#include "comm/rank_threads.h"
#include "data/dialogue_testing.h"
#include "exchange/loaded_model.h"
#include "storage/safetensors.h"
#include "train/micro_batches.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;
constexpr double kLoss = 1e-5, kGradient = 1e-4;

std::vector<std::string> lines() {
  std::vector<std::string> all;
  RandomStream random{7, 14};
  for (int i = 0; i < 24; ++i) {
    std::vector<std::pair<std::string, std::string>> messages;
    if (random.below(3) == 0) messages.emplace_back("system", data::random_text(6, 1000 + uint64_t(i)));
    for (uint64_t turn = 0; turn <= random.below(3); ++turn) {
      const uint64_t seed = 100 * uint64_t(i) + 10 * turn;
      messages.emplace_back("user", data::random_text(1 + int64_t(random.below(9)), seed + 1));
      messages.emplace_back("assistant", data::random_text(1 + int64_t(random.below(12)), seed + 2));
    }
    all.push_back(data::messages_line(messages));
  }
  return all;
}

Json samples_json(const data::Shards& shards) {
  Json samples = Json::array();
  std::vector<int32_t> ids;
  std::vector<uint8_t> trained;
  for (int64_t d = 0; d < shards.n_documents(data::Split::training, 0); ++d) {
    shards.tokens(data::Split::training, 0, d, ids);
    shards.trained(data::Split::training, 0, d, trained);
    Json labels = Json::array();
    for (size_t i = 0; i < ids.size(); ++i) labels.push_back(trained[i] ? ids[i] : -100);
    samples.push_back({{"ids", ids}, {"labels", labels}});
  }
  return samples;
}

// Every passage as a sequence of its own.
data::Batch unpacked(const data::Batch& batch) {
  data::Batch alone;
  alone.masked = true;
  for (const data::Sequence& sequence : batch.sequences)
    for (const data::Passage& passage : sequence.passages) {
      data::Sequence one;
      const auto part = [&](const std::vector<int32_t>& of) {
        return std::vector<int32_t>(of.begin() + passage.start, of.begin() + passage.start + passage.length);
      };
      one.tokens = part(sequence.tokens), one.targets = part(sequence.targets);
      one.passages = {{.length = passage.length}};
      alone.sequences.push_back(std::move(one));
    }
  return alone;
}

// The largest ||ours - theirs|| / ||theirs|| of all gradients.
Worst worst_gradient(const SafetensorsReader& expected, const Parameters& parameters) {
  Worst worst;
  for (const Parameter* parameter : parameters) {
    if (!parameter->spec.trained) continue;
    for (int64_t e = 0; e < parameter->spec.n_experts(); ++e) {
      const std::string name = parameter->spec.hf_name_of(e);
      const bool stacked = parameter->spec.kind == ParameterKind::routed_expert;
      const Tensor theirs = expected.tensor("g." + name);
      const Tensor ours = stacked ? parameter->grad.slice(e) : parameter->grad;
      double error = 0, norm = 0;
      for (int64_t i = 0; i < theirs.count(); ++i) {
        const double a = element(ours, i), b = element(theirs, i);
        error += (a - b) * (a - b), norm += b * b;
      }
      worst.see(norm > 0 ? std::sqrt(error / norm) : std::sqrt(error), name);
    }
  }
  return worst;
}

struct Way {
  const char* name;
  const data::Batch* batch;
  int64_t sequences_each;
  int ranks = 1;  // that share the micro-batches
};

// One step of one of the ranks that share a way's micro-batches, behind which every rank has the gradients of all.
// Losses are divided by the targets of the whole batch, whoever trains them. Rank 0 compares.
void compare(const Way& way, const std::filesystem::path& directory, Group& ranks) {
  const Json facts = read_json<Json>(directory / "expected.json");
  OwnedExec owned(ranks.size() > 1 ? 1 : 2);
  LoadOptions options;
  options.precision = Precision::fp32, options.training = true;
  auto loaded = load_model(directory, options, owned.exec);
  Transformer& model = *loaded.transformer;
  const auto parts = micro_batches(*way.batch, way.sequences_each);
  const auto targets = count_targets(parts, model.config().n_mtp);
  std::vector<std::decay_t<decltype(parts[0])>> own;
  for (size_t i = size_t(ranks.rank()); i < parts.size(); i += size_t(ranks.size())) own.push_back(parts[i]);
  LossWeights weights;
  weights.main = 1.0 / double(targets[0]);
  weights.mtp.assign(size_t(model.config().n_mtp), 0.0);
  model.begin_step(int64_t(own.size()));
  LossSums sums = model.forward_backward(owned.exec, own, weights, {});
  const auto add_up = [&](DType dtype, void* data, int64_t bytes) {
    ranks.start_all_reduce(dtype, {{static_cast<std::byte*>(data), size_t(bytes)}}).wait();
  };
  if (ranks.size() > 1) {
    add_up(DType::f64, &sums.main, sizeof sums.main);
    for (const Parameter* parameter : model.parameters())
      if (parameter->spec.trained) add_up(DType::f32, parameter->grad.raw(), parameter->grad.bytes());
  }
  if (!ranks.leads()) return;
  EXPECT_EQ(targets[0], facts["trained"].get<int64_t>());
  EXPECT_NEAR(sums.main / double(targets[0]), facts["loss"].get<double>(), kLoss) << way.name;
  const Worst worst = worst_gradient(SafetensorsReader(directory / "expected.safetensors.data"), model.parameters());
  EXPECT_LE(worst.value, kGradient) << way.name << ": " << worst.where;
  std::printf("WORST\tgradient of samples, %s\t%.1e of %.0e\t%s\n", way.name, worst.value, kGradient,
              worst.where.c_str());
}

TEST(SftGradientsPeer, LossAndEveryGradientAreThoseOfTransformersFedOneSampleAtATime) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  data::DialogueFixture f(lines());
  f.config.data.sequence_length = 96;
  const data::Prepared p = f.prepare();
  const ScratchDirectory scratch("sft_gradients");
  const std::filesystem::path samples = scratch.path() / "samples.json";
  atomic_write(samples, json_text(samples_json(p.shards)));
  run_python(fmt::format("sft_gradients.py '{}' '{}'", scratch.path().string(), samples.string()));
  data::Loader loader(p.shards, p.tokenizer, f.config.data);
  const data::Batch packed = loader.next(1000), single = unpacked(packed);
  ASSERT_EQ(single.sequences.size(), 24u);
  ASSERT_LT(packed.sequences.size(), 16u) << "nothing is packed: this test proves little";
  const int64_t all = 1000;
  for (int number = 0; number < 3; ++number) {
    const auto directory = scratch.path() / fmt::format("case_{}", number);
    for (const Way& way : {Way{"packed", &packed, all}, Way{"unpacked", &single, all}, Way{"accumulated", &single, 1},
                           Way{"packed and accumulated", &packed, 2}, Way{"of two ranks", &packed, 1, 2}}) {
      if (way.ranks == 1) {
        Group alone = Group::self();
        compare(way, directory, alone);
        continue;
      }
      run_rank_threads(way.ranks, [&](std::shared_ptr<Transport> transport) {
        Group ranks(transport, "data");
        compare(way, directory, ranks);
      });
    }
  }
}

}  // namespace
}  // namespace hadal::oracle
