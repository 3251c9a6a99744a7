// What a step of the engine makes of the rows of its forward: draws, log-probabilities, and drafts for the next step.
//
// A draft is a token that an MTP module (§1.6) thinks comes next. It runs as one more row of the next step, whose
// logits count only if the token that the row before draws is the draft: so a text is the same with drafts and without.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "engine/active_request.h"
#include "engine/engine_room.h"
#include "model/latent_cache.h"
#include "model/transformer.h"

namespace hadal {

// The next tokens of texts, as a forward takes them. What it points to belongs to the requests.
std::vector<Extension> extensions_of(const std::vector<PlannedRows>& planned);

// Who is told of every value of the step's forward, with its rows; nobody where nobody asked. Options must outlive it.
Observer observer_of(const EngineOptions& options, const std::vector<PlannedRows>& planned);

// What a row of logits gave: the token after that at `position`, drawn or known.
struct DrawnRow {
  ActiveRequest* request = nullptr;
  int64_t position = 0;
  bool draws = false;
  ScoredToken token;           // id negative: none
  std::optional<Error> error;  // of the draw
  bool last = false;           // the constraint allows nothing behind it
};
// Draws, and appends what was drawn to the requests' tokens; tells which drafts were accepted. `logits` are those that
// `planned` wanted.
std::vector<DrawnRow> draw_rows(const Exec& exec, const ModelConfig& config, std::vector<PlannedRows>& planned,
                                const Tensor& logits);

// Runs the MTP module over the rows of a step that proved right, for those of its requests that go on and draft; their
// next drafts. `cached`: tokens that each had in the cache before the step. `states` are the step's.
struct DraftRows {
  const PlannedRows* planned = nullptr;
  int64_t cached = 0, first_row = 0;  // of the step's rows
};
void make_drafts(const Exec& exec, const Transformer& model, const LatentCache& cache,
                 const std::vector<DraftRows>& rows, const Tensor& states);

}  // namespace hadal
