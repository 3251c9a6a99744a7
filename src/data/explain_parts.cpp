#include "data/explain_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text_format.h"
#include "base/utf8.h"

namespace hadal::data {

std::string visible_text(std::string_view bytes) {
  std::string out;
  const char *at = bytes.data(), *end = at + bytes.size();
  while (at < end) {
    const int length = utf8_length(at, end);
    const unsigned char byte = static_cast<unsigned char>(*at);
    if (length == 0 || byte < 0x20 || byte == 0x7f) {
      out += byte == '\n' ? "\\n" : byte == '\t' ? "\\t" : byte == '\r' ? "\\r" : fmt::format("\\x{:02x}", byte);
      ++at;
    } else {
      out.append(at, size_t(length));
      at += length;
    }
  }
  return out;
}

namespace {

// At most n bytes of the front or back of a text, at borders of characters.
std::string_view front(std::string_view text, int64_t n) {
  if (int64_t(text.size()) <= n) return text;
  while (n > 0 && (text[size_t(n)] & 0xC0) == 0x80) --n;
  return text.substr(0, size_t(n));
}
std::string_view back(std::string_view text, int64_t n) {
  if (int64_t(text.size()) <= n) return text;
  size_t begin = text.size() - size_t(n);
  while (begin < text.size() && (text[begin] & 0xC0) == 0x80) ++begin;
  return text.substr(begin);
}

}  // namespace

std::string excerpt(std::string_view text, int64_t bytes) {
  if (int64_t(text.size()) <= 2 * bytes) return visible_text(text);
  return visible_text(front(text, bytes)) + " … " + visible_text(back(text, bytes));
}

bool is_trained(const Sequence& sequence, const Passage& passage, int64_t place) {
  return place > passage.start && sequence.targets[size_t(place - 1)] >= 0;
}

int32_t target_of(const Batch& batch, const Sequence& sequence, const Passage& passage, int64_t place, int64_t depth) {
  const int64_t end = batch.masked ? passage.start + passage.length : int64_t(sequence.tokens.size());
  return place + depth < end ? sequence.targets[size_t(place + depth)] : -1;
}

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? "-" : visible_text(tokenizer.token_bytes(id));
}

namespace {

// A dialogue's passage as runs of what is trained and what is not.
std::vector<PassagePart> runs_of(const Sequence& sequence, const Passage& passage, const Tokenizer& tokenizer) {
  std::vector<PassagePart> parts;
  const int64_t end = passage.start + passage.length;
  for (int64_t at = passage.start; at < end;) {
    const bool trained = is_trained(sequence, passage, at);
    int64_t n = 1;
    while (at + n < end && is_trained(sequence, passage, at + n) == trained) ++n;
    const std::span<const int32_t> ids(sequence.tokens.data() + at, size_t(n));
    parts.push_back({trained ? "trained" : "context", at, n, false, tokenizer.decode(ids)});
    at += n;
  }
  return parts;
}

}  // namespace

std::vector<PassagePart> parts_of(const Sequence& sequence, const Passage& passage, const Tokenizer& tokenizer) {
  if (passage.dialogue) return runs_of(sequence, passage, tokenizer);
  std::vector<PassagePart> parts;
  int64_t at = passage.start;
  const int64_t end = passage.start + passage.length;
  auto take = [&](const char* name, int64_t n, bool special) {
    if (n == 0) return;
    const std::span<const int32_t> ids(sequence.tokens.data() + at, size_t(n));
    parts.push_back({name, at, n, special, tokenizer.decode(ids)});
    at += n;
  };
  const bool bos = passage.begins && tokenizer.bos_id() && sequence.tokens[size_t(at)] == *tokenizer.bos_id() &&
                   passage.length > (passage.fim ? passage.prefix + passage.suffix + passage.middle + 4
                                                 : passage.n_tokens + (passage.ends ? 1 : 0));
  if (bos) take("BOS", 1, true);
  if (passage.fim) {
    take("FIM begin", 1, true), take("prefix", passage.prefix, false);
    take("FIM hole", 1, true), take("suffix", passage.suffix, false);
    take("FIM end", 1, true), take("middle", passage.middle, false);
  } else {
    take("text", std::min(passage.n_tokens, end - at), false);
  }
  take("EOS", end - at, true);
  return parts;
}

std::string describe_passage(const Passage& passage, const Shards& shards) {
  if (passage.dialogue)
    return fmt::format("{} sample {}, epoch {}, {} tokens", shards.source_name(passage.source), passage.document,
                       passage.epoch + 1, passage.n_tokens);
  std::string which = passage.begins && passage.ends ? "whole" : fmt::format("part {}", passage.index + 1);
  if (!(passage.begins && passage.ends)) which += passage.ends ? " (last)" : "";
  return fmt::format("{} document {}, epoch {}, {}, its tokens {}..{}{}", shards.source_name(passage.source),
                     passage.document, passage.epoch + 1, which, passage.first_token,
                     passage.first_token + passage.n_tokens - 1, passage.fim ? ", fill in the middle" : "");
}

std::string describe_batch(const Batch& batch, const DataConfig& config, int64_t step) {
  int64_t passages = 0, fim = 0;
  for (const Sequence& s : batch.sequences) {
    passages += int64_t(s.passages.size());
    fim += std::count_if(s.passages.begin(), s.passages.end(), [](const Passage& p) { return p.fim; });
  }
  const int64_t places = int64_t(batch.sequences.size()) * config.sequence_length;
  return fmt::format(
      "step {}: {} sequences x {} = {} places; {} tokens, {} targets, {} padding ({}); {} passages, {} of them FIM",
      step, batch.sequences.size(), config.sequence_length, format_count(places), format_count(batch.n_tokens()),
      format_count(batch.n_targets()), format_count(batch.n_padding()),
      format_percent(places > 0 ? double(batch.n_padding()) / double(places) : 0), passages, fim);
}

std::string describe_mask(const Batch& batch) {
  return batch.masked ? "mask: document - each passage sees itself alone, positions restart at 0, nothing is predicted "
                        "across a border"
                      : "mask: none - every token sees all before it in its sequence, positions run on, EOS predicts "
                        "the next passage";
}

}  // namespace hadal::data
