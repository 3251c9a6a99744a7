// What a micro-batch must hold before a model runs it.
#include "base/error.h"
#include "model/transformer.h"

namespace hadal {

void check_batch(const MicroBatch& batch, const ModelConfig& config) {
  const int64_t n = batch.n_tokens();
  check(int64_t(batch.positions.size()) == n && int64_t(batch.targets.size()) == n, ErrorKind::invalid,
        "a micro-batch of {} tokens has {} positions and {} targets", n, batch.positions.size(), batch.targets.size());
  check(batch.weights.empty() || int64_t(batch.weights.size()) == n, ErrorKind::invalid,
        "a micro-batch of {} tokens has {} weights of losses", n, batch.weights.size());
  for (int64_t i = 0; i < n; ++i) {
    const int32_t token = batch.tokens[size_t(i)], target = batch.targets[size_t(i)],
                  position = batch.positions[size_t(i)];
    check(token >= 0 && token < config.vocab_size, ErrorKind::invalid,
          "token {} of the micro-batch is {}, vocabulary is {}", i, token, config.vocab_size);
    check(target >= -1 && target < config.vocab_size, ErrorKind::invalid,
          "target {} of the micro-batch is {}, vocabulary is {}", i, target, config.vocab_size);
    check(position >= 0 && position < config.max_positions, ErrorKind::invalid,
          "position {} of row {} is not below model.max_positions = {}", position, i, config.max_positions);
  }
  int64_t next = 0;
  for (const ops::Segment& s : batch.segments) {
    check(s.q_begin == next && s.k_begin == next && s.n_q > 0 && s.n_k == s.n_q, ErrorKind::invalid,
          "attention segments must follow one another; one begins at row {} where {} was due", s.q_begin, next);
    next += s.n_q;
  }
  check(next == n, ErrorKind::invalid, "attention segments cover {} of {} rows", next, n);
  next = 0;
  for (const ops::RowRange& s : batch.sequences) {
    check(s.begin == next && s.count > 0, ErrorKind::invalid,
          "sequences must follow one another; one begins at row {} where {} was due", s.begin, next);
    next += s.count;
  }
  check(next == n, ErrorKind::invalid, "sequences cover {} of {} rows", next, n);
}

}  // namespace hadal
