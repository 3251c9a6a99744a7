// The pre-tokenizer: cuts a text into words (others say pieces or pre-tokens; blanks and marks make some too) that BPE
// never merges across (§2.1). A list of regular expressions is applied in sequence; each cuts every word that the ones
// before it left into its matches and what lies between them ("Isolated"), a word being the whole subject of the next
// expression, so that look-ahead ends at its border.
// Expressions run on PCRE2 with JIT, UTF and Unicode properties. Concatenated words are the text, whatever its bytes:
// a byte that is not part of well-formed UTF-8 is a word of its own. Immutable and thread-safe; each thread brings its
// Scratch.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

class PreTokenizer {
 public:
  // The three expressions of the report's tokenizer.
  static const std::vector<std::string>& default_splits();

  static const std::string& gpt2_split();  // of ByteLevel with use_regex

  explicit PreTokenizer(std::vector<std::string> splits);  // throws invalid, naming the expression and the place in it
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  const std::vector<std::string>& splits() const;

  // Match memory of one thread.
  class Scratch {
   public:
    ~Scratch();
    Scratch(Scratch&&) noexcept;

   private:
    friend class PreTokenizer;
    Scratch();
    struct State;
    std::unique_ptr<State> state_;
  };
  Scratch make_scratch() const;

  // Calls word(string_view) for every word in order. Throws invalid where an expression needs too many steps.
  template <class Word>
  void split(std::string_view text, Scratch& scratch, Word&& word) const {
    run(
        text, scratch,
        [](void* context, const char* data, size_t size) {
          (*static_cast<std::remove_reference_t<Word>*>(context))(std::string_view(data, size));
        },
        const_cast<void*>(static_cast<const void*>(&word)));
  }

  std::vector<std::string> words(std::string_view text) const;  // for tests and explanation

 private:
  using Emit = void (*)(void* context, const char* data, size_t size);
  void run(std::string_view text, Scratch& scratch, Emit emit, void* context) const;
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace hadal
