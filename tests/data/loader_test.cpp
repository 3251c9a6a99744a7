#include "data/loader.h"

#include <algorithm>
#include <map>
#include <set>

#include "data/data_testing.h"

namespace hadal::data {
namespace {

std::vector<Sequence> all_sequences(Loader& loader) {
  std::vector<Sequence> sequences;
  for (Batch batch = loader.next(3); !batch.sequences.empty(); batch = loader.next(3)) {
    for (auto& sequence : batch.sequences) sequences.push_back(std::move(sequence));
  }
  return sequences;
}

bool same(const Sequence& a, const Sequence& b) {
  return a.tokens == b.tokens && a.targets == b.targets && a.padding == b.padding;
}

std::vector<std::string> documents_of_lengths(const std::vector<int64_t>& lengths, uint64_t seed) {
  std::vector<std::string> documents;
  for (size_t i = 0; i < lengths.size(); ++i) documents.push_back(random_text(lengths[i], seed * 1000 + i));
  return documents;
}

std::vector<std::string> random_documents(int64_t n, int64_t longest, uint64_t seed) {
  std::vector<int64_t> lengths;
  RandomStream random{seed, 4};
  for (int64_t i = 0; i < n; ++i) lengths.push_back(1 + int64_t(random.below(uint64_t(longest))));
  return documents_of_lengths(lengths, seed);
}

// Passages of one (source, document, epoch), in the order of their text.
using Key = std::tuple<int64_t, int64_t, int64_t>;
struct Found {
  Passage passage;
  std::vector<int32_t> tokens;
};
std::map<Key, std::vector<Found>> by_document(const std::vector<Sequence>& sequences) {
  std::map<Key, std::vector<Found>> found;
  for (const auto& s : sequences) {
    for (const auto& p : s.passages) {
      found[{p.source, p.document, p.epoch}].push_back(
          {p, {s.tokens.begin() + p.start, s.tokens.begin() + p.start + p.length}});
    }
  }
  for (auto& [key, list] : found) {
    std::sort(list.begin(), list.end(),
              [](const Found& a, const Found& b) { return a.passage.index < b.passage.index; });
  }
  return found;
}

TEST(Loader, CutsALongDocumentIntoSequencesAndARemainder) {
  Fixture f(one_source({"abcdefghij"}));
  f.config.data.sequence_length = 4;
  f.config.data.at_end = AtEnd::stop;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const auto found = by_document(all_sequences(loader));
  ASSERT_EQ(found.size(), 1u);
  std::vector<std::string> texts;
  for (const auto& passage : found.begin()->second) texts.push_back(p.tokenizer.decode(passage.tokens, true));
  EXPECT_EQ(texts, (std::vector<std::string>{"abcd", "efgh", "ij"}));
  EXPECT_EQ(found.begin()->second.back().tokens.back(), *p.tokenizer.eos_id());
}

TEST(Loader, TargetsAreTheNextTokensWithoutMask) {
  Fixture f(one_source({"abcde", "xy"}));  // abcde+EOS = 6, xy+EOS = 3: one sequence of 10 with one place of padding
  f.config.data.sequence_length = 10;
  f.config.data.at_end = AtEnd::stop;
  const Prepared p = f.prepare();
  const int32_t eos = *p.tokenizer.eos_id();
  for (const DocumentMask mask : {DocumentMask::none, DocumentMask::document}) {
    f.config.data.document_mask = mask;
    Loader loader(p.shards, p.tokenizer, f.config.data);
    const Batch batch = loader.next(5);
    ASSERT_EQ(batch.sequences.size(), 1u);
    const Sequence& s = batch.sequences[0];
    ASSERT_EQ(s.tokens.size(), 9u);
    EXPECT_EQ(s.padding, 1);
    EXPECT_EQ(batch.masked, mask == DocumentMask::document);
    const size_t first = size_t(s.passages[0].length);
    for (size_t i = 0; i < 8; ++i) {
      const bool border = i == first - 1;
      EXPECT_EQ(s.targets[i], border && mask == DocumentMask::document ? -1 : s.tokens[i + 1])
          << enum_name(mask) << " " << i;
    }
    EXPECT_EQ(s.tokens[first - 1], eos);
    EXPECT_EQ(s.targets[8], -1);
    EXPECT_EQ(batch.n_targets(), mask == DocumentMask::document ? 7 : 8);
  }
}

TEST(Loader, APartIsFollowedByItsContinuationAsTarget) {
  Fixture f(one_source({"abcdefgh"}));
  f.config.data.sequence_length = 4;
  f.config.data.at_end = AtEnd::stop;
  for (const DocumentMask mask : {DocumentMask::none, DocumentMask::document}) {
    f.config.data.document_mask = mask;
    const Prepared p = f.prepare();
    Loader loader(p.shards, p.tokenizer, f.config.data);
    const auto sequences = all_sequences(loader);
    ASSERT_EQ(sequences.size(), 2u) << "abcd | efgh: the text fills both, EOS is the last target";
    for (const auto& s : sequences) {
      const std::string text = p.tokenizer.decode(s.tokens);
      const int32_t after = text == "abcd" ? p.tokenizer.encode("e")[0] : *p.tokenizer.eos_id();
      EXPECT_EQ(s.targets.back(), after) << text;
    }
  }
}

TEST(Loader, GivesEveryTokenOncePerEpoch) {
  const auto documents = random_documents(60, 70, 1);
  for (int64_t length : {5, 16, 33, 64}) {
    Fixture f({documents});
    f.config.data.sequence_length = length;
    f.config.data.add_bos = length == 33;
    const Prepared p = f.prepare();
    Loader loader(p.shards, p.tokenizer, f.config.data);
    std::vector<Sequence> sequences;
    while (loader.epochs(0) < 3.2) {
      for (auto& s : loader.next(8).sequences) sequences.push_back(std::move(s));
    }
    loader.skip(0);
    std::vector<Sequence> rest =
        loader.next(200).sequences;  // so that nothing of the first three epochs waits in a window
    sequences.insert(sequences.end(), rest.begin(), rest.end());
    const auto found = by_document(sequences);
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      for (size_t d = 0; d < documents.size(); ++d) {
        auto at = found.find({0, int64_t(d), epoch});
        ASSERT_NE(at, found.end()) << "document " << d << " is missing in epoch " << epoch;
        std::string text;
        for (const auto& passage : at->second) text += p.tokenizer.decode(passage.tokens, true);
        EXPECT_EQ(text, documents[d]) << "epoch " << epoch << ", length " << length;
      }
    }
  }
}

TEST(Loader, CutsNoDocumentThatFits) {
  for (double fim : {0.0, 0.7}) {
    const auto documents = random_documents(80, 40, 2);
    Fixture f({documents});
    f.config.data.sequence_length = 24;
    f.config.data.fim_rate = fim;
    const Prepared p = f.prepare();
    Loader loader(p.shards, p.tokenizer, f.config.data);
    int64_t cut = 0;
    for (const auto& s : loader.next(300).sequences) {
      ASSERT_LE(s.tokens.size(), 24u);
      EXPECT_EQ(int64_t(s.tokens.size()) + s.padding, 24);
      for (const auto& passage : s.passages) {
        const bool fits = int64_t(documents[size_t(passage.document)].size()) < 24;
        EXPECT_TRUE(!fits || (passage.begins && passage.ends));
        cut += !(passage.begins && passage.ends);
      }
    }
    EXPECT_GT(cut, 0) << "no document was long enough: this test proves nothing";
  }
}

TEST(Loader, EndsEveryDocumentWithEosAndOpenPartsStandLast) {
  Fixture f({random_documents(50, 60, 3)});
  const Prepared p = f.prepare();
  const int32_t eos = *p.tokenizer.eos_id();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  int64_t open = 0;
  for (const auto& s : loader.next(400).sequences) {
    int64_t at = 0;
    for (size_t i = 0; i < s.passages.size(); ++i) {
      const Passage& passage = s.passages[i];
      EXPECT_EQ(passage.start, at);
      at += passage.length;
      const bool closed = s.tokens[size_t(at - 1)] == eos;
      open += !closed;
      EXPECT_TRUE(closed || i + 1 == s.passages.size()) << "a document follows a part without a border";
      EXPECT_TRUE(closed || s.targets[size_t(at - 1)] >= 0);
    }
    EXPECT_EQ(at, int64_t(s.tokens.size()));
  }
  EXPECT_GT(open, 0);
}

TEST(Loader, MovesTheBordersOfLongDocumentsFromTheSecondEpochOn) {
  Fixture f(one_source({random_text(300, 5)}));
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  std::map<int64_t, int64_t> first_part;
  for (const auto& s : loader.next(200).sequences)
    for (const auto& passage : s.passages)
      if (passage.begins) first_part[passage.epoch] = passage.n_tokens;
  ASSERT_GE(first_part.size(), 6u);
  EXPECT_EQ(first_part[0], 16);
  std::set<int64_t> lengths;
  for (const auto& [epoch, length] : first_part) lengths.insert(length);
  EXPECT_GE(lengths.size(), 4u);
}

TEST(Loader, CutsLongDocumentsBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "漢é";
  Fixture f(one_source({text}));
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  for (const auto& s : loader.next(100).sequences) {
    for (const auto& passage : s.passages) {
      const auto first = p.tokenizer.token_bytes(s.tokens[size_t(passage.start)]);
      EXPECT_NE(first[0] & 0xC0, 0x80) << "a part begins inside of a character";
    }
  }
}

TEST(Loader, PaysLittlePadding) {
  Fixture f({random_documents(400, 200, 6)});
  f.config.data.sequence_length = 64;
  f.config.data.pack_window = 128;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const Batch batch = loader.next(512);
  EXPECT_LT(double(batch.n_padding()), 0.05 * 512 * 64);
}

TEST(Loader, StreamDoesNotDependOnBatchSizes) {
  Fixture f({random_documents(40, 50, 7), random_documents(30, 20, 8)});
  f.config.data.fim_rate = 0.3;
  const Prepared p = f.prepare();
  Loader one(p.shards, p.tokenizer, f.config.data), ramp(p.shards, p.tokenizer, f.config.data);
  const Batch whole = one.next(100);
  int64_t at = 0;
  for (int64_t n = 1; at + n <= 100; ++n) {
    const Batch batch = ramp.next(n);
    EXPECT_EQ(batch.first_sequence, at);
    ASSERT_EQ(int64_t(batch.sequences.size()), n);
    for (const auto& s : batch.sequences) EXPECT_TRUE(same(s, whole.sequences[size_t(at++)]));
  }
  EXPECT_GT(at, 80);
}

TEST(Loader, ResumesAtAnyPlaceToTheBit) {
  Fixture f({random_documents(30, 60, 9), {random_text(500, 77)}});
  f.config.data.fim_rate = 0.3;
  f.config.data.sources[0].weight = 0.3;
  const Prepared p = f.prepare();
  Loader straight(p.shards, p.tokenizer, f.config.data);
  const Batch whole = straight.next(120);
  Loader walker(p.shards, p.tokenizer, f.config.data);
  bool shifted_differs = false;
  for (int64_t n = 0; n < 60; ++n) {
    const std::string saved = walker.cursor().to_json();
    Loader resumed(p.shards, p.tokenizer, f.config.data);
    resumed.seek(Cursor::from_json(saved));
    EXPECT_EQ(resumed.cursor().to_json(), saved);
    const Batch batch = resumed.next(40);
    EXPECT_EQ(batch.first_sequence, n);
    for (int64_t i = 0; i < 40; ++i)
      ASSERT_TRUE(same(batch.sequences[size_t(i)], whole.sequences[size_t(n + i)])) << n << " + " << i;
    Cursor shifted = Cursor::from_json(saved);
    shifted.position += 1;
    resumed.seek(shifted);
    shifted_differs |= !same(resumed.next(1).sequences[0], whole.sequences[size_t(n)]);
    walker.next(1);
  }
  EXPECT_TRUE(shifted_differs) << "negative control: a cursor off by one must show";
}

TEST(Loader, CursorIsSmall) {
  Fixture f({random_documents(300, 60, 10)});
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  loader.skip(57);
  EXPECT_LT(loader.cursor().to_json().size(), 300u);
}

TEST(Loader, SkipEqualsNext) {
  Fixture f({random_documents(50, 30, 11)});
  const Prepared p = f.prepare();
  Loader a(p.shards, p.tokenizer, f.config.data), b(p.shards, p.tokenizer, f.config.data);
  a.next(37), b.skip(37);
  EXPECT_EQ(a.cursor(), b.cursor());
  EXPECT_TRUE(same(a.next(1).sequences[0], b.next(1).sequences[0]));
}

TEST(Loader, RefusesACursorOfOtherSettingsOrOutsideOfTheData) {
  Fixture f({random_documents(20, 30, 12)});
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  Cursor cursor = loader.cursor();
  f.config.data.seed = 2;
  Loader other(p.shards, p.tokenizer, f.config.data);
  expect_error(ErrorKind::invalid, {"cursor", "settings"}, [&] { other.seek(cursor); });
  cursor.sources[0].position = 1000;
  expect_error(ErrorKind::corrupt, {"cursor", "1000"}, [&] { loader.seek(cursor); });
  expect_error(ErrorKind::corrupt, {"cursor"}, [&] { Cursor::from_json("{\"window\": 3}"); });
  expect_error(ErrorKind::corrupt, {"cursor", "1e+30"}, [&] { Cursor::from_json("{\"window\": 1e30}"); });
  expect_error(ErrorKind::corrupt, {"cursor"}, [&] { Cursor::from_json("nonsense"); });
}

TEST(Loader, SeedsShuffleDocumentsAndEpochsDiffer) {
  std::vector<std::string> documents;
  for (int i = 0; i < 26; ++i) documents.push_back(std::string(15, char('a' + i)));  // one sequence each
  Fixture f({documents});
  f.config.data.pack_window = 26;
  const Prepared p = f.prepare();
  auto order = [&](uint64_t seed, int64_t skip) {
    f.config.data.seed = seed;
    Loader loader(p.shards, p.tokenizer, f.config.data);
    loader.skip(skip);
    std::string text;
    for (const auto& s : loader.next(26).sequences) text += p.tokenizer.decode(s.tokens)[0];
    return text;
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(2, 0));
  EXPECT_NE(order(1, 0), order(1, 26)) << "the second epoch has its own order";
  std::string sorted = order(1, 26);
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, "abcdefghijklmnopqrstuvwxyz");
}

