// The random splitting of fused punctuation and newlines during training (§2.1): which tokens, and their parts.
#include "base/error.h"
#include "base/random.h"
#include "text/tokenizer.h"

namespace hadal {

std::vector<int32_t> split_fused_tokens(const Tokenizer& tokenizer, std::span<const int32_t> ids, double fraction,
                                        uint64_t seed, uint64_t stream) {
  check(fraction >= 0 && fraction <= 1, ErrorKind::invalid,
        "the fraction of fused tokens to split is {}, not in 0 .. 1", fraction);
  std::vector<int32_t> out;
  out.reserve(ids.size() + ids.size() / 16);
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::span<const int32_t> parts = fraction > 0 ? tokenizer.fused_parts(ids[i]) : std::span<const int32_t>();
    if (!parts.empty() && random_uniform(seed, stream, i) < fraction) {
      out.insert(out.end(), parts.begin(), parts.end());
    } else {
      out.push_back(ids[i]);
    }
  }
  return out;
}

}  // namespace hadal
