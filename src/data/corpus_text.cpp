// Listing, reading and dividing the corpus; see corpus.h for the order of decisions.
#include "data/corpus.h"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/input_file.h"
#include "base/interrupt.h"
#include "base/utf8.h"
#include "data/byte_stream.h"
#include "data/dialogue.h"
#include "data/document_reader.h"
#include "data/quality_rules.h"

namespace hadal::data {
namespace fs = std::filesystem;
namespace {

struct Hash128 {
  uint64_t a, b;
  bool operator==(const Hash128&) const = default;
};
struct TakeFirst {
  size_t operator()(const Hash128& h) const { return size_t(h.a); }
};

Hash128 document_hash(std::string_view text) {
  return {hash64(text, 0x9e3779b97f4a7c15ull), hash64(text, 0xc2b2ae3d27d4eb4full)};
}

double as_share(uint64_t hash) { return double(hash >> 11) * 0x1p-53; }

bool named_explicitly(const DataConfig& config, size_t source, const std::string& file) {
  const auto& paths = config.sources[source].paths;
  return std::find(paths.begin(), paths.end(), file) != paths.end();
}

// Tells what becomes of each document, in corpus order.
class Judge {
 public:
  explicit Judge(const DataConfig& config) : config_(config) {}

  // May cut lines out of the text.
  DocumentFacts judge(std::string& text, SourceCounts& counts) {
    const Hash128 hash = document_hash(text);
    DocumentFacts facts{hash.a, int64_t(text.size()), Fate::training, whole_};
    counts.documents += 1, counts.bytes += facts.bytes;
    if (text.empty()) {
      facts.fate = Fate::empty, counts.empty += 1;
    } else if (!seen_.insert(hash).second) {
      facts.fate = Fate::duplicate, counts.duplicates += 1, counts.duplicate_bytes += facts.bytes;
    } else if (is_refused(text, counts)) {
      facts.fate = Fate::filtered, counts.filtered += 1, counts.filtered_bytes += facts.bytes;
    } else {
      counts.cut_bytes += facts.bytes - int64_t(text.size());
      facts.bytes = int64_t(text.size());
      const bool by_hash = whole_ || config_.holdout == Holdout::hash;
      if (by_hash && as_share(hash.a) < config_.holdout_fraction) facts.fate = Fate::held_out;
      count_split(counts, facts, split_point(text, facts, config_));
      DocumentFacts with_tail = facts;
      if (!whole_) with_tail.fate = Fate::training;
      count_split(tails_.back(), with_tail, split_point(text, with_tail, tail_config_));
    }
    digest_.update(&hash, sizeof hash);
    digest_.update(&facts.fate, 1);
    return facts;
  }
  void begin_source(const std::string& name, size_t source) {
    digest_.update(name), digest_.update("\n");
    whole_ = config_.sources[source].format != SourceFormat::text;
    rules_.emplace(config_.sources[source]);
    tails_.emplace_back();
  }
  std::string fingerprint() { return digest_.hex(); }

  // Where hashes hold out no document, or every one: holds out the tail of each instead, in counts, fates and
  // fingerprint. Returns whether it did.
  bool hold_out_tails(std::vector<SourceCounts>& counts, std::vector<DocumentFacts>& facts) {
    SourceCounts by_hash, tails;
    for (const SourceCounts& c : counts) add_split(by_hash, c);
    for (const SourceCounts& c : tails_) add_split(tails, c);
    if (config_.holdout != Holdout::hash || config_.holdout_fraction <= 0) return false;
    if (by_hash.held_out_bytes > 0 && by_hash.training_bytes > 0) return false;
    if (tails.held_out_bytes == 0 || tails.training_bytes == 0) return false;
    for (DocumentFacts& document : facts)
      if (document.fate == Fate::held_out && !document.whole) document.fate = Fate::training;
    for (size_t s = 0; s < counts.size(); ++s) {
      SourceCounts& c = counts[s];
      c.training = c.held_out = c.training_bytes = c.held_out_bytes = 0;
      add_split(c, tails_[s]);
    }
    digest_.update("tail");
    return true;
  }

