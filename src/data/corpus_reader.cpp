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

}  // namespace

CorpusReader::CorpusReader(const DataConfig& config, double sample, std::vector<SourceFiles>& sources,
                           std::vector<FilePlace> share, Progress& progress)
    : config_(config), sample_(sample), sources_(sources), share_(std::move(share)), progress_(progress) {}

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
  if (at_ == share_.size()) return false;
  named_ = named_explicitly(source(), file().path);
  ReaderOptions options{source().text_field, config_.on_bad_line, named_};
  options.format = source().format;
  options.how_to_name_field =
      fmt::format("name another with --set data.sources.{}.text_field=FIELD", share_[at_].source);
  reader_ = std::make_unique<DocumentReader>(file().path, options);
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
  document.number = int64_t(findings.documents.size()), document.source = share_[at_].source;
  Finding& found = findings.documents.emplace_back();
  found.hash = hash, found.bytes = found.left = int64_t(text.size());
  document.is_new = !text.empty() && firsts_.add(hash, document.number,
                                                 [&](uint32_t earlier) { return findings.documents[earlier].hash; });
  found.copy = !document.is_new && !text.empty();
  return true;
}

void CorpusReader::close_file() {
  findings.files.push_back({reader_->replaced(), reader_->bad_lines()});
  for (std::string& note : reader_->notes()) file().notes.push_back(std::move(note));
  file().bad_lines = reader_->listed_bad_lines();
  if (file().bad_lines.size() > left_to_list_) file().bad_lines.resize(left_to_list_);
  left_to_list_ -= file().bad_lines.size();
  file().hash = text_found_ ? reader_->file_hash() : hash_of_file(file().path);
  before_ += file().bytes;
  reader_.reset();
  ++at_;
}

}  // namespace hadal::data
