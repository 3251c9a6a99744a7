// Batch: the global batch of one step, before it is divided over ranks or micro-batches: packed sequences without
// padding. A passage is a document, or a part of one that is longer than a sequence, or such a part rearranged for
// filling in the middle:
//   [BOS] tokens [EOS]      BOS only with data.add_bos at a document's begin; EOS at its end (of a document whose text
//                           fills its sequence to the last token, EOS is the last target only)
//   [BOS] <fim_begin> prefix <fim_hole> suffix <fim_end> middle EOS      (PSM, §2.2)
// Targets: the next token of the passage. After a part that its document continues, that continuation. After EOS: with
// document_mask = none the first token of the next passage in the sequence (-1 at the end of the sequence), with
// document: -1.
// A passage of a dialogue is one sample, whole, with BOS and EOS as its chat template writes them:
//   BOS system <｜User｜> question <｜Assistant｜> answer EOS ...
// Its targets are the next tokens that are trained: the mask belongs to the token that is predicted.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal::data {

struct Passage {
  int64_t start = 0, length = 0;          // in the sequence's tokens
  int64_t source = 0, document = 0;       // where it comes from (training split)
  int64_t epoch = 0;                      // of its source
  int64_t index = 0;                      // 0, 1, ...: which part of the document
  int64_t first_token = 0, n_tokens = 0;  // of the document, as tokenised in this epoch
  bool begins = true, ends = true;        // holds the document's first, last token
  bool fim = false, dialogue = false;
  int64_t prefix = 0, suffix = 0, middle = 0;  // tokens of the three parts when fim
};

struct Sequence {
  std::vector<int32_t> tokens;    // at most data.sequence_length
  std::vector<int32_t> targets;   // as many; -1 = none
  std::vector<float> weights;     // as many: of each target's loss, that of the source it comes from; empty: 1 all
  std::vector<int32_t> domains;   // as many: of each target that of its source (domains.h); empty: there is but one
  std::vector<Passage> passages;  // in order, covering all tokens
  int64_t padding = 0;            // sequence_length - tokens
};

struct Batch {
  std::vector<Sequence> sequences;
  int64_t first_sequence = 0;  // number of its first sequence in the stream
  bool masked = false;         // document masks: each passage sees itself only and positions restart
  int64_t n_tokens() const;
  int64_t n_targets() const;
  int64_t n_padding() const;
  bool has_dialogues() const;
  int64_t epoch() const;  // the latest of its passages', from 1; 0 without any
};

}  // namespace hadal::data