 private:
  bool is_refused(std::string& text, SourceCounts& counts) {
    if (rules_->empty()) return false;
    const std::string before = text;
    const auto refusal = rules_->judge(text);
    if (!refusal) return false;
    RuleCounts& rule = counts.by_rule[refusal->rule];
    rule.documents += 1, rule.bytes += int64_t(before.size());
    rule.alone += rules_->all(before).size() == 1;
    return true;
  }
  static void count_split(SourceCounts& counts, const DocumentFacts& facts, int64_t cut) {
    SourceCounts one;
    one.training = cut > 0, one.training_bytes = cut;
    one.held_out = cut < facts.bytes, one.held_out_bytes = facts.bytes - cut;
    add_split(counts, one);
  }
  static void add_split(SourceCounts& counts, const SourceCounts& more) {
    counts.training += more.training, counts.training_bytes += more.training_bytes;
    counts.held_out += more.held_out, counts.held_out_bytes += more.held_out_bytes;
  }
  static DataConfig with_tails(DataConfig config) {
    config.holdout = Holdout::tail;
    return config;
  }

  const DataConfig& config_;
  const DataConfig tail_config_ = with_tails(config_);
  bool whole_ = false;                 // of the source at hand
  std::vector<SourceCounts> tails_;    // what holding out tails would give, by source
  std::optional<QualityRules> rules_;  // of the source at hand
  std::unordered_set<Hash128, TakeFirst> seen_;
  Sha256 digest_;
};

constexpr const char* kInterrupted = "the next build continues where this one stopped";

// "; passed over: 2 binary, 1 a PDF document", or nothing.
std::string skipped_in_words(const std::vector<SourceFiles>& sources) {
  std::map<std::string, int64_t> kinds;
  for (const auto& source : sources)
    for (const auto& file : source.files)
      if (!file.skipped.empty()) ++kinds[file.skipped];
  std::string text;
  for (const auto& [found, n] : kinds) {
    std::string kind = found;
    for (const std::string article : {"a ", "an "})
      if (kind.starts_with(article)) kind.erase(0, article.size());
    for (const char* noun : {"document", "file", "archive"})
      if (n > 1 && kind.ends_with(noun)) kind += "s";
    text += fmt::format("{}{} {}", text.empty() ? "; passed over: " : ", ", n, kind);
  }
  return text;
}

}  // namespace

int64_t split_point(std::string_view text, const DocumentFacts& facts, const DataConfig& config) {
  const int64_t bytes = int64_t(text.size());
  if (facts.fate == Fate::held_out) return 0;
  if (facts.fate != Fate::training || facts.whole || config.holdout != Holdout::tail) return bytes;
  int64_t cut = bytes - int64_t(double(bytes) * config.holdout_fraction);
  // Back to the border of a character; at most three bytes, so that bytes which are no text cannot move it far.
  for (int i = 0; i < 3 && cut > 0 && cut < bytes && (text[size_t(cut)] & 0xC0) == 0x80; ++i) --cut;
  return cut;
}

namespace {

// Reads one file of a source, judging its documents.
class FileScan {
 public:
  FileScan(const DataConfig& config, Judge& judge, Progress& progress, std::vector<DocumentFacts>& facts)
      : config_(config), judge_(judge), progress_(progress), facts_(facts) {}

