// What a tokenizer knows and does: the tables of its file, and encoding on one thread. tokenizer.h is its public face.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/cut_places.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_settings.h"

namespace hadal {

struct TokenizerCore {
  explicit TokenizerCore(TokenizerFiles from);

  // Working memory of one call of encode, kept between calls.
  struct Scratch {
    explicit Scratch(const PreTokenizer& pre_tokenizer) : match(pre_tokenizer.make_scratch()) {}
    PreTokenizer::Scratch match;
    BpeScratch bpe;
  };

  TokenizerFiles files;
  TokenizerSettings settings;
  TokenizerFile file;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  TokenIndex whole_words;                               // ids of the model's tokens, where they count as words
  std::unordered_map<std::string_view, int32_t> added;  // ids of added tokens by content
  std::vector<uint8_t> flags;                           // by id
  AddedTokenFinder finders[2];                          // by AddedToken::normalized: those with false are found first
  std::optional<int32_t> bos, eos, pad;
  bool adds_bos = false, adds_eos = false;
  CutPlaces cut_places = CutPlaces::none, cut_places_parsed = CutPlaces::none;

  static constexpr uint8_t kAdded = 1, kSpecial = 2;

  std::unique_ptr<Scratch> take_scratch();
  void give_scratch(std::unique_ptr<Scratch> scratch);
  void encode_text(std::string_view text, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_parsed(std::string_view text, int finder, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_marked(std::string_view text, std::span<const TextRange> ranges, std::pair<size_t, size_t> part,
                     int finder, Scratch& scratch, std::vector<int32_t>& ids) const;
  void encode_with(std::string_view text, SpecialTokens special, Scratch& scratch, std::vector<int32_t>& ids) const {
    if (special == SpecialTokens::as_text) {
      encode_text(text, scratch, ids);
    } else {
      encode_parsed(text, 0, scratch, ids);
    }
  }
  const AddedToken& added_token(int32_t id) const;
  bool is_plain(size_t id) const { return !(flags[id] & kSpecial) && file.in_vocabulary[id]; }
  std::optional<int32_t> find(std::string_view name) const;
  // The two halves of tokens in which marks and line ends are one, by id; found by the first call.
  const std::unordered_map<int32_t, std::vector<int32_t>>& fused() const;

 private:
  void find_fused() const;
  mutable std::once_flag fused_found_;
  mutable std::unordered_map<int32_t, std::vector<int32_t>> fused_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace hadal
