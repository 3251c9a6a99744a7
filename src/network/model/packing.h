// Packing: what becomes of a model's weights before it generates, where enough tokens repay it (engine/generator.h).
#pragma once
#include <optional>
#include <vector>

#include "model/layers.h"
#include "model/options.h"
#include "nn/parameter.h"

namespace hadal {

struct Packing {
  Parameter* parameter;
  std::optional<Heads> heads;  // of those whose heads are read one by one

  bool codes() const { return parameter->codes && !heads; }  // packed as they are
  int64_t bytes(const Exec& exec) const;                     // of the panels
  void pack(const Exec& exec) const;                         // nothing but the panels is kept
};

// What a generated token is multiplied with and nothing else reads (no embedding), with so many MTP modules, and is not
// packed yet. Codes that products multiply are among it where packed ones give the same bits.
std::vector<Packing> weights_to_pack(const Exec& exec, const Parameters& parameters, const ModelLayers& layers,
                                     const ModelConfig& config, const ModelOptions& options, int64_t n_mtp);

}  // namespace hadal
