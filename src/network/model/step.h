// ModelStep: one micro-batch through the whole model: forward, losses and, in training, the backward in the order that
// frees memory earliest. Holds what the passes share; the layers themselves know nothing of the model.
#pragma once
#include "model/parts.h"
#include "model/transformer.h"

namespace hadal {

class ModelStep {
 public:
  ModelStep(const ModelParts& parts, const Run& run, const MicroBatch& batch, RouteReplay* routes,
            Observer observer = {});

  LossSums forward(std::vector<double>* log_probs);
  LossSums forward_backward(const LossWeights& weights);

 private:
  struct Depth {  // one MTP module's part
    MtpRows rows;
    MtpModule::Saved saved;
    Tensor dh;  // gradient of its final state
  };

  Tensor block_input(const MicroBatch& batch) const;
  Tensor run_block(size_t layer, const Rows& rows, const Tensor& x, Block::Saved& saved);
  void see(const std::string& name, const Tensor& value) const;
  void see_block(size_t layer, const Block& block, const Block::Saved& saved, const Tensor& y) const;
  void prepare_routes(const Block& block, Block::Saved& saved);
  void record_routes(const Block& block, const Block::Saved& saved);
  void skip_depth(const Block& block);
  Tensor forward_layers();  // returns the state after the final norm
  Tensor forward_depth(size_t k, const Tensor& previous);
  void backward_depths();
  void backward_layers();
  static Rows rows_of(const MicroBatch& batch);

  const ModelParts& parts_;
  const Run& run_;
  const MicroBatch& batch_;
  RouteReplay* routes_;
  Observer observer_;
  size_t n_routed_ = 0;  // MoE layers executed so far
  LossSums sums_;
  std::vector<Block::Saved> saved_;
  Norm::Saved final_norm_;
  Tensor dh_;  // gradient of the main state after the final norm
  std::vector<Depth> depths_;
};

// Fails with invalid, naming the row, when ids, positions, targets or bounds of a micro-batch cannot be run.
void check_batch(const MicroBatch& batch, const ModelConfig& config);

}  // namespace hadal
