// See walk.h.
#include "data/walk.h"

#include "base/error.h"
#include "data/document_hash.h"

namespace hadal::data {

Walk::Walk(const std::vector<SourceFiles>& sources, OnBadLine on_bad_line, int64_t first, double sample)
    : sources_(sources), on_bad_line_(on_bad_line), sample_(sample) {
  skip_to(first);
}

void Walk::skip_to(int64_t document) {
  while (source_ < sources_.size() && document_ < document) {
    if (file_ == sources_[source_].files.size()) {
      ++source_, file_ = 0;
      continue;
    }
    const int64_t left = file().n_documents - in_file_;
    if (document_ + left > document) break;
    document_ += left, next_file();
  }
  std::string text;
  while (document_ < document && next(text)) {
  }
}

void Walk::next_file() { reader_.reset(), ++file_, in_file_ = 0; }

bool Walk::next(std::string& text) {
  for (;;) {
    while (source_ < sources_.size() && file_ == sources_[source_].files.size()) ++source_, file_ = 0;
    if (source_ == sources_.size()) return false;
    if (in_file_ == file().n_documents) {
      next_file();
      continue;
    }
    if (!reader_) reader_ = std::make_unique<DocumentReader>(file().path, options());
    check(reader_->next(text), ErrorKind::corrupt, "'{}' changed while it was being read: build the data again",
          file().path);
    if (sample_ < 1 && !in_sample(document_hash(text), sample_)) continue;
    ++in_file_, ++document_;
    return true;
  }
}

ReaderOptions Walk::options() const {
  ReaderOptions options{sources_[source_].text_field, on_bad_line_};
  options.format = sources_[source_].format;
  return options;
}

std::string Walk::place() const { return fmt::format("'{}' line {}", path(), reader_->line()); }

void Walk::check_unchanged(const std::string& text, const DocumentFacts& facts) const {
  check(document_hash(text).a == facts.hash, ErrorKind::corrupt,
        "'{}' changed while it was being read: build the data again", path());
}

}  // namespace hadal::data
