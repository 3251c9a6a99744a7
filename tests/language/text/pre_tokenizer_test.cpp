#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/utf8.h"
#include "text/text_testing.h"

namespace hadal {
namespace {

using Words = std::vector<std::string>;
using testing::error_of;

Words report(std::string_view text) { return PreTokenizer(PreTokenizer::default_splits()).words(text); }

TEST(PreTokenizer, CutsDigitsInGroupsOfThreeFromTheLeft) {
  EXPECT_EQ(report("1234567"), (Words{"123", "456", "7"}));
  EXPECT_EQ(report("x=10000;"), (Words{"x", "=", "100", "00", ";"}));
  EXPECT_EQ(report("٣٤٥٦ Ⅷ½"), (Words{"٣٤٥", "٦", " ", "Ⅷ½"}));
}

TEST(PreTokenizer, PutsOneBlankOrMarkBeforeAWord) {
  EXPECT_EQ(report("Hello, big world"), (Words{"Hello", ",", " big", " world"}));
  EXPECT_EQ(report("(sum _name .method"), (Words{"(sum", " _", "name", " .", "method"}));
  EXPECT_EQ(report("don't"), (Words{"don", "'t"}));
  EXPECT_EQ(report("«naïve»"), (Words{"«", "naïve", "»"}));  // only ASCII marks open a word, and only an ASCII one
  EXPECT_EQ(report("\tint"), (Words{"\tint"}));
}

TEST(PreTokenizer, FusesPunctuationWithTheLineEndsBehindIt) {
  EXPECT_EQ(report("end.\n\nNext"), (Words{"end", ".\n\n", "Next"}));
  EXPECT_EQ(report("{ \"a\": 1 },\r\n"), (Words{"{", " \"", "a", "\":", " ", "1", " },\r\n"}));
  EXPECT_EQ(report("好。\n"), (Words{"好", "。\n"}));
}

TEST(PreTokenizer, LeavesTheLastBlankOfARunToTheWord) {
  EXPECT_EQ(report("a    b"), (Words{"a", "   ", " b"}));
  EXPECT_EQ(report("a  \n  b"), (Words{"a", "  \n", " ", " b"}));
  EXPECT_EQ(report("a   "), (Words{"a", "   "}));
  EXPECT_EQ(report("x  7"), (Words{"x", "  ", "7"}));  // digits were cut out first: the blanks end their word
  EXPECT_EQ(report("\n\n  \n x"), (Words{"\n\n  \n", " x"}));
}

TEST(PreTokenizer, KeepsHanAndKanaApartFromOtherLetters) {
  EXPECT_EQ(report("abc中文字def"), (Words{"abc", "中文字", "def"}));
  EXPECT_EQ(report("駅でコーヒーを"), (Words{"駅でコーヒーを"}));
  EXPECT_EQ(report("中文123字"), (Words{"中文", "123", "字"}));
  EXPECT_EQ(report("한국어 글"), (Words{"한국어", " 글"}));
}

TEST(PreTokenizer, KnowsMarksAndEveryWhiteSpace) {
  EXPECT_EQ(report("e\u0301t"), (Words{"e\u0301t"}));
  EXPECT_EQ(report("\u00a0\u2003x"), (Words{"\u00a0", "\u2003x"}));
  EXPECT_EQ(report("\u180e"), (Words{"\u180e"}));
  EXPECT_EQ(report("a\u180e\u180e."),
            (Words{"a", "\u180e\u180e", "."}));  // U+180E is no white space: nothing matches it
  EXPECT_EQ(report("\u0085\u0085"), (Words{"\u0085\u0085"}));
}

TEST(PreTokenizer, LeavesWhatNoExpressionMatchesInOneWord) {
  EXPECT_EQ(report(std::string("\0\1\2", 3)), (Words{std::string("\0\1\2", 3)}));
  EXPECT_EQ(report(std::string("\0a", 2)), (Words{std::string("\0a", 2)}));
  EXPECT_TRUE(report("").empty());
}

TEST(PreTokenizer, MakesEveryByteOutsideUtf8AWordOfItsOwn) {
  EXPECT_EQ(report("a\xff\xfe b"), (Words{"a", "\xff", "\xfe", " b"}));
  EXPECT_EQ(report("\xe4\xb8"), (Words{"\xe4", "\xb8"}));              // a cut character
  EXPECT_EQ(report("\xed\xa0\x80"), (Words{"\xed", "\xa0", "\x80"}));  // a surrogate
  EXPECT_EQ(report("\xc0\xaf"), (Words{"\xc0", "\xaf"}));              // an overlong form
  EXPECT_EQ(report("\xf4\x90\x80\x80").size(), 4u);                    // above U+10FFFF
}

TEST(PreTokenizer, GivesBackItsInput) {
  const PreTokenizer pre_tokenizer(PreTokenizer::default_splits());
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string text = testing::random_text(seed, 80) + testing::random_bytes(seed, seed % 40);
    std::string joined;
    for (const std::string& word : pre_tokenizer.words(text)) joined += word;
    ASSERT_EQ(joined, text) << seed;
  }
}

TEST(PreTokenizer, TakesVeryLongRuns) {
  for (const char* unit : {" ", "a", "中", ".", "\n", "7", "\xff"}) {
    std::string text;
    while (text.size() < 3'000'000) text += unit;
    size_t bytes = 0;
    const PreTokenizer pre_tokenizer(PreTokenizer::default_splits());
    PreTokenizer::Scratch scratch = pre_tokenizer.make_scratch();
    pre_tokenizer.split(text, scratch, [&](std::string_view word) { bytes += word.size(); });
    EXPECT_EQ(bytes, text.size()) << unit;
  }
}

TEST(PreTokenizer, RunsOnManyThreadsAtOnce) {
  const PreTokenizer pre_tokenizer(PreTokenizer::default_splits());
  const std::string text = testing::random_text(7, 3000);
  const Words alone = pre_tokenizer.words(text);
  std::vector<Words> results(4);
  std::vector<std::thread> threads;
  for (Words& result : results) threads.emplace_back([&] { result = pre_tokenizer.words(text); });
  for (std::thread& thread : threads) thread.join();
  for (const Words& result : results) EXPECT_EQ(result, alone);
}

TEST(PreTokenizer, AppliesExpressionsOneAfterTheOtherOnWhatIsLeft) {
  EXPECT_EQ(PreTokenizer({"b", "aba|a"}).words("caba"), (Words{"c", "a", "b", "a"}));      // the first left no "aba"
  EXPECT_EQ(PreTokenizer({"abc", "b"}).words("xabcb"), (Words{"x", "a", "b", "c", "b"}));  // matches are cut further
}

TEST(PreTokenizer, EndsLookAheadAtTheBorderOfAWord) {
  EXPECT_EQ(PreTokenizer({"b", "a+(?!.)"}).words("aabac"), (Words{"aa", "b", "ac"}));
}

TEST(PreTokenizer, CutsAtEmptyMatches) { EXPECT_EQ(PreTokenizer({"x*"}).words("axb"), (Words{"a", "x", "b"})); }

TEST(PreTokenizer, NamesAnExpressionThatCannotBeCompiled) {
  const std::string message = error_of([] { PreTokenizer({"ok", "(abc"}); });
  EXPECT_NE(message.find("'(abc'"), std::string::npos) << message;
  EXPECT_NE(message.find("missing closing parenthesis"), std::string::npos) << message;
}

TEST(PreTokenizer, RefusesWhatMeansSomethingElseInOniguruma) {
  for (const char* expression :
       {"\\w+",        "\\bword",    "\\h",        "\\R",         "\\K",   "\\Qa\\E", "a{1,2}+",  "(?m:a)",
        "a(?i)b",      "(?<n>a)",    "(*ACCEPT)a", "[]a]",        "\\xe9", "\\u12",   "\\1",      "(?i:ss)",
        "\\x{12",      "\\p{L",      "\\cA",       "[[:upper:]]", "[a&&]", "[&&a]",   "[a&&&&b]", "[a&&^b]",
        "(?i:[a&&b])", "(?i)[a[b]]", "[a-[b]]",    "[[a]-b]",     "[a[b]", "[a\\w]"}) {
    ErrorKind kind = ErrorKind::internal;
    const std::string message = error_of([&] { PreTokenizer({expression}); }, &kind);
    EXPECT_EQ(kind, ErrorKind::unsupported) << expression;
    EXPECT_NE(message.find(expression), std::string::npos) << message;
  }
}

TEST(PreTokenizer, RewritesWhatIsSpeltInAnotherWay) {
  EXPECT_EQ(PreTokenizer({"\\d\\D"}).words("a1\u0663b"), (Words{"a1", "\u0663b"}));
  EXPECT_EQ(PreTokenizer({"\\u4e2d"}).words("a中b"), (Words{"a", "中", "b"}));
  EXPECT_EQ(PreTokenizer({"\\x41\\x{4e2d}"}).words("A中b"), (Words{"A中", "b"}));
  EXPECT_EQ(PreTokenizer({"\\v"}).words("\n\x0b\n"), (Words{"\n", "\x0b", "\n"}));
  EXPECT_EQ(PreTokenizer({"a{,2}"}).words("aaab"), (Words{"aa", "a", "b"}));
  EXPECT_EQ(PreTokenizer({"a$"}).words("a\naa"), (Words{"a", "\na", "a"}));  // Ruby: $ is the end of a line
}

TEST(PreTokenizer, KnowsClassesInsideClassesAndWhatTheyShare) {
  EXPECT_EQ(PreTokenizer({"[a-z&&[^aeiou]]+"}).words("batten"), (Words{"b", "a", "tt", "e", "n"}));
  EXPECT_EQ(PreTokenizer({"[^aeiou&&a-z]+"}).words("batten"), (Words{"b", "a", "tt", "e", "n"}));
  EXPECT_EQ(PreTokenizer({"[^a-z&&[^aeiou]]+"}).words("1abe!2"),
            (Words{"1a", "b", "e!2"}));  // ^ negates what is shared
  EXPECT_EQ(PreTokenizer({"[a-m&&c-z&&[^d-k]]+"}).words("abclmnd"), (Words{"ab", "clm", "nd"}));
  EXPECT_EQ(PreTokenizer({"[ab[cd]x]+"}).words("zabcdxy"), (Words{"z", "abcdx", "y"}));
  EXPECT_EQ(PreTokenizer({"[a[^b-z]]+"}).words("ab\n1c"), (Words{"a", "b", "\n1", "c"}));
  EXPECT_EQ(PreTokenizer({"[a[b-d&&[^c]]]+"}).words("abcda"), (Words{"ab", "c", "da"}));
  EXPECT_EQ(PreTokenizer({"[\\S&&[^.]]+"}).words("ab.c d"), (Words{"ab", ".", "c", " ", "d"}));
  EXPECT_EQ(PreTokenizer({"[.\\D]+"}).words("a.1\u0663b"), (Words{"a.", "1\u0663", "b"}));
  EXPECT_EQ(PreTokenizer({"[\\P{L}x]+"}).words("a1x b"), (Words{"a", "1x ", "b"}));
  EXPECT_EQ(PreTokenizer({"[a&&b]|b"}).words("abc"), (Words{"a", "b", "c"}));  // nothing is both
  EXPECT_EQ(PreTokenizer({"[a&b]+"}).words("xa&by"), (Words{"x", "a&b", "y"}));
  EXPECT_EQ(PreTokenizer({"[\\p{Lo}\\p{M}&&[^\\p{Han}]]+"}).words("\u0e01\u0e34中あ"),
            (Words{"\u0e01\u0e34", "中", "あ"}));
  EXPECT_EQ(PreTokenizer({"[[^\\p{Han}]&&\\p{L}]+"}).words("a中é1"), (Words{"a", "中", "é", "1"}));
  // U+1C8A (Ll) and U+10D50 (Lu) came with Unicode 16
  EXPECT_EQ(PreTokenizer({"[\\p{Lu}\\p{Ll}&&[^\\p{Han}]]+"}).words("a\u1c8aB中\U00010d50."),
            (Words{"a\u1c8aB", "中", "\U00010d50", "."}));
}

// A group around the first expression changes nothing but the spelling: then PCRE2 cuts.
PreTokenizer report_by_expressions() {
  std::vector<std::string> splits = PreTokenizer::default_splits();
  splits[0] = "(?:" + splits[0] + ")";
  return PreTokenizer(splits);
}

TEST(PreTokenizer, CutsTheReportsWayAsItsExpressionsDo) {
  const PreTokenizer fast(PreTokenizer::default_splits()), slow = report_by_expressions();
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    const std::string text = testing::random_text(seed, 60) + testing::random_bytes(seed, seed % 5);
    ASSERT_EQ(fast.words(text), slow.words(text)) << seed;
  }
  std::string text;
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c == 0x40000) c = 0xE0000;
    if (c == 0xE0200) c = 0x10FF00;
    if (c >= 0xD800 && c < 0xE000) continue;
    for (const char* before : {"a", " ", "1", "中", "!", "\x01", "\n", "\u3000 ", "\u0301"}) {
      text += before;
      append_utf8(text, c);
    }
    for (const char* behind : {"b", "b", "\n"}) {
      text += behind;
      append_utf8(text, c);
    }
    if (c % 512 == 511) {
      ASSERT_EQ(fast.words(text), slow.words(text)) << "code points up to " << c;
      text.clear();
    }
  }
}

