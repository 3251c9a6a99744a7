// The part of a run's page that holds an extension of the context against what was there before it, and against its
// control (config/phases.h): grids of needles beside each other, bits per token by position in one table and chart. All
// from evaluations that the run keeps (hadal eval --record).
#pragma once
#include <string>
#include <vector>

#include "train/evaluation_record.h"

namespace hadal {

struct ExtensionSide {
  std::string role, phase;  // role: "before", "after", ...
  std::vector<EvaluationRecord> evaluations;
};

struct ContextExtension {
  std::string phase;
  std::vector<ExtensionSide> sides;
  bool can_be_compared() const;  // two sides at least were asked for needles, or for bits by position
};

// Without those that cannot be compared; empty where that leaves none. Sides that were not asked the same are said.
std::string extension_part(const std::vector<ContextExtension>& extensions);

}  // namespace hadal
