// One table says of every character what it is to a word and how it is compared.
#include "data/normal_words.h"

#include "base/utf8.h"
#include "data/folded_letters.h"
#include "data/words.h"
#include "text/character_kinds.h"

namespace hadal::data {
namespace {

// What a character is to a word; behind it, in the lower bits, the character that it is compared as.
enum Role : uint32_t { kBorder = 0, kLetter = 1u << 24, kDigit = 2u << 24, kAccent = 3u << 24, kAlone = 4u << 24 };
constexpr uint32_t kRoles = 0xFFu << 24, kCharacter = ~kRoles;

std::vector<uint32_t> make_roles() {
  std::vector<uint32_t> roles(CharacterKinds::kKnown);
  for (uint32_t c = 0; c < roles.size(); ++c) {
    const CharacterKind kind = character_kinds().of(c);
    const bool letter = kind == CharacterKind::letter;
    const bool alone = letter && (CharacterKinds::han_kana(c) || (c >= 0x3400 && c < 0x4E00) || c >= 0x20000);
    roles[c] = alone                           ? kAlone | c
               : letter                        ? kLetter | (c >= 'A' && c <= 'Z' ? c + 32 : c)
               : kind == CharacterKind::number ? kDigit | c
               : kind == CharacterKind::mark   ? uint32_t(kAccent)
                                               : uint32_t(kBorder);
  }
  for (const FoldedRun& run : kFoldedRuns)
    for (uint32_t i = 0; i < run.n; ++i) {
      uint32_t& role = roles[run.first + i * run.step];
      if (role & kCharacter) role = (role & kRoles) | (run.to + i * run.to_step);
    }
  return roles;
}

const uint32_t* known_roles() {
  static const std::vector<uint32_t> roles = make_roles();
  return roles.data();
}

uint32_t role_in(const uint32_t* roles, uint32_t c) {
  if (c < CharacterKinds::kKnown) return roles[c];
  return character_kinds().of(c) == CharacterKind::mark ? uint32_t(kAccent) : uint32_t(kBorder);
}

bool joins_digits(uint32_t c) { return c == '.' || c == ',' || c == 0x60C || c == 0x66B; }

uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
  return x ^ (x >> 32);
}

// Where a number ends that begins at `at`: digits, and once more behind a point or comma between two of them.
int64_t end_of_number(const std::vector<uint32_t>& characters, int64_t at) {
  const int64_t n = int64_t(characters.size());
  const uint32_t* roles = known_roles();
  const auto is_digit = [&](int64_t i) { return i < n && (role_in(roles, characters[size_t(i)]) & kRoles) == kDigit; };
  while (is_digit(at)) ++at;
  if (at >= n || !joins_digits(characters[size_t(at)]) || !is_digit(at + 1)) return at;
  for (++at; is_digit(at);) ++at;
  return at;
}

// Calls take(character) for what is compared of the word at `at`, and returns where it ends.
template <class Take>
int64_t read_word(const std::vector<uint32_t>& characters, int64_t at, bool fold_numbers, Take take) {
  const uint32_t* roles = known_roles();
  for (const int64_t n = int64_t(characters.size()), begin = at; at < n;) {
    const uint32_t role = role_in(roles, characters[size_t(at)]);
    if ((role & kRoles) == kLetter) {  // most of all
      take(role & kCharacter), ++at;
      continue;
    }
    switch (role & kRoles) {
      case kAccent: ++at; continue;
      case kDigit:
        take(fold_numbers ? '0' : role & kCharacter);
        at = fold_numbers ? end_of_number(characters, at) : at + 1;
        continue;
      case kAlone:
        if (at > begin) return at;
        take(role & kCharacter);
        return at + 1;
      default: return at;
    }
  }
  return at;
}

}  // namespace

std::vector<NormalWord> normal_words(const std::vector<uint32_t>& characters, bool fold_numbers) {
  std::vector<NormalWord> words;
  words.reserve(characters.size() / 5);
  const uint32_t* roles = known_roles();
  for (int64_t at = 0, n = int64_t(characters.size()); at < n;) {
    const uint32_t role = role_in(roles, characters[size_t(at)]) & kRoles;
    if (role == kBorder || role == kAccent) {  // a mark that follows no letter
      ++at;
      continue;
    }
    NormalWord word{0, at, at};
    word.end = at =
        read_word(characters, at, fold_numbers, [&](uint32_t c) { word.hash = word.hash * kHashBase + c + 1; });
    word.hash = mixed(word.hash);
    words.push_back(word);
  }
  return words;
}

std::string normal_spelling(const std::vector<uint32_t>& characters, const NormalWord& word, bool fold_numbers) {
  std::string text;
  read_word(characters, word.begin, fold_numbers, [&](uint32_t c) { append_utf8(text, c); });
  return text;
}

RollingGroup::RollingGroup(const std::vector<NormalWord>& words, int64_t n) : words_(words), n_(n) {
  for (int64_t i = 1; i < n; ++i) power_ *= kHashBase;
}

bool RollingGroup::next() {
  const int64_t n_words = int64_t(words_.size());
  if (at_ + n_ >= n_words) return false;
  if (at_ < 0) {
    for (int64_t i = 0; i < n_; ++i) sum_ = sum_ * kHashBase + words_[size_t(i)].hash;
  } else {
    sum_ = (sum_ - words_[size_t(at_)].hash * power_) * kHashBase + words_[size_t(at_ + n_)].hash;
  }
  ++at_;
  return true;
}

uint64_t RollingGroup::hash() const { return mixed(sum_ + uint64_t(n_)); }

std::vector<uint64_t> word_groups(const std::vector<NormalWord>& words, int64_t n) {
  std::vector<uint64_t> groups;
  if (words.empty()) return groups;
  n = std::min(n, int64_t(words.size()));
  groups.reserve(words.size() - size_t(n) + 1);
  for (RollingGroup group(words, n); group.next();) groups.push_back(group.hash());
  return groups;
}

}  // namespace hadal::data
