// Validation in bits per byte: the negative log-likelihood (base 2) of every token but the start token, EOS included,
// over the raw bytes of held-out text. Fixed windows of the training sequence length; each token is scored once, in the
// window where it has the most context the stride leaves it. A forward reads windows of one domain alone, so that its
// experts' load is that domain's. Losses are summed without rounding (base/exact_sum.h): the same on any layout of
// ranks whose rows have the same bits, and domains add up to the whole.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "data/domains.h"
#include "data/heldout.h"
#include "model/transformer.h"

namespace hadal {

class RankPlace;

struct DomainResult {
  double bits_per_byte = 0, loss = 0;  // 0 without text
  int64_t tokens = 0, bytes = 0;
  std::vector<std::vector<int64_t>> load;  // [MoE layer][expert] rows of its windows, those that are read twice too
};

struct ValidationResult {
  double bits_per_byte = 0;
  double loss = 0;  // mean -log p per token (natural)
  int64_t tokens = 0, bytes = 0, documents = 0, windows = 0;
  int64_t stride = 0;                 // of the options
  std::vector<DomainResult> domains;  // of the options; their sums are exactly those of the whole
  double seconds = 0;
  bool complete = true;  // false: asked to stop on the way; bits_per_byte and loss are then meaningless
};

struct ValidationOptions {
  int64_t sequence_length = 0, stride = 0;  // stride 0 = half a sequence
  int64_t batch_tokens = 4096;              // rows per forward
  std::function<bool()> stop;               // asked between forwards; none = never
  RankPlace* place = nullptr;               // among ranks that do the forwards together, with one result; null: alone
  data::Domains domains = {};  // of the documents' sources; where there are several, results are told by them too
};

// As the configuration of a run says.
ValidationOptions validation_options(const Config& config, const std::function<bool()>& stop, RankPlace* place);

// Throws invalid for no documents.
ValidationResult validate_bits_per_byte(const Exec& exec, const Transformer& model,
                                        const std::vector<data::HeldOutDocument>& documents,
                                        const ValidationOptions& options);

}  // namespace hadal
