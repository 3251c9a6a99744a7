// Who holds what of a model.
#include "layout/placement.h"

#include <gtest/gtest.h>

#include <array>
#include <cctype>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/expect_error.h"
#include "config/config_io.h"

namespace hadal {
namespace {

ModelConfig model_of(int64_t layers, int64_t experts = 8, int64_t mtp = 1) {
  ModelConfig m;
  m.vocab_size = 100, m.hidden_size = 16, m.n_layers = layers, m.n_heads = 2, m.kv_lora_rank = 8, m.q_lora_rank = 8;
  m.n_routed_experts = experts, m.n_experts_per_token = 2, m.n_groups = 4, m.n_limited_groups = 2, m.n_mtp = mtp;
  m.dense_ffn_size = 32, m.expert_ffn_size = 8, m.n_dense_layers = 1;
  return m;
}

const ParameterSpec& spec_of(const Placement& placement, const std::string& name) {
  for (const ParameterSpec& spec : placement.specs())
    if (spec.name == name) return spec;
  throw std::runtime_error("no " + name);
}

TEST(Placement, EveryElementIsHeldAndItsHoldersHaveTheStageThatReadsIt) {
  for (const char* layout : {"dp=2", "dp=2,pp=3", "dp=4,ep=2,pp=2,schedule=dualpipe", "pp=2,schedule=dualpipev",
                             "tp=2,cp=3", "dp=2,tp=2,cp=2,ep=4,pp=2", "dp=2,ep=2,pp=2,schedule=interleaved,chunks=2"}) {
    const Placement placement(model_of(6), parse_layout(layout));
    for (const ParameterSpec& spec : placement.specs()) {
      int64_t count = 0;
      for (const Holding& holding : placement.holdings(spec)) {
        count += holding.box.count();
        ASSERT_FALSE(holding.ranks.empty()) << layout << " " << spec.name;
        for (const int rank : holding.ranks) {
          EXPECT_EQ(placement.holding_of(spec, rank)->box, holding.box);
          bool reads = false;
          for (const auto& [number, part] : placement.stages_of(rank)) {
            const bool layer = spec.layer >= part.first_layer && spec.layer < part.end_layer;
            reads = reads || layer || (part.head && (spec.layer < 0 || spec.layer >= 6)) ||
                    (part.embedding && spec.name == "embedding");
          }
          EXPECT_TRUE(reads) << layout << " " << spec.name << " on rank " << rank;
        }
      }
      EXPECT_EQ(count, spec.count()) << layout << " " << spec.name;
    }
  }
}

TEST(Placement, CopiesAreHeldTogether) {
  const Placement dual(model_of(6), parse_layout("dp=2,pp=4,schedule=dualpipe"));
  // Stage 1 of 4 lies on ranks 1 and 2 of the pipeline, two data ranks each.
  const StagePart& part = dual.parts()[1];
  const auto& spec = spec_of(dual, fmt::format("layers.{}.attention_norm", part.first_layer));
  EXPECT_EQ(dual.holdings(spec)[0].ranks, (std::vector<int>{2, 3, 4, 5}));
  // The ends share embedding and head in DualPipe; in 1F1B MTP's embedding is a copy.
  EXPECT_EQ(dual.holdings(spec_of(dual, "embedding"))[0].ranks, (std::vector<int>{0, 1, 6, 7}));
  const Placement plain(model_of(6), parse_layout("pp=4"));
  EXPECT_EQ(plain.holdings(spec_of(plain, "embedding"))[0].ranks, (std::vector<int>{0, 3}));
  EXPECT_EQ(plain.holdings(spec_of(plain, "head"))[0].ranks, (std::vector<int>{3}));
  const Placement no_mtp(model_of(6, 8, 0), parse_layout("pp=4"));
  EXPECT_EQ(no_mtp.holdings(spec_of(no_mtp, "embedding"))[0].ranks, (std::vector<int>{0}));
}

TEST(Placement, ExpertsAreSpreadAndTheirReplicasDerived) {
  const Placement placement(model_of(4), parse_layout("dp=4,ep=2,pp=2"));
  const auto holdings = placement.holdings(spec_of(placement, "layers.1.moe.experts.up"));
  ASSERT_EQ(holdings.size(), 2u);
  EXPECT_EQ(holdings[1].box.begin[0], 4);
  EXPECT_EQ(holdings[1].box.size[0], 4);
  EXPECT_EQ(holdings[0].ranks, (std::vector<int>{0, 2}));
  EXPECT_EQ(holdings[1].ranks, (std::vector<int>{1, 3}));
}

TEST(Placement, StagesHaveEvenWork) {
  const Config v3 = load_config(std::string(HADAL_SOURCE_DIR) + "/configs/deepseek-v3-671b.toml");
  const auto parts = stage_parts(v3.model, 16);
  int64_t next = 0, most = 0;
  for (const StagePart& part : parts) {
    EXPECT_EQ(part.first_layer, next);
    next = part.end_layer;
    most = std::max(most, part.end_layer - part.first_layer);
  }
  EXPECT_EQ(next, 61);
  EXPECT_EQ(most, 4);  // as in the report's profile
  EXPECT_TRUE(parts.front().embedding && parts.back().head && !parts[7].head && !parts[7].embedding);
  EXPECT_LT(parts.back().end_layer - parts.back().first_layer, 4);  // head and MTP weigh more than a layer
}

TEST(Placement, RefusesWhatAModelCannotHave) {
  const auto place = [](const char* text) { return Placement(model_of(4), parse_layout(text)); };
  EXPECT_ERROR(place("pp=5"), ErrorKind::invalid, "5 stages for a model of 4 layers", "pp = 4 is the most");
  EXPECT_ERROR(place("pp=3,schedule=dualpipev"), ErrorKind::invalid, "6 stages", "pp = 2 is the most");
  EXPECT_ERROR(place("pp=6,schedule=dualpipe"), ErrorKind::invalid, "6 stages", "pp = 4 is the most");
  EXPECT_ERROR(place("pp=2,schedule=interleaved,chunks=5"), ErrorKind::invalid, "10 stages", "1f1b pp = 4");
  EXPECT_ERROR(place("pp=3,schedule=dualpipe"), ErrorKind::invalid, "2 and 4 are the nearest");
  EXPECT_ERROR(place("schedule=dualpipe"), ErrorKind::invalid, "over 1 ranks: it needs 2 or more");
  EXPECT_ERROR(place("pp=2,schedule=interleaved"), ErrorKind::invalid, "it needs 2 or more");
  EXPECT_ERROR(place("pp=2,schedule=twopipe"), ErrorKind::invalid, "no schedule is called 'twopipe'");
  EXPECT_ERROR(place("tp=3"), ErrorKind::invalid, "2 heads", "tp = 2 is the most");
  EXPECT_ERROR(Placement(model_of(4, 0), parse_layout("dp=2,ep=2")), ErrorKind::invalid, "no routed experts",
               "ep = 1 fits");
}

// What is named as the nearest fits indeed, beside all other axes.
TEST(Placement, NamesTheNearestNumberOfExpertRanksThatFits) {
  const auto place = [](const std::string& text) { return Placement(model_of(4), parse_layout(text)); };
  for (const auto& [layout, ep, why, nearest] : std::vector<std::array<std::string, 4>>{
           {"dp=6", "4", "does not divide the dp * cp * tp = 6 ranks of a stage", "ep = 2 fits"},
           {"dp=3", "3", "does not divide the 8 experts", "ep = 1 fits"},
           {"dp=24", "6", "does not divide the 8 experts", "ep = 4 and 8 fit"},
           {"dp=8,node_ranks=1", "8", "8 nodes", "ep = 4 fits"},
           {"dp=8,node_ranks=3", "4", "no multiple of node_ranks = 3", "ep = 2 fits"},
           {"dp=24,node_ranks=3", "4", "no multiple of node_ranks = 3", "ep = 2 fits"}}) {
    EXPECT_ERROR(place(layout + ",ep=" + ep), ErrorKind::invalid, why.c_str(), nearest.c_str());
    for (const char digit : nearest)
      if (std::isdigit(static_cast<unsigned char>(digit))) {
        EXPECT_NO_THROW(place(layout + ",ep=" + digit)) << layout;
      }
  }
  EXPECT_ERROR(place("dp=2,node_ranks=-1"), ErrorKind::invalid, "node_ranks = -1");
}

TEST(Placement, StepsTakeAsManyMicroBatchesAsTheScheduleNeeds) {
  const auto fitting = [](const char* text, int64_t n) {
    return Placement(model_of(4), parse_layout(text)).pipeline(n).n_micro_batches;
  };
  EXPECT_EQ(fitting("dp=2", 3), 3);
  EXPECT_EQ(fitting("pp=2", 1), 1);
  EXPECT_EQ(fitting("pp=2,schedule=interleaved,chunks=2", 3), 4);
  EXPECT_EQ(fitting("pp=2,schedule=dualpipe", 1), 4);
  EXPECT_EQ(fitting("pp=2,schedule=dualpipe", 7), 8);
  EXPECT_EQ(fitting("pp=2,schedule=dualpipev", 5), 5);
}

}  // namespace
}  // namespace hadal
