// Drafts for the next step: what MTP modules (§1.6) think comes next in texts under way. A text of n tokens has states
// of rows 0 .. n - 2. Module d reads at row i the state there, of the module before or, the first, of the model, and
// token i + d, and says token i + d + 1. So at row n - 2
//   module 1 gives draft 1, behind token n - 1;  module 2 draft 2, behind draft 1;  and so on, through the modules;
//   the last one is chained on itself: at row n - 1, from its own state before and the newest draft, and so on.
// A module's rows behind a draft may prove wrong. They are written again in the next step, from the first row whose
// token was a draft on: `settled`. Blocks are shared up to there alone, so that no shared one is written.
#pragma once
#include <vector>

#include "engine/active_request.h"
#include "engine/engine_room.h"
#include "model/latent_cache.h"
#include "model/transformer.h"

namespace hadal {

// A text for which drafts are made, and what the step before them did for it.
struct DraftedText {
  ActiveRequest* request = nullptr;
  int64_t cached = 0, first_row = 0;  // tokens that were in the cache before the step; its first among the step's rows
  int64_t n_wanted = 0;               // drafts, once its prompt is read and where as many tokens are to come behind
};

// Runs the modules over the rows that entered the cache, of which `states` has the model's, and leaves the requests'
// drafts: as many as wanted, or fewer where one is no number, ends the text, or the text's blocks have no row for it.
// Where it throws, no request has drafts.
void make_drafts(const Exec& exec, const Transformer& model, const LatentCache& cache, const EngineOptions& options,
                 const std::vector<DraftedText>& texts, const Tensor& states);

}  // namespace hadal
