// What the tests of this room share: a text of many scripts, tokenizers trained on it.
#pragma once
#include <string>

#include "base/random.h"
#include "base/testing.h"
#include "text/bpe_trainer.h"
#include "text/text_kinds.h"
#include "text/tokenizer.h"

namespace hadal::testing {

inline std::string sample_text(int copies = 3) {
  std::string text;
  for (int i = 0; i < copies; ++i) {
    for (const TextSample& sample : text_samples()) text += sample.text;
  }
  return text;
}

inline Tokenizer small_tokenizer(int64_t vocab_size = 600, int threads = 1) {
  ThreadPool pool(threads);
  BpeOptions options;
  options.vocab_size = vocab_size;
  BpeTrainer trainer(options, pool);
  trainer.add_text(sample_text());
  return trainer.train();
}

inline std::string random_bytes(uint64_t seed, int64_t n) {
  std::string bytes(n, '\0');
  for (int64_t i = 0; i < n; ++i) bytes[i] = char(random_below(seed, 1, i, 256));
  return bytes;
}

// Letters of many scripts, marks, digits, blanks and line ends in random order: valid UTF-8.
inline std::string random_text(uint64_t seed, int64_t n_characters) {
  static const char* kLetters[] = {
      "a",  "b",  "e",    "T",  "ß",      "é",      "e\u0301", "ж",        "α",      "ع", "ש",  "क",
      "्",   "中", "文",   "あ", "カ",     "한",     "😀",       "👩\u200d🔬", " ",      " ", " ",  "  ",
      "\n", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028",  "\u0085",   "\u180e", ".", ",",  "!",
      "'",  "\"", "(",    ")",  "-",      "_",      "=",       "。",       "“",      "€", "1",  "2",
      "37", "٣",  "Ⅷ",    "½",  "\x01",   "\x7f",   "<",       ">",        "|",      "s", "the"};
  std::string text;
  for (int64_t i = 0; i < n_characters; ++i) text += kLetters[random_below(seed, 2, i, std::size(kLetters))];
  return text;
}

}  // namespace hadal::testing
