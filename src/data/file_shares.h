// Which rank reads which files of a corpus: the largest first, each to the rank that has the fewest bytes so far. One
// rank reads all of a file.
#pragma once
#include <cstdint>
#include <vector>

#include "data/corpus.h"

namespace hadal::data {

struct FilePlace {
  size_t source = 0, file = 0;
};

class FileShares {
 public:
  FileShares(const std::vector<SourceFiles>& sources, int n_ranks);

  int rank_of(FilePlace place) const { return ranks_[first_file_[place.source] + place.file]; }
  std::vector<FilePlace> of_rank(int rank) const;  // in corpus order
  int n_ranks() const { return n_ranks_; }

 private:
  int n_ranks_;
  std::vector<size_t> first_file_;  // of each source among the files of all, and their number
  std::vector<int> ranks_;          // by file
};

// Where documents of a rank's share stand in the corpus, once all files were read (SourceFile::n_documents).
class ShareNumbers {
 public:
  ShareNumbers(const FileShares& shares, int rank, const std::vector<SourceFiles>& sources);
  // `document`, a number in the share, rises from call to call.
  int64_t in_corpus(int64_t document);

 private:
  struct FileEnd {
    int64_t in_share, distance;  // how far off the corpus's number is
  };
  std::vector<FileEnd> ends_;  // of each file of the share
  size_t file_ = 0;
};

}  // namespace hadal::data