  void scan(size_t source, SourceFile& file, SourceCounts& counts) {
    const bool named = named_explicitly(config_, source, file.path);
    const SourceConfig& of = config_.sources[source];
    ReaderOptions options{of.text_field, config_.on_bad_line, named};
    options.format = of.format;
    options.how_to_name_field = fmt::format("name another with --set data.sources.{}.text_field=FIELD", source);
    DocumentReader reader(file.path, options);
    ++counts.files;
    file.form = reader.form();
    bool text_found = reader.not_text().empty();
    if (!text_found) check(!named, ErrorKind::invalid, "{}", reader.refusal()), file.skipped = reader.not_text();
    while (text_found && reader.next(text_)) {
      stop_if_interrupted(kInterrupted);
      progress_.set(before_ + reader.file_bytes_read());
      const int64_t outside = reader.form() == Form::text ? bytes_outside_utf8(text_) : 0;
      if (reader.form() == Form::text && looks_binary(text_, outside)) {
        check(!named, ErrorKind::invalid, "{}", binary_refusal(file.path, text_));
        file.skipped = "binary";
        continue;
      }
      if (outside > 0) file.notes.push_back(fmt::format(kOutside, outside));
      facts_.push_back(judge_.judge(text_, counts));
      ++file.n_documents;
    }
    counts.skipped_files += !file.skipped.empty();
    counts.replaced += reader.replaced(), counts.bad_lines += reader.bad_lines();
    for (std::string& note : reader.notes()) file.notes.push_back(std::move(note));
    file.bad_lines = reader.listed_bad_lines();
    if (file.bad_lines.size() > left_to_list_) file.bad_lines.resize(left_to_list_);
    left_to_list_ -= file.bad_lines.size();
    file.hash = text_found ? reader.file_hash() : hash_of_file(file.path);
    before_ += file.bytes;
  }

 private:
  static constexpr const char* kOutside =
      "holds {} bytes that are no UTF-8, kept as they stand; text of another encoding is converted by iconv, e.g. "
      "iconv -f LATIN1 -t UTF-8";

  const DataConfig& config_;
  Judge& judge_;
  Progress& progress_;
  std::vector<DocumentFacts>& facts_;
  std::string text_;
  int64_t before_ = 0;  // bytes of the files that were read
  size_t left_to_list_ = size_t(kBadLinesListed);
};

}  // namespace

Corpus Corpus::scan(const DataConfig& config, const ProgressOptions& options) {
  Corpus corpus;
  corpus.config_ = config;
  corpus.sources_ = list_sources(config);
  int64_t total = 0;
  for (const auto& source : corpus.sources_)
    for (const auto& file : source.files) total += file.bytes;
  Progress progress("reading", total, options);
  Judge judge(config);
  FileScan files(config, judge, progress, corpus.facts_);
  for (size_t s = 0; s < corpus.sources_.size(); ++s) {
    SourceCounts counts;
    corpus.first_document_.push_back(corpus.n_documents());
    judge.begin_source(corpus.sources_[s].name, s);
    for (SourceFile& file : corpus.sources_[s].files) files.scan(s, file, counts);
    corpus.counts_.push_back(counts);
  }
  corpus.first_document_.push_back(corpus.n_documents());
  if (judge.hold_out_tails(corpus.counts_, corpus.facts_)) corpus.config_.holdout = Holdout::tail;
  corpus.fingerprint_ = judge.fingerprint();
  progress.finish();
  int64_t held_out = 0, documents = 0;
  for (const auto& counts : corpus.counts_) held_out += counts.held_out, documents += counts.documents;
  check(corpus.training_bytes() > 0 || held_out == 0, ErrorKind::invalid,
        "all text is held out, none is left for training: lower data.holdout_fraction ({}) or set data.holdout to "
        "\"tail\"",
        config.holdout_fraction);
  check(corpus.training_bytes() > 0, ErrorKind::invalid,
        "the sources hold no text ({} documents, all empty or removed){}", documents,
        skipped_in_words(corpus.sources_));
  return corpus;
}

int64_t Corpus::training_bytes() const {
  int64_t bytes = 0;
  for (const auto& counts : counts_) bytes += counts.training_bytes;
  return bytes;
}

namespace {

// Documents of a corpus again, in order, one call at a time.
class Walk {
 public:
  Walk(const std::vector<SourceFiles>& sources, OnBadLine on_bad_line, int64_t first)
      : sources_(sources), on_bad_line_(on_bad_line) {
    // Whole files before `first` are passed over unread.
    while (source_ < sources_.size() && document_ < first) {
      if (file_ == sources_[source_].files.size()) {
        ++source_, file_ = 0;
        continue;
      }
      const SourceFile& file = sources_[source_].files[file_];
      if (document_ + file.n_documents > first) break;
      document_ += file.n_documents, ++file_;
    }
    std::string text;
    while (document_ < first && next(text)) {
    }
  }

