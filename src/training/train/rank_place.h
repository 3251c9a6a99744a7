// RankPlace: one rank in a layout. It knows what the rank holds, with whom it computes, which micro-batches of a global
// batch are its business and in which order it works on them. The trainer, validation and the check of layouts ask it
// and know no axis by name.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "comm/group.h"
#include "config/config.h"
#include "layout/placement.h"
#include "model/transformer.h"

namespace hadal {

// Of a configuration whose vocabulary may be the tokenizer's, not known yet. Throws invalid as Placement does.
Placement placement_of(const Config& config);

// Throws invalid, naming a layout near this one, where another number of ranks was started than it has.
void check_started(const Placement& placement, int64_t started);

// What comes to a rank from its partners along each axis, and from those that hold the same parameters.
struct RankTravels {
  TravelLog tensor, context, experts, pipeline, holders;
  void begin(const std::function<double()>& now) {  // anew, by this clock
    for (TravelLog* log : {&tensor, &context, &experts, &pipeline, &holders}) *log = {.now = now};
  }
};

class RankPlace {
 public:
  // Throws invalid where the transport has another number of ranks than the layout, or the model cannot have it.
  RankPlace(const ModelConfig& model, const ParallelConfig& parallel, std::shared_ptr<Transport> transport);
  RankPlace(const RankPlace&) = delete;
  RankPlace& operator=(const RankPlace&) = delete;

  const Placement& placement() const { return placement_; }
  const std::shared_ptr<Transport>& transport() const { return transport_; }
  Group& world() { return world_; }
  RankTravels& travels() { return travels_; }  // noted from its begin() on; of holders, where a Sharding is told to
  int rank() const { return world_.rank(); }
  ModelShare share() const;        // for the model of this rank, which must not outlive this
  bool holds_whole_model() const;  // so that it can generate alone
  std::string name() const;        // "rank 3 (pipeline 1, data 0)"; of one rank "rank 0"

  // Of the global batch's micro-batches number j is the business of data rank j mod dp. All data ranks work on equally
  // many, and on as many as the schedule needs: what is missing are micro-batches of no rows.
  struct Work {
    std::vector<MicroBatch> batches;
    std::vector<int64_t> numbers;  // of each in the global batch; -1: of no rows
    Actions actions;
  };
  Work training_work(const std::vector<MicroBatch>& global) const;
  Work forward_work(const std::vector<MicroBatch>& global) const;  // forward alone
  // What a user should know of a run in this layout: fillers in its next step, samples that cannot be written.
  std::vector<std::string> notes(const Config& config, int64_t next_step) const;

 private:
  std::unique_ptr<Group> group_of(const char* axis, const std::vector<int>& members, TravelLog& log) const;
  Work deal(const std::vector<MicroBatch>& global, int64_t n_own) const;

  std::shared_ptr<Transport> transport_;
  Placement placement_;
  Group world_;
  Seat seat_;
  RankTravels travels_;
  std::unique_ptr<Group> tensor_, context_, experts_, experts_across_, experts_within_, activations_, gradients_;
};

}  // namespace hadal
