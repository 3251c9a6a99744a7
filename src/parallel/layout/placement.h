// Placement: which rank of a layout holds what of a model. Every rank computes the same one from the configuration, so
// nobody asks: gradients are added over a box's holders, who share its update (optim/sharding.h), checkpoints find
// each element's owner, and `hadal inspect --layout` prints it before anything is allocated.
#pragma once
#include <optional>
#include <vector>

#include "arch/box.h"
#include "layout/mesh.h"
#include "layout/stage_parts.h"
#include "schedule/pipeline.h"

namespace hadal {

struct Holding {
  Box box;
  std::vector<int> ranks;  // that hold it, ascending
};

struct HeldStage {
  int64_t number = 0;  // of all stages of the model
  StagePart part;
};

class Placement {
 public:
  // Throws invalid, with the numbers and the nearest that fit, for a layout that this model cannot have.
  Placement(const ModelConfig& model, const ParallelConfig& parallel);

  const ModelConfig& model() const { return model_; }
  const Mesh& mesh() const { return mesh_; }
  const std::vector<ParameterSpec>& specs() const { return specs_; }  // all of the model
  const std::vector<StagePart>& parts() const { return parts_; }      // by stage

  std::vector<HeldStage> stages_of(int64_t rank) const;
  std::vector<Holding> holdings(const ParameterSpec& spec) const;  // in the order of their boxes
  std::optional<Holding> holding_of(const ParameterSpec& spec, int64_t rank) const;

  // The pipeline of a step with so many micro-batches for each data rank, or the next number that the schedule takes.
  Pipeline pipeline(int64_t n_micro_batches) const;

 private:
  std::vector<Box> boxes(const ParameterSpec& spec) const;
  std::vector<int64_t> pipeline_seats(const ParameterSpec& spec) const;  // that hold it, ascending

  ModelConfig model_;
  Mesh mesh_;
  Pipeline pipeline_;
  std::vector<ParameterSpec> specs_;
  std::vector<StagePart> parts_;
};

}  // namespace hadal
