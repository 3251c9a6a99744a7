#include "text/tiktoken_model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "text/token_index.h"

namespace hadal {
namespace {

constexpr const char* kFile = "tiktoken.model";
constexpr int32_t kSlots = 256;  // special tokens of the class TikTokenTokenizer, named or not

std::optional<std::string> from_base64(std::string_view text) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static const std::array<int8_t, 256> values = [] {
    std::array<int8_t, 256> table;
    table.fill(-1);
    for (size_t i = 0; i < kDigits.size(); ++i) table[uint8_t(kDigits[i])] = int8_t(i);
    return table;
  }();
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  std::string bytes;
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size() - padding; ++i) {
    const int8_t value = values[uint8_t(text[i])];
    if (value < 0) return std::nullopt;
    bits = bits << 6 | uint32_t(value);
    if (i % 4 != 0) bytes += char(bits >> (6 - 2 * (i % 4)) & 0xFF);
  }
  return bytes;
}

// Tokens by rank.
std::vector<std::string> read_tokens(std::string_view text) {
  std::vector<std::pair<int32_t, std::string>> lines;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t gap = std::min(line.find(' '), line.size());
    const auto bytes = from_base64(line.substr(0, gap));
    int32_t rank = -1;
    const char* const digits = line.data() + std::min(gap + 1, line.size());
    const auto read = std::from_chars(digits, line.data() + line.size(), rank);
    const bool right = bytes && !bytes->empty() && read.ec == std::errc() && read.ptr == line.data() + line.size();
    check(right, ErrorKind::corrupt, "{}: line {} is '{}', not a token in base64, a blank and its rank", kFile, number,
          line.substr(0, 60));
    check(rank >= 0 && rank < BpeModel::kMostTokens - kSlots, ErrorKind::corrupt,
          "{}: the rank {} of line {} is not in 0 .. {}", kFile, rank, number, BpeModel::kMostTokens - kSlots - 1);
    lines.emplace_back(rank, *bytes);
  }
  check(!lines.empty(), ErrorKind::corrupt, "{}: it holds no token", kFile);
  std::sort(lines.begin(), lines.end());
  std::vector<std::string> tokens;
  for (auto& [rank, bytes] : lines) {
    check(rank == int32_t(tokens.size()), ErrorKind::corrupt, "{}: {} has the rank {}", kFile,
          rank < int32_t(tokens.size()) ? "more than one token" : "no token", std::min(rank, int32_t(tokens.size())));
    tokens.push_back(std::move(bytes));
  }
  return tokens;
}

// The two parts that merging leaves of a token by the ranks below its own; nothing where it leaves more.
std::optional<Merge> last_merge(const TokenIndex& ids, std::string_view token, int32_t rank,
                                std::vector<size_t>& ends) {
  const auto joined = [&](size_t begin, size_t end) {
    const int32_t found = ids.find(token.substr(begin, end - begin));
    return found < 0 || found >= rank ? INT32_MAX : found;
  };
  ends.clear();
  for (size_t i = 1; i <= token.size(); ++i) ends.push_back(i);
  while (ends.size() > 2) {
    int32_t lowest = INT32_MAX;
    size_t at = 0;
    for (size_t i = 0; i + 1 < ends.size(); ++i) {
      const int32_t one = joined(i == 0 ? 0 : ends[i - 1], ends[i + 1]);
      if (one < lowest) {
        lowest = one;
        at = i;
      }
    }
    if (lowest == INT32_MAX) return std::nullopt;
    ends.erase(ends.begin() + ptrdiff_t(at));
  }
  return Merge{ids.find(token.substr(0, ends[0])), ids.find(token.substr(ends[0])), rank};
}

// All pairs of tokens that make this one.
void add_all_pairs(const TokenIndex& ids, std::string_view token, int32_t rank, std::vector<Merge>& merges) {
  for (size_t cut = 1; cut < token.size(); ++cut) {
    const int32_t left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
    if (left >= 0 && right >= 0) merges.push_back({left, right, rank});
  }
}

