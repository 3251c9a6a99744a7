#include "text/text_kinds.h"

#include <algorithm>
#include <map>

#include "base/utf8.h"
#include "text/pre_tokenizer.h"

namespace hadal {
namespace {

enum class Weight { letter, digit, other };

struct Range {
  uint32_t first, last;
  std::string_view name;
  Weight weight;
};

// The blocks that a table should tell apart; everything else above ASCII is "other letters and marks".
constexpr Range kRanges[] = {
    {0x00, 0x20, "white space", Weight::other},     {0x30, 0x39, "digits", Weight::digit},
    {0x41, 0x5A, "Latin", Weight::letter},          {0x61, 0x7A, "Latin", Weight::letter},
    {0x21, 0x7E, "marks", Weight::other},           {0x7F, 0xA0, "white space", Weight::other},
    {0xA1, 0xBF, "marks", Weight::other},           {0xC0, 0x24F, "Latin", Weight::letter},
    {0x370, 0x3FF, "Greek", Weight::letter},        {0x1F00, 0x1FFF, "Greek", Weight::letter},
    {0x400, 0x52F, "Cyrillic", Weight::letter},     {0x590, 0x5FF, "Hebrew", Weight::letter},
    {0x660, 0x669, "digits", Weight::digit},        {0x600, 0x6FF, "Arabic", Weight::letter},
    {0x966, 0x96F, "digits", Weight::digit},        {0x900, 0x97F, "Devanagari", Weight::letter},
    {0xE00, 0xE7F, "Thai", Weight::letter},         {0x1100, 0x11FF, "Hangul", Weight::letter},
    {0x1E00, 0x1EFF, "Latin", Weight::letter},      {0x2000, 0x200A, "white space", Weight::other},
    {0x2600, 0x27BF, "emoji", Weight::other},       {0x2010, 0x2BFF, "marks", Weight::other},
    {0x3000, 0x3000, "white space", Weight::other}, {0x3001, 0x303F, "marks", Weight::other},
    {0x3040, 0x30FF, "kana", Weight::letter},       {0x3400, 0x9FFF, "Han", Weight::letter},
    {0xAC00, 0xD7AF, "Hangul", Weight::letter},     {0xF900, 0xFAFF, "Han", Weight::letter},
    {0xFF01, 0xFF0F, "marks", Weight::other},       {0x1F000, 0x1FAFF, "emoji", Weight::other},
    {0x20000, 0x3FFFF, "Han", Weight::letter},
};
constexpr Range kOther = {0x80, 0x10FFFF, "other letters and marks", Weight::letter};
constexpr std::string_view kNotUtf8 = "bytes outside UTF-8";

const Range& range_of(uint32_t c) {
  for (const Range& range : kRanges) {
    if (c >= range.first && c <= range.last) return range;
  }
  return kOther;
}

constexpr TextSample kSamples[] = {
    {"English prose",
     "The harbour was quiet when the last boat came in. Nobody on the quay had expected it so late, and the two men "
     "who "
     "carried the lamps said afterwards that they had taken it for a piece of driftwood until they heard someone "
     "sing.\n"
     "\"You might have waited for the tide,\" the older one called; but the answer, if there was one, went under in "
     "the "
     "noise of the chain. They counted the crates twice, found one missing, and agreed not to speak of it before "
     "morning.\n"},
    {"code, Python",
     "def moving_average(values, width):\n    \"\"\"Mean of the last `width` values at every place.\"\"\"\n    total = "
     "0.0\n"
     "    result = []\n    for i, value in enumerate(values):\n        total += value\n        if i >= width:\n"
     "            total -= values[i - width]\n        result.append(total / min(i + 1, width))\n    return result\n\n\n"
     "if __name__ == \"__main__\":\n    print(moving_average([3, 1, 4, 1, 5, 9, 2, 6], width=3))\n"},
    {"code, C++",
     "#include <cstdint>\n#include <vector>\n\ntemplate <class T>\nT sum(const std::vector<T>& xs) {\n  T total{};\n"
     "  for (std::size_t i = 0; i < xs.size(); ++i) {\n    if (xs[i] != T{}) total += xs[i];  // zeros cost nothing\n  "
     "}\n"
     "  return total;\n}\n\nint main() { return sum(std::vector<int64_t>{1, 2, 3}) == 6 ? 0 : 1; }\n"},
    {"JSON",
     "{\"name\": \"pump-07\", \"online\": true, \"limits\": {\"low\": 0.25, \"high\": 12.5},\n \"history\": [{\"t\": "
     "1699999200, "
     "\"v\": 3.14}, {\"t\": 1699999260, \"v\": 3.15}], \"tags\": [\"north\", \"cooling\", null]}\n"},
    {"digits",
     "3.14159265358979 1024 2048 4096 65536 16777216 2024-02-29 13:37:05 +49 30 1234567 1e-12 0x7fffffff 99.95 "
     "1000000\n"},
    {"German",
     "Als der Zug endlich anfuhr, hatte sich die Verspätung auf siebenunddreißig Minuten erhöht. Die Schaffnerin "
     "entschuldigte sich höflich, obwohl sie für die Überschwemmung der Gleise gewiss nichts konnte, und verteilte "
     "Gutscheine "
     "für heißen Tee.\n"},
    {"Russian",
     "Вечером мы вышли на берег и долго смотрели, как рыбаки вытаскивают сети. Старик, сидевший у костра, рассказал, "
     "что "
     "раньше озеро было гораздо глубже, а теперь по нему можно перейти пешком.\n"},
    {"Greek",
     "Το πρωί άνοιξε το παράθυρο και είδε ότι η θάλασσα είχε αλλάξει χρώμα. Κανείς στο χωριό δεν θυμόταν τόσο ήσυχο "
     "χειμώνα.\n"},
    {"Arabic",
     "في الصباح الباكر فتح البائع دكانه الصغير ورتب الكتب القديمة على الطاولة، ثم جلس ينتظر أول زائر وهو يشرب "
     "القهوة.\n"},
    {"Hebrew", "בבוקר פתחה המורה את החלון, והילדים שמעו את הציפורים שחזרו מן הדרום אחרי חורף ארוך וקר.\n"},
    {"Hindi",
     "गाँव के किनारे एक पुराना बरगद का पेड़ था, जिसके नीचे बच्चे हर शाम कहानियाँ सुनने के लिए इकट्ठा होते "
     "थे।\n"},
    {"Chinese",
     "清晨的雾还没有散去，渡口已经站满了等船的人。老船工说，今年的水比往年低了许多，大船靠不了岸，只好用小船一趟一趟地"
     "接。\n"},
    {"Japanese",
     "駅前の小さな喫茶店では、毎朝七時になるとコーヒーの香りが通りまで漂ってくる。店主は黙って新聞を読んでいた。\n"},
    {"Korean",
     "비가 그치자 아이들은 골목으로 뛰어나와 종이배를 띄웠다. 할머니는 창가에 앉아 그 모습을 조용히 바라보고 "
     "있었다.\n"},
    {"emoji",
     "😀😅🤝👍🏽 👩‍🔬👨‍👩‍👧‍👦 🇩🇪🇯🇵 ❤️🔥✨ 🚀🌍🌊 "
     "🐢🐳🦀 "
     "☕🍞🍜 "
     "⚠️✅❌\n"},
    {"white space", "a\n\n\n    b\n        c\n\t\td\n\t\t\te    \n\r\n\r\n                f\n\n\n\n\ng          h\n"},
};

int64_t characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

}  // namespace

std::span<const TextSample> text_samples() { return kSamples; }

std::string_view text_kind(std::string_view word) {
  const char* at = word.data();
  const char* end = at + word.size();
  const Range *first = nullptr, *digit = nullptr;
  while (at < end) {
    const int length = utf8_length(at, end);
    if (length == 0) return kNotUtf8;
    const Range& range = range_of(utf8_decode(at, length));
    if (range.weight == Weight::letter) return range.name;
    if (range.weight == Weight::digit && digit == nullptr) digit = &range;
    // A space belongs to the mark behind it.
    if (first == nullptr || (first->name == "white space" && range.name != "white space")) first = &range;
    at += length;
  }
  if (digit != nullptr) return digit->name;
  return first != nullptr ? first->name : kNotUtf8;
}

KindCount measure_sample(const Tokenizer& tokenizer, const TextSample& sample) {
  return {std::string(sample.name), int64_t(sample.text.size()), characters(sample.text),
          int64_t(tokenizer.encode(sample.text).size())};
}

std::vector<KindCount> measure_text(const Tokenizer& tokenizer, std::string_view text) {
  std::map<std::string_view, KindCount> kinds;
  const PreTokenizer pre_tokenizer(tokenizer.splits());
  PreTokenizer::Scratch scratch = pre_tokenizer.make_scratch();
  std::vector<int32_t> ids;
  pre_tokenizer.split(text, scratch, [&](std::string_view word) {
    ids.clear();
    tokenizer.encode_to(word, SpecialTokens::as_text, ids);
    const std::string_view name = text_kind(word);
    KindCount& kind = kinds[name];
    kind.name = name;
    kind.bytes += int64_t(word.size());
    kind.characters += characters(word);
    kind.tokens += int64_t(ids.size());
  });
  std::vector<KindCount> out;
  for (auto& [name, kind] : kinds) out.push_back(std::move(kind));
  std::stable_sort(out.begin(), out.end(), [](const KindCount& a, const KindCount& b) { return a.bytes > b.bytes; });
  return out;
}

}  // namespace hadal
