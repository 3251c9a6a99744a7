// One optimizer step, readable aloud: divide the global batch, forward and backward each part, look at the gradients,
// clip, update, move the experts' biases. The global batch is defined first, so its division changes nothing but
// memory.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/batch.h"
#include "model/transformer.h"
#include "optim/loss_scaler.h"
#include "optim/optimizer.h"

namespace hadal {

struct DomainLoss {  // of the targets of one domain
  double loss = 0;   // their mean -log p, weighted as in the whole; 0 without any
  int64_t targets = 0;
};

struct StepResult {
  int64_t step = 0;
  double loss = 0;                  // mean -log p over the global batch's targets
  std::vector<DomainLoss> domains;  // where sources have several: the weighted mean of these is the loss
  std::vector<double> mtp_loss;     // the same per depth
  double balance_loss = 0;          // weighted by alpha
  double lr = 0, lambda = 0, gamma = 0;
  GradientNorms norms;
  int64_t sequences = 0, tokens = 0, targets = 0;
  bool dialogues = false;                  // some of its tokens are samples of dialogues
  int64_t padding = 0, epoch = 0;          // places without tokens; the latest pass over a source, from 1
  double load_max_over_mean = 0;           // worst MoE layer
  std::vector<std::vector<int64_t>> load;  // [MoE layer][expert] tokens of the global batch
  std::string skipped;                     // why no update was made, empty if one was
  bool overflowed = false;                 // it is that scaled gradients overflow: the scale reacts
  double loss_scale = 0;                   // what losses were multiplied by; 0: by nothing
  int64_t overflows = 0;                   // so far in the run
};

class RankPlace;

struct StepWants {
  LossScaler* scaler = nullptr;                // of losses, told what came of them; null: they are not scaled
  RankPlace* place = nullptr;                  // among the ranks of a layout; null: this rank computes all
  PartClock* clock = nullptr;                  // gets the times of its parts
  Timeline* timeline = nullptr;                // gets what ran when
  ProductWatch* watch = nullptr;               // looks on at its products
  std::function<void()> before_update;         // called before parameters and moments change; may be empty
  std::vector<RouteReplay>* routes = nullptr;  // of the global batch's micro-batches; a rank fills or reads its own
};

// step counts from 1. NaN or Inf in a loss, a router or a gradient: no update is made, `skipped` names the tensor. With
// a loss scale, NaN or Inf in gradients of finite losses is an overflow, which the scaler hears of; in a loss or a
// router it is none, as no scale cures it.
// The ranks of a layout each do their part of the same global batch, and all return the same result.
StepResult train_step(const Exec& exec, Transformer& model, Optimizer& optimizer, const Config& config,
                      const data::Batch& batch, int64_t step, const StepWants& wanted = {});

double load_imbalance(const std::vector<std::vector<int64_t>>& load);  // max over layers of max / mean

}  // namespace hadal
