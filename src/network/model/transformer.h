// Transformer: the weights of a whole model and the stage that computes with them, as trainer, scorer and generator use
// it. It keeps neither place nor clock: every call brings its Exec, so that a trainer and an engine may use one set of
// weights at once.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/model_config.h"
#include "layout/placement.h"
#include "model/losses.h"
#include "model/options.h"
#include "model/pipeline_links.h"
#include "nn/micro_batch.h"
#include "nn/parameter.h"
#include "nn/partners.h"
#include "schedule/schedule.h"

namespace hadal {

class PartClock;
class Stage;
struct Flight;
struct Timeline;
struct LatentCache;  // model/latent_cache.h, as the next
struct Extension;

// What a caller may want besides the sums.
struct Wants {
  std::span<RouteReplay> routes = {};        // one for each micro-batch, or none
  Observer observer = {};                    // forward only
  std::vector<double>* log_probs = nullptr;  // forward only: log p(target) per row, 0 where the target is -1 or the row
                                             // is another rank's
  PartClock* clock = nullptr;                // gets the times of the parts
  Timeline* timeline = nullptr;              // forward_backward only: gets what ran when
};

struct Doing;  // comm/doing.h

// What of a model a rank holds, and with whom it computes.
struct ModelShare {
  std::function<std::optional<Box>(const ParameterSpec&)> box;  // of each parameter, or none of it; empty: all of all
  std::vector<HeldStage> stages;                                // none: one, which is the whole model
  Partners partners;                                            // groups must outlive the model
  PipelineLinks links;
  Doing* doing = nullptr;  // told what runs; null: nobody asks
};

class Transformer {
 public:
  Transformer(const ModelConfig& config, const ModelOptions& options, const Exec& exec, const ModelShare& share = {});
  ~Transformer();

  const ModelConfig& config() const;
  const ModelOptions& options() const;
  const Stage& stage() const;     // the first that it holds
  Parameters parameters() const;  // order of parameter_list()
  Parameter& parameter(const std::string& name) const;
  void initialize(const Exec& exec, uint64_t seed);  // from spec.init_std, keyed by (seed, name, element)
  void refresh_values(const Exec& exec);             // after loading masters or values: the values' other forms follow
  // For generation alone: what a token is multiplied with is kept as panels only (tensor/weight.h), which a product of
  // few rows reads once and in order. Every result keeps its bits. Such a model is not written out any more. n_mtp: so
  // many MTP modules too, which drafts are made by.
  void pack(const Exec& exec, int64_t n_mtp = 0);
  int64_t packed_bytes(const Exec& exec, int64_t n_mtp = 0) const;  // that pack() takes
  // A step begins: gradients are void, the first contribution writes over them. Of how many micro-batches, or which
  // actions, where that is known (negative: as many as come).
  void begin_step(int64_t n_micro_batches = -1);
  void begin_step(const Actions& actions);

  // Forward, backward-input and backward-weight of the micro-batches, in the order of the actions (one_stage()
  // without); gradients are added. The sums are of what this rank has computed: the losses of its heads, the balance
  // losses and loads of its layers.
  LossSums forward_backward(const Exec& exec, std::span<const MicroBatch> batches, const LossWeights& weights,
                            const Wants& wants, const Actions* actions = nullptr);
  LossSums forward_backward(const Exec& exec, const MicroBatch& batch, const LossWeights& weights,
                            RouteReplay* routes = nullptr);
  // Forward only: losses as above. The balance loss, which has a weight only in training, stays 0.
  LossSums forward(const Exec& exec, const MicroBatch& batch, const Wants& wants = {}) const;
  // Forward only of several, on the ranks of a pipeline together. observer: is told whose forward it is too.
  using FlightObserver = std::function<void(const Flight& flight, const std::string& name, const Tensor& value)>;
  std::vector<LossSums> forward(const Exec& exec, std::span<const MicroBatch> batches, const Actions& actions,
                                const FlightObserver& observer = {}) const;

  // Generation: the next tokens of several texts in one forward. They enter the cache; returned are the logits of those
  // wanted, text after text: [wanted, vocab] in F32 (F64), where the model computes; an empty tensor for none. A row's
  // bits do not depend on what else runs, on how a text is cut into calls, or on where its blocks lie.
  // states: gets the states of all rows after the final norm, which draft() goes on from. observer: gets what is
  // computed on the way, row after row as the texts have them.
  // n_mtp: of so many MTP modules the cache keeps latents too.
  std::shared_ptr<LatentCache> new_cache(const Exec& exec, int64_t n_blocks, int64_t n_mtp = 0) const;
  int64_t cache_block_bytes(int64_t n_mtp = 0) const;
  Tensor extend(const Exec& exec, const LatentCache& cache, std::span<const Extension> texts, Tensor* states = nullptr,
                const Observer& observer = {}) const;
  // MTP module `depth` (§1.6; 1 .. n_mtp) over rows of which the module before gave states, or extend() for the first:
  // `texts` as they were given there, but for their tokens: each is the one `depth` behind that of its row. Logits are
  // of the token behind it; own: gets the module's states of all rows. The cache must have been made for so many.
  Tensor draft(const Exec& exec, const LatentCache& cache, int64_t depth, std::span<const Extension> texts,
               const Tensor& states, Tensor* own = nullptr) const;

  // Auxiliary-loss-free balancing (§2.4): bias_i += gamma * sign(mean load - load_i), once per step from global counts.
  void update_selection_bias(const Exec& exec, const std::vector<std::vector<int64_t>>& global_load, double gamma);

  // What comes and goes while these actions run: activations of the flights under way, workspace of this many threads,
  // the most at once, as it is asked for.
  // Of a micro-batch whose tokens so many tensor and context ranks share.
  struct TokenShares {
    int64_t tensor = 1, context = 1;
  };
  int64_t moving_bytes(int64_t micro_batch_tokens, int64_t sequence_length, int n_threads, const Actions& actions,
                       const TokenShares& shares) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Fails with invalid, naming the row, when ids, positions, targets or bounds of a micro-batch cannot be run. One of no
// tokens can: it fills a schedule, takes part in what ranks say to each other and contributes nothing.
void check_batch(const MicroBatch& batch, const ModelConfig& config);

}  // namespace hadal
