// llama.cpp knows pre-tokenizers by name, not by their expressions: the names below stand for the same expressions
// there.
#include "exchange/gguf_vocabulary.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/chat_files.h"
#include "text/pre_tokenizer.h"
#include "text/tiktoken_model.h"

namespace hadal {

namespace {

const char* const kLlama3Split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char* const kQwen2Split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char* const kGpt2Split = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kDeepSeek2Letters = R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿ)";  // how the second expression of V2's list begins

std::string pre_tokenizer_name(const std::vector<std::string>& splits, std::vector<std::string>& notices) {
  if (splits == PreTokenizer::default_splits()) return "deepseek-v3";
  if (splits == std::vector<std::string>{kGpt2Split}) return "gpt-2";
  if (splits == std::vector<std::string>{kLlama3Split}) return "llama-bpe";
  if (splits == std::vector<std::string>{kQwen2Split}) return "qwen2";
  if (splits == std::vector<std::string>{kimi_split()}) return "kimi-k2";
  if (splits.size() > 4 && splits[1].rfind(kDeepSeek2Letters, 0) == 0) return "deepseek-llm";
  notices.push_back(
      "the tokenizer's pre-tokenizer has no name in GGUF: readers will cut text by their default expression, and some "
      "of "
      "it into other tokens");
  return "default";
}

// Control tokens are those that a reader must never make from a user's text: flagged special, or spelt like one.
bool looks_like_control(const std::string& content) {
  const auto framed = [&](std::string_view open, std::string_view close) {
    return content.size() > open.size() + close.size() && content.rfind(open, 0) == 0 && content.ends_with(close);
  };
  return framed("<|", "|>") || framed("<｜", "｜>");
}

// GGUF holds several templates by name, and one without a name that readers take: the default one, or a lone one.
std::vector<std::pair<std::string, std::string>> chat_templates(const std::string& directory,
                                                                std::vector<std::string>& notices) {
  std::vector<std::pair<std::string, std::string>> out;
  const std::vector<NamedTemplate> templates = read_chat_files(directory).templates;
  bool has_default = false;
  for (const NamedTemplate& one : templates) {
    const bool lone = templates.size() == 1;
    std::string name = lone ? "default" : one.name;
    for (char& c : name)
      if (!std::isalnum(uint8_t(c))) c = '_';  // part of a key's name
    has_default |= name == "default";
    out.emplace_back(std::move(name), one.source);
  }
  if (!out.empty() && !has_default)
    notices.push_back(
        "no chat template is named 'default': readers of GGUF will find none unless they are told a name");
  return out;
}

}  // namespace

GgufVocabulary gguf_vocabulary(const Tokenizer& tokenizer, const std::filesystem::path& directory,
                               std::vector<std::string>& notices) {
  GgufVocabulary v;
  v.pre = pre_tokenizer_name(tokenizer.splits(), notices);
  const auto& alphabet = byte_alphabet();
  std::set<std::string> seen;
  for (int32_t id = 0; id < tokenizer.rows_needed(); ++id) {
    const std::string bytes(tokenizer.token_bytes(id));
    const bool added = tokenizer.is_added(id), control = tokenizer.is_special(id) || looks_like_control(bytes);
    v.tokens.push_back(added ? bytes : alphabet.write(bytes));
    v.types.push_back(!added ? kGgufNormal : control ? kGgufControl : kGgufUserDefined);
    check(seen.insert(v.tokens.back()).second, ErrorKind::unsupported,
          "two tokens are both spelt '{}' (the second is {}), which GGUF cannot tell apart", v.tokens.back(), id);
  }
  for (int64_t rank = 0; rank < tokenizer.n_merges(); ++rank) {
    const auto [left, right] = tokenizer.merge(rank);
    v.merges.push_back(v.tokens[size_t(left)] + " " + v.tokens[size_t(right)]);
  }
  v.bos = tokenizer.bos_id().value_or(-1);
  v.eos = tokenizer.eos_id().value_or(-1);
  v.pad = tokenizer.pad_id().value_or(-1);
  v.add_bos = tokenizer.adds_bos();
  v.add_eos = tokenizer.adds_eos();
  v.chat_templates = chat_templates(directory.string(), notices);
  return v;
}

}  // namespace hadal
