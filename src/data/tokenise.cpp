// See tokenise.h. Memory is bounded by one batch of text (or one document, if that is longer).
#include "data/tokenise.h"

#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
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

constexpr int64_t kRefusedListed = 10;

// Takes documents in order, encodes them in batches, writes them to the shards of the current unit.
class UnitWriter {
 public:
  UnitWriter(const TokeniseJob& job, const Exec& exec, TokeniseResult& result, Progress& progress)
      : job_(job), exec_(exec), result_(result), progress_(progress) {}

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

  void finish() {
    flush();
    for (auto& writer : writers_) {
      const ShardInfo info = writer->commit();
      auto& tokens = info.split == Split::training ? result_.training_tokens : result_.held_out_tokens;
      tokens[size_t(info.source)] += info.n_tokens;
      result_.refused[size_t(info.source)] += info.n_refused;
      writer.reset();
    }
  }

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
    if (++listed_ <= kRefusedListed && job_.say) job_.say("skipped: " + why);
  }

  const TokeniseJob& job_;
  const Exec& exec_;
  TokeniseResult& result_;
  Progress& progress_;
  Unit unit_;
  std::unique_ptr<ShardWriter> writers_[2];
  std::vector<Waiting> waiting_;
  int64_t bytes_ = 0, listed_ = 0;
};

bool kept(const DocumentFacts& facts) { return facts.fate == Fate::training || facts.fate == Fate::held_out; }

// Units of which both shards are there are counted as they are; the others are returned.
std::vector<Unit> missing_units(const TokeniseJob& job, const std::vector<Unit>& units, TokeniseResult& result) {
  std::vector<Unit> missing;
  for (const Unit& unit : units) {
    for (Split split : {Split::training, Split::held_out}) result.files.push_back(shard_name(unit, split));
    const auto training = finished_shard(job, unit, Split::training),
               held_out = finished_shard(job, unit, Split::held_out);
    if (training && held_out) {
      result.training_tokens[size_t(unit.source)] += training->n_tokens;
      result.held_out_tokens[size_t(unit.source)] += held_out->n_tokens;
      result.refused[size_t(unit.source)] += training->n_refused;
      ++result.units_kept;
    } else {
      missing.push_back(unit);
    }
  }
  return missing;
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
  TokeniseResult result;
  result.training_tokens.assign(job.corpus.sources().size(), 0);
  result.held_out_tokens.assign(job.corpus.sources().size(), 0);
  result.refused.assign(job.corpus.sources().size(), 0);
  const std::vector<Unit> units = cut_units(job.corpus, job.unit_bytes);
  result.units = int64_t(units.size());
  const std::vector<Unit> missing = missing_units(job, units, result);
  if (missing.empty()) return result;
  fs::remove(job.directory / "index.json");  // until the new files are complete, the old index speaks of none of them
  int64_t bytes = 0;
  for (const Unit& unit : missing) bytes += unit.bytes;
  Progress progress("tokenising", bytes, job.progress);
  UnitWriter writer(job, exec, result, progress);
  size_t current = 0;
  bool open = false;
  job.corpus.read(missing.front().begin, [&](int64_t document, const std::string& text) {
    if (document < missing[current].begin) return true;  // of a unit that is there already
    if (!open) writer.begin(missing[current]), open = true;
    if (kept(job.corpus.facts(document))) writer.add(document, text);
    if (document + 1 < missing[current].end) return true;
    writer.finish(), open = false;
    return ++current < missing.size();
  });
  check(current == missing.size(), ErrorKind::corrupt,
        "the sources hold less text than a moment ago: build the data again");
  progress.finish();
  return result;
}

}  // namespace hadal::data
