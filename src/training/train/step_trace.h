// StepTrace: where the time of a rank's steps goes. Each step tells how much of it was spent waiting for pipeline
// neighbours and for experts' rows, over all ranks; the first steps are kept piece by piece and written as a Chrome
// trace (chrome://tracing, ui.perfetto.dev): a row for each rank.
#pragma once
#include <string>

#include "model/timeline.h"
#include "train/rank_place.h"

namespace hadal {

class OpenDevice;

// Shares of a step's forward and backward, the mean of all ranks.
struct StepWaits {
  double pipeline = 0;  // waiting for a neighbour's activations or gradients: the bubble, as it is felt
  double data = 0;      // waiting for ranks that share the update: for sums of gradients and for new values
  double experts = 0;   // waiting for rows of experts on other ranks
  double hidden = 0;    // of the time that such rows were under way, what was spent computing; 0: none travelled
};

// Of one rank's events, in the order in which they happened, in seconds.
struct RankWaits {
  double pipeline = 0, data = 0, experts = 0;  // spent waiting
  double under_way = 0;                        // that rows of experts were
};
RankWaits waits_of(const std::vector<PieceEvent>& events);
// Of a step that took so many seconds.
StepWaits shares_of(const std::vector<RankWaits>& ranks, double seconds);

class StepTrace {
 public:
  static constexpr int64_t kSteps = 3;  // that a trace holds

  // file: of the trace; empty: none is written. device: where the pieces run, waited for behind each piece of the steps
  // that are kept, so that a piece has the time that it took and not that in which it was queued; null: this CPU.
  StepTrace(RankPlace& place, std::string file, OpenDevice* device = nullptr);

  Timeline& timeline() { return timeline_; }  // of the step that runs
  // After a step, on all ranks: what it waited; after the last of kSteps the file is written.
  StepWaits end_step(double seconds);
  void finish();  // writes what there is, when fewer steps were made

 private:
  void write();

  RankPlace& place_;
  std::string file_;
  OpenDevice* device_;
  Timeline timeline_;
  std::vector<PieceEvent> kept_;
  int64_t steps_ = 0;
  bool written_ = false;
};

}  // namespace hadal
