// Windows of held-out documents through the model's forward.
#include "train/validation.h"

#include <cmath>

#include "base/clock.h"
#include "base/error.h"

namespace hadal {

namespace {

void append_window(MicroBatch& batch, const data::HeldOutDocument& document, const data::ScoringWindow& window) {
  const int64_t begin = batch.n_tokens(), length = window.end - window.begin;
  for (int64_t i = window.begin; i < window.end; ++i) {
    batch.tokens.push_back(document.tokens[i]);
    batch.positions.push_back(int32_t(i - window.begin));
    batch.targets.push_back(i + 1 >= window.scored ? document.tokens[i + 1] : -1);
  }
  batch.segments.push_back({begin, length, begin, length});
  batch.sequences.push_back({begin, length});
}

}  // namespace

ValidationResult validate_bits_per_byte(const Exec& exec, const Transformer& model,
                                        const std::vector<data::HeldOutDocument>& documents,
                                        const ValidationOptions& options) {
  check(!documents.empty(), ErrorKind::invalid, "no held-out text: raise data.holdout_fraction, or give more text");
  const double start = steady_seconds();
  ValidationResult result;
  result.documents = int64_t(documents.size());
  for (const auto& document : documents) result.bytes += document.raw_bytes;
  check(result.bytes > 0, ErrorKind::invalid, "the held-out documents are empty");
  const auto windows = data::scoring_windows(documents, options.sequence_length, options.stride);
  result.windows = int64_t(windows.size());

  double nats = 0;
  MicroBatch batch;
  auto flush = [&] {
    if (batch.tokens.empty()) return;
    const auto sums = model.forward(exec, batch);
    sums.check_routed();
    nats += sums.main;
    result.tokens += sums.main_count;
    batch = MicroBatch{};
  };
  for (const auto& window : windows) {
    if (batch.n_tokens() + window.end - window.begin > options.batch_tokens) flush();
    if (options.stop && batch.tokens.empty() && options.stop()) {
      result.complete = false;
      return result;
    }
    append_window(batch, documents[window.document], window);
  }
  flush();
  result.loss = result.tokens > 0 ? nats / double(result.tokens) : 0;
  result.bits_per_byte = nats / std::log(2.0) / double(result.bytes);
  result.seconds = steady_seconds() - start;
  return result;
}

}  // namespace hadal
