// What ranks send each other in a step: between any two of them exactly what each_transfer() says.
#include "train/traffic.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <mutex>

#include "comm/rank_threads.h"
#include "comm/transport_over.h"
#include "config/config_io.h"
#include "train/rank_place.h"
#include "train/small_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;

// Bytes, by kind, sender and receiver.
using Sent = std::map<std::array<int64_t, 3>, double>;

// Operations are called after what they do and the group that does it: "all_gather of holders 0 1".
std::optional<TrafficKind> kind_of(const std::string& operation) {
  const std::pair<const char*, TrafficKind> words[] = {{"reduce_scatter of holders", TrafficKind::gradients},
                                                       {"all_gather of holders", TrafficKind::values},
                                                       {"pipeline", TrafficKind::pipeline},
                                                       {"experts", TrafficKind::experts},
                                                       {"of tensor", TrafficKind::tensor},
                                                       {"of context", TrafficKind::context},
                                                       {"sums of tensor", TrafficKind::tensor},
                                                       {"sums of context", TrafficKind::context}};
  for (const auto& [word, kind] : words)
    if (operation.find(word) != std::string::npos) return kind;
  EXPECT_NE(operation.find("all ranks"), std::string::npos) << operation;
  return std::nullopt;
}

class CountingTransport : public TransportOver {
 public:
  CountingTransport(std::shared_ptr<Transport> inner, Sent& sent, std::mutex& mutex)
      : TransportOver(std::move(inner)), sent_(sent), mutex_(mutex) {}
  void send(int to, Message message) override {
    if (const auto kind = kind_of(message.label.operation); kind && message.bytes > 0) {
      const std::lock_guard lock(mutex_);
      sent_[{int64_t(*kind), rank(), to}] += double(message.bytes);
    }
    TransportOver::send(to, std::move(message));
  }

 private:
  Sent& sent_;
  std::mutex& mutex_;
};

Config case_of(const std::string& layout) {
  Config config = small_config(Precision::fp32);
  config.model.n_layers = 4;
  config.model.n_dense_layers = 2;
  config.model.n_heads = 3;
  config.train.micro_batch_sequences = 1;
  config.parallel = parse_layout(layout);
  return config;
}

Sent sent_in_a_step(const Config& config, const data::Batch& batch) {
  Sent sent;
  std::mutex mutex;
  run_rank_threads(int(config.parallel.ranks()), [&](std::shared_ptr<Transport> transport) {
    OwnedExec owned(1);
    transport = std::make_shared<CountingTransport>(transport, sent, mutex);
    RankPlace place(config.model, config.parallel, transport);
    Transformer model(config.model, model_options(config, true), owned.exec, place.share());
    model.initialize(owned.exec, 1);
    Sharding sharding(owned.exec, place.placement(), model.parameters(), transport);
    Optimizer optimizer(sharding, config.optim, owned.exec);
    EXPECT_EQ(train_step(owned.exec, model, optimizer, config, batch, 1, {.place = &place}).skipped, "");
  });
  return sent;
}

Sent predicted(const Config& config, const data::Batch& batch) {
  std::vector<MicroBatchShape> shapes;
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    if (int64_t(i) % config.train.micro_batch_sequences == 0) shapes.emplace_back();
    SequenceShape documents;
    for (const auto& passage : batch.sequences[i].passages) documents.push_back(passage.length);
    shapes.back().push_back(batch.masked ? documents : SequenceShape{int64_t(batch.sequences[i].tokens.size())});
  }
  Sent sent;
  each_transfer(config, Placement(config.model, config.parallel), shapes,
                [&](TrafficKind kind, int64_t from, int64_t to, double bytes) {
                  if (bytes > 0) sent[{int64_t(kind), from, to}] += bytes;
                });
  return sent;
}

void expect_as_predicted(const Config& config, const data::Batch& batch) {
  const Sent found = sent_in_a_step(config, batch), wanted = predicted(config, batch);
  const std::string layout = layout_text(config.parallel);
  for (const auto& [key, bytes] : wanted) {
    const auto at = found.find(key);
    EXPECT_NEAR(at == found.end() ? 0 : at->second, bytes, 1e-6)
        << layout << ": " << traffic_name(TrafficKind(key[0])) << " from rank " << key[1] << " to " << key[2];
  }
  EXPECT_EQ(found.size(), wanted.size()) << layout;
  EXPECT_FALSE(wanted.empty()) << layout;
}

const data::Batch kBatch = batch_of({9, 4, 12, 2, 7}, true);