TEST(PreTokenizer, KnowsCharactersThatCameAfterUnicode14) {
  // U+2427 (symbol) and U+A7CB (letter) of Unicode 16, U+1F6DC (symbol) and U+1E4D0 (letter) of Unicode 15.
  EXPECT_EQ(report("b \u2427\u2427x"), (Words{"b", " \u2427\u2427", "x"}));
  EXPECT_EQ(report("b \ua7cb1"), (Words{"b", " \ua7cb", "1"}));
  EXPECT_EQ(report("b \U0001f6dc"), (Words{"b", " \U0001f6dc"}));
  EXPECT_EQ(report("b \U0001e4d0"), (Words{"b", " \U0001e4d0"}));
  EXPECT_EQ(PreTokenizer({"\\P{N}+"}).words("a\U0001ccf0b"), (Words{"a", "\U0001ccf0", "b"}));  // a digit of Unicode 16
}

TEST(PreTokenizer, MeansTheScriptAndNotItsExtensions) {
  EXPECT_EQ(PreTokenizer({"\\p{Han}+"}).words("中、文"),
            (Words{"中", "、", "文"}));  // U+3001 is common to several scripts
}

TEST(PreTokenizer, StopsAnExpressionThatBacktracksWithoutEnd) {
  const PreTokenizer pre_tokenizer({"(a|aa|aaa)+c"});
  const std::string message = error_of([&] { pre_tokenizer.words(std::string(200, 'a') + "bc"); });
  EXPECT_NE(message.find("match limit"), std::string::npos) << message;
}

}  // namespace
}  // namespace hadal
