#include "engine/token_scores.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

std::vector<int32_t> largest(std::span<const float> logits, int64_t n) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + std::min<int64_t>(n, int64_t(ids.size()));
  std::partial_sort(ids.begin(), end, ids.end(), [&](int32_t a, int32_t b) {
    return logits[size_t(a)] != logits[size_t(b)] ? logits[size_t(a)] > logits[size_t(b)] : a < b;
  });
  ids.erase(end, ids.end());
  return ids;
}

}  // namespace

std::vector<ScoredToken> token_scores(const Exec& exec, const Tensor& logits, std::span<const ScoredRow> rows) {
  check(logits.rows() == int64_t(rows.size()), ErrorKind::internal, "{} rows of logits, {} asked for", logits.rows(),
        rows.size());
  const DType wide = logits.dtype();
  // -log p of one id in every row; -1: of none.
  const auto losses_of = [&](const std::vector<int32_t>& ids) {
    const Tensor losses = Tensor::empty(exec, wide, {logits.rows()});
    ops::cross_entropy(exec, logits, Tensor::from(exec, ids, {logits.rows()}), 1.0, losses, false);
    return losses;
  };
  std::vector<Tensor> losses;  // of the ids; then of the first, second ... of the most likely ones
  std::vector<int32_t> ids;
  std::vector<std::vector<int32_t>> top;
  size_t most = 0;
  for (const ScoredRow& row : rows) {
    ids.push_back(row.id);
    top.push_back(row.n_top > 0 ? largest(row.on_host, row.n_top) : std::vector<int32_t>());
    most = std::max(most, top.back().size());
  }
  losses.push_back(losses_of(ids));
  for (size_t k = 0; k < most; ++k) {
    for (size_t r = 0; r < rows.size(); ++r) ids[r] = k < top[r].size() ? top[r][k] : -1;
    losses.push_back(losses_of(ids));
  }
  losses = host_copies(losses);
  std::vector<ScoredToken> scores;
  for (size_t r = 0; r < rows.size(); ++r) {
    ScoredToken token{rows[r].id, -element(losses[0], int64_t(r)), {}};
    for (size_t k = 0; k < top[r].size(); ++k) token.top.push_back({top[r][k], -element(losses[k + 1], int64_t(r))});
    scores.push_back(std::move(token));
  }
  return scores;
}

}  // namespace hadal
