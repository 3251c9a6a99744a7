// Windows of held-out documents through the model's forward.
#include "train/validation.h"

#include <cmath>

#include "base/clock.h"
#include "base/error.h"
#include "comm/byte_text.h"

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

struct Scored {  // of one forward
  double nats = 0;
  int64_t tokens = 0;
};

// Forward i is the business of rank i mod n. complete: on every rank.
std::vector<Scored> of_all_ranks(const std::vector<Scored>& own, Group& ranks, bool& complete) {
  ByteWriter writer;
  writer(complete), writer(own);
  std::vector<std::vector<Scored>> parts;
  for (const std::string& sent : ranks.exchange(writer.text)) {
    ByteReader reader(sent);
    bool theirs = false;
    reader(theirs), reader(parts.emplace_back());
    complete = complete && theirs;
  }
  std::vector<Scored> all;
  for (size_t i = 0; i < parts[0].size(); ++i)
    for (const auto& part : parts)
      if (i < part.size()) all.push_back(part[i]);
  return all;
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

  const int64_t n_ranks = options.ranks ? options.ranks->size() : 1, rank = options.ranks ? options.ranks->rank() : 0;
  std::vector<Scored> own;
  MicroBatch batch;
  int64_t n_forwards = 0;
  auto flush = [&] {
    if (batch.tokens.empty()) return;
    if (n_forwards++ % n_ranks == rank) {
      const auto sums = model.forward(exec, batch);
      sums.check_routed();
      own.push_back({sums.main, sums.main_count});
    }
    batch = MicroBatch{};
  };
  for (const auto& window : windows) {
    if (batch.n_tokens() + window.end - window.begin > options.batch_tokens) flush();
    if (options.stop && batch.tokens.empty() && options.stop()) {
      result.complete = false;
      break;
    }
    append_window(batch, documents[window.document], window);
  }
  if (result.complete) flush();
  const std::vector<Scored> all = options.ranks ? of_all_ranks(own, *options.ranks, result.complete) : own;
  if (!result.complete) return result;
  double nats = 0;
  for (const Scored& one : all) {  // in the order of the text: the same sum on any number of ranks
    nats += one.nats;
    result.tokens += one.tokens;
  }
  result.loss = result.tokens > 0 ? nats / double(result.tokens) : 0;
  result.bits_per_byte = nats / std::log(2.0) / double(result.bytes);
  result.seconds = steady_seconds() - start;
  return result;
}

}  // namespace hadal
