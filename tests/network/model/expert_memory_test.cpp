// What all tokens of all ranks take where they go to experts of one rank: the rows that came, and the work of one
// source at a time.
#include "model/expert_ranks.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr int64_t kTokens = 256, kLayers = 2, kBytes = 4;

ModelConfig expert_config(int64_t experts_per_token) {
  ModelConfig config = memory_config();
  config.n_dense_layers = config.n_mtp = 0, config.n_layers = kLayers;
  config.n_heads = 1, config.n_experts_per_token = experts_per_token;
  config.n_limited_groups = config.n_groups;
  return config;
}

using Choices =
    std::vector<std::vector<int32_t>>;  // token i of every rank and layer has the choice i modulo their number

ExpertCase routed(int ranks, const Choices& choices) {
  ExpertCase c;
  c.config = expert_config(int64_t(choices[0].size()));
  c.options.recompute = Recompute::all;
  c.options.loss_chunk_tokens = 32;
  c.ranks = ranks;
  c.batches.emplace_back();
  for (int rank = 0; rank < ranks; ++rank) {
    c.batches[0].push_back(make_batch({{kTokens}}, false, 300, uint64_t(1 + rank)));
    std::vector<int32_t> layer;
    for (size_t t = 0; t < size_t(kTokens); ++t)
      layer.insert(layer.end(), choices[t % choices.size()].begin(), choices[t % choices.size()].end());
    c.routes.push_back({true, std::vector(size_t(kLayers), layer)});
  }
  return c;
}

// Of all tokens of so many ranks; a tenth for their numbers and lists.
double most(int64_t ranks, int64_t numbers) { return 1.1 * double(ranks * kTokens * numbers * kBytes); }

TEST(ExpertMemory, OfARankToWhichAllTokensGoGrowsByWhatArrives) {
  const int64_t h = expert_config(1).hidden_size;
  struct Case {
    std::vector<int32_t> experts;
    int ranks;
  };
  for (const auto& [experts, ranks] : {Case{{0}, 8}, Case{{0, 1}, 4}}) {  // two experts of a token on one rank
    const RankRecord few = run_ranks(routed(2, {experts}))[0], many = run_ranks(routed(ranks, {experts}))[0];
    const int64_t more = ranks - 2, k = int64_t(experts.size());
    // A forward alone has of each token one row, which came or which goes back.
    const double forward = double(many.forward_bytes - few.forward_bytes);
    EXPECT_LE(forward, most(more, h)) << k;
    EXPECT_GE(forward, 0.8 * most(more, h)) << "the control: what came is what is counted";
    // A step has every layer's rows, and of one layer their gradients, which came or go back.
    EXPECT_LE(double(many.step_bytes - few.step_bytes), most(more, (kLayers + 1) * h)) << k;
  }
}

// Between B and W as actions of their own, and in pairs, what W multiplies waits for it.
TEST(ExpertMemory, WhatALaterWMultipliesIsKept) {
  using enum ActionKind;
  ExpertCase few = routed(2, {{0, 1}}), many = routed(4, {{0, 1}});
  few.actions = many.actions = {{forward, 0, 0}, {backward_input, 0, 0}, {backward_weight, 0, 0}};
  const int64_t h = few.config.hidden_size, inner = 2 * few.config.expert_ffn_size;
  EXPECT_LE(double(run_ranks(many)[0].step_bytes - run_ranks(few)[0].step_bytes),
            most(2, kLayers * (2 * h + 3 * inner) + h));
}

// The estimate promises what is taken from the system, more than what is used at once; by as much as on one rank.
TEST(ExpertMemory, IsEstimatedForEvenlySpreadTokensAsWellAsOnOneRank) {
  double one_rank = 0;
  for (const int ranks : {1, 2, 4, 8}) {
    const RankRecord even = run_ranks(routed(ranks, {{0, 4}, {1, 5}, {2, 6}, {3, 7}}))[0];
    const double share = double(even.estimated_bytes) / double(even.step_bytes);
    if (ranks == 1) one_rank = share;
    EXPECT_NEAR(share / one_rank, 1.0, 0.1) << ranks;
  }
}

}  // namespace
}  // namespace hadal
