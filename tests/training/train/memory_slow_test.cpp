// What a rank takes of memory against what is promised before anything is allocated.
#include <gtest/gtest.h>

#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "train/rank_place.h"
#include "train/small_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;

Config case_of(const std::string& layout) {
  Config config = small_config(Precision::fp32);
  auto& m = config.model;
  m.vocab_size = 600, m.hidden_size = 128, m.n_layers = 8, m.n_heads = 4, m.q_lora_rank = 48, m.kv_lora_rank = 32;
  m.qk_nope_head_dim = 24, m.qk_rope_head_dim = 8, m.v_head_dim = 24, m.dense_ffn_size = 320, m.expert_ffn_size = 64;
  m.n_routed_experts = 8, m.n_dense_layers = 2, m.n_mtp = 1, m.max_positions = 512, m.init_std = 0.02;
  config.data.sequence_length = 256;
  config.train.micro_batch_sequences = 2;
  config.train.batch_sequences = 16;
  config.parallel = parse_layout(layout);
  return config;
}

// Of one rank: the most that its pool was asked for at once, and what was promised of it.
struct RankMemory {
  double taken = 0, promised = 0;
};

std::vector<RankMemory> measured(const Config& config) {
  std::vector<RankMemory> ranks(size_t(config.parallel.ranks()));
  const data::Batch batch = batch_of(std::vector<int64_t>(size_t(config.train.batch_sequences), 256));
  run_rank_threads(int(config.parallel.ranks()), [&](std::shared_ptr<Transport> transport) {
    OwnedExec owned(1);
    RankPlace place(config.model, config.parallel, transport);
    const ModelOptions options = model_options(config, true);
    Transformer model(config.model, options, owned.exec, place.share());
    model.initialize(owned.exec, 1);
    Sharding sharding(owned.exec, place.placement(), model.parameters(), transport);
    Optimizer optimizer(sharding, config.optim, owned.exec);
    owned.exec.memory->reset_peak();  // while they were made, masters were whole
    EXPECT_EQ(train_step(owned.exec, model, optimizer, config, batch, 1, {.place = &place}).skipped, "");
    ranks[size_t(place.rank())] = {
        double(owned.exec.memory->peak_bytes()),
        double(plan_rank_memory(config, options, place.placement(), place.rank(), 1).in_use())};
  });
  return ranks;
}

double allowed(Precision precision) { return is_fp8(precision) ? 0.05 : 0.1; }

void expect_promise_kept(const std::string& layout, Precision precision, Recompute recompute,
                         AttentionForm form = AttentionForm::up_projected) {
  Config config = case_of(layout);
  config.train.attention_form = form;
  if (config.parallel.node_ranks > 0) config.model.n_groups = config.model.n_limited_groups = 2;
  config.train.precision = precision, config.train.recompute = recompute;
  const std::vector<RankMemory> ranks = measured(config);
  for (size_t r = 0; r < ranks.size(); ++r)
    EXPECT_NEAR(ranks[r].taken / ranks[r].promised, 1.0, allowed(precision))
        << layout << ", " << enum_name(precision) << ", recompute " << enum_name(recompute) << ": rank " << r
        << " took " << ranks[r].taken << " of " << ranks[r].promised;
}

TEST(RankMemory, OfEverySchedulesRanksIsWhatIsPromised) {
  for (const char* layout : {"pp=4", "pp=4,schedule=interleaved,chunks=2", "pp=4,schedule=zb1p",
                             "pp=4,schedule=dualpipe", "pp=2,schedule=dualpipev"}) {
    expect_promise_kept(layout, Precision::fp32, Recompute::none);
    expect_promise_kept(layout, Precision::bf16, Recompute::all);
  }
  for (const char* layout : {"pp=2,schedule=zb1p", "tp=2,pp=2,schedule=zb1p", "cp=2,pp=2,schedule=dualpipe"})
    expect_promise_kept(layout, Precision::fp32, Recompute::norms, AttentionForm::absorbed);
}

TEST(RankMemory, OfEveryAxisIsWhatIsPromised) {
  for (const char* layout : {"dp=2", "dp=2,ep=2", "dp=4,ep=4,node_ranks=2", "tp=2", "tp=4", "cp=2", "cp=2,tp=2",
                             "dp=2,pp=2,ep=2,schedule=dualpipe"}) {
    expect_promise_kept(layout, Precision::fp32, Recompute::norms);
    expect_promise_kept(layout, Precision::bf16, Recompute::none);
  }
}

// Codes of weights instead of a copy, of what is kept and of what is dispatched; less than BF16 takes.
TEST(RankMemory, OfFp8IsWhatIsPromised) {
  for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all})
    expect_promise_kept("dp=1", Precision::fp8, recompute);
  expect_promise_kept("dp=1", Precision::fp8, Recompute::norms, AttentionForm::absorbed);
  expect_promise_kept("dp=2,ep=2", Precision::fp8, Recompute::norms);
  expect_promise_kept("pp=2,schedule=zb1p", Precision::fp8, Recompute::norms);
  expect_promise_kept("dp=1", Precision::mxfp8, Recompute::norms);
  Config config = case_of("dp=1");
  config.train.precision = Precision::bf16, config.train.recompute = Recompute::norms;
  // So many that what a lane works with, the same for both, is a small part.
  config.train.micro_batch_sequences = config.train.batch_sequences = 8;
  const double bf16 = measured(config)[0].taken;
  config.train.precision = Precision::fp8;
  EXPECT_LT(measured(config)[0].taken, 0.9 * bf16);
}

}  // namespace
}  // namespace hadal
