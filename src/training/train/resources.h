// What a run needs against what the machine grants, decided before anything large is allocated.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/exec.h"
#include "config/config.h"
#include "layout/placement.h"
#include "model/transformer.h"

namespace hadal {

struct MemoryPlan {
  int64_t weights = 0;  // values, in every form, and masters
  int64_t gradients = 0;
  int64_t optimizer = 0;        // moments, EMA
  int64_t activations = 0;      // of the micro-batches under way, and workspace
  int64_t spare = 0;            // blocks that wait in the pool for their next use (base/memory.h)
  int64_t checkpoint_copy = 0;  // while an asynchronous save runs
  int64_t program = 64 << 20;   // code, tokenizer, data windows
  int64_t in_use() const { return weights + gradients + optimizer + activations; }  // the most at once
  int64_t total() const { return in_use() + spare + checkpoint_copy + program; }
  std::vector<std::pair<std::string, int64_t>> parts() const;  // all of total(), each named for people
};

// Of one rank of a layout.
MemoryPlan plan_rank_memory(const Config& config, const ModelOptions& options, const Placement& placement, int64_t rank,
                            int n_threads);
// Of a process: of all ranks of the layout, where they are its threads.
MemoryPlan plan_memory(const Config& config, const ModelOptions& options, int n_threads);
// Micro-batches of each data rank in a step of so many sequences, fillers not counted.
int64_t micro_batches_each(const Config& config, int64_t sequences);
ModelOptions model_options(const Config& config, bool training);

// `asked` itself, or what "auto" means here. Throws invalid for what the place does not compute in.
Precision chosen_precision(Precision asked, const Exec& exec);
Recompute chosen_recompute(const TrainConfig& config);  // of auto: norms in fp8 and mxfp8, else none
// Bytes of a plan that are taken where the tensors lie (base/open_device.h, available_memory).
int64_t needed_there(const MemoryPlan& plan, const Exec& exec);

// Replaces what the configuration leaves open: vocab_size 0 by the tokenizer's, precision "auto" by what the place
// multiplies natively, fp8.tile 0 by what the precision takes, micro_batch_sequences 0 by the largest that fits 4096
// tokens and 80 % of the memory available. Throws invalid when a model's vocabulary is smaller than the tokenizer's, or
// when not even one sequence fits; before it does, `say` is told what needs how much.
void resolve(Config& config, int64_t tokenizer_vocab, const Exec& exec, uint64_t available_bytes,
             const std::function<void(const std::string&)>& say = {});

// FLOP/s of a large matrix product with this run's kernels, precision and threads: the denominator of the utilisation
// shown. On a device of products as large as its memory allows, 0 where it allows none.
double measure_product_flops(const Exec& exec, Precision precision);

}  // namespace hadal
