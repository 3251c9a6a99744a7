// What ranks send each other in a step, axis by axis: exactly what its formula says (docs/parallelism.md).
#include <gtest/gtest.h>

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

// Bytes sent by all ranks, by the name of the group and the operation: "all_gather of holders 0 1".
using Sent = std::map<std::string, int64_t>;

class CountingTransport : public TransportOver {
 public:
  CountingTransport(std::shared_ptr<Transport> inner, Sent& sent, std::mutex& mutex)
      : TransportOver(std::move(inner)), sent_(sent), mutex_(mutex) {}
  void send(int to, Message message) override {
    {
      const std::lock_guard lock(mutex_);
      sent_[message.label.operation] += message.bytes;
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
  config.model.n_mtp = 0;
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

int64_t of(const Sent& sent, const std::string& part) {
  int64_t bytes = 0;
  for (const auto& [operation, n] : sent)
    if (operation.find(part) != std::string::npos) bytes += n;
  return bytes;
}

int64_t rows_of(const data::Batch& batch) { return batch.n_tokens(); }

TEST(Traffic, DataRanksSendEveryGradientAndEveryValueToOneLessThanAll) {
  for (const int n : {2, 3}) {
    const Config config = case_of(fmt::format("dp={}", n));
    int64_t bytes = 0;
    for (const ParameterSpec& spec : parameter_list(config.model)) bytes += spec.trained ? 4 * spec.count() : 0;
    const Sent sent = sent_in_a_step(config, batch_of({9, 4, 12, 2}));
    EXPECT_EQ(of(sent, "reduce_scatter of holders"), (n - 1) * bytes);
    EXPECT_EQ(of(sent, "all_gather of holders"), (n - 1) * bytes);
  }
}

TEST(Traffic, PipelinesSendEveryStateOverEveryBorderAndItsGradientBack) {
  for (const auto& [layout, borders] :
       std::map<std::string, int64_t>{{"pp=4", 3},
                                      {"pp=2,schedule=interleaved,chunks=2", 3},
                                      {"pp=4,schedule=dualpipe", 3},
                                      {"pp=2,schedule=dualpipev", 2}}) {  // the V's bottom lies on one rank
    const Config config = case_of(layout);
    const data::Batch batch = batch_of({9, 4, 12, 2, 7});
    const Sent sent = sent_in_a_step(config, batch);
    const int64_t bytes = borders * rows_of(batch) * config.model.hidden_size * 4;
    EXPECT_EQ(of(sent, "pipeline activations"), bytes) << layout;
    EXPECT_EQ(of(sent, "pipeline gradients"), bytes) << layout;
  }
}

// Latents of keys to all other ranks of the sequence, and the sums of their gradients back; the balance loss adds up
// the choices of each sequence.
TEST(Traffic, ContextRanksSendLatentsNotStates) {
  for (const int n : {2, 3}) {
    Config config = case_of(fmt::format("cp={}", n));
    config.train.balance_alpha = 0;
    const ModelConfig& m = config.model;
    const data::Batch batch = batch_of({9, 4, 12, 2});
    const Sent sent = sent_in_a_step(config, batch);
    const int64_t latents = m.n_layers * rows_of(batch) * (m.kv_lora_rank + m.qk_rope_head_dim) * 4;
    EXPECT_EQ(of(sent, "of context"), 2 * (n - 1) * latents);
  }
}

// Of attention the latents of queries and keys, its result's parts, and back; of a dense FFN its rows and parts; of the
// vocabulary rows of embedding and states, parts of sums, and four numbers a row. With four ranks as with two.
TEST(Traffic, TensorRanksSendLatentsRowsAndParts) {
  for (const int n : {2}) {
    Config config = case_of(fmt::format("tp={}", n));
    config.train.balance_alpha = 0;
    const ModelConfig& m = config.model;
    const data::Batch batch = batch_of({9, 4, 12, 2});
    const Sent sent = sent_in_a_step(config, batch);
    const int64_t latents = m.n_layers * (m.q_lora_rank + m.kv_lora_rank + m.qk_rope_head_dim),
                  attention = m.n_layers * m.hidden_size, dense = m.n_dense_layers * 2 * m.hidden_size,
                  vocabulary = 2 * m.hidden_size;
    const int64_t numbers = 2 * (latents + attention + dense + vocabulary);
    EXPECT_EQ(of(sent, "of tensor"), (n - 1) * rows_of(batch) * (numbers * 4 + n * 4 * 4));
  }
}

}  // namespace
}  // namespace hadal
