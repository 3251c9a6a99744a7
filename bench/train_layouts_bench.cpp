// Eight ranks as threads of this machine against one rank with all its cores, in turns: the time of a training step of
// 16,384 tokens along each axis, and what each rank's memory takes beside what is promised before (train/resources.h).
// More ranks than cores gain nothing; the ratio is what a layout costs beside the arithmetic.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/text_format.h"
#include "bench/made_up_batch.h"
#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "train/rank_place.h"
#include "train/resources.h"
#include "train/step.h"

namespace hadal {
namespace {

constexpr int64_t kSequences = 64, kLength = 256;
constexpr int kRounds = 2, kRoundsWithLimit = 6, kSteps = 3;

Config bench_config(bool dense, int64_t micro_batch) {
  Config config;
  ModelConfig& m = config.model;
  m.vocab_size = 4096, m.hidden_size = 256, m.n_layers = 8, m.n_dense_layers = 1, m.n_heads = 8, m.q_lora_rank = 96;
  m.kv_lora_rank = 64, m.qk_nope_head_dim = 32, m.qk_rope_head_dim = 16, m.v_head_dim = 32, m.dense_ffn_size = 768;
  m.expert_ffn_size = 128, m.n_routed_experts = 16, m.n_shared_experts = 1, m.n_experts_per_token = 4;
  m.n_groups = m.n_limited_groups = 1, m.n_mtp = 0, m.max_positions = 4096, m.init_std = 0.02;
  if (dense) m.n_dense_layers = m.n_layers;
  config.data.sequence_length = kLength;
  config.train.precision = Precision::fp32;
  config.train.batch_sequences = kSequences;
  config.train.micro_batch_sequences = micro_batch;
  config.train.steps = 1000;
  config.parallel.drift_steps = 0;
  return config;
}

struct Measured {
  double seconds = 1e300;  // of the fastest step but the first
  double worst_share = 0;  // of the ranks: peak of memory taken / promised, the one that is farthest from 1
  int64_t peak = 0, promised = 0;
};

void run_rank(const Config& config, std::shared_ptr<Transport> transport, int threads, int steps, Measured& measured) {
  OwnedExec own(threads);
  RankPlace place(config.model, config.parallel, transport);
  const ModelOptions options = model_options(config, true);
  Transformer model(config.model, options, own.exec, place.share());
  model.initialize(own.exec, 1);
  std::unique_ptr<Sharding> sharding;
  if (transport->size() > 1)
    sharding = std::make_unique<Sharding>(own.exec, place.placement(), model.parameters(), transport);
  Optimizer optimizer =
      sharding ? Optimizer(*sharding, config.optim, own.exec) : Optimizer(model.parameters(), config.optim, own.exec);
  const data::Batch batch = bench::made_up_batch(config);
  own.exec.memory->reset_peak();  // while they were made, masters were whole
  for (int step = 1; step <= steps; ++step) {
    place.world().barrier();
    const double begin = steady_seconds();
    train_step(own.exec, model, optimizer, config, batch, step, {.place = &place});
    place.world().barrier();
    if (place.rank() == 0 && step > 1) measured.seconds = std::min(measured.seconds, steady_seconds() - begin);
  }
  const MemoryPlan plan = plan_rank_memory(config, options, place.placement(), place.rank(), threads);
  const int64_t promised = plan.in_use();
  const int64_t peak = own.exec.memory->peak_bytes();
  for (const std::string& text : place.world().exchange(fmt::format("{} {}", peak, promised))) {
    const int64_t of_peak = std::stoll(text), of_promise = std::stoll(text.substr(text.find(' ')));
    const double share = double(of_peak) / double(of_promise);
    if (place.rank() != 0 || std::abs(share - 1) < std::abs(measured.worst_share - 1)) continue;
    measured.worst_share = share, measured.peak = of_peak, measured.promised = of_promise;
  }
}

struct Row {
  std::string layout;
  bool dense = false;       // all FFNs are dense
  double limit = 0;         // over one rank; 0: none
  int64_t micro_batch = 4;  // sequences
};

// Ranks that share micro-batches get larger ones. Without a limit: experts that every rank keeps whole, each for an
// eighth of the rows.
const std::vector<Row> kRows = {{"pp=8", false, 1.15},         {"pp=4,schedule=dualpipe", false, 1.15},
                                {"dp=8,ep=8", false, 1.15},    {"dp=8", false, 1.3},
                                {"tp=8,ep=8", false, 1.3, 16}, {"tp=8", true, 1.3, 16},
                                {"tp=8,ep=8", false, 0, 4},    {"tp=8", true, 0, 4},
                                {"tp=8", false, 0, 16},        {"cp=8,ep=8", false, 0, 16},
                                {"cp=8", true, 0, 16}};

void measure(const std::string& layout, const Row& row, Measured& measured) {
  Config config = bench_config(row.dense, row.micro_batch);
  config.parallel = parse_layout(layout);
  config.parallel.drift_steps = 0;
  const int n = int(config.parallel.ranks()), cores = std::max(1, int(std::thread::hardware_concurrency()));
  measured.worst_share = 1;
  run_rank_threads(n, [&](std::shared_ptr<Transport> transport) {
    run_rank(config, transport, n == 1 ? cores : std::max(1, cores / n), kSteps, measured);
  });
}

double limit_of(const Row& wanted) {
  for (const Row& row : kRows)
    if (row.layout == wanted.layout && row.dense == wanted.dense && row.micro_batch == wanted.micro_batch)
      return row.limit;
  return 0;
}

// wanted: layouts to measure, each with experts and dense in small and large micro-batches; all rows without.
int run(const std::vector<std::string>& wanted) {
  std::vector<Row> rows = wanted.empty() ? kRows : std::vector<Row>();
  for (const std::string& layout : wanted)
    for (const int64_t micro_batch : {4, 16})
      for (const bool dense : {false, true}) {
        rows.push_back({layout, dense, 0, micro_batch});
        rows.back().limit = limit_of(rows.back());
      }
  fmt::print("{} tokens a step, FP32, {} cores; the fastest steps of each, in turns with one rank\n\n",
             kSequences * kLength, std::thread::hardware_concurrency());
  fmt::print("{:<29} {:>13} {:>8} {:>8} {:>6} {:>6} {:>20} {:>9} {:>6}\n", "layout", "micro-batches", "step, s",
             "one rank", "ratio", "limit", "worst rank's memory", "promised", "share");
  bool held = true;
  for (const Row& row : rows) {
    Measured one, many;
    const int rounds = row.limit > 0 ? kRoundsWithLimit : kRounds;
    for (int round = 0; round < rounds; ++round) measure("dp=1", row, one), measure(row.layout, row, many);
    const double ratio = many.seconds / one.seconds;
    fmt::print("{:<29} {:>13} {:>8.3f} {:>8.3f} {:>6.2f} {:>6} {:>20} {:>9} {:>6.2f}\n",
               row.layout + (row.dense ? ", dense" : ""),
               fmt::format("{} x {}", kSequences / row.micro_batch, row.micro_batch * kLength), many.seconds,
               one.seconds, ratio, row.limit > 0 ? fmt::format("{:.2f}", row.limit) : "",
               format_bytes(double(many.peak)), format_bytes(double(many.promised)), many.worst_share);
    std::fflush(stdout);  // a row takes a minute
    held = held && (row.limit == 0 || ratio <= row.limit);
  }
  fmt::print("limits: {}\n", held ? "held" : "MISSED");
  return held ? 0 : 1;
}

}  // namespace
}  // namespace hadal

// layouts to measure; those of the table without
int main(int argc, char** argv) { return hadal::run({argv + 1, argv + argc}); }
