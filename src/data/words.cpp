// Characters, words and lines.
#include "data/words.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "base/hash.h"
#include "base/utf8.h"

namespace hadal::data {
namespace {

// First and last code point of runs of marks that end sentences (Unicode's Sentence_Terminal, and full stops of scripts
// that it leaves out).
constexpr uint32_t kSentenceEnds[][2] = {
    {0x21, 0x21},       {0x2E, 0x2E},       {0x3F, 0x3F},       {0x589, 0x589},     {0x61D, 0x61F},
    {0x6D4, 0x6D4},     {0x700, 0x702},     {0x7F9, 0x7F9},     {0x837, 0x837},     {0x839, 0x839},
    {0x83D, 0x83E},     {0x964, 0x965},     {0x104A, 0x104B},   {0x1362, 0x1362},   {0x1367, 0x1368},
    {0x166E, 0x166E},   {0x1735, 0x1736},   {0x17D4, 0x17D6},   {0x17D9, 0x17DA},   {0x1803, 0x1803},
    {0x1809, 0x1809},   {0x1944, 0x1945},   {0x1AA8, 0x1AAB},   {0x1B5A, 0x1B5B},   {0x1B5E, 0x1B5F},
    {0x1B7D, 0x1B7E},   {0x1C3B, 0x1C3C},   {0x1C7E, 0x1C7F},   {0x203C, 0x203D},   {0x2047, 0x2049},
    {0x2E2E, 0x2E2E},   {0x2E3C, 0x2E3C},   {0x2E53, 0x2E54},   {0x3002, 0x3002},   {0xA4FF, 0xA4FF},
    {0xA60E, 0xA60F},   {0xA6F3, 0xA6F3},   {0xA6F7, 0xA6F7},   {0xA876, 0xA877},   {0xA8CE, 0xA8CF},
    {0xA92F, 0xA92F},   {0xA9C8, 0xA9C9},   {0xAA5D, 0xAA5F},   {0xAAF0, 0xAAF1},   {0xABEB, 0xABEB},
    {0xFE52, 0xFE52},   {0xFE56, 0xFE57},   {0xFF01, 0xFF01},   {0xFF0E, 0xFF0E},   {0xFF1F, 0xFF1F},
    {0xFF61, 0xFF61},   {0x10A56, 0x10A57}, {0x10F55, 0x10F59}, {0x10F86, 0x10F89}, {0x11047, 0x11048},
    {0x110BE, 0x110C1}, {0x11141, 0x11143}, {0x111C5, 0x111C6}, {0x111CD, 0x111CD}, {0x111DE, 0x111DF},
    {0x11238, 0x11239}, {0x1123B, 0x1123C}, {0x112A9, 0x112A9}, {0x1144B, 0x1144C}, {0x115C2, 0x115C3},
    {0x115C9, 0x115D7}, {0x11641, 0x11642}, {0x1173C, 0x1173E}, {0x11944, 0x11944}, {0x11946, 0x11946},
    {0x11A42, 0x11A43}, {0x11A9B, 0x11A9C}, {0x11C41, 0x11C42}, {0x11EF7, 0x11EF8}, {0x11F43, 0x11F44},
    {0x16A6E, 0x16A6F}, {0x16AF5, 0x16AF5}, {0x16B37, 0x16B38}, {0x16B44, 0x16B44}, {0x16E98, 0x16E98},
    {0x1BC9F, 0x1BC9F}, {0x1DA88, 0x1DA88}};

// What a character is to a word.
enum Part : uint8_t { kPartSpace = 1, kPartWord = 2, kPartLetter = 4, kPartSymbol = 8, kPartApostrophe = 16 };

uint8_t look_up_part(uint32_t c) {
  if (is_space(c)) return kPartSpace;
  const CharacterKind kind = character_kinds().of(c);
  uint8_t part = c == '\'' || c == 0x2019 ? kPartApostrophe : 0;
  if (kind == CharacterKind::letter) part |= kPartLetter;
  if (kind == CharacterKind::letter || kind == CharacterKind::mark || kind == CharacterKind::number) part |= kPartWord;
  if (kind == CharacterKind::punctuation || c < 0x20 || (c >= 0x7F && c < 0xA0)) part |= kPartSymbol;
  return part;
}

using Parts = std::array<uint8_t, 0x400>;  // of most characters

const Parts& known_parts() {
  static const Parts parts = [] {
    Parts made{};
    for (uint32_t c = 0; c < made.size(); ++c) made[c] = look_up_part(c);
    return made;
  }();
  return parts;
}

}  // namespace

std::vector<uint32_t> characters_of(std::string_view text) {
  std::vector<uint32_t> characters(text.size());
  uint32_t* out = characters.data();
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    if (static_cast<unsigned char>(*at) < 0x80) {
      *out++ = uint32_t(*at++);
      continue;
    }
    const int length = utf8_length(at, end);
    *out++ = length > 0 ? utf8_decode(at, length) : 0xFFFD;
    at += std::max(length, 1);
  }
  characters.resize(size_t(out - characters.data()));
  return characters;
}