TEST(Loader, StopsAtTheEndOrGoesOnAsConfigured) {
  Fixture f(one_source({"abc", "defg"}));
  const Prepared p = f.prepare();
  f.config.data.at_end = AtEnd::stop;
  Loader stops(p.shards, p.tokenizer, f.config.data);
  std::vector<std::string> said;
  stops.on_message([&](const std::string& text) { said.push_back(text); });
  EXPECT_FALSE(stops.finished());
  EXPECT_EQ(stops.next(4).sequences.size(), 1u) << "a corpus shorter than one batch gives what there is";
  EXPECT_TRUE(stops.finished());
  EXPECT_TRUE(stops.next(4).sequences.empty());
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0], "source 's0' is used up");
  Loader resumed(p.shards, p.tokenizer, f.config.data);
  resumed.seek(stops.cursor());
  EXPECT_TRUE(resumed.next(4).sequences.empty());

  f.config.data.at_end = AtEnd::next_epoch;
  said.clear();
  Loader goes_on(p.shards, p.tokenizer, f.config.data);
  goes_on.on_message([&](const std::string& text) { said.push_back(text); });
  EXPECT_EQ(goes_on.next(4).sequences.size(), 4u);
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said[0], "source 's0' begins epoch 2");
}

TEST(Loader, ReadsDocumentsOfOneByte) {
  Fixture f(one_source({"a", "b", "c"}));
  f.config.data.at_end = AtEnd::stop;
  f.config.data.fim_rate = 1;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const Batch batch = loader.next(9);
  ASSERT_EQ(batch.sequences.size(), 1u);
  EXPECT_EQ(batch.sequences[0].tokens.size(), 6u);
}

TEST(Loader, SplitsFusedTokensAnewInEachEpochAndKeepsTheBytes) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "the end.\n\nand!\n";
  Fixture f(one_source({text}), train_tokenizer(text + text, 300));
  f.config.data.sequence_length = 512;
  f.config.data.pack_window = 1;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data, 0.5);
  std::vector<std::vector<int32_t>> epochs;
  for (const auto& s : loader.next(3).sequences) {
    ASSERT_EQ(s.passages.size(), 1u);
    EXPECT_EQ(p.tokenizer.decode(s.tokens, true), text);
    epochs.push_back(s.tokens);
  }
  const size_t whole = p.tokenizer.encode(text).size() + 1;
  EXPECT_GT(epochs[0].size(), whole + 10);
  EXPECT_LT(epochs[0].size(), whole + 70);
  EXPECT_NE(epochs[0], epochs[1]);
}

TEST(Loader, RefusesATokenizerThatIsNotTheShards) {
  Fixture f(one_source({"abc"}));
  const Prepared p = f.prepare();
  const Tokenizer other = merging_tokenizer();
  expect_error(ErrorKind::invalid, {"another tokenizer"}, [&] { Loader(p.shards, other, f.config.data); });
}

}  // namespace
}  // namespace hadal::data
