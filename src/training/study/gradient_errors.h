// How far a model's gradients are from those of FP64 with the same weights, the same batch and the same routes (a token
// that another expert gets would be another model, not a rounding).
#pragma once
#include <map>
#include <memory>
#include <string>

#include "model/transformer.h"

namespace hadal {

struct GradientErrors {
  double all = 0;                         // ||gradient - gradient in FP64|| / ||gradient in FP64||, of all parameters
  std::map<std::string, double> by_kind;  // the same of "attention.o" and the like, of all layers together
  double loss = 0, loss_in_fp64 = 0;      // of the batch
};

class GradientReference {
 public:
  // Weights of the losses: main's mean and, of each MTP depth, its own times lambda / depths.
  GradientReference(const ModelConfig& config, const Exec& exec, const MicroBatch& batch, double lambda = 0);

  // The model's gradients hold those of the batch afterwards; a step that begins overwrites them.
  GradientErrors errors_of(Transformer& model);
  const MicroBatch& batch() const { return batch_; }
  const LossWeights& weights() const { return weights_; }
  void scale_losses(double scale);  // as if their means were over 1 / scale as many tokens

 private:
  const Exec& exec_;
  MicroBatch batch_;
  LossWeights weights_;
  std::unique_ptr<Transformer> model_;
};

// One micro-batch's means as losses.
LossWeights mean_weights(const MicroBatch& batch, int64_t n_mtp, double lambda);
// The values that masters of `to` take from those of `from`, of the same model in another precision.
void copy_weights(const Exec& exec, const Transformer& from, Transformer& to);

}  // namespace hadal
