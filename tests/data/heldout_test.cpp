#include "data/heldout.h"

#include "data/data_testing.h"
#include "data/explain.h"
#include "data/explain_parts.h"

namespace hadal::data {
namespace {

void hold_out_half(Config& config) {
  config.data.holdout = Holdout::tail;
  config.data.holdout_fraction = 0.5;
}

TEST(HeldOut, GivesTheTextBetweenAStartTokenAndEos) {
  Fixture f(one_source({"aaaaBBBB", "cccDDD"}));
  hold_out_half(f.config);
  const Prepared p = f.prepare();
  const auto documents = heldout_documents(p.shards, p.tokenizer, f.config.data);
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(p.tokenizer.decode(documents[0].tokens, true), "BBBB");
  EXPECT_EQ(p.tokenizer.decode(documents[1].tokens, true), "DDD");
  EXPECT_EQ(documents[0].raw_bytes, 4);
  EXPECT_EQ(documents[0].tokens.size(), 6u);
  EXPECT_EQ(documents[0].tokens.front(), *p.tokenizer.eos_id());
  EXPECT_EQ(documents[0].tokens.back(), *p.tokenizer.eos_id());
  f.config.data.add_bos = true;
  EXPECT_EQ(heldout_documents(p.shards, p.tokenizer, f.config.data)[0].tokens.front(), *p.tokenizer.bos_id());
}

TEST(HeldOut, ATextIsCutBeforeAnEmptyTokenWhateverByteLiesThere) {
  const std::string memory = "a\xC3\xA9z";  // a é z
  const std::string_view text = memory, a = text.substr(0, 1), empty = text.substr(2, 0), half = text.substr(1, 1),
                         rest = text.substr(2, 1), z = text.substr(3, 1);
  const auto cut = [](std::vector<std::string_view> tokens, int64_t max_bytes) {
    const TextCut found = cut_at_character(tokens, max_bytes);
    return std::pair(found.tokens, found.bytes);
  };
  EXPECT_EQ(cut({a, empty, z}, 1), std::pair(int64_t(1), int64_t(1)));  // where `empty` points lies half an é
  EXPECT_EQ(cut({a, half, rest, z}, 2), std::pair(int64_t(1), int64_t(1)));
  EXPECT_EQ(cut({a, half, rest, z}, 3), std::pair(int64_t(3), int64_t(3)));
  EXPECT_EQ(cut({half, rest, z}, 1), std::pair(int64_t(2), int64_t(2))) << "a character at least";
  EXPECT_EQ(cut({}, 5), std::pair(int64_t(0), int64_t(0)));
}

TEST(HeldOut, ACapIsSharedBySourcesAndCutsAtACharacter) {
  const std::vector<std::string> a{"xxxxxxxxxx0123456789"}, b{"yyyyyyyyyyyyyyyyyy漢漢漢漢漢漢"};
  Fixture f({a, b});
  hold_out_half(f.config);
  const Prepared p = f.prepare();
  const auto documents = heldout_documents(p.shards, p.tokenizer, f.config.data, 14);
  ASSERT_EQ(documents.size(), 2u);
  EXPECT_EQ(p.tokenizer.decode(documents[0].tokens, true), "01234");
  EXPECT_EQ(documents[0].raw_bytes, 5);
  EXPECT_EQ(documents[0].tokens.size(), 6u) << "cut short: no EOS";
  EXPECT_EQ(p.tokenizer.decode(documents[1].tokens, true), "漢漢漢");
  EXPECT_EQ(documents[1].raw_bytes, 9);
}

TEST(HeldOut, WindowsScoreEveryTokenButTheFirstOnce) {
  for (int64_t n : {2, 3, 8, 9, 10, 17, 50}) {
    for (int64_t stride : {1, 3, 4, 8, 0}) {
      std::vector<HeldOutDocument> documents(1);
      documents[0].tokens.assign(size_t(n), 7);
      std::vector<int> scored(size_t(n), 0);
      const auto windows = scoring_windows(documents, 8, stride);
      for (size_t i = 0; i < windows.size(); ++i) {
        const ScoringWindow& w = windows[i];
        EXPECT_LE(w.end - w.begin, 8);
        EXPECT_LT(w.end, n);
        EXPECT_GT(w.scored, w.begin);
        EXPECT_EQ(w.begin, int64_t(i) * (stride == 0 ? 4 : stride));
        for (int64_t t = w.scored; t <= w.end; ++t) ++scored[size_t(t)];
      }
      EXPECT_EQ(scored[0], 0);
      EXPECT_EQ(std::vector<int>(scored.begin() + 1, scored.end()), std::vector<int>(size_t(n - 1), 1))
          << n << " " << stride;
    }
  }
  expect_error(ErrorKind::invalid, {"9", "1 .. 8"}, [] { scoring_windows({}, 8, 9); });
}

TEST(HeldOut, HasNothingWhereNothingIsHeldOut) {
  Fixture f(one_source({"abc"}));
  const Prepared p = f.prepare();
  EXPECT_TRUE(heldout_documents(p.shards, p.tokenizer, f.config.data).empty());
}

TEST(Explain, ShowsSequencesPiecesPaddingAndFim) {
  Fixture f(one_source({"abcde <tag> fghij", "second\tdocument"}));
  f.config.data.sequence_length = 40;
  f.config.data.at_end = AtEnd::stop;
  f.config.data.fim_rate = 1;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const Batch batch = loader.next(4);
  ExplainOptions options;
  options.step = 7;
  const std::string text = explain_text(batch, p.shards, p.tokenizer, f.config.data, options);
  for (const char* part : {"step 7", "2 of them FIM", "FIM begin", "FIM hole", "FIM end", "prefix", "suffix", "middle",
                           "EOS", "mask: none", "padding", "s0 document"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
  const std::string html = explain_html(batch, p.shards, p.tokenizer, f.config.data, options);
  EXPECT_EQ(html.find("<tag>"), std::string::npos) << "text is escaped";
  EXPECT_EQ(html.find("http"), std::string::npos) << "nothing is fetched";
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("prefers-color-scheme: dark"), std::string::npos);
  EXPECT_EQ(visible_text("a\n\x01\xff é"), "a\\n\\x01\\xff é");
}

TEST(Explain, ShowsMasksOfDocuments) {
  Fixture f(one_source({"abcde", "xy"}));
  f.config.data.document_mask = DocumentMask::document;
  f.config.data.at_end = AtEnd::stop;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const Batch batch = loader.next(4);
  const std::string text = explain_text(batch, p.shards, p.tokenizer, f.config.data, {});
  EXPECT_NE(text.find("sees [0, "), std::string::npos) << text;
  const std::string html = explain_html(batch, p.shards, p.tokenizer, f.config.data, {});
  size_t triangles = 0;
  for (size_t at = html.find("Z"); at != std::string::npos; at = html.find("Z", at + 1)) ++triangles;
  EXPECT_GE(triangles, 2u);
}

}  // namespace
}  // namespace hadal::data
