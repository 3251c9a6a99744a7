// Data ranks on virtual clocks: sums of gradients travel under the backward, new values under the next forward.
#include <gtest/gtest.h>

#include "optim/optimizer.h"
#include "train/clocked_step.h"
#include "train/small_step.h"
#include "train/step.h"
#include "train/step_trace.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr int kRanks = 4, kOverlapSteps = 4;
constexpr int64_t kLayers = 8;
constexpr double kComputing = kLayers * 2 * 3;  // seconds of a step

Config config_of_data_ranks() {
  Config config = small_config(Precision::fp32);
  config.model = even_model(kLayers);
  config.model.vocab_size = 50;
  config.model.hidden_size = config.model.expert_ffn_size = 64;
  config.parallel = {.dp = kRanks};
  config.train.micro_batch_sequences = 1;
  return config;
}

// What a rank sends in a step: gradients to their owners, values to all others.
int64_t bytes_of_a_step(const ModelConfig& model) {
  int64_t bytes = 0;
  for (const ParameterSpec& spec : parameter_list(model)) bytes += spec.trained ? 4 * spec.count() : 0;
  return 2 * bytes * (kRanks - 1) / kRanks;
}

struct Seen {
  double seconds = 0;  // of a step, after the first
  double loss = 0;     // of the last
  RankWaits waits;     // as the trainer would measure them
  double hidden(TrafficKind kind) const { return waits.travels[size_t(kind)].hidden(); }
};

// Attention and experts of a layer take a second each for F, B and W; the update's traffic as long as all of them.
Seen steps_of_data_ranks(bool wait_at_the_end, int64_t bucket_bytes) {
  const Config config = config_of_data_ranks();
  const double speed = double(bytes_of_a_step(config.model)) / kComputing;
  Seen seen;
  run_rank_threads(kRanks, [&](std::shared_ptr<Transport> transport) {
    OwnedExec owned(1);
    VirtualClock clock;
    transport = on_clock(transport, clock, [&](int, int) { return LinkSpeed{0, speed}; });
    RankPlace place(config.model, config.parallel, transport);
    Transformer model(config.model, model_options(config, true), owned.exec, place.share());
    model.initialize(owned.exec, 1);
    Sharding sharding(owned.exec, place.placement(), model.parameters(), transport, bucket_bytes);
    Optimizer optimizer(sharding, config.optim, owned.exec);
    Timeline timeline;
    timeline.now = [&] { return clock.now(); };
    timeline.computed = [&](const PieceEvent& event) {
      const std::string piece = event.piece;
      clock.advance(piece == "attention" || piece == "experts" ? 1 : 0);
    };
    place.travels().begin(timeline.now);
    sharding.watch(&place.travels().holders);
    double first = 0;
    for (int64_t step = 1; step <= kOverlapSteps; ++step) {
      const StepResult result = train_step(owned.exec, model, optimizer, config, batch_of({8, 8, 8, 8}), step,
                                           {.place = &place, .timeline = &timeline});
      EXPECT_EQ(result.skipped, "");
      if (wait_at_the_end) sharding.await_values(owned.exec);
      if (step == 1) first = clock.now();
      if (place.rank() == 0) seen = {(clock.now() - first) / double(kOverlapSteps - 1), result.loss};
    }
    if (place.rank() == 0) add_travels(place.travels(), seen.waits);
  });
  return seen;
}

double hidden(const Seen& seen) { return 1 - (seen.seconds - kComputing) / kComputing; }

TEST(ShardingOverlap, MostOfWhatTheUpdateSendsTravelsWhileTheRanksCompute) {
  constexpr int64_t kLayer = 4 * 4 * 3 * 64 * 64;  // the experts of a layer fill a bucket
  const Seen overlapped = steps_of_data_ranks(false, kLayer);
  EXPECT_GE(hidden(overlapped), 0.7);
  EXPECT_EQ(steps_of_data_ranks(false, kLayer).seconds, overlapped.seconds) << "the same in every run";
  // The controls: values waited for at once, and nothing sent before all gradients are complete.
  const Seen at_once = steps_of_data_ranks(true, kLayer), in_one = steps_of_data_ranks(false, INT64_MAX);
  EXPECT_LT(hidden(at_once), 0.5);
  EXPECT_LT(hidden(in_one), 0.1);
  // What is measured of each kind tells which of them it is.
  for (const TrafficKind kind : {TrafficKind::gradients, TrafficKind::values})
    EXPECT_GE(overlapped.hidden(kind), 0.6) << traffic_name(kind);
  EXPECT_LT(at_once.hidden(TrafficKind::values), 0.01);
  EXPECT_GE(at_once.hidden(TrafficKind::gradients), 0.6);
  EXPECT_LT(in_one.hidden(TrafficKind::gradients), 0.01);
  EXPECT_EQ(overlapped.loss, at_once.loss);
  EXPECT_EQ(overlapped.loss, in_one.loss);
  RecordProperty("hidden", std::to_string(hidden(overlapped)));
}

}  // namespace
}  // namespace hadal
