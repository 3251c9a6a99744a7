// Training of a byte-level BPE vocabulary (§2.1).
// (1) Texts are cut by the pre-tokenizer and equal words counted in 64 bits, on all threads; memory is
// bounded by the distinct words, not by the text. (2) The most frequent pair of neighbouring tokens becomes a new
// token, again and again. Pairs are counted over all neighbours (in "aaa" the pair a a twice). Tie rule: of equally
// frequent pairs the one with the smaller left id, then the smaller right id. This is also the rule of Hugging Face's
// trainer, so both give the same merges. The result depends on the multiset of words alone: not on thread count, order
// of texts, or machine. Ids: 0 BOS, 1 EOS, 2 PAD, 3..258 the bytes in the order of their characters, then the merges,
// then the other added tokens (FIM hole, begin, end, User, Assistant, EOT, think, /think). Text that spells an added
// token is text like any other, and no merge ever makes one.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace hadal {

struct BpeOptions {
  int64_t vocab_size = 4096;  // all ids, added tokens included
  int64_t min_count = 2;  // a pair seen less often is not merged; the vocabulary may then stay smaller than asked for
  std::vector<std::string> splits = PreTokenizer::default_splits();
  std::vector<std::string> extra_tokens;  // further added tokens, after the default ones
};

struct BpeProgress {
  const char* stage = "";       // "counting words", "merging"
  int64_t done = 0, total = 0;  // bytes (total 0: unknown) or merges
  int64_t distinct_words = 0;
};

class BpeTrainer {
 public:
  explicit BpeTrainer(BpeOptions options,
                      ThreadPool& pool);  // throws invalid if the vocabulary cannot hold bytes and added tokens
  ~BpeTrainer();

  // Called a few times per second from the calling thread; an exception that it throws ends the training.
  void on_progress(std::function<void(const BpeProgress&)> report);

  // Texts come in any number of calls. A text is a document; words do not reach over its ends.
  void add_text(std::string_view text);
  // Reads a file in blocks cut at line ends, whatever its size. A missing or unreadable one throws not_found or io.
  void add_file(const std::string& path);
  // The same from any source of bytes: read(out, size) gives up to size bytes and 0 at the end.
  void add_stream(const std::function<size_t(char* out, size_t size)>& read);
  // The same for many texts at once: next(text) fills the next one and returns false at the end.
  void add_texts(const std::function<bool(std::string&)>& next);

  int64_t bytes_seen() const;
  int64_t distinct_words() const;

  // Merges and returns the tokenizer; throws invalid if no text was added. The counts are used up.
  Tokenizer train();

  // Added tokens of a trained tokenizer: those at ids 0..2, then those at the end.
  static const std::vector<std::string_view>& first_tokens();
  static const std::vector<std::string_view>& last_tokens();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hadal
