// See heldout.h.
#include "data/heldout.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace hadal::data {
TextCut cut_at_character(std::span<const std::string_view> tokens, int64_t max_bytes) {
  TextCut cut;
  int64_t bytes = 0;
  for (size_t i = 0; i < tokens.size() && (bytes < max_bytes || cut.tokens == 0); ++i) {
    bytes += int64_t(tokens[i].size());
    const std::string_view next = i + 1 < tokens.size() ? tokens[i + 1] : std::string_view();
    const bool border = next.empty() || (next[0] & 0xC0) != 0x80;
    if (border) cut = {int64_t(i) + 1, bytes};
  }
  return cut;
}

namespace {

// Samples of dialogues, whole, until `left` bytes of their answers are used up.
void add_samples(const Shards& shards, int64_t source, const DataConfig& config, int64_t left,
                 std::vector<HeldOutDocument>& documents) {
  for (int64_t d = 0; d < shards.n_documents(Split::held_out, source) && left > 0; ++d) {
    const DocumentRecord& record = shards.document(Split::held_out, source, d);
    if (int64_t(record.n_tokens) > config.sequence_length || record.raw_bytes == 0) continue;
    HeldOutDocument document{{}, int64_t(record.raw_bytes), source, d};
    shards.tokens(Split::held_out, source, d, document.tokens);
    shards.trained(Split::held_out, source, d, document.trained);
    left -= document.raw_bytes;
    documents.push_back(std::move(document));
  }
}

}  // namespace

std::vector<HeldOutDocument> heldout_documents(const Shards& shards, const Tokenizer& tokenizer,
                                               const DataConfig& config, int64_t max_bytes) {
  const auto eos = tokenizer.eos_id(), bos = tokenizer.bos_id();
  check(eos.has_value(), ErrorKind::invalid, "the tokenizer has no end-of-sentence token");
  check(!config.add_bos || bos.has_value(), ErrorKind::invalid,
        "data.add_bos is set, but the tokenizer has no BOS token");
  double total = 0;
  for (int64_t s = 0; s < shards.n_sources(); ++s) total += double(shards.n_raw_bytes(Split::held_out, s));
  std::vector<HeldOutDocument> documents;
  for (int64_t s = 0; s < shards.n_sources(); ++s) {
    const int64_t bytes = shards.n_raw_bytes(Split::held_out, s);
    int64_t left = max_bytes > 0 ? std::min(bytes, int64_t(double(max_bytes) * double(bytes) / total + 0.5)) : bytes;
    if (shards.of_dialogues(s)) {
      add_samples(shards, s, config, left, documents);
      continue;
    }
    for (int64_t d = 0; d < shards.n_documents(Split::held_out, s) && left > 0; ++d) {
      HeldOutDocument document{{}, int64_t(shards.document(Split::held_out, s, d).raw_bytes), s, d};
      std::vector<int32_t> text;
      shards.tokens(Split::held_out, s, d, text);
      const bool whole = document.raw_bytes <= left;
      if (!whole) {
        std::vector<std::string_view> bytes_of;
        for (const int32_t id : text) bytes_of.push_back(tokenizer.token_bytes(id));
        const TextCut cut = cut_at_character(bytes_of, left);
        text.resize(size_t(cut.tokens));
        document.raw_bytes = cut.bytes;
      }
      document.tokens.push_back(config.add_bos ? *bos : *eos);
      document.tokens.insert(document.tokens.end(), text.begin(), text.end());
      if (whole) document.tokens.push_back(*eos);
      left -= document.raw_bytes;
      documents.push_back(std::move(document));
    }
  }
  return documents;
}

std::vector<ScoringWindow> scoring_windows(const std::vector<HeldOutDocument>& documents, int64_t sequence_length,
                                           int64_t stride) {
  if (stride == 0) stride = std::max<int64_t>(1, sequence_length / 2);
  check(sequence_length >= 1 && stride >= 1 && stride <= sequence_length, ErrorKind::invalid,
        "a stride of {} tokens does not suit windows of {}: 1 .. {} does", stride, sequence_length, sequence_length);
  std::vector<ScoringWindow> windows;
  for (size_t d = 0; d < documents.size(); ++d) {
    const int64_t last = int64_t(documents[d].tokens.size()) - 1;  // the last token is a target only
    int64_t scored = 1;
    for (int64_t begin = 0; scored <= last; begin += stride) {
      const int64_t end = std::min(begin + sequence_length, last);
      windows.push_back({int64_t(d), begin, end, scored});
      scored = end + 1;
    }
  }
  return windows;
}

}  // namespace hadal::data
