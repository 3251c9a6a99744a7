// What a step of the engine makes of the rows of its forward: draws and log-probabilities.
//
// A draft (drafts.h) runs as one more row, whose logits count only if the token that the row before draws is the draft:
// so a text is the same with drafts and without.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "engine/active_request.h"
#include "engine/engine_room.h"
#include "model/latent_cache.h"
#include "model/transformer.h"

namespace hadal {

// How many tokens of each request enter the cache in a step of about `step_tokens` rows: of a text that is written its
// last one (beside which its drafts run), and of prompts what the texts leave, at least kFewestPromptTokens. Half of
// that goes to the oldest prompts, so that each has its turn, the rest to those of which the least is left, so that a
// short one does not wait for a long one. `running`: the oldest first.
inline constexpr int64_t kFewestPromptTokens = 64;
std::vector<int64_t> rows_to_read(const std::vector<ActiveRequestPtr>& running, int64_t step_tokens);

// The next tokens of texts, as a forward takes them. What it points to belongs to the requests.
std::vector<Extension> extensions_of(const std::vector<PlannedRows>& planned);

int64_t n_rows_of(const std::vector<PlannedRows>& planned);

// Who is told of every value of the step's forward, with its rows; nobody where nobody asked. Options must outlive it.
Observer observer_of(const EngineOptions& options, const std::vector<PlannedRows>& planned);

// What a request draws from a row of logits behind its tokens. Where these end in guesses its constraint, which knows
// only what was drawn, is not asked, nor where it holds the text up: then this is a guess too. Throws what the sampler
// throws.
int32_t draw(const ActiveRequest& request, const ModelConfig& config, std::span<const float> logits);

// What a row of logits gave: the token after that at `position`, drawn or known.
struct DrawnRow {
  ActiveRequest* request = nullptr;
  int64_t position = 0;
  bool draws = false;
  ScoredToken token;           // id negative: none
  std::optional<Error> error;  // of the draw
  bool last = false;           // the constraint allows nothing behind it; not known where the text is held up
};
// Draws, and appends what was drawn to the requests' tokens; tells which drafts were accepted. `logits` are those that
// `planned` wanted.
std::vector<DrawnRow> draw_rows(const Exec& exec, const ModelConfig& config, std::vector<PlannedRows>& planned,
                                const Tensor& logits);

}  // namespace hadal