bool ends_sentence(uint32_t c) {
  if (c < 0x80) return c == '.' || c == '?' || c == '!';
  const auto* run = std::upper_bound(std::begin(kSentenceEnds), std::end(kSentenceEnds), c,
                                     [](uint32_t value, const auto& range) { return value < range[0]; });
  return run != std::begin(kSentenceEnds) && c <= (*std::prev(run))[1];
}

std::vector<WordSpan> words_of(const std::vector<uint32_t>& characters) {
  const int64_t n = int64_t(characters.size());
  const Parts& known = known_parts();
  const auto part = [&](int64_t at) -> uint8_t {
    if (at >= n) return kPartSpace;
    const uint32_t c = characters[size_t(at)];
    return c < known.size() ? known[c] : look_up_part(c);
  };
  std::vector<WordSpan> words;
  words.reserve(characters.size() / 4);
  for (int64_t i = 0; i < n;) {
    uint8_t what = part(i);
    if (what & kPartSpace) {
      ++i;
      continue;
    }
    WordSpan& word = words.emplace_back();
    word.begin = i;
    uint8_t met = 0;
    do {
      met |= what;
      word.hash = word.hash * kHashBase + characters[size_t(i)] + 1, word.power *= kHashBase;
      what = part(++i);
    } while ((met & kPartWord) && ((what & kPartWord) || ((what & kPartApostrophe) && (part(i + 1) & kPartWord))));
    word.end = i;
    word.has_letter = met & kPartLetter, word.symbols_alone = (met & kPartSymbol) && !(met & kPartWord);
  }
  return words;
}

std::vector<CharacterSpan> lines_of(const std::vector<uint32_t>& characters) {
  std::vector<CharacterSpan> lines;
  const int64_t n = int64_t(characters.size());
  for (int64_t begin = 0, i = 0; i < n; ++i) {
    if (!is_line_end(characters[size_t(i)])) {
      if (i + 1 == n) lines.emplace_back(begin, n);
      continue;
    }
    lines.emplace_back(begin, i);
    if (characters[size_t(i)] == '\r' && i + 1 < n && characters[size_t(i) + 1] == '\n') ++i;
    begin = i + 1;
  }
  return lines;
}

CharacterSpan stripped(const std::vector<uint32_t>& characters, CharacterSpan span) {
  while (span.first < span.second && is_space(characters[size_t(span.first)])) ++span.first;
  while (span.first < span.second && is_space(characters[size_t(span.second) - 1])) --span.second;
  return span;
}

uint64_t hash_of(const std::vector<uint32_t>& characters, CharacterSpan span) {
  return hash64({reinterpret_cast<const char*>(characters.data() + span.first),
                 size_t(span.second - span.first) * sizeof(uint32_t)});
}

}  // namespace hadal::data
