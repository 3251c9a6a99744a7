// Documents of a corpus again, in order, one call at a time.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/document_reader.h"

namespace hadal::data {

class Walk {
 public:
  // next() gives documents from `first` on. Files in front of it are not read. sample: as it was scanned with.
  Walk(const std::vector<SourceFiles>& sources, OnBadLine on_bad_line, int64_t first, double sample = 1);
  bool next(std::string& text);    // false at the end; throws corrupt for a file that has fewer than it had
  void skip_to(int64_t document);  // which next() gives then, if it gave none behind it

  int64_t document() const { return document_ - 1; }  // number of the last one given
  size_t source() const { return source_; }
  const std::string& path() const { return file().path; }
  std::string place() const;  // "'FILE' line N"
  // Throws corrupt where `text`, which next() gave, is not what scan() saw.
  void check_unchanged(const std::string& text, const DocumentFacts& facts) const;

 private:
  const SourceFile& file() const { return sources_[source_].files[file_]; }
  ReaderOptions options() const;
  void next_file();
  const std::vector<SourceFiles>& sources_;
  OnBadLine on_bad_line_;
  double sample_;
  size_t source_ = 0, file_ = 0;
  int64_t in_file_ = 0, document_ = 0;
  std::unique_ptr<DocumentReader> reader_;
};

}  // namespace hadal::data
