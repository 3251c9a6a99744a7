// Windows of packed sequences over the mixture; see loader.h. Cursor JSON is in cursor.cpp.
#include "data/loader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"
#include "data/domains.h"
#include "data/packing.h"
#include "data/passage_source.h"

namespace hadal::data {
namespace {

// Where a passage ends, and what of it is trained (nothing said: all).
struct PassageEnd {
  int32_t continuation = -1;
  std::vector<uint8_t> trained;
};

// Targets within a sequence; see batch.h.
void set_targets(Sequence& sequence, const std::vector<PassageEnd>& ends, bool masked) {
  const size_t n = sequence.tokens.size();
  sequence.targets.assign(n, -1);
  for (size_t i = 0; i + 1 < n; ++i) sequence.targets[i] = sequence.tokens[i + 1];
  for (size_t p = 0; p < sequence.passages.size(); ++p) {
    const Passage& passage = sequence.passages[p];
    const size_t last = size_t(passage.start + passage.length - 1);
    if (ends[p].continuation >= 0) {
      sequence.targets[last] = ends[p].continuation;
    } else if (masked) {
      sequence.targets[last] = -1;
    }
    const std::vector<uint8_t>& trained = ends[p].trained;
    for (size_t i = 0; i + 1 < trained.size(); ++i)
      if (!trained[i + 1]) sequence.targets[size_t(passage.start) + i] = -1;
  }
}

// What each target has of the source that it comes from.
template <class T>
void set_by_source(const Sequence& sequence, const std::vector<T>& of_source, std::vector<T>& of_target) {
  for (const Passage& passage : sequence.passages) {
    const T& value = of_source[size_t(passage.source)];
    if (!of_target.empty()) of_target.back() = value;  // its target, if any, is this passage's first
    of_target.insert(of_target.end(), size_t(passage.length), value);
  }
}

void set_weights(Sequence& sequence, const DataConfig& config) {
  std::vector<float> weights;
  for (const SourceConfig& source : config.sources) weights.push_back(float(source.loss_weight));
  const auto plain = [](float weight) { return weight == 1; };
  if (!std::all_of(weights.begin(), weights.end(), plain)) set_by_source(sequence, weights, sequence.weights);
}

PassageRules make_rules(const Shards& shards, const Tokenizer& tokenizer, const DataConfig& config,
                        double split_fused) {
  check(shards.index().tokenizer_hash == tokenizer.content_hash() && shards.max_token() < tokenizer.vocab_size(),
        ErrorKind::invalid,
        "the tokenised text was made with another tokenizer than the one given: build the data again");
  check(config.sequence_length >= 2, ErrorKind::invalid, "data.sequence_length = {} must be at least 2",
        config.sequence_length);
  PassageRules rules;
  rules.shards = &shards, rules.tokenizer = &tokenizer;
  rules.sequence_length = config.sequence_length, rules.fim_rate = config.fim_rate, rules.split_fused = split_fused;
  rules.stop_at_end = config.at_end == AtEnd::stop, rules.epochs = config.epochs, rules.seed = config.seed;
  if (config.fim_rate > 0) {
    rules.special = fim_tokens(tokenizer);
    const int64_t least = kFimExtraTokens + 4;
    check(config.sequence_length >= least, ErrorKind::invalid,
          "data.fim_rate > 0 needs data.sequence_length of at least {}, not {}", least, config.sequence_length);
  }
  check(tokenizer.eos_id().has_value(), ErrorKind::invalid,
        "the tokenizer has no end-of-sentence token to put after documents");
  rules.special.eos = *tokenizer.eos_id();
  check(!config.add_bos || tokenizer.bos_id().has_value(), ErrorKind::invalid,
        "data.add_bos is set, but the tokenizer has no BOS token");
  if (config.add_bos) rules.bos = *tokenizer.bos_id();
  return rules;
}

}  // namespace

struct Loader::State {
  DataConfig config;
  Domains domains;
  PassageRules rules;
  std::vector<PassageSource> sources;
  std::vector<double> weights;
  std::string identity, plan;
  std::function<void(const std::string&)> say;

