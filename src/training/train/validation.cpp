// Windows of held-out documents through the model's forward.
#include "train/validation.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/error.h"
#include "comm/byte_text.h"
#include "train/agreement.h"
#include "train/rank_place.h"

namespace hadal {

namespace {

void append_window(MicroBatch& batch, const data::HeldOutDocument& document, const data::ScoringWindow& window) {
  const int64_t begin = batch.n_tokens(), length = window.end - window.begin;
  for (int64_t i = window.begin; i < window.end; ++i) {
    batch.tokens.push_back(document.tokens[i]);
    batch.positions.push_back(int32_t(i - window.begin));
    batch.targets.push_back(i + 1 >= window.scored && document.is_scored(i + 1) ? document.tokens[i + 1] : -1);
  }
  batch.segments.push_back({begin, length, begin, length});
  batch.sequences.push_back({begin, length});
}

struct Scored {  // of one forward
  double nats = 0;
  int64_t tokens = 0;
};

// Forwards, some at a time: a rank alone does one, the ranks of a layout as many as keep all of them busy.
class Forwards {
 public:
  Forwards(const Exec& exec, const Transformer& model, RankPlace* place) : exec_(exec), model_(model), place_(place) {}

  int64_t at_a_time() const {
    if (!place_) return 1;
    const Placement& placement = place_->placement();
    return placement.mesh().sizes().dp * 2 * int64_t(placement.parts().size());
  }

  // Whether any rank wants to stop: all of them hear of it at the same place.
  bool stopped(const std::function<bool()>& stop) const {
    const bool own = stop && stop();
    return place_ ? any_rank(place_->world(), own) : own;
  }

  // In the order of the batches, on every rank.
  std::vector<Scored> score(const std::vector<MicroBatch>& batches) const {
    std::vector<Scored> scored(batches.size());
    if (place_) {
      score_together(batches, scored);
    } else {
      for (size_t i = 0; i < batches.size(); ++i) add(model_.forward(exec_, batches[i]), scored[i]);
    }
    return scored;
  }

 private:
  static void add(const LossSums& sums, Scored& scored) {
    sums.check_routed();
    scored.nats += sums.main;
    scored.tokens += sums.main_count;
  }

  // A forward's losses lie where its head is, elsewhere there is nothing of it.
  void score_together(const std::vector<MicroBatch>& batches, std::vector<Scored>& scored) const {
    const RankPlace::Work work = place_->forward_work(batches);
    const std::vector<LossSums> sums = model_.forward(exec_, work.batches, work.actions);
    std::vector<Scored> own(batches.size());
    for (size_t i = 0; i < sums.size(); ++i)
      if (work.numbers[i] >= 0) add(sums[i], own[size_t(work.numbers[i])]);
    ByteWriter writer;
    writer(own);
    for (const std::string& sent : place_->world().exchange(writer.text)) {
      ByteReader reader(sent);
      std::vector<Scored> theirs;
      reader(theirs);
      for (size_t i = 0; i < scored.size(); ++i) scored[i].nats += theirs[i].nats, scored[i].tokens += theirs[i].tokens;
    }
  }

  const Exec& exec_;
  const Transformer& model_;
  RankPlace* place_;
};

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

  const Forwards forwards(exec, model, options.place);
  double nats = 0;
  std::vector<MicroBatch> batches(1);  // the last is being filled
  const auto flush = [&](int64_t n) {  // the first n
    const std::vector<MicroBatch> full(batches.begin(), batches.begin() + n);
    batches.erase(batches.begin(), batches.begin() + n);
    for (const Scored& one : forwards.score(full)) {  // in the order of the text: the same sum on any number of ranks
      nats += one.nats;
      result.tokens += one.tokens;
    }
  };
  for (const auto& window : windows) {
    if (batches.back().n_tokens() + window.end - window.begin > options.batch_tokens && !batches.back().tokens.empty())
      batches.emplace_back();
    if (int64_t(batches.size()) > forwards.at_a_time()) flush(forwards.at_a_time());
    if (batches.size() == 1 && batches.back().tokens.empty() && forwards.stopped(options.stop)) {
      result.complete = false;
      return result;
    }
    append_window(batches.back(), documents[window.document], window);
  }
  flush(int64_t(batches.size()));
  result.loss = result.tokens > 0 ? nats / double(result.tokens) : 0;
  result.bits_per_byte = nats / std::log(2.0) / double(result.bytes);
  result.seconds = steady_seconds() - start;
  return result;
}

}  // namespace hadal
