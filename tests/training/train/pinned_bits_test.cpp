// The bits of training, pinned: the state after ten steps of a configuration that has everything, as one hash per
// instruction set and precision. A change that moves a hash changes every run's results: it must mean to, and say so.
// Sums over K cross a chunk's border (128), so the order of chunks is held too. Functions of libm (the reference's exp,
// the rotary table, the initial weights) are part of it; they have kept their bits since glibc 2.28.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "base/hash.h"
#include "base/random.h"
#include "train/resources.h"
#include "train/step.h"

namespace hadal {
namespace {

constexpr int64_t kVocab = 151, kSteps = 10;

Config everything(Precision precision) {
  Config config;
  auto& m = config.model;
  m.vocab_size = kVocab;
  m.hidden_size = 136;
  m.n_layers = 3;
  m.n_dense_layers = 1;
  m.n_heads = 3;
  m.q_lora_rank = 24;
  m.kv_lora_rank = 20;
  m.qk_nope_head_dim = 12;
  m.qk_rope_head_dim = 8;
  m.v_head_dim = 10;
  m.dense_ffn_size = 150;
  m.expert_ffn_size = 18;
  m.n_routed_experts = 12;
  m.n_shared_experts = 2;
  m.n_experts_per_token = 5;
  m.n_groups = 4;
  m.n_limited_groups = 3;
  m.routed_scale = 2.5;
  m.n_mtp = 2;
  m.init_std = 0.1;
  m.max_positions = 128;
  m.yarn.factor = 4;
  m.yarn.original_positions = 32;
  m.yarn.mscale = 0.7;
  config.train.precision = precision;
  config.train.steps = kSteps;
  config.train.micro_batch_sequences = 2;
  config.train.balance_alpha = 0.01;
  config.optim.ema_decay = 0.9;
  config.optim.clip = 0.5;
  return config;
}

// Five sequences of two documents, the last of one token: with two a micro-batch, MTP depths without rows appear.
data::Batch batch_of_step(int64_t step) {
  data::Batch batch;
  batch.masked = true;
  RandomStream random{uint64_t(step), 6, 0};
  for (int64_t length : {40, 21, 33, 28, 3}) {
    data::Sequence sequence;
    for (int64_t i = 0; i < length; ++i) sequence.tokens.push_back(int32_t(random.below(kVocab)));
    sequence.targets.assign(sequence.tokens.begin() + 1, sequence.tokens.end());
    sequence.targets.push_back(-1);
    const int64_t first = length / 3;
    sequence.passages = {{.start = 0, .length = first}, {.start = first, .length = length - first}};
    sequence.targets[size_t(first - 1)] = -1;
    batch.sequences.push_back(std::move(sequence));
  }
  return batch;
}

std::string hash_of_state(Isa isa, Precision precision) {
  const Config config = everything(precision);
  OwnedExec owned(2, isa);
  Transformer model(config.model, model_options(config, true), owned.exec);
  model.initialize(owned.exec, 3);
  Optimizer optimizer(model.parameters(), config.optim, owned.exec);
  std::optional<LossScaler> scaler;
  if (LossScaler::is_used(config)) scaler.emplace(config.loss_scale);
  for (int64_t step = 1; step <= kSteps; ++step) {
    const StepResult result = train_step(owned.exec, model, optimizer, config, batch_of_step(step), step,
                                         {.scaler = scaler ? &*scaler : nullptr});
    EXPECT_EQ(result.skipped, "");
    EXPECT_GT(result.norms.global, config.optim.clip) << "the norm enters the bits only where it clips";
  }
  Sha256 hash;
  const auto add = [&](const std::string& name, const Tensor& tensor) {
    hash.update(name);
    hash.update(tensor.raw(), size_t(tensor.bytes()));
  };
  for (const Parameter* parameter : model.parameters()) add(parameter->spec.name, parameter->master);
  for (const StateTensor& entry : optimizer.state()) add(entry.name, entry.tensor);
  return hash.hex().substr(0, 16);
}

struct Pin {
  Isa isa;
  Precision precision;
  std::string hash;
};

const std::vector<Pin>& pins() {
  static const std::vector<Pin> list = {
      {Isa::reference, Precision::fp64, "31e8e480b1483938"},   {Isa::reference, Precision::fp32, "5684f3fbc950f5f8"},
      {Isa::reference, Precision::bf16, "2cdda7eddb0ee842"},   {Isa::avx2, Precision::fp32, "d83ed90f0cca1b8c"},
      {Isa::avx2, Precision::bf16, "d1c1407d4652bce2"},        {Isa::avx512, Precision::fp32, "2572e77ac00a51dd"},
      {Isa::avx512, Precision::bf16, "c6ddc322bf810e83"},      {Isa::avx512_bf16, Precision::fp32, "2572e77ac00a51dd"},
      {Isa::avx512_bf16, Precision::bf16, "a5d8b2c523e65d60"}, {Isa::avx512_amx, Precision::fp32, "2572e77ac00a51dd"},
      {Isa::avx512_amx, Precision::bf16, "83df566567d027a4"},  {Isa::reference, Precision::fp16, "825517d21f5a051c"},
      {Isa::avx2, Precision::fp16, "5b451f8c1df6ef4e"},        {Isa::avx512, Precision::fp16, "353fdd1807f74e27"},
      {Isa::avx512_bf16, Precision::fp16, "353fdd1807f74e27"}, {Isa::avx512_amx, Precision::fp16, "353fdd1807f74e27"},
      {Isa::reference, Precision::fp8, "e44e577176403817"},    {Isa::reference, Precision::mxfp8, "595ad05897fce3e9"},
      {Isa::avx2, Precision::fp8, "1c4feca3d2ea14ec"},         {Isa::avx2, Precision::mxfp8, "3a29441ae30b4c7b"},
      {Isa::avx512, Precision::fp8, "9e9d98fe1680ccf6"},       {Isa::avx512, Precision::mxfp8, "1758bb0e2bbb5f94"},
      {Isa::avx512_bf16, Precision::fp8, "fa0b598cec651d37"},  {Isa::avx512_bf16, Precision::mxfp8, "b789109f3187eaa6"},
      {Isa::avx512_amx, Precision::fp8, "059441309fbca109"},   {Isa::avx512_amx, Precision::mxfp8, "48519a374b978c6e"},
  };
  return list;
}

TEST(PinnedBits, TenStepsOfEverythingHaveTheStateTheyHad) {
  for (const Pin& pin : pins()) {
    if (!isa_available(pin.isa)) continue;
    EXPECT_EQ(hash_of_state(pin.isa, pin.precision), pin.hash) << isa_name(pin.isa) << " " << enum_name(pin.precision);
  }
}

// A machine with an instruction set that is not in the list above tells its hashes for it.
TEST(PinnedBits, EveryInstructionSetOfThisMachineIsPinned) {
  std::string missing;
  for (Isa isa : available_isas())
    for (const Precision precision :
         {Precision::fp32, Precision::bf16, Precision::fp16, Precision::fp8, Precision::mxfp8}) {
      const auto same = [&](const Pin& pin) { return pin.isa == isa && pin.precision == precision; };
      if (std::any_of(pins().begin(), pins().end(), same)) continue;
      missing += fmt::format(" {{Isa::{}, Precision::{}, \"{}\"}}", isa_name(isa), enum_name(precision),
                             hash_of_state(isa, precision));
    }
  if (!missing.empty()) GTEST_SKIP() << "not pinned yet:" << missing;
}

}  // namespace
}  // namespace hadal
