// StepTrace: where the time of a rank's steps goes. Each step tells how much of it was spent waiting for pipeline
// neighbours, for experts' rows and for ranks that share the update, over all ranks, and of every kind of traffic how
// much was hidden behind computing; the first steps are kept piece by piece and written as a Chrome trace
// (chrome://tracing, ui.perfetto.dev): a row for each rank.
#pragma once
#include <array>
#include <string>

#include "model/timeline.h"
#include "optim/sharding.h"
#include "train/rank_place.h"
#include "train/traffic.h"

namespace hadal {

class OpenDevice;

// Shares of a step's forward and backward, the mean of all ranks.
struct StepWaits {
  double pipeline = 0;  // waiting for a neighbour's activations or gradients: the bubble, as it is felt
  double data = 0;      // waiting for ranks that share the update: for sums of gradients and for new values
  double experts = 0;   // waiting for rows of experts on other ranks
  // By TrafficKind: seconds that each was under way to a rank and that the rank waited then, of all ranks together.
  std::array<TravelTimes, std::size(kTrafficKinds)> travels = {};
};

// Of one rank.
struct RankWaits {
  double pipeline = 0, data = 0, experts = 0;  // seconds spent waiting
  std::array<TravelTimes, std::size(kTrafficKinds)> travels = {};
};
// pipeline, data and experts, of events in the order in which they happened.
RankWaits waits_of(const std::vector<PieceEvent>& events);
void add_travels(const RankTravels& travels, RankWaits& waits);
// Of a step that took so many seconds.
StepWaits shares_of(const std::vector<RankWaits>& ranks, double seconds);

class StepTrace {
 public:
  static constexpr int64_t kSteps = 3;  // that a trace holds

  // file: of the trace; empty: none is written. device: where the pieces run, waited for behind each piece of the steps
  // that are kept, so that a piece has the time that it took and not that in which it was queued; null: this CPU.
  StepTrace(RankPlace& place, std::string file, OpenDevice* device = nullptr);

  // Where the step that runs is noted. sharding: of the ranks that share the update; or null.
  Timeline& begin_step(Sharding* sharding);
  // After a step, on all ranks: what it waited; after the last of kSteps the file is written.
  StepWaits end_step(double seconds);
  void finish();  // writes what there is, when fewer steps were made

 private:
  void write();

  RankPlace& place_;
  std::string file_;
  OpenDevice* device_;
  Timeline timeline_;
  double origin_ = 0;  // of the times of all ranks
  std::vector<PieceEvent> kept_;
  int64_t steps_ = 0;
  bool written_ = false;
};

}  // namespace hadal
