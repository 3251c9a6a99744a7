#include "data/batch.h"

#include <algorithm>

namespace hadal::data {

int64_t Batch::n_tokens() const {
  int64_t n = 0;
  for (const Sequence& s : sequences) n += int64_t(s.tokens.size());
  return n;
}

int64_t Batch::n_targets() const {
  int64_t n = 0;
  for (const Sequence& s : sequences)
    n += std::count_if(s.targets.begin(), s.targets.end(), [](int32_t t) { return t >= 0; });
  return n;
}

int64_t Batch::n_padding() const {
  int64_t n = 0;
  for (const Sequence& s : sequences) n += s.padding;
  return n;
}

}  // namespace hadal::data
