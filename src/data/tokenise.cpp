// See tokenise.h. Memory is bounded by one batch of text (or one document, if that is longer).
#include "data/tokenise.h"

#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "comm/byte_text.h"
#include "data/rank_progress.h"
#include "data/shard_file.h"

namespace hadal::data {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kBatchBytes = 4 << 20;

std::string shard_name(const Unit& unit, Split split) {
  return fmt::format("{:03}-{:05}.{}.shard", unit.source, unit.number, split_name(split));
}

ShardInfo shard_info(const TokeniseJob& job, const Unit& unit, Split split) {
  ShardInfo info;
  info.source = unit.source, info.unit = unit.number, info.split = split;
  info.token_bytes = job.tokenizer.vocab_size() <= 65536 ? 2 : 4;
  info.tokenizer_hash = job.tokenizer.content_hash();
  info.plan = job.plan;
  info.dialogues = job.corpus.sources()[size_t(unit.source)].format != SourceFormat::text;
  return info;
}

// A finished shard of this very plan, or nothing: absent, damaged, of another build, or with less than is wanted.
std::optional<ShardInfo> finished_shard(const TokeniseJob& job, const Unit& unit, Split split) {
  const fs::path path = job.directory / shard_name(unit, split);
  if (!fs::exists(path)) return std::nullopt;
  try {
    const ShardInfo found = ShardFile::open(path).info();
    const bool ours =
        found.plan == job.plan && found.source == unit.source && found.unit == unit.number && found.split == split;
    const bool complete = found.n_refused == 0 || job.corpus.config().on_bad_line == OnBadLine::skip;
    return ours && complete ? std::optional(found) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

struct Waiting {
  int64_t document = 0;  // corpus-wide
  std::string text;
  DocumentFacts facts;
  int64_t cut = 0;
  std::vector<int32_t> tokens[2] = {};       // [split], of a text
  std::vector<DialogueSample> samples = {};  // of a dialogue
  std::string refused = {};                  // why it has none
};

constexpr size_t kRefusedListed = 10;

// What the shards of a unit hold; nothing yet where it is not made.
struct UnitTokens {
  int64_t training = 0, held_out = 0, refused = 0;
  bool made = false;
};

// Takes documents in order, encodes them in batches, writes them to the shards of the current unit.
class UnitWriter {
 public:
  UnitWriter(const TokeniseJob& job, const Exec& exec, Progress& progress)
      : job_(job), exec_(exec), progress_(progress) {}

  void begin(const Unit& unit) {
    unit_ = unit;
    for (Split split : {Split::training, Split::held_out}) {
      writers_[size_t(split)] =
          std::make_unique<ShardWriter>(job_.directory / shard_name(unit, split), shard_info(job_, unit, split));
    }
  }

  void add(int64_t document, const std::string& text) {
    const DocumentFacts& facts = job_.corpus.facts(document);
    waiting_.push_back({document, text, facts, split_point(text, facts, job_.corpus.config())});
    bytes_ += facts.bytes;
    if (bytes_ >= kBatchBytes) flush();
  }

  UnitTokens finish() {
    flush();
    const ShardInfo training = writers_[0]->commit(), held_out = writers_[1]->commit();
    for (auto& writer : writers_) writer.reset();
    return {training.n_tokens, held_out.n_tokens, training.n_refused, true};
  }
  const std::vector<std::string>& passed_over() const { return passed_over_; }  // dialogues, the first of them

 private:
  void flush() {
    exec_.compute->parallel_for(2 * int64_t(waiting_.size()), [&](int64_t i, int) {
      Waiting& w = waiting_[size_t(i / 2)];
      if (w.facts.whole) return i % 2 == 0 ? make_samples(w) : void();
      const std::string_view text(w.text);
      const std::string_view part = i % 2 == 0 ? text.substr(0, size_t(w.cut)) : text.substr(size_t(w.cut));
      job_.tokenizer.encode_to(part, SpecialTokens::as_text, w.tokens[i % 2]);
      progress_.add(int64_t(part.size()));
    });
    for (const Waiting& w : waiting_) {
      if (w.facts.whole) {
        put_samples(w);
        continue;
      }
      if (w.cut > 0) writers_[0]->add(w.tokens[0], w.cut, w.facts.hash);
      if (w.cut < w.facts.bytes) writers_[1]->add(w.tokens[1], w.facts.bytes - w.cut, w.facts.hash);
    }
    waiting_.clear();
    bytes_ = 0;
  }

  void make_samples(Waiting& w) const {
    try {
      w.samples = job_.dialogues->samples(w.text, job_.corpus.config().sources[size_t(unit_.source)].train_on);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid && error.kind() != ErrorKind::unsupported) throw;
      w.refused = error.what();
    }
    progress_.add(w.facts.bytes);
  }

  void put_samples(const Waiting& w) {
    ShardWriter& writer = *writers_[w.facts.fate == Fate::held_out];
    for (const DialogueSample& sample : w.samples)
      writer.add_sample(sample.ids, sample.trained, sample.trained_bytes, w.facts.hash);
    if (w.refused.empty()) return;
    const std::string why = job_.corpus.place_of(w.document) + ": " + w.refused;
    check(job_.corpus.config().on_bad_line == OnBadLine::skip, ErrorKind::corrupt,
          "{} (data.on_bad_line = \"skip\" passes over such dialogues)", why);
    writers_[0]->refuse();
    if (passed_over_.size() < kRefusedListed) passed_over_.push_back(why);
  }

  const TokeniseJob& job_;
  const Exec& exec_;
  Progress& progress_;
  Unit unit_;
  std::unique_ptr<ShardWriter> writers_[2];
  std::vector<Waiting> waiting_;
  std::vector<std::string> passed_over_;
  int64_t bytes_ = 0;
};

bool kept(const DocumentFacts& facts) { return facts.fate == Fate::training || facts.fate == Fate::held_out; }

// What a unit's shards hold if both are there.
UnitTokens tokens_there(const TokeniseJob& job, const Unit& unit) {
  const auto training = finished_shard(job, unit, Split::training),
             held_out = finished_shard(job, unit, Split::held_out);
  if (!training || !held_out) return {};
  return {training->n_tokens, held_out->n_tokens, training->n_refused, true};
}

// What any rank has made is known to all.
void exchange_tokens(Group& ranks, std::vector<UnitTokens>& tokens) {
  if (ranks.size() == 1) return;
  ByteWriter own;
  for (size_t u = 0; u < tokens.size(); ++u)
    if (tokens[u].made) own(int64_t(u)), own(tokens[u]);
  for (const std::string& text : ranks.exchange(own.text)) {
    ByteReader in(text);
    for (size_t at = 0; at < text.size() / (sizeof(int64_t) + sizeof(UnitTokens)); ++at) {
      int64_t unit = 0;
      in(unit), in(tokens[size_t(unit)]);
    }
  }
}

// Of units that are missing a rank's run: all ranks have about as many bytes of text, and none needs to read what the
// others do.
std::vector<size_t> own_run(const Group& ranks, const std::vector<Unit>& units, const std::vector<size_t>& missing) {
  int64_t bytes = 0, before = 0;
  for (const size_t u : missing) bytes += units[u].bytes;
  std::vector<size_t> own;
  for (const size_t u : missing) {
    const int64_t middle = before + units[u].bytes / 2;
    if (int(double(middle) / double(bytes) * ranks.size()) == ranks.rank()) own.push_back(u);
    before += units[u].bytes;
  }
  return own;
}

// The first dialogues that were passed over, of all ranks: their runs follow each other.
void say_passed_over(const TokeniseJob& job, Group& ranks, const std::vector<std::string>& own) {
  ByteWriter out;
  out(own);
  size_t said = 0;
  for (const std::string& text : ranks.exchange(out.text)) {
    std::vector<std::string> whys;
    ByteReader in(text);
    in(whys);
    for (const std::string& why : whys)
      if (++said <= kRefusedListed && ranks.leads() && job.say) job.say("skipped: " + why);
  }
}

// Makes these units, which rise.
void make_units(const TokeniseJob& job, const Exec& exec, Group& ranks, const std::vector<Unit>& units,
                const std::vector<size_t>& wanted, std::vector<UnitTokens>& tokens) {
  int64_t bytes = 0;
  for (const size_t u : wanted) bytes += units[u].bytes;
  ProgressOptions shown = job.progress;
  shown.quiet = shown.quiet || !ranks.leads();
  Progress progress(progress_label(ranks, "tokenising"), bytes, shown);
  UnitWriter writer(job, exec, progress);
  size_t current = 0;
  bool open = false;
  const auto take = [&](int64_t document, const std::string& text) {
    const Unit& unit = units[wanted[current]];
    if (document < unit.begin) return true;  // of a unit that is there already
    if (!open) writer.begin(unit), open = true;
    if (kept(job.corpus.facts(document))) writer.add(document, text);
    if (document + 1 < unit.end) return true;
    tokens[wanted[current]] = writer.finish(), open = false;
    return ++current < wanted.size();
  };
  if (!wanted.empty()) job.corpus.read(units[wanted.front()].begin, take);
  check(current == wanted.size(), ErrorKind::corrupt,
        "the sources hold less text than a moment ago: build the data again");
  progress.finish();
  say_passed_over(job, ranks, writer.passed_over());
}

}  // namespace

std::vector<Unit> cut_units(const Corpus& corpus, int64_t unit_bytes) {
  std::vector<Unit> units;
  for (size_t s = 0; s < corpus.sources().size(); ++s) {
    Unit unit{int64_t(s), 0, corpus.first_document(int64_t(s)), corpus.first_document(int64_t(s)), 0};
    const int64_t end = corpus.first_document(int64_t(s) + 1);
    for (int64_t document = unit.begin; document < end; ++document) {
      unit.end = document + 1;
      if (kept(corpus.facts(document))) unit.bytes += corpus.facts(document).bytes;
      if (unit.bytes < unit_bytes) continue;
      units.push_back(unit);
      unit = {int64_t(s), unit.number + 1, document + 1, document + 1, 0};
    }
    if (unit.bytes > 0) units.push_back(unit);
  }
  return units;
}

TokeniseResult tokenise(const TokeniseJob& job, const Exec& exec) {
  Group alone = Group::self();
  Group& ranks = job.ranks ? *job.ranks : alone;
  const std::vector<Unit> units = cut_units(job.corpus, job.unit_bytes);
  std::vector<UnitTokens> tokens(units.size());
  for (size_t u = size_t(ranks.rank()); u < units.size(); u += size_t(ranks.size()))
    tokens[u] = tokens_there(job, units[u]);
  exchange_tokens(ranks, tokens);
  std::vector<size_t> missing;
  for (size_t u = 0; u < units.size(); ++u)
    if (!tokens[u].made) missing.push_back(u);
  if (!missing.empty()) {
    // until the new files are complete, the old index speaks of none of them
    if (ranks.leads()) fs::remove(job.directory / "index.json");
    ranks.barrier();
    make_units(job, exec, ranks, units, own_run(ranks, units, missing), tokens);
    exchange_tokens(ranks, tokens);
  }
  const size_t n_sources = job.corpus.sources().size();
  TokeniseResult result{
      {}, std::vector<int64_t>(n_sources), std::vector<int64_t>(n_sources), std::vector<int64_t>(n_sources)};
  result.units = int64_t(units.size()), result.units_kept = int64_t(units.size() - missing.size());
  for (size_t u = 0; u < units.size(); ++u) {
    const auto source = size_t(units[u].source);
    for (Split split : {Split::training, Split::held_out}) result.files.push_back(shard_name(units[u], split));
    result.training_tokens[source] += tokens[u].training;
    result.held_out_tokens[source] += tokens[u].held_out;
    result.refused[source] += tokens[u].refused;
  }
  return result;
}

}  // namespace hadal::data