  bool next(std::string& text) {
    for (;;) {
      if (!reader_) {
        while (source_ < sources_.size() && file_ == sources_[source_].files.size()) ++source_, file_ = 0;
        if (source_ == sources_.size()) return false;
        in_file_ = 0;
        if (file().n_documents > 0) reader_ = std::make_unique<DocumentReader>(file().path, options());
      }
      if (in_file_ < file().n_documents) {
        check(reader_->next(text), ErrorKind::corrupt, "'{}' changed while it was being read: build the data again",
              file().path);
        ++in_file_, ++document_;
        return true;
      }
      reader_.reset();
      ++file_;
    }
  }
  int64_t document() const { return document_ - 1; }  // number of the last one given
  size_t source() const { return source_; }
  const std::string& path() const { return file().path; }
  std::string place() const { return fmt::format("'{}' line {}", path(), reader_->line()); }

 private:
  const SourceFile& file() const { return sources_[source_].files[file_]; }
  ReaderOptions options() const {
    ReaderOptions options{sources_[source_].text_field, on_bad_line_};
    options.format = sources_[source_].format;
    return options;
  }
  const std::vector<SourceFiles>& sources_;
  OnBadLine on_bad_line_;
  size_t source_ = 0, file_ = 0;
  int64_t in_file_ = 0, document_ = 0;
  std::unique_ptr<DocumentReader> reader_;
};

std::vector<QualityRules> rules_of(const DataConfig& config) {
  std::vector<QualityRules> rules;
  for (const SourceConfig& source : config.sources) rules.emplace_back(source);
  return rules;
}

// The text as it was when scan() saw it, without the lines that rules cut.
void make_as_judged(const Walk& walk, const DocumentFacts& facts, const std::vector<QualityRules>& rules,
                    std::string& text) {
  check(document_hash(text).a == facts.hash, ErrorKind::corrupt,
        "'{}' changed while it was being read: build the data again", walk.path());
  const bool stays = facts.fate == Fate::training || facts.fate == Fate::held_out;
  if (stays && rules[walk.source()].cut_lines()) rules[walk.source()].judge(text);
}

}  // namespace

void Corpus::read(int64_t first, const Visitor& visit) const {
  Walk walk(sources_, config_.on_bad_line, first);
  const std::vector<QualityRules> rules = rules_of(config_);
  std::string text;
  while (walk.next(text)) {
    stop_if_interrupted(kInterrupted);
    make_as_judged(walk, facts(walk.document()), rules, text);
    if (!visit(walk.document(), text)) return;
  }
}

std::string Corpus::place_of(int64_t document) const {
  Walk walk(sources_, config_.on_bad_line, document);
  std::string text;
  check(walk.next(text), ErrorKind::internal, "document {} of {}", document, n_documents());
  return walk.place();
}

std::function<bool(std::string&)> Corpus::training_texts(int64_t max_bytes) const {
  auto walk = std::make_shared<Walk>(sources_, config_.on_bad_line, 0);
  auto given = std::make_shared<int64_t>(0);
  return [this, walk, given, max_bytes, rules = rules_of(config_)](std::string& text) {
    while ((max_bytes == 0 || *given < max_bytes) && walk->next(text)) {
      stop_if_interrupted(kInterrupted);
      const DocumentFacts& known = facts(walk->document());
      if (known.fate != Fate::training) continue;
      make_as_judged(*walk, known, rules, text);
      text.resize(size_t(split_point(text, known, config_)));
      if (known.whole) text = words_of_dialogue(text);
      if (text.empty()) continue;
      if (max_bytes > 0 && *given + int64_t(text.size()) > max_bytes) text.resize(size_t(max_bytes - *given));
      *given += int64_t(text.size());
      return true;
    }
    return false;
  };
}

}  // namespace hadal::data
