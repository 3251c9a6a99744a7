// What latent attention keeps of a forward, makes again and needs in its backward, in bytes.
#include "model/mla.h"

namespace hadal {

int64_t Mla::kept_bytes(const PieceSizes& s, Recompute recompute) const {
  if (recompute == Recompute::all) return 0;
  const int64_t q_rank = w_.q_a.weight ? w_.q_a.out_features() : 0;
  int64_t heads = heads_ * (s.form == AttentionForm::absorbed ? rank_ : v_);  // attention's result
  if (q_rank == 0) heads += heads_ * (nope_ + rope_);
  int64_t kept = s.bytes(q_rank + rank_ + rope_) + s.n_queries() * heads * dtype_bytes(s.dtype) + s.wide(2) +
                 s.n_queries() * heads_ * dtype_bytes(statistics_dtype(s.dtype));
  if (s.form != AttentionForm::absorbed || recompute == Recompute::none) kept -= saved_by_codes(s);
  return recompute == Recompute::none ? kept + restored_bytes_once(s) : kept;
}

// What Recompute::norms drops: latents as they are read, queries, up-projections (or absorbed queries and values).
int64_t Mla::restored_bytes_once(const PieceSizes& s) const {
  const bool absorbed = s.form == AttentionForm::absorbed;
  const int64_t q_rank = w_.q_a.weight ? w_.q_a.out_features() : 0;
  const int64_t input = q_rank == 0 && s.split() ? w_.q_b.in_features() : q_rank;
  const int64_t queries =
      input + (q_rank > 0 ? heads_ * (nope_ + rope_) : 0) + (absorbed ? heads_ * (rank_ + rope_ + v_) : 0);
  const int64_t keys = rank_ + (s.split() ? rope_ : 0) + (absorbed ? 0 : heads_ * (nope_ + v_));
  return (s.n_queries() * queries + s.n_keys() * keys) * dtype_bytes(s.dtype);
}

// By keeping o's input as codes.
int64_t Mla::saved_by_codes(const PieceSizes& s) const {
  const int64_t cols = heads_ * v_;
  return s.n_queries() * cols * dtype_bytes(s.dtype) -
         hadal::kept_bytes(w_.output, s.n_queries(), cols, s.dtype, w_.o.recipe.x_scale);
}

int64_t Mla::restored_bytes(const PieceSizes& s) const {
  const bool codes = w_.output != Kept::values && (s.form != AttentionForm::absorbed || s.recompute == Recompute::none);
  const int64_t values = codes ? s.n_queries() * heads_ * v_ * dtype_bytes(s.dtype) : 0;
  if (s.recompute == Recompute::none) return values;
  if (s.recompute == Recompute::norms) return restored_bytes_once(s) + values;
  const int64_t again = restored_bytes_once(s);
  return again + kept_bytes(s, Recompute::norms);
}

// Where ranks share the rows, beside the gradients of heads: dy of all queries, what they sum up, gradients of keys on
// their way, and where context ranks cut the rows those of documents that are seen in two runs.
int64_t Mla::backward_bytes(const PieceSizes& s) const {
  const bool absorbed = s.form == AttentionForm::absorbed;
  const int64_t q_rank = w_.q_a.weight ? w_.q_a.out_features() : 0, each = dtype_bytes(s.dtype);
  const int64_t queries = heads_ * (v_ + nope_ + rope_ + (absorbed ? 3 * rank_ + rope_ : 0));
  const int64_t keys = absorbed ? 0 : heads_ * (nope_ + v_);
  int64_t bytes = s.bytes(q_rank + rank_ + rope_) + (s.n_queries() * queries + s.n_keys() * keys) * each + s.wide(2);
  if (!s.split()) return bytes;
  const int64_t wide = dtype_bytes(statistics_dtype(s.dtype));
  bytes += s.n_queries() * (w_.o.out_features() * each + w_.q_b.in_features() * wide);
  const int64_t again = s.n_queries() < s.n_keys() ? (absorbed ? 2 * rank_ : keys) + rope_ : 0;
  bytes += s.n_keys() * ((rank_ + rope_ + again) * each + (rank_ + rope_) * wide);
  return bytes;
}

// Latents, their norms' gradients and those before the norms; attention's result, gradients of queries and keys.
int64_t Mla::waiting_bytes(const PieceSizes& s) const {
  const bool absorbed = s.form == AttentionForm::absorbed;
  const int64_t q_rank = w_.q_a.weight ? w_.q_a.out_features() : 0, each = dtype_bytes(s.dtype);
  const int64_t input = q_rank == 0 && s.split() ? w_.q_b.in_features() : q_rank;
  const int64_t of_query = heads_ * (v_ + nope_ + rope_) + (absorbed ? heads_ * (v_ + nope_ + 2 * (rank_ + rope_)) : 0);
  const int64_t of_key = rank_ + (s.split() ? rope_ : 0) + (absorbed ? 0 : heads_ * (nope_ + v_));
  return s.bytes(3 * q_rank + 3 * rank_ + 2 * rope_) + s.wide(2) +
         s.n_queries() * ((input + of_query) * each + heads_ * dtype_bytes(statistics_dtype(s.dtype))) +
         s.n_keys() * of_key * each;
}

}  // namespace hadal
