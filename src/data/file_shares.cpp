// See file_shares.h.
#include "data/file_shares.h"

#include <algorithm>
#include <numeric>

namespace hadal::data {

FileShares::FileShares(const std::vector<SourceFiles>& sources, int n_ranks) : n_ranks_(n_ranks), first_file_{0} {
  std::vector<int64_t> bytes;
  for (const SourceFiles& source : sources) {
    for (const SourceFile& file : source.files) bytes.push_back(file.bytes);
    first_file_.push_back(bytes.size());
  }
  ranks_.assign(bytes.size(), 0);
  if (n_ranks == 1) return;
  std::vector<size_t> by_size(bytes.size());
  std::iota(by_size.begin(), by_size.end(), size_t(0));
  std::stable_sort(by_size.begin(), by_size.end(), [&](size_t a, size_t b) { return bytes[a] > bytes[b]; });
  std::vector<int64_t> given(static_cast<size_t>(n_ranks));
  for (const size_t file : by_size) {
    const auto least = std::min_element(given.begin(), given.end());
    *least += bytes[file] + 1;  // files of nothing are opened too
    ranks_[file] = int(least - given.begin());
  }
}

std::vector<FilePlace> FileShares::of_rank(int rank) const {
  std::vector<FilePlace> places;
  for (size_t source = 0; source + 1 < first_file_.size(); ++source)
    for (size_t file = 0; first_file_[source] + file < first_file_[source + 1]; ++file)
      if (rank_of({source, file}) == rank) places.push_back({source, file});
  return places;
}

ShareNumbers::ShareNumbers(const FileShares& shares, int rank, const std::vector<SourceFiles>& sources) {
  int64_t in_corpus = 0, in_share = 0;
  for (size_t s = 0; s < sources.size(); ++s) {
    for (size_t f = 0; f < sources[s].files.size(); ++f) {
      const int64_t n = sources[s].files[f].n_documents;
      if (shares.rank_of({s, f}) == rank) {
        in_share += n;
        ends_.push_back({in_share, in_corpus + n - in_share});
      }
      in_corpus += n;
    }
  }
}

int64_t ShareNumbers::in_corpus(int64_t document) {
  while (document >= ends_[file_].in_share) ++file_;
  return document + ends_[file_].distance;
}

}  // namespace hadal::data
