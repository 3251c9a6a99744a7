#include "engine/step_rows.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"

namespace hadal {
namespace {

// For all constraints of a step together: those that take longer hold up their own texts alone.
constexpr std::chrono::milliseconds kPatience(5);

// Which ids may come next; empty: all.
std::vector<uint32_t> mask_of(const ActiveRequest& request) {
  std::vector<uint32_t> mask;
  if (!request.constrained || request.n_guessed > 0 || request.held_up) return mask;
  const std::span<const uint32_t> allowed = request.constrained->allowed();
  mask.assign(allowed.begin(), allowed.end());
  const bool ends = request.constrained->may_end();
  for (const int32_t id : request.asked.stop) {
    if (id < 0) continue;
    const auto word = size_t(id / 32);
    if (word >= mask.size()) mask.resize(word + 1);
    mask[word] = ends ? mask[word] | 1U << (id % 32) : mask[word] & ~(1U << (id % 32));
  }
  return mask;
}

// A token more, which was drawn.
void write(ActiveRequest& request, int32_t id) {
  request.tokens.push_back(id);
  if (request.constrained && !request.stops_at(id)) request.constrained->accept(id);
}

std::span<const float> values_of(const Tensor& row) { return {row.data<float>(), size_t(row.count())}; }

}  // namespace

int32_t draw(const ActiveRequest& request, const ModelConfig& config, std::span<const float> row) {
  std::vector<float> logits(row.begin(), row.end());
  const auto text = std::span(request.tokens).subspan(request.asked.prompt.size());
  SamplingOptions sampling = request.asked.sampling;
  penalise(logits, request.asked.prompt, text, sampling);
  if (int64_t(text.size()) < request.asked.min_tokens)
    sampling.suppressed.insert(sampling.suppressed.end(), request.asked.stop.begin(), request.asked.stop.end());
  const int64_t vocab = config.vocab_size;
  const int64_t allowed = request.asked.allowed_ids > 0 ? std::min(request.asked.allowed_ids, vocab) : vocab;
  return sample_token(logits, allowed, sampling, request.n_tokens(), mask_of(request));
}

std::vector<int64_t> rows_to_read(const std::vector<ActiveRequestPtr>& running, int64_t step_tokens) {
  std::vector<int64_t> rows(running.size());
  std::vector<size_t> prompts;  // the oldest first
  int64_t writing = 0;
  for (size_t i = 0; i < running.size(); ++i) {
    if (running[i]->n_readable() > 1)
      prompts.push_back(i);
    else if (running[i]->n_readable() == 1)
      rows[i] = 1, writing += 1 + int64_t(running[i]->drafts.size());
  }
  int64_t left = std::max(std::min(kFewestPromptTokens, step_tokens), step_tokens - writing);
  const auto give = [&](int64_t most) {
    for (const size_t i : prompts) {
      const int64_t more = std::min(running[i]->n_readable() - rows[i], most);
      rows[i] += more, most -= more, left -= more;
    }
  };
  give((left + 1) / 2);
  std::stable_sort(prompts.begin(), prompts.end(), [&](size_t a, size_t b) {
    return running[a]->n_readable() - rows[a] < running[b]->n_readable() - rows[b];
  });
  give(left);
  return rows;
}

std::vector<Extension> extensions_of(const std::vector<PlannedRows>& planned) {
  std::vector<Extension> texts;
  for (const PlannedRows& p : planned) {
    const auto next = std::span(p.request->tokens).subspan(size_t(p.request->cached), size_t(p.n_rows()));
    texts.push_back({next, p.request->cached, p.request->held.blocks, p.n_wanted});
  }
  return texts;
}

int64_t n_rows_of(const std::vector<PlannedRows>& planned) {
  int64_t n = 0;
  for (const PlannedRows& p : planned) n += p.n_rows();
  return n;
}

Observer observer_of(const EngineOptions& options, const std::vector<PlannedRows>& planned) {
  if (!options.observer) return {};
  std::vector<StepRow> rows;
  for (const PlannedRows& p : planned)
    for (int64_t i = 0; i < p.n_rows(); ++i) rows.push_back({p.request->id, p.request->cached + i});
  return [&options, rows = std::move(rows)](const std::string& name, const Tensor& value) {
    options.observer(rows, name, value);
  };
}

std::vector<DrawnRow> draw_rows(const Exec& exec, const ModelConfig& config, std::vector<PlannedRows>& planned,
                                const Tensor& logits) {
  std::vector<DrawnRow> rows;
  std::vector<size_t> first_row;  // of each text
  std::vector<Tensor> values;
  for (PlannedRows& p : planned) {
    first_row.push_back(rows.size());
    for (int64_t i = p.n_rows() - p.n_wanted; i < p.n_rows(); ++i) {
      const bool draws = p.draws && i + 1 >= p.n, on_host = draws || p.request->asked.n_top > 0;
      values.push_back(on_host ? logits.row_range(int64_t(rows.size()), 1).to(exec, DType::f32) : Tensor());
      rows.push_back({p.request, p.request->cached + i, draws, {-1, 0, {}}, {}});
    }
  }
  if (rows.empty()) return rows;
  values = host_copies(values);
  first_row.push_back(rows.size());
  std::vector<ScoredRow> asked(rows.size());
  const auto by = FollowedText::Clock::now() + kPatience;
  const auto draw_one = [&](size_t r, PlannedRows& planned_rows) {
    DrawnRow& row = rows[r];
    ActiveRequest& request = *row.request;
    ScoredRow& one = asked[r];
    if (values[r]) one.on_host = values_of(values[r]);
    const int64_t draft = row.position - request.cached - planned_rows.n;  // that this row is of; negative: none
    const bool right =
        draft < 0 || (rows[r - 1].token.id == request.drafts[size_t(draft)] && !rows[r - 1].last && !request.held_up);
    if (row.draws && right) {
      try {
        row.token.id = one.id = draw(request, config, one.on_host);
        write(request, one.id);
        planned_rows.n_accepted += draft >= 0;
        request.held_up = request.constrained && !request.constrained->ready(by);
        row.last = request.constrained && !request.held_up && request.constrained->complete();
      } catch (const Error& error) {
        row.error.emplace(error.kind(), fmt::format("at position {}: {}", row.position + 1, error.what()));
      }
    } else if (!row.draws && row.position + 1 < request.n_prompt()) {
      row.token.id = one.id = request.asked.prompt[size_t(row.position + 1)];
    }
    one.n_top = one.id >= 0 ? request.asked.n_top : 0;
  };
  exec.compute->parallel_for(int64_t(planned.size()), [&](int64_t text, int) {
    for (size_t r = first_row[size_t(text)]; r < first_row[size_t(text) + 1]; ++r) draw_one(r, planned[size_t(text)]);
  });
  std::vector<ScoredToken> scores = token_scores(exec, logits, asked);
  for (size_t r = 0; r < rows.size(); ++r) {
    DrawnRow& row = rows[r];
    row.token = std::move(scores[r]);
    if (!row.error && row.token.id >= 0 && !std::isfinite(row.token.log_prob))
      row.error.emplace(ErrorKind::failed,
                        fmt::format("at position {}: the log-probability of token {} is {}; the model's weights are "
                                    "damaged or diverged",
                                    row.position + 1, row.token.id, row.token.log_prob));
  }
  return rows;
}

}  // namespace hadal
