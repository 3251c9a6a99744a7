#include "engine/drafts.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "engine/step_rows.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

// A text on its way through the modules: the states at hand have its rows first .. first + n - 1, from row `at` on.
struct GuessedText {
  ActiveRequest* request = nullptr;
  int64_t n_wanted = 0;
  int64_t first = 0, n = 0, at = 0;
  bool waits_for(int64_t draft) const { return request->n_guessed + 1 == draft && draft <= n_wanted; }
};

Tensor rows_of(const Exec& exec, const Tensor& from, const std::vector<int32_t>& which) {
  const int64_t n = int64_t(which.size());
  const Tensor rows = Tensor::empty(exec, from.dtype(), {n, from.cols()});
  ops::gather_rows(exec, rows, from, Tensor::from(exec, which, {n}));
  return rows;
}

// The model's states of the rows that are not settled: those kept, then the step's. What will not be settled behind
// this step is kept for the next.
Tensor unsettled_states(const Exec& exec, int64_t n_modules, const std::vector<DraftedText>& texts,
                        const Tensor& of_step, std::vector<GuessedText>& guessed) {
  int64_t n_kept = 0;
  for (const DraftedText& text : texts) n_kept += text.cached - text.request->settled;
  Tensor pool = of_step;  // with what was kept behind it
  if (n_kept > 0) {
    pool = Tensor::empty(exec, of_step.dtype(), {of_step.rows() + n_kept, of_step.cols()});
    ops::copy(exec, pool.row_range(0, of_step.rows()), of_step);
  }
  std::vector<int32_t> which;
  int64_t kept = of_step.rows();
  for (const DraftedText& text : texts) {
    const ActiveRequest& request = *text.request;
    const int64_t n_before = text.cached - request.settled, n_new = request.cached - text.cached;
    const int64_t wanted = request.writes() ? std::min(text.n_wanted, request.n_to_come() - 1) : 0;
    guessed.push_back({text.request, wanted, request.settled, n_before + n_new, int64_t(which.size())});
    if (n_before > 0) ops::copy(exec, pool.row_range(kept, n_before), request.states);
    for (int64_t i = 0; i < n_before; ++i) which.push_back(int32_t(kept++));
    for (int64_t i = 0; i < n_new; ++i) which.push_back(int32_t(text.first_row + i));
  }
  const Tensor states = rows_of(exec, pool, which);
  for (const GuessedText& text : guessed) {
    ActiveRequest& request = *text.request;
    request.settled = std::max(text.first, request.cached - (n_modules - 1));
    const int64_t n = request.cached - request.settled;
    request.states = n > 0 ? states.row_range(text.at + text.n - n, n).clone(exec) : Tensor();
  }
  return states;
}

// The rows that a text's module runs for this draft, which follow those of the draft before; none: the text has none.
struct ModuleRows {
  int64_t begin = 0, n = 0, at = 0;  // of the text; the first one's state
  bool gives_draft = false;
};
ModuleRows module_rows(const GuessedText& text, int64_t draft, int64_t n_modules) {
  const ActiveRequest& request = *text.request;
  const bool waits = text.waits_for(draft);
  if (draft <= n_modules) {
    const int64_t end = std::min(request.cached, request.n_tokens() - draft);
    return {text.first, end - text.first, text.at, waits && end == request.cached};
  }
  const int64_t row = request.cached + draft - n_modules - 1;
  const bool has_room = row < int64_t(request.held.blocks.size()) * kCacheBlock;
  return {row, waits && has_room ? 1 : 0, text.at + text.n - 1, true};
}

void guess(const ModelConfig& config, GuessedText& text, std::span<const float> logits, Guesses& guesses) {
  ActiveRequest& request = *text.request;
  std::optional<int32_t> id;
  try {
    id = draw(request, config, logits);
  } catch (const Error&) {  // a draft that is no number is none
    return;
  }
  guesses.add(request, *id);
  const auto& stop = request.asked.stop;
  if (std::find(stop.begin(), stop.end(), *id) != stop.end()) text.n_wanted = request.n_guessed;
}

// The rows of all texts for one draft.
struct Round {
  std::vector<GuessedText> texts;  // those that have some
  std::vector<size_t> waiting;     // of these: for a draft
  std::vector<Extension> extensions;
  std::vector<int32_t> which;  // of the states at hand they go on from
};
Round round_of(const std::vector<GuessedText>& texts, int64_t draft, int64_t n_modules) {
  Round round;
  for (const GuessedText& text : texts) {
    const ModuleRows rows = module_rows(text, draft, n_modules);
    if (rows.n <= 0) continue;
    const std::span<const int32_t> tokens = text.request->tokens;
    const auto next = tokens.subspan(size_t(rows.begin + std::min(draft, n_modules)), size_t(rows.n));
    round.extensions.push_back({next, rows.begin, text.request->held.blocks, rows.gives_draft ? 1 : 0});
    if (rows.gives_draft) round.waiting.push_back(round.texts.size());
    round.texts.push_back({text.request, text.n_wanted, rows.begin, rows.n, int64_t(round.which.size())});
    for (int64_t i = 0; i < rows.n; ++i) round.which.push_back(int32_t(rows.at + i));
  }
  return round;
}

}  // namespace

void make_drafts(const Exec& exec, const Transformer& model, const LatentCache& cache, const EngineOptions& options,
                 const std::vector<DraftedText>& texts, const Tensor& states) {
  if (texts.empty()) return;
  const int64_t n_modules = draft_modules(model, options);
  Guesses guesses;
  std::vector<GuessedText> going_on;
  Tensor at_hand = unsettled_states(exec, n_modules, texts, states, going_on);
  for (int64_t draft = 1; draft <= kMostDrafts; ++draft) {
    Round round = round_of(going_on, draft, n_modules);
    if (round.texts.empty()) break;
    const Tensor from = rows_of(exec, at_hand, round.which);
    const Tensor logits = model.draft(exec, cache, std::min(draft, n_modules), round.extensions, from, &at_hand);
    const Tensor on_host = logits ? host_copy(logits.to(exec, DType::f32)) : Tensor();
    for (size_t r = 0; r < round.waiting.size(); ++r) {
      const Tensor row = on_host.row_range(int64_t(r), 1);
      guess(model.config(), round.texts[round.waiting[r]], {row.data<float>(), size_t(row.count())}, guesses);
    }
    going_on = std::move(round.texts);
  }
  for (const DraftedText& text : texts) {
    ActiveRequest& request = *text.request;
    request.drafts.assign(request.tokens.end() - request.n_guessed, request.tokens.end());
    const int64_t position = request.n_tokens() - request.n_guessed;
    if (options.oracle && !request.drafts.empty()) options.oracle(request.id, position, request.drafts);
  }
}

}  // namespace hadal