// Where merging builds every token out of those of lower rank, as in all vocabularies that training made, each comes
// about in one way, whatever stands beside it: that is its merge. Otherwise all pairs count, with the token's rank.
void find_merges(TokenizerFile& file) {
  TokenIndex ids(file.tokens.size());
  for (size_t id = 0; id < file.tokens.size(); ++id) {
    check(ids.add(file.tokens[id], int32_t(id)), ErrorKind::corrupt, "{}: the ranks {} and {} belong to the same token",
          kFile, ids.find(file.tokens[id]), id);
  }
  for (int b = 0; b < 256; ++b) {
    const char byte = char(b);
    file.byte_ids[size_t(b)] = ids.find({&byte, 1});
    check(file.byte_ids[size_t(b)] >= 0, ErrorKind::unsupported,
          "{}: no token stands for byte 0x{:02x}; all 256 are needed", kFile, b);
  }
  std::vector<size_t> ends;
  for (size_t id = 0; id < file.tokens.size() && !file.equal_ranks; ++id) {
    if (file.tokens[id].size() == 1) continue;
    const auto merge = last_merge(ids, file.tokens[id], int32_t(id), ends);
    if (merge && merge->left >= 0 && merge->right >= 0 && std::max(merge->left, merge->right) < int32_t(id)) {
      file.merges.push_back(*merge);
    } else {
      file.equal_ranks = true;
    }
  }
  if (!file.equal_ranks) return;
  file.merges.clear();
  for (size_t id = 0; id < file.tokens.size(); ++id) add_all_pairs(ids, file.tokens[id], int32_t(id), file.merges);
}

// Special tokens behind the others: those of the settings, and reserved ones in between and up to `end`.
void add_special(const TokenizerSettings& settings, size_t end, TokenizerFile& file) {
  const size_t first = file.tokens.size();
  for (const auto& [id, token] : settings.by_id) {
    check(size_t(id) >= first, ErrorKind::corrupt,
          "tokenizer_config.json: the added token '{}' has the id {}, which "
          "{} gives to another",
          token.content, id, kFile);
    check(size_t(id) < first + 100 * size_t(kSlots), ErrorKind::corrupt,
          "tokenizer_config.json: the id {} of the added token '{}' is far behind those of {}, which end at {}", id,
          token.content, kFile, first - 1);
    end = std::max(end, size_t(id) + 1);
  }
  for (size_t id = first; id < end; ++id) {
    const auto named = settings.by_id.find(int32_t(id));
    AddedToken token;
    token.special = true;
    token.content = fmt::format("<|reserved_token_{}|>", id);
    if (named != settings.by_id.end()) token = named->second;
    file.n_unnamed = named != settings.by_id.end() ? 0 : file.n_unnamed + 1;
    token.id = int32_t(id);
    token.normalized = false;  // all are looked for at once
    file.tokens.push_back(token.content);
    file.added.push_back(std::move(token));
  }
}

}  // namespace

const std::string& kimi_split() {
  static const std::string split =
      R"([\p{Han}]+)"
      R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+)"
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
      R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*)"
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
      R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  return split;
}

TokenizerFile read_tiktoken_model(const std::string& text, const TokenizerSettings& settings) {
  const std::string& kind = settings.tokenizer_class;
  const bool kimi = kind == "TikTokenTokenizer";
  // Names that say nothing: the DeepSeek-V3 models that come with this file are Moonlight and Kimi.
  const bool general =
      kind.empty() || kind == "PreTrainedTokenizerFast" || kind == "PreTrainedTokenizer" || kind == "TokenizersBackend";
  check(
      kimi || general, ErrorKind::unsupported,
      "{} is for the tokenizer class '{}', whose split expression is not known; known is TikTokenTokenizer (Moonlight, "
      "Kimi-K2). A tokenizer.json beside it would say all",
      kFile, kind);
  TokenizerFile file;
  file.tokens = read_tokens(text);
  find_merges(file);
  file.in_vocabulary.assign(file.tokens.size(), 1);
  file.splits = {kimi_split()};
  file.ignore_merges = true;
  add_special(settings, kimi ? file.tokens.size() + size_t(kSlots) : 0, file);
  file.in_vocabulary.resize(file.tokens.size(), 0);
  for (const auto& [name, token] : settings.named) {
    const auto same = [&content = token.content](const AddedToken& added) { return added.content == content; };
    check(!kimi || std::any_of(file.added.begin(), file.added.end(), same), ErrorKind::corrupt,
          "tokenizer_config.json names the {} '{}', which is none of its \"added_tokens_decoder\"", name,
          token.content);
  }
  return file;
}

}  // namespace hadal
