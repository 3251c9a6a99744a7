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

bool Batch::has_dialogues() const {
  for (const Sequence& s : sequences)
    for (const Passage& passage : s.passages)
      if (passage.dialogue) return true;
  return false;
}

int64_t Batch::epoch() const {
  int64_t latest = 0;
  for (const Sequence& s : sequences)
    for (const Passage& passage : s.passages) latest = std::max(latest, passage.epoch + 1);
  return latest;
}

}  // namespace hadal::data
