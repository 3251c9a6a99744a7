#include "train/layout_findings.h"

#include <fmt/format.h>

namespace hadal {

std::string LayoutFindings::difference() const {
  if (agree() || first == first_parameter) return first;
  if (first_parameter.empty()) return first + "; no parameter differs";
  return first + "; the first parameter that differs: " + first_parameter;
}

std::string LayoutExercise::text() const {
  const std::string parts = fmt::format("{} micro-batches a step (up to {} on a data rank) of {} to {} targets",
                                        micro_batches, micro_batches_of_a_rank, least_targets, most_targets);
  const std::string documents = masked ? "two masked documents a sequence" : "no document mask";
  const std::string clipped =
      clip > 0 ? fmt::format("gradients clipped to {} in {} of {} steps", clip, clipped_steps, steps) : "no clip";
  const std::string mtp = mtp_depths > 0 ? fmt::format("MTP to depth {}", mtp_depths) : "no MTP";
  return fmt::format("{}, {}, {}, recompute {}, {}, an expert without tokens in {} of {}", parts, documents, mtp,
                     enum_name(recompute), clipped, idle_steps, steps);
}

}  // namespace hadal
