// The tokenizer: byte-level BPE in the Hugging Face format (tokenizer.json and files beside it) or tiktoken's, §2.1.
// Invariants: ids are 0 .. vocab_size()-1 without a gap; every byte has a token, so decode(encode(x)) == x for any
// bytes (unless parsed added tokens swallow the blanks beside them); ids are those of Hugging Face `tokenizers` for the
// same file. Encoding adds no special token: those that the file puts around a text are template_before() and
// template_after(). Immutable after loading; every const function may be called from any number of threads at once.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/added_tokens.h"

namespace hadal {

class ThreadPool;
struct TokenizerCore;
struct TokenizerFiles;

class Tokenizer {
 public:
  // A directory with tokenizer.json or tiktoken.model, or the path of one of these; the files beside it count
  // (tokenizer_files.h).
  static Tokenizer load(const std::string& path);
  static bool is_in(const std::string& directory);  // whether load() has something to read there
  static Tokenizer from_files(TokenizerFiles files);
  static Tokenizer from_json_text(std::string tokenizer_json, std::string config_json = "");
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // Writes the files that it was read from, byte for byte, and removes another tokenizer's; creates the directory.
  void save(const std::string& directory) const;
  std::vector<std::pair<std::string, std::string>> files() const;  // these files: name, text

  std::vector<int32_t> encode(std::string_view bytes, SpecialTokens special = SpecialTokens::as_text) const;
  void encode_to(std::string_view bytes, SpecialTokens special, std::vector<int32_t>& ids) const;  // appends
  // Added tokens are parsed only where they lie wholly inside one of the ranges (ascending, disjoint); everything else
  // is text, cut nowhere but at those tokens: what a chat needs, whose template may write control tokens and whose
  // messages may not.
  std::vector<int32_t> encode_marked(std::string_view bytes, std::span<const TextRange> parsed) const;
  // The ids of each text, on all threads of the pool; texts that are long are cut where no word can cross (see
  // cut_places.h).
  std::vector<std::vector<int32_t>> encode_all(std::span<const std::string_view> texts, SpecialTokens special,
                                               ThreadPool& pool) const;
  // One text on all threads of the pool; the same ids as encode's.
  std::vector<int32_t> encode(std::string_view bytes, SpecialTokens special, ThreadPool& pool) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;  // an unknown id throws invalid

  int64_t vocab_size() const;   // highest id + 1, added tokens included
  int64_t rows_needed() const;  // of an embedding: vocab_size() without reserved ids at its end that have no meaning
  int64_t n_merges() const;
  std::string_view token_bytes(int32_t id) const;                  // what decode writes for it
  std::optional<int32_t> find_token(std::string_view name) const;  // an added token's content, else a token's bytes
  bool is_special(int32_t id) const;                               // flagged special in the file
  bool is_added(int32_t id) const;
  std::span<const AddedToken> added_tokens() const;       // by id
  std::pair<int32_t, int32_t> merge(int64_t rank) const;  // the two tokens that the merge of this rank joins
  const std::vector<std::string>& splits() const;         // of the pre-tokenizer

  // What the file's TemplateProcessing puts around one text; for each, nothing if the file has none.
  std::span<const int32_t> template_before() const;
  std::span<const int32_t> template_after() const;
  // add_bos_token and add_eos_token of tokenizer_config.json if they are there, else whether the template begins with
  // BOS and ends with EOS.
  bool adds_bos() const;
  bool adds_eos() const;

  std::optional<int32_t> bos_id() const;  // named in tokenizer_config.json, else by the report's spelling
  std::optional<int32_t> eos_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<int32_t> fim_begin_id() const;
  std::optional<int32_t> fim_hole_id() const;
  std::optional<int32_t> fim_end_id() const;

  // The parts (punctuation, line ends) of a token that fuses both, such as ".\n"; empty for any other token.
  std::span<const int32_t> fused_parts(int32_t id) const;

  // SHA-256 in hexadecimal digits over everything that decides ids: tokens, merges, splits, added tokens; not over
  // formatting.
  std::string content_hash() const;

 private:
  explicit Tokenizer(std::unique_ptr<TokenizerCore> core);
  std::unique_ptr<TokenizerCore> core_;
};

// Boundary-bias mitigation (§2.1, during training only): each token that fuses punctuation with line ends is replaced
// by its parts with probability `fraction`. The draw for ids[i] is keyed by (seed, stream, i), so it is redrawn with
// another stream (say, stream_id("text.fused", epoch, document)) and depends on nothing else. The bytes stay the same.
std::vector<int32_t> split_fused_tokens(const Tokenizer& tokenizer, std::span<const int32_t> ids, double fraction,
                                        uint64_t seed, uint64_t stream);

}  // namespace hadal
