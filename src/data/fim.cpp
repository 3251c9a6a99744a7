// See fim.h.
#include "data/fim.h"

#include <string>

#include "base/error.h"

namespace hadal::data {
namespace {

bool continues_character(char byte) { return (byte & 0xC0) == 0x80; }

int32_t needed(std::optional<int32_t> id, std::string_view name) {
  check(id.has_value(), ErrorKind::invalid,
        "the tokenizer has no token {}: set data.fim_rate to 0, or train a tokenizer with `hadal tokenizer train`",
        name);
  return *id;
}

// The border of ids nearest to byte `at` that is also a border of characters: its index, its byte.
std::pair<int64_t, int64_t> nearest_border(const Tokenizer& tokenizer, std::span<const int32_t> ids,
                                           std::string_view text, int64_t at) {
  std::pair<int64_t, int64_t> best{0, 0};
  int64_t byte = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    byte += int64_t(tokenizer.token_bytes(ids[i]).size());
    const bool border = byte == int64_t(text.size()) || !continues_character(text[size_t(byte)]);
    if (border && std::abs(byte - at) < std::abs(best.second - at)) best = {int64_t(i) + 1, byte};
  }
  return best;
}

FimPassage assemble(const FimTokens& special, std::span<const int32_t> prefix, std::span<const int32_t> suffix,
                    std::span<const int32_t> middle) {
  FimPassage passage;
  auto put = [&](std::span<const int32_t> ids) { passage.tokens.insert(passage.tokens.end(), ids.begin(), ids.end()); };
  passage.tokens.push_back(special.begin), put(prefix);
  passage.tokens.push_back(special.hole), put(suffix);
  passage.tokens.push_back(special.end), put(middle);
  passage.tokens.push_back(special.eos);
  passage.prefix = int64_t(prefix.size()), passage.suffix = int64_t(suffix.size()),
  passage.middle = int64_t(middle.size());
  return passage;
}

}  // namespace

FimTokens fim_tokens(const Tokenizer& tokenizer) {
  return {needed(tokenizer.fim_begin_id(), kFimBeginToken), needed(tokenizer.fim_hole_id(), kFimHoleToken),
          needed(tokenizer.fim_end_id(), kFimEndToken), needed(tokenizer.eos_id(), kEosToken)};
}

std::optional<std::pair<int64_t, int64_t>> draw_middle(std::string_view text, RandomStream& random) {
  std::vector<int64_t> borders;
  for (size_t i = 0; i < text.size(); ++i)
    if (i == 0 || !continues_character(text[i])) borders.push_back(int64_t(i));
  borders.push_back(int64_t(text.size()));
  if (borders.size() < 3) return std::nullopt;
  uint64_t a = random.below(borders.size()), b = random.below(borders.size() - 1);
  if (b >= a) ++b;  // uniform over ordered pairs of different borders
  if (a > b) std::swap(a, b);
  return std::pair{borders[a], borders[b]};
}

// The middle comes last, after what stands before and behind it: so a model that only ever writes on learns to fill
// holes (§2.2). Cuts fall inside tokens too and the parts are tokenised anew, as a user's two sides of a hole will be.
std::optional<FimPassage> make_fim(const Tokenizer& tokenizer, const FimTokens& special, std::span<const int32_t> ids,
                                   int64_t max_tokens, RandomStream random) {
  if (int64_t(ids.size()) + kFimExtraTokens > max_tokens) return std::nullopt;
  const std::string text = tokenizer.decode(ids);
  const auto middle = draw_middle(text, random);
  if (!middle) return std::nullopt;
  const auto [a, b] = *middle;
  const std::string_view view(text);
  const auto prefix_ids = tokenizer.encode(view.substr(0, size_t(a)));
  const auto middle_ids = tokenizer.encode(view.substr(size_t(a), size_t(b - a)));
  const auto suffix_ids = tokenizer.encode(view.substr(size_t(b)));
  if (int64_t(prefix_ids.size() + middle_ids.size() + suffix_ids.size()) + kFimExtraTokens <= max_tokens)
    return assemble(special, prefix_ids, suffix_ids, middle_ids);
  const auto [first, first_byte] = nearest_border(tokenizer, ids, text, a);
  const auto [last, last_byte] = nearest_border(tokenizer, ids, text, b);
  if (first_byte >= last_byte) return std::nullopt;
  return assemble(special, ids.subspan(0, size_t(first)), ids.subspan(size_t(last)),
                  ids.subspan(size_t(first), size_t(last - first)));
}

}  // namespace hadal::data