TEST(Traffic, BetweenAnyTwoRanksIsWhatIsPredicted) {
  for (const char* layout : {"dp=2", "dp=3", "pp=4", "pp=2,schedule=interleaved,chunks=2", "pp=2,schedule=zb1p",
                             "pp=4,schedule=dualpipe", "pp=2,schedule=dualpipev", "cp=2", "cp=3", "tp=2", "tp=3",
                             "cp=2,tp=2", "dp=2,tp=2,pp=2,schedule=zb1p", "cp=2,tp=2,pp=2,schedule=dualpipe"})
    expect_as_predicted(case_of(layout), kBatch);
}

TEST(Traffic, OfOtherModelsAndArithmeticsIsWhatIsPredicted) {
  for (const char* layout : {"dp=2,pp=2", "cp=2,tp=2"}) {
    Config config = case_of(layout);
    config.train.precision = Precision::bf16, config.train.recompute = Recompute::norms;
    config.train.micro_batch_sequences = 2;
    expect_as_predicted(config, batch_of({9, 4, 12, 2, 7}));
    config.train.precision = Precision::fp64, config.train.recompute = Recompute::all;
    config.train.balance_alpha = 0;
    config.model.q_lora_rank = 0, config.model.n_routed_experts = 0, config.model.tie_embeddings = true;
    expect_as_predicted(config, kBatch);
  }
}

// Where every token visits all experts, even routing is what happens.
TEST(Traffic, OfExpertsIsTheExpectationOfEvenRouting) {
  for (const int64_t n_groups : {1, 2, 4}) {
    for (const char* layout : {"dp=2,ep=2", "dp=4,ep=2", "dp=4,ep=4,node_ranks=2", "tp=2,ep=2",
                               "dp=2,pp=2,ep=2,schedule=dualpipe", "dp=2,cp=2,ep=4"}) {
      Config config = case_of(layout);
      config.model.n_experts_per_token = config.model.n_routed_experts;
      config.model.n_groups = config.model.n_limited_groups = n_groups;
      if (n_groups == 4) config.model.group_score = GroupScore::max;
      if (n_groups < 2 && config.parallel.node_ranks > 0) continue;  // its groups would not lie whole on nodes
      expect_as_predicted(config, kBatch);
    }
  }
}

// Codes go to experts and gradients' codes back, a byte a number and a byte a scale, which is a power of two; new
// values of parameters that are only multiplied as codes travel as masters.
TEST(Traffic, OfFp8IsWhatIsPredicted) {
  for (const auto& [layout, precision] : {std::pair("dp=2", Precision::fp8),
                                          {"dp=2,pp=2,schedule=zb1p", Precision::fp8},
                                          {"cp=2", Precision::fp8},
                                          {"dp=2,ep=2", Precision::fp8},
                                          {"dp=4,ep=4,node_ranks=2", Precision::fp8},
                                          {"dp=2,ep=2", Precision::mxfp8}}) {
    Config config = case_of(layout);
    config.train.precision = precision;
    config.model.n_experts_per_token = config.model.n_routed_experts;
    config.model.n_groups = config.model.n_limited_groups = 2;
    expect_as_predicted(config, kBatch);
    config.fp8.high = {"experts_gate_up"};  // rows go there as values, their gradients come back as codes
    expect_as_predicted(config, kBatch);
    config.fp8.high = {"experts_down", "kv_b"};
    expect_as_predicted(config, kBatch);
  }
}

// The rows of a wide model's tokens go to experts in 0.504 of BF16's bytes, 7168 codes and 56 scales beside 14336; sums
// of outputs come back in BF16.
TEST(Traffic, OfFp8ToExpertsIsHalfOfBf16s) {
  Config config = case_of("dp=2,ep=2");
  ModelConfig& m = config.model;
  m.hidden_size = 7168, m.n_layers = 1, m.n_dense_layers = 0, m.n_mtp = 0;
  m.n_experts_per_token = m.n_routed_experts, m.n_groups = m.n_limited_groups = 1;
  config.train.batch_sequences = 1;
  const data::Batch batch = batch_of({9});  // of rank 0 alone
  const auto bytes = [&](Precision precision, int64_t from, int64_t to) {
    config.train.precision = precision;
    return predicted(config, batch)[{int64_t(TrafficKind::experts), from, to}];
  };
  const double tokens = 9, pairs = 9 * double(m.n_routed_experts) / 2, rows = 2 * tokens;  // x, and dy
  const double lists = 16 + 4 * tokens + 8 * pairs;                                        // counts, experts, weights
  EXPECT_EQ(bytes(Precision::fp8, 0, 1), rows * (7168 + 56) + lists);
  EXPECT_EQ(bytes(Precision::bf16, 0, 1), rows * 14336 + lists);
  EXPECT_EQ(bytes(Precision::fp8, 1, 0), bytes(Precision::bf16, 1, 0));
}

}  // namespace
}  // namespace hadal