  std::vector<SourceCursor> window_start;  // the sources before the window was drawn
  std::vector<Sequence> window;            // built if `built`
  bool built = false;
  int64_t window_number = 0, position = 0, sequences = 0;
  bool silent = false;  // a window that is drawn again says nothing

  std::vector<SourceCursor> places() const {
    std::vector<SourceCursor> cursors;
    for (const auto& source : sources) cursors.push_back(source.cursor());
    return cursors;
  }
  int64_t next_source() const;
  bool draw(DrawnPassage& passage);
  bool at_epoch() const;
  void build_window();
  Sequence make_sequence(std::vector<DrawnPassage>& passages, std::vector<int64_t> bin, uint64_t number) const;
  bool ensure();
};

// The source that lags most behind its weight; -1 when all are used up.
int64_t Loader::State::next_source() const {
  int64_t best = -1;
  double least = 0;
  for (size_t s = 0; s < sources.size(); ++s) {
    if (weights[s] <= 0 || sources[s].cursor().finished) continue;
    const double progress = double(sources[s].cursor().drawn) / weights[s];
    if (best < 0 || progress < least) best = int64_t(s), least = progress;
  }
  return best;
}

bool Loader::State::draw(DrawnPassage& passage) {
  static const std::function<void(const std::string&)> nobody;
  for (int64_t source = next_source(); source >= 0; source = next_source()) {
    if (sources[size_t(source)].next(passage, silent ? nobody : say)) return true;
  }
  return false;
}

// Whether what is drawn next is the first of an epoch in which no source has been yet.
bool Loader::State::at_epoch() const {
  const int64_t next = config.epochs > 1 ? next_source() : -1;
  if (next < 0 || !sources[size_t(next)].ends_epoch()) return false;
  int64_t latest = 0;
  for (const PassageSource& source : sources) latest = std::max(latest, source.cursor().epoch);
  return sources[size_t(next)].cursor().epoch == latest;
}

Sequence Loader::State::make_sequence(std::vector<DrawnPassage>& passages, std::vector<int64_t> bin,
                                      uint64_t number) const {
  // A part that does not end with EOS goes last, so that no other document follows it without a border.
  auto open = [&](int64_t i) { return passages[size_t(i)].continuation >= 0; };
  const auto first_open = std::stable_partition(bin.begin(), bin.end(), [&](int64_t i) { return !open(i); });
  std::vector<int64_t> closed(bin.begin(), first_open);
  random_shuffle(closed, config.seed, stream_id("data.in_bin", uint64_t(window_number), number));
  std::copy(closed.begin(), closed.end(), bin.begin());
  Sequence sequence;
  std::vector<PassageEnd> ends;
  for (int64_t i : bin) {
    DrawnPassage& drawn = passages[size_t(i)];
    drawn.about.start = int64_t(sequence.tokens.size());
    sequence.tokens.insert(sequence.tokens.end(), drawn.tokens.begin(), drawn.tokens.end());
    sequence.passages.push_back(drawn.about);
    ends.push_back({drawn.continuation, std::move(drawn.trained)});
  }
  sequence.padding = config.sequence_length - int64_t(sequence.tokens.size());
  set_weights(sequence, config);
  if (domains.several()) set_by_source(sequence, domains.of_source, sequence.domains);
  set_targets(sequence, ends, config.document_mask == DocumentMask::document);
  return sequence;
}

void Loader::State::build_window() {
  window_start = places();
  window.clear();
  std::vector<DrawnPassage> passages;
  std::vector<PackItem> items;
  int64_t tokens = 0;
  DrawnPassage passage;
  const int64_t most = config.pack_window * config.sequence_length;
  while (tokens < most && !(tokens > 0 && at_epoch()) && draw(passage)) {
    tokens += passage.about.length;
    items.push_back({passage.about.length, passage.continuation >= 0});
    passages.push_back(std::move(passage));
  }
  auto bins = pack_best_fit(items, config.sequence_length);
  random_shuffle(bins, config.seed, stream_id("data.bins", uint64_t(window_number)));
  for (size_t b = 0; b < bins.size(); ++b) window.push_back(make_sequence(passages, std::move(bins[b]), b));
  built = true;
  position = 0;
}

// Whether there is a sequence at the position, building the next window when needed.
bool Loader::State::ensure() {
  if (built && position == int64_t(window.size()) && !window.empty()) ++window_number, built = false;
  if (!built) build_window();
  return position < int64_t(window.size());
}

// Dialogues need masks, and room.
void Loader::check_dialogues(const State& state) {
  const Shards& shards = *state.rules.shards;
  for (int64_t s = 0; s < shards.n_sources(); ++s) {
    if (!shards.of_dialogues(s)) continue;
    check(state.config.document_mask == DocumentMask::document, ErrorKind::invalid,
          "source '{}' holds dialogues, which must not see each other where they share a sequence: set "
          "data.document_mask = \"document\"",
          shards.source_name(s));
    const PassageSource& source = state.sources[size_t(s)];
    const int64_t stored = shards.n_documents(Split::training, s), dropped = source.n_dropped();
    if (dropped == 0) continue;
    const std::string how = fmt::format(
        "source '{}': {} of {} samples are longer than data.sequence_length = {}, the longest has {} tokens",
        shards.source_name(s), dropped, stored, state.config.sequence_length, source.longest_dropped());
    check(state.config.on_long == OnLong::drop, ErrorKind::invalid,
          "{}; they are never cut: raise it, or drop them with data.on_long = \"drop\"", how);
    check(dropped < stored, ErrorKind::invalid, "{}: none is left; raise it", how);
  }
}

PassageSource Loader::source_at(const State& state, int64_t source) {
  const SourceConfig& config = state.config.sources[size_t(source)];
  return PassageSource(state.rules, source, {config.long_tokens, config.long_weight});
}

Loader::Loader(const Shards& shards, const Tokenizer& tokenizer, const DataConfig& config, double split_fused)
    : state_(std::make_unique<State>()) {
  state_->config = config;
  state_->domains = domains_of(config);
  state_->rules = make_rules(shards, tokenizer, config, split_fused);
  check(int64_t(config.sources.size()) == shards.n_sources(), ErrorKind::invalid,
        "the configuration has {} sources, the tokenised text {}: build the data again", config.sources.size(),
        shards.n_sources());
  std::vector<double> weights;
  std::vector<int64_t> tokens;
  for (int64_t s = 0; s < shards.n_sources(); ++s) {
    state_->sources.push_back(source_at(*state_, s));
    weights.push_back(config.sources[size_t(s)].weight);
    tokens.push_back(state_->sources.back().n_tokens());
  }
  check_dialogues(*state_);
  state_->weights = mixture_weights(weights, tokens);
  std::string settings =
      fmt::format("{}\n{}\n{} {} {} {} {} {} {} {}\n", shards.index().plan, shards.index().tokenizer_hash,
                  config.sequence_length, enum_name(config.document_mask), config.fim_rate, enum_name(config.at_end),
                  config.pack_window, config.add_bos, config.seed, split_fused);
  if (config.epochs != 1) settings += fmt::format("{} epochs\n", config.epochs);
  for (double weight : state_->weights) settings += fmt::format("{} ", weight);
  for (const SourceConfig& source : config.sources)
    if (source.long_weight != 1) settings += fmt::format("long {} {} ", source.long_tokens, source.long_weight);
  state_->identity = sha256_hex(settings).substr(0, 32);
  state_->plan = shards.index().plan;
}

Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;

Batch Loader::next(int64_t n_sequences) {
  Batch batch;
  batch.first_sequence = state_->sequences;
  batch.masked = state_->config.document_mask == DocumentMask::document;
  while (int64_t(batch.sequences.size()) < n_sequences && state_->ensure()) {
    batch.sequences.push_back(state_->window[size_t(state_->position++)]);
    ++state_->sequences;
  }
  return batch;
}

void Loader::skip(int64_t n_sequences) {
  while (n_sequences > 0 && state_->ensure()) {
    const int64_t n = std::min(n_sequences, int64_t(state_->window.size()) - state_->position);
    state_->position += n, state_->sequences += n, n_sequences -= n;
  }
}

bool Loader::finished() { return !state_->ensure(); }

Cursor Loader::cursor() const {
  const State& s = *state_;
  Cursor cursor{s.identity, s.window_number, s.position, s.sequences, {}, s.plan};
  if (!s.built) return cursor.position = 0, cursor.sources = s.places(), cursor;
  if (s.position == int64_t(s.window.size()) && !s.window.empty()) {  // the next window's begin
    ++cursor.window, cursor.position = 0, cursor.sources = s.places();
  } else {
    cursor.sources = s.window_start;
  }
  return cursor;
}

void Loader::seek(const Cursor& cursor) {
  State& s = *state_;
  check(cursor.identity == s.identity, ErrorKind::invalid,
        "the place in the data (cursor) was taken with other text, tokenizer or data settings; it cannot be found in "
        "these");
  check(
      cursor.sources.size() == s.sources.size() && cursor.window >= 0 && cursor.position >= 0 && cursor.sequences >= 0,
      ErrorKind::corrupt, "the data cursor makes no sense (window {}, position {})", cursor.window, cursor.position);
  for (size_t i = 0; i < s.sources.size(); ++i) s.sources[i].seek(cursor.sources[i]);
  s.window_number = cursor.window, s.sequences = cursor.sequences, s.built = false, s.position = 0;
  if (cursor.position == 0) return;
  s.silent = true;
  s.build_window();
  s.silent = false;
  check(cursor.position <= int64_t(s.window.size()), ErrorKind::corrupt,
        "the data cursor points at sequence {} of a window of {}", cursor.position, s.window.size());
  s.position = cursor.position;
}

int64_t Loader::n_sources() const { return int64_t(state_->sources.size()); }
const std::vector<double>& Loader::weights() const { return state_->weights; }
const std::string& Loader::identity() const { return state_->identity; }
int64_t Loader::n_sequences() const {
  check(state_->config.at_end == AtEnd::stop, ErrorKind::invalid,
        "data.at_end = \"next_epoch\": the stream of sequences has no end to count to");
  State walk = *state_;
  for (int64_t s = 0; s < n_sources(); ++s) walk.sources[size_t(s)] = source_at(*state_, s);
  walk.built = false, walk.window_number = walk.position = 0, walk.silent = true;
  int64_t n = 0;
  while (walk.ensure()) n += int64_t(walk.window.size()), walk.position = int64_t(walk.window.size());
  return n;
}

std::vector<std::string> Loader::notes() const {
  std::vector<std::string> notes;
  for (int64_t s = 0; s < n_sources(); ++s) {
    const PassageSource& source = state_->sources[size_t(s)];
    if (source.n_dropped() == 0) continue;
    notes.push_back(fmt::format(
        "source '{}': {} of {} samples are dropped, as they are longer than data.sequence_length = {}: the longest has "
        "{} tokens",
        state_->rules.shards->source_name(s), source.n_dropped(), state_->rules.shards->n_documents(Split::training, s),
        state_->config.sequence_length, source.longest_dropped()));
  }
  return notes;
}

double Loader::epochs(int64_t source) const { return state_->sources[size_t(source)].epochs(); }
void Loader::on_message(std::function<void(const std::string&)> say) { state_->say = std::move(say); }

std::vector<double> mixture_weights(const std::vector<double>& weights, const std::vector<int64_t>& tokens) {
  check(weights.size() == tokens.size(), ErrorKind::internal, "{} weights for {} sources", weights.size(),
        tokens.size());
  double given = 0, natural = 0, sum = 0;
  for (size_t s = 0; s < weights.size(); ++s) {
    given += weights[s];
    if (weights[s] <= 0) natural += double(tokens[s]);
  }
  check(natural == 0 || given < 1, ErrorKind::invalid,
        "the weights given in data.sources sum to {}: they must stay below 1, because sources with weight 0 share what "
        "is left",
        given);
  std::vector<double> shares(weights.size(), 0.0);
  for (size_t s = 0; s < weights.size(); ++s) {
    if (tokens[s] == 0) continue;
    shares[s] = weights[s] > 0 ? weights[s] : (1 - given) * double(tokens[s]) / natural;
    sum += shares[s];
  }
  check(sum > 0, ErrorKind::invalid, "no source has any training text");
  for (double& share : shares) share /= sum;
  return shares;
}

}  // namespace hadal::data
