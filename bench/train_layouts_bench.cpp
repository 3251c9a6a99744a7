// Eight ranks as threads of this machine against one rank with all its cores, step by step in turns: the time of a
// training step of 16,384 tokens along each axis, and what each rank's memory takes beside what is promised before
// (train/resources.h).
// More ranks than cores gain nothing; the ratio is what a layout costs beside the arithmetic.
#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/text_format.h"
#include "bench/harness.h"
#include "bench/made_up_batch.h"
#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "train/rank_place.h"
#include "train/resources.h"
#include "train/step.h"

namespace hadal {
namespace {

constexpr int64_t kSequences = 64, kLength = 256;
constexpr int kSteps = 5, kStepsWithLimit = 13;  // the first warms up

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
  std::vector<double> seconds;  // of every step but the first
  double worst_share = 0;       // of the ranks: peak of memory taken / promised, the one that is farthest from 1
  int64_t peak = 0, promised = 0;
};

// Of two jobs one makes a step while the other sleeps, so that both meet the machine in the same mood.
class Turns {
 public:
  void await(int job) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return turn_ == job || left_; });
  }
  void pass_on(int job) {
    set([&] { turn_ = 1 - job; });
  }
  // Also after an error: nobody waits for this job any more.
  void leave() {
    set([&] { left_ = true; });
  }

 private:
  template <class Change>
  void set(const Change& change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  int turn_ = 0;
  bool left_ = false;
};

void run_rank(const Config& config, std::shared_ptr<Transport> transport, int threads, int steps, Turns& turns, int job,
              Measured& measured) {
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
  const bool first = place.rank() == 0;
  for (int step = 1; step <= steps; ++step) {
    if (first) turns.await(job);
    place.world().barrier();
    const double begin = steady_seconds();
    train_step(own.exec, model, optimizer, config, batch, step, {.place = &place});
    place.world().barrier();
    if (first && step > 1) measured.seconds.push_back(steady_seconds() - begin);
    if (first) turns.pass_on(job);
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

void measure(const std::string& layout, const Row& row, int steps, Turns& turns, int job, Measured& measured) {
  Config config = bench_config(row.dense, row.micro_batch);
  config.parallel = parse_layout(layout);
  config.parallel.drift_steps = 0;
  const int n = int(config.parallel.ranks()), cores = std::max(1, int(std::thread::hardware_concurrency()));
  measured.worst_share = 1;
  run_rank_threads(n, [&](std::shared_ptr<Transport> transport) {
    run_rank(config, transport, n == 1 ? cores : std::max(1, cores / n), steps, turns, job, measured);
  });
}

void measure_in_turns(const Row& row, int steps, Measured& one, Measured& many) {
  Turns turns;
  std::exception_ptr failed;
  std::thread alone([&] {
    try {
      measure("dp=1", row, steps, turns, 0, one);
    } catch (...) {
      failed = std::current_exception();
    }
    turns.leave();
  });
  try {
    measure(row.layout, row, steps, turns, 1, many);
  } catch (...) {
    failed = std::current_exception();
  }
  turns.leave();
  alone.join();
  if (failed) std::rethrow_exception(failed);
}

// Of neighbours in time, whose machine is the same.
double median_ratio(const std::vector<double>& many, const std::vector<double>& one) {
  std::vector<double> ratios;
  for (size_t i = 0; i < many.size(); ++i) ratios.push_back(many[i] / one[i]);
  return bench::median(std::move(ratios));
}

// wanted: layouts to measure: their rows of the table, or where it has none with experts and dense in small and large
// micro-batches; all rows without.
int run(const std::vector<std::string>& wanted) {
  std::vector<Row> rows = wanted.empty() ? kRows : std::vector<Row>();
  for (const std::string& layout : wanted) {
    const size_t before = rows.size();
    std::ranges::copy_if(kRows, std::back_inserter(rows), [&](const Row& row) { return row.layout == layout; });
    if (rows.size() > before) continue;
    for (const int64_t micro_batch : {4, 16})
      for (const bool dense : {false, true}) rows.push_back({layout, dense, 0, micro_batch});
  }
  fmt::print("{} tokens a step, FP32, {} cores; medians of steps in turns with one rank, ratios of neighbours\n\n",
             kSequences * kLength, std::thread::hardware_concurrency());
  fmt::print("{:<29} {:>13} {:>8} {:>8} {:>6} {:>6} {:>20} {:>9} {:>6}\n", "layout", "micro-batches", "step, s",
             "one rank", "ratio", "limit", "worst rank's memory", "promised", "share");
  bool held = true;
  for (const Row& row : rows) {
    Measured one, many;
    measure_in_turns(row, row.limit > 0 ? kStepsWithLimit : kSteps, one, many);
    const double ratio = median_ratio(many.seconds, one.seconds);
    fmt::print("{:<29} {:>13} {:>8.3f} {:>8.3f} {:>6.2f} {:>6} {:>20} {:>9} {:>6.2f}\n",
               row.layout + (row.dense ? ", dense" : ""),
               fmt::format("{} x {}", kSequences / row.micro_batch, row.micro_batch * kLength),
               bench::median(many.seconds), bench::median(one.seconds), ratio,
               row.limit > 0 ? fmt::format("{:.2f}", row.limit) : "", format_bytes(double(many.peak)),
               format_bytes(double(many.promised)), many.worst_share);
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
