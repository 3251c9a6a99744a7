// See corpus_reader.h.
#include "data/corpus_reader.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "data/byte_stream.h"

namespace hadal::data {
namespace {

constexpr const char* kOutside =
    "holds {} bytes that are no UTF-8, kept as they stand; text of another encoding is converted by iconv, e.g. "
    "iconv -f LATIN1 -t UTF-8";

bool named_explicitly(const SourceConfig& source, const std::string& file) {
  return std::find(source.paths.begin(), source.paths.end(), file) != source.paths.end();
}

int64_t bytes_of(const std::vector<SourceFiles>& sources) {
  int64_t total = 0;
  for (const auto& source : sources)
    for (const auto& file : source.files) total += file.bytes;
  return total;
}

}  // namespace

CorpusReader::CorpusReader(const DataConfig& config, double sample, std::vector<SourceFiles>& sources,
                           std::vector<SourceCounts>& counts, const ProgressOptions& progress)
    : config_(config),
      sample_(sample),
      sources_(sources),
      counts_(counts),
      progress_("reading", bytes_of(sources), progress) {
  counts_.assign(sources.size(), {});
  first_document.assign(sources.size() + 1, 0);
}

bool CorpusReader::next(ReadDocument& document) {
  while (reader_ || open_next_file()) {
    while (text_found_ && reader_->next(document.text)) {
      stop_if_interrupted(kScanInterrupted);
      progress_.set(before_ + reader_->file_bytes_read());
      if (take(document)) return true;
    }
    close_file();
  }
  return false;
}

bool CorpusReader::open_next_file() {
  for (; source_ < sources_.size() && file_ == sources_[source_].files.size(); ++source_, file_ = 0)
    first_document[source_ + 1] = int64_t(facts.size());
  if (source_ == sources_.size()) return false;
  named_ = named_explicitly(source(), file().path);
  ReaderOptions options{source().text_field, config_.on_bad_line, named_};
  options.format = source().format;
  options.how_to_name_field = fmt::format("name another with --set data.sources.{}.text_field=FIELD", source_);
  reader_ = std::make_unique<DocumentReader>(file().path, options);
  ++counts_[source_].files;
  file().form = reader_->form();
  text_found_ = reader_->not_text().empty();
  if (text_found_) return true;
  check(!named_, ErrorKind::invalid, "{}", reader_->refusal());
  file().skipped = reader_->not_text();
  return true;
}

// Whether it is one that the corpus has.
bool CorpusReader::take(ReadDocument& document) {
  const std::string& text = document.text;
  const int64_t outside = reader_->form() == Form::text ? bytes_outside_utf8(text) : 0;
  if (reader_->form() == Form::text && looks_binary(text, outside)) {
    check(!named_, ErrorKind::invalid, "{}", binary_refusal(file().path, text));
    file().skipped = "binary";
    return false;
  }
  const Hash128 hash = document_hash(text);
  if (!in_sample(hash, sample_)) return false;
  if (outside > 0) file().notes.push_back(fmt::format(kOutside, outside));
  ++file().n_documents;
  document.document = int64_t(facts.size()), document.source = source_;
  DocumentFacts& of = facts.emplace_back();
  of.hash = hash.a, of.bytes = int64_t(text.size()), of.whole = source().format != SourceFormat::text;
  second_hashes.push_back(hash.b);
  SourceCounts& counts = counts_[source_];
  counts.documents += 1, counts.bytes += of.bytes;
  check(document.document < int64_t(UINT32_MAX), ErrorKind::unsupported, "a corpus has at most {} documents",
        UINT32_MAX);
  document.is_new = !text.empty() && firsts_.add(hash, document.document, [&](uint32_t earlier) {
    return Hash128{facts[earlier].hash, second_hashes[earlier]};
  });
  if (document.is_new) return true;
  of.fate = text.empty() ? Fate::empty : Fate::duplicate;
  if (text.empty()) {
    counts.empty += 1;
  } else {
    counts.duplicates += 1, counts.duplicate_bytes += of.bytes;
  }
  return true;
}

void CorpusReader::close_file() {
  SourceCounts& counts = counts_[source_];
  counts.skipped_files += !file().skipped.empty();
  counts.replaced += reader_->replaced(), counts.bad_lines += reader_->bad_lines();
  for (std::string& note : reader_->notes()) file().notes.push_back(std::move(note));
  file().bad_lines = reader_->listed_bad_lines();
  if (file().bad_lines.size() > left_to_list_) file().bad_lines.resize(left_to_list_);
  left_to_list_ -= file().bad_lines.size();
  file().hash = text_found_ ? reader_->file_hash() : hash_of_file(file().path);
  before_ += file().bytes;
  reader_.reset();
  ++file_;
}

}  // namespace hadal::data
