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

// Windows of one domain that one forward reads.
struct Windows {
  MicroBatch batch;
  size_t domain = 0;

  void append(const data::HeldOutDocument& document, const data::ScoringWindow& window) {
    const int64_t begin = batch.n_tokens(), length = window.end - window.begin;
    for (int64_t i = window.begin; i < window.end; ++i) {
      batch.tokens.push_back(document.tokens[i]);
      batch.positions.push_back(int32_t(i - window.begin));
      batch.targets.push_back(i + 1 >= window.scored && document.is_scored(i + 1) ? document.tokens[i + 1] : -1);
    }
    batch.domains.resize(size_t(begin + length), 0);  // a forward has one: its sum is exact whoever holds the rows
    batch.segments.push_back({begin, length, begin, length});
    batch.sequences.push_back({begin, length});
  }
};

struct Scored {  // of some forwards
  ExactSum nats;
  int64_t tokens = 0;
  std::vector<std::vector<int64_t>> load;

  void add(const LossSums& sums) {
    for (const ExactSum& one : sums.domains) nats.merge(one);
    tokens += sums.main_count;
    add_load(load, sums.expert_load);
  }
  void merge(const Scored& other) {
    nats.merge(other.nats);
    tokens += other.tokens;
    add_load(load, other.load);
  }
  double loss() const { return tokens > 0 ? nats.value() / double(tokens) : 0; }
  double bits_per(int64_t bytes) const { return bytes > 0 ? nats.value() / std::log(2.0) / double(bytes) : 0; }
  template <class Self, class Visitor>
  static void visit(Self& self, Visitor& v) {
    v(self.nats), v(self.tokens), v(self.load);
  }
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
    scored.add(sums);
  }

  // A forward's losses lie where its head is, elsewhere there is nothing of it.
  void score_together(const std::vector<MicroBatch>& batches, std::vector<Scored>& scored) const {
    const RankPlace::Work work = place_->forward_work(batches);
    const std::vector<LossSums> sums = model_.forward(exec_, work.batches, work.actions);
    std::vector<Scored> own(batches.size());
    for (size_t i = 0; i < sums.size(); ++i)
      if (work.numbers[i] >= 0) add(sums[i], own[size_t(work.numbers[i])]);
    ByteWriter writer;
    for (const Scored& one : own) Scored::visit(one, writer);
    for (const std::string& sent : place_->world().exchange(writer.text)) {
      ByteReader reader(sent);
      for (Scored& one : scored) {
        Scored theirs;
        Scored::visit(theirs, reader);
        one.merge(theirs);
      }
    }
  }

  const Exec& exec_;
  const Transformer& model_;
  RankPlace* place_;
};

}  // namespace

ValidationOptions validation_options(const Config& config, const std::function<bool()>& stop, RankPlace* place) {
  ValidationOptions options{.sequence_length = config.data.sequence_length, .stop = stop, .place = place};
  options.stride =
      config.validation.stride > 0 ? config.validation.stride : std::max<int64_t>(1, config.data.sequence_length / 2);
  options.domains = data::domains_of(config.data);
  return options;
}

ValidationResult validate_bits_per_byte(const Exec& exec, const Transformer& model,
                                        const std::vector<data::HeldOutDocument>& documents,
                                        const ValidationOptions& options) {
  check(!documents.empty(), ErrorKind::invalid, "no held-out text: raise data.holdout_fraction, or give more text");
  const double start = steady_seconds();
  ValidationResult result;
  result.documents = int64_t(documents.size()), result.stride = options.stride;
  for (const auto& document : documents) result.bytes += document.raw_bytes;
  check(result.bytes > 0, ErrorKind::invalid, "the held-out documents are empty");
  const auto windows = data::scoring_windows(documents, options.sequence_length, options.stride);
  result.windows = int64_t(windows.size());

  const Forwards forwards(exec, model, options.place);
  const size_t n_domains = std::max<size_t>(1, options.domains.names.size());
  const auto domain_of = [&](const data::HeldOutDocument& document) {
    return options.domains.several() ? size_t(options.domains.of_source[size_t(document.source)]) : 0;
  };
  std::vector<Scored> by_domain(n_domains);
  std::vector<Windows> batches(1);     // the last is being filled
  const auto flush = [&](int64_t n) {  // the first n
    std::vector<MicroBatch> full;
    for (int64_t i = 0; i < n; ++i) full.push_back(std::move(batches[size_t(i)].batch));
    const std::vector<Scored> scored = forwards.score(full);
    for (int64_t i = 0; i < n; ++i) by_domain[batches[size_t(i)].domain].merge(scored[size_t(i)]);
    batches.erase(batches.begin(), batches.begin() + n);
  };
  for (const auto& window : windows) {
    const data::HeldOutDocument& document = documents[size_t(window.document)];
    const size_t domain = domain_of(document);
    const bool full = batches.back().batch.n_tokens() + window.end - window.begin > options.batch_tokens;
    if ((full || domain != batches.back().domain) && !batches.back().batch.tokens.empty()) batches.emplace_back();
    if (int64_t(batches.size()) > forwards.at_a_time()) flush(forwards.at_a_time());
    if (batches.size() == 1 && batches.back().batch.tokens.empty() && forwards.stopped(options.stop)) {
      result.complete = false;
      return result;
    }
    batches.back().domain = domain;
    batches.back().append(document, window);
  }
  flush(int64_t(batches.size()));
  Scored all;
  for (const Scored& one : by_domain) all.merge(one);
  result.tokens = all.tokens, result.loss = all.loss(), result.bits_per_byte = all.bits_per(result.bytes);
  if (options.domains.several()) {
    result.domains.resize(n_domains);
    for (const auto& document : documents) result.domains[domain_of(document)].bytes += document.raw_bytes;
    for (size_t d = 0; d < n_domains; ++d) {
      DomainResult& one = result.domains[d];
      one.tokens = by_domain[d].tokens, one.loss = by_domain[d].loss(), one.load = std::move(by_domain[d].load);
      one.bits_per_byte = by_domain[d].bits_per(one.bytes);
    }
  }
  result.seconds = steady_seconds() - start;
  return result;
}

}  // namespace hadal
