// A batch of sequences of random tokens, one passage each: speed does not depend on what a text says.
#pragma once
#include <cstdint>

#include "base/random.h"
#include "config/config.h"
#include "data/batch.h"

namespace hadal::bench {

inline data::Batch made_up_batch(const Config& config) {
  data::Batch batch;
  RandomStream random{1, stream_id("bench"), 0};
  for (int64_t s = 0; s < config.train.batch_sequences; ++s) {
    data::Sequence sequence;
    for (int64_t i = 0; i < config.data.sequence_length; ++i)
      sequence.tokens.push_back(int32_t(random.below(uint64_t(config.model.vocab_size))));
    sequence.targets.assign(sequence.tokens.begin() + 1, sequence.tokens.end());
    sequence.targets.push_back(-1);
    sequence.passages = {{.start = 0, .length = config.data.sequence_length}};
    batch.sequences.push_back(std::move(sequence));
  }
  return batch;
}

}  // namespace hadal::bench
