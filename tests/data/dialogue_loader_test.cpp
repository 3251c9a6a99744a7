// Dialogues from shards to batches: packed whole, masked, counted, held out, resumed.
#include <algorithm>
#include <map>

#include "data/corpus_report.h"
#include "data/dialogue_testing.h"
#include "data/explain.h"
#include "data/heldout.h"

namespace hadal::data {
namespace {

std::string chat(const std::string& q, const std::string& a) { return messages_line({{"user", q}, {"assistant", a}}); }

std::vector<std::string> many_chats(int n, int longest = 20) {
  std::vector<std::string> lines;
  for (int i = 0; i < n; ++i)
    lines.push_back(chat("q" + std::to_string(i), random_text(1 + i % longest, uint64_t(i) + 1)));
  return lines;
}

std::vector<Sequence> all_of(Loader& loader) {
  std::vector<Sequence> all;
  for (Batch batch = loader.next(3); !batch.sequences.empty(); batch = loader.next(3))
    for (Sequence& sequence : batch.sequences) all.push_back(std::move(sequence));
  return all;
}

TEST(DialogueLoader, PacksSamplesWithTargetsOfTheirAnswersAlone) {
  DialogueFixture f({chat("q", "a"), chat("r", "b")});
  f.config.data.sequence_length = 12;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const Batch batch = loader.next(4);
  ASSERT_EQ(batch.sequences.size(), 1u);
  EXPECT_TRUE(batch.masked);
  const Sequence& s = batch.sequences[0];
  EXPECT_EQ(s.padding, 0);
  const std::string tokens = letters_of(p.tokenizer, s.tokens), targets = letters_of(p.tokenizer, s.targets);
  EXPECT_TRUE(tokens == "BUqAaEBUrAbE" || tokens == "BUrAbEBUqAaE") << tokens;
  EXPECT_EQ(targets, tokens[2] == 'q' ? "---aE----bE-" : "---bE----aE-");
  EXPECT_EQ(batch.n_targets(), 4);
  for (const Passage& passage : s.passages) EXPECT_TRUE(passage.dialogue && passage.begins && passage.ends);
}

TEST(DialogueLoader, GivesEverySampleExactlyAsOftenAsThereAreEpochs) {
  DialogueFixture f(many_chats(40));
  f.config.data.pack_window = 3;
  f.config.data.fim_rate = 1;  // of texts alone
  f.config.data.epochs = 3;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data, 1.0);
  std::map<int64_t, std::vector<int64_t>> epochs;  // of each document
  for (const Sequence& sequence : all_of(loader)) {
    int64_t at = 0;
    for (const Passage& passage : sequence.passages) {
      EXPECT_EQ(passage.start, at);
      at += passage.length;
      epochs[passage.document].push_back(passage.epoch);
      std::vector<int32_t> whole;
      p.shards.tokens(Split::training, 0, passage.document, whole);
      EXPECT_TRUE(std::equal(whole.begin(), whole.end(), sequence.tokens.begin() + passage.start));
      EXPECT_EQ(passage.length, int64_t(whole.size()));
    }
  }
  EXPECT_EQ(epochs.size(), 40u);
  const int64_t all = loader.n_sequences();
  Loader again(p.shards, p.tokenizer, f.config.data, 1.0);
  EXPECT_EQ(again.n_sequences(), all);
  EXPECT_EQ(int64_t(all_of(again).size()), all);
  for (auto& [document, seen] : epochs) {
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2})) << document;
  }
}

TEST(DialogueLoader, AnEpochIsOverBeforeTheNextBegins) {
  DialogueFixture f(many_chats(40));
  f.config.data.epochs = 3;
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  int64_t before = 0;
  for (const Sequence& sequence : all_of(loader))
    for (const Passage& passage : sequence.passages) {
      EXPECT_GE(passage.epoch, before);
      before = passage.epoch;
    }
  EXPECT_EQ(before, 2);
}

TEST(DialogueLoader, DropsWhatIsLongerThanASequenceAndSaysSo) {
  DialogueFixture f({chat("q", "a"), chat("q", std::string(60, 'x')), chat("q", std::string(59, 'y'))});
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  ASSERT_EQ(loader.notes().size(), 1u);
  EXPECT_EQ(
      loader.notes()[0],
      "source 'chats': 1 of 3 samples are dropped, as they are longer than data.sequence_length = 64: the longest "
      "has 65 tokens");
  int64_t samples = 0;
  for (const Sequence& sequence : all_of(loader)) samples += int64_t(sequence.passages.size());
  EXPECT_EQ(samples, 2);
  f.config.data.on_long = OnLong::stop;
  expect_error(ErrorKind::invalid, {"1 of 3 samples are longer", "64", "65 tokens", "never cut"},
               [&] { Loader(p.shards, p.tokenizer, f.config.data); });
  f.config.data.on_long = OnLong::drop;
  f.config.data.sequence_length = 5;
  expect_error(ErrorKind::invalid, {"3 of 3 samples are longer", "none is left"},
               [&] { Loader(p.shards, p.tokenizer, f.config.data); });
  f.config.data.sequence_length = 64;
  f.config.data.document_mask = DocumentMask::none;
  expect_error(ErrorKind::invalid, {"'chats' holds dialogues", "document_mask = \"document\""},
               [&] { Loader(p.shards, p.tokenizer, f.config.data); });
}

TEST(DialogueLoader, SharesSequencesWithTextsOfWhichAllIsTrained) {
  DialogueFixture f({chat("q", "a")});
  write_jsonl(f.directory / "text.jsonl", {"some text"});
  f.config.data.sources.push_back(source_of("text", f.directory / "text.jsonl"));
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const Batch batch = loader.next(2);
  ASSERT_EQ(batch.sequences.size(), 1u);
  EXPECT_EQ(batch.n_targets(), 2 + 9);
}

TEST(DialogueLoader, ResumesAtAnyPlaceToTheBit) {
  DialogueFixture f(many_chats(30));
  f.config.data.pack_window = 2;
  f.config.data.epochs = 2;
  const Prepared p = f.prepare();
  Loader straight(p.shards, p.tokenizer, f.config.data);
  const std::vector<Sequence> whole = all_of(straight);
  for (size_t from = 0; from < whole.size(); ++from) {
    Loader walker(p.shards, p.tokenizer, f.config.data);
    walker.skip(int64_t(from));
    Loader resumed(p.shards, p.tokenizer, f.config.data);
    resumed.seek(Cursor::from_json(walker.cursor().to_json()));
    const std::vector<Sequence> rest = all_of(resumed);
    ASSERT_EQ(rest.size(), whole.size() - from);
    for (size_t i = 0; i < rest.size(); ++i) {
      EXPECT_EQ(rest[i].tokens, whole[from + i].tokens);
      EXPECT_EQ(rest[i].targets, whole[from + i].targets);
    }
  }
  f.config.data.epochs = 3;
  Loader other(p.shards, p.tokenizer, f.config.data);
  expect_error(ErrorKind::invalid, {"cursor", "settings"}, [&] { other.seek(straight.cursor()); });
}

TEST(DialogueShards, AnInterruptedBuildContinuesWithTheSameBytes) {
  const auto lines = many_chats(60);
  std::vector<std::string> hashes[2];
  for (const bool interrupted : {false, true}) {
    DialogueFixture f(lines);
    f.config.data.holdout_fraction = 0.2;
    PrepareOptions options;
    options.unit_bytes = 1000;
    int64_t kept = 0;
    {
      const Prepared p = f.prepare(options);
      EXPECT_GE(p.shards.index().files.size(), 6u);
    }
    const fs::path shards = f.directory / "cache" / "shards";
    if (interrupted) {
      fs::remove(shards / "index.json");
      fs::remove(shards / "000-00001.train.shard");
      kept = f.prepare(options).units_kept;
      EXPECT_GE(kept, 2);
    }
    for (const auto& entry : fs::directory_iterator(shards))
      if (entry.path().extension() == ".shard") hashes[interrupted].push_back(read_file(entry.path()));
    std::sort(hashes[interrupted].begin(), hashes[interrupted].end());
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST(DialogueShards, EveryFlippedBitIsNoticed) {
  DialogueFixture f(many_chats(3));
  f.prepare();
  const std::string text = read_file(f.directory / "cache" / "shards" / "000-00000.train.shard");
  const std::vector<uint8_t> bytes(text.begin(), text.end());
  const ShardFile whole = ShardFile::from_bytes(bytes, "x");
  EXPECT_TRUE(whole.info().dialogues);
  EXPECT_EQ(whole.info().n_trained, 2 + 3 + 4);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::vector<uint8_t> flipped = bytes;
    flipped[at] ^= 1;
    EXPECT_THROW(ShardFile::from_bytes(flipped, "x"), Error) << at;
  }
}

TEST(DialogueShards, DialoguesAreHeldOutWholeByTheirHash) {
  for (const Holdout how : {Holdout::hash, Holdout::tail}) {
    DialogueFixture f(many_chats(100));
    f.config.data.holdout = how;
    f.config.data.holdout_fraction = 0.2;
    const Prepared p = f.prepare();
    const int64_t held_out = p.shards.n_documents(Split::held_out, 0);
    EXPECT_EQ(p.shards.n_documents(Split::training, 0) + held_out, 100);
    EXPECT_GT(held_out, 5);
    EXPECT_LT(held_out, 40);
    const auto documents = heldout_documents(p.shards, p.tokenizer, f.config.data);
    ASSERT_EQ(int64_t(documents.size()), held_out);
    for (const HeldOutDocument& document : documents) {
      EXPECT_EQ(letters_of(p.tokenizer, {document.tokens.front(), document.tokens.back()}), "BE");
      int64_t scored = 0;
      for (size_t i = 0; i < document.tokens.size(); ++i) scored += document.is_scored(int64_t(i));
      EXPECT_EQ(scored, document.raw_bytes + 1) << "the answer's bytes and EOS";
    }
    EXPECT_LT(heldout_documents(p.shards, p.tokenizer, f.config.data, 20).size(), documents.size());
  }
}

TEST(DialogueShards, ARefusedDialogueIsNamedByItsLineOrCounted) {
  DialogueFixture f({chat("q", "a"), chat("q", "never"), chat("r", "b")});
  write_text(f.directory / "t.jinja",
             "{% for m in messages %}{% if m.content == 'never' %}{{ raise_exception('not this') }}{% endif %}"
             "{{ ('<｜User｜>' if m.role == 'user' else '<｜Assistant｜>') + m.content }}{% endfor %}"
             "{{ '<｜Assistant｜>' if add_generation_prompt }}");
  f.config.data.chat_template = (f.directory / "t.jinja").string();
  expect_error(ErrorKind::corrupt, {"chats.jsonl' line 2: ", "not this", "on_bad_line"}, [&] { f.prepare(); });
  f.config.data.on_bad_line = OnBadLine::skip;
  std::vector<std::string> said;
  PrepareOptions options;
  options.say = [&](const std::string& text) { said.push_back(text); };
  const Prepared p = f.prepare(options);
  EXPECT_EQ(p.shards.index().counts[0].refused, 1);
  EXPECT_EQ(p.shards.n_documents(Split::training, 0), 2);
  EXPECT_NE(corpus_table(p.shards, f.config.data).find("refused"), std::string::npos);
  EXPECT_TRUE(std::any_of(said.begin(), said.end(), [](const std::string& text) {
    return text.starts_with("skipped: ") && text.find("line 2") != std::string::npos;
  }));
  f.config.data.on_bad_line = OnBadLine::stop;  // another build than the one that left it out
  expect_error(ErrorKind::corrupt, {"line 2"}, [&] { f.prepare(); });
}

TEST(DialogueShards, AnotherTemplateIsAnotherBuildAndGoesWithTheTokenizer) {
  DialogueFixture f({chat("q", "a")});
  EXPECT_TRUE(f.prepare().built);
  const Prepared again = f.prepare();
  EXPECT_FALSE(again.built);
  const auto files = again.tokenizer.files();
  const auto has_template = [](const auto& list) {
    return std::any_of(list.begin(), list.end(), [](const auto& file) { return file.first == "chat_template.jinja"; });
  };
  EXPECT_TRUE(has_template(files)) << "so that the model is talked to as it was trained";
  again.tokenizer.save((f.directory / "tok").string());
  EXPECT_FALSE(f.prepare().built) << "the report's template as the tokenizer's own is the same";
  write_text(f.directory / "tok" / "chat_template.jinja",
             "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{{ 'assistant:' if add_generation_prompt "
             "}}");
  const Prepared other = f.prepare();
  EXPECT_TRUE(other.built);
  std::vector<int32_t> ids;
  other.shards.tokens(Split::training, 0, 0, ids);
  EXPECT_EQ(other.tokenizer.decode(ids), "user:q;assistant:a;");
}

TEST(DialogueShards, ATokenizerIsTrainedOnWhatIsSaid) {
  std::vector<std::string> lines;
  for (int i = 0; i < 40; ++i) lines.push_back(chat("what is " + std::to_string(i), "the answer is the answer"));
  DialogueFixture f(lines);
  f.config.tokenizer.path.clear();
  f.config.tokenizer.vocab_size = 300;
  const Prepared p = f.prepare();
  EXPECT_TRUE(p.tokenizer.find_token(" answer").has_value());
  EXPECT_FALSE(p.tokenizer.find_token("role").has_value()) << "no JSON was read";
}

TEST(DialogueExplain, ShowsWhatIsTrainedAndWhatEachPlacePredicts) {
  DialogueFixture f({chat("<q>", "a&b")});
  const Prepared p = f.prepare();
  Loader loader(p.shards, p.tokenizer, f.config.data);
  const Batch batch = loader.next(1);
  ExplainOptions options;
  options.tokens = true, options.n_mtp = 1;
  const std::string text = explain_text(batch, p.shards, p.tokenizer, f.config.data, options);
  for (const char* part :
       {"chats sample 0, epoch 1, 10 tokens, segment 0, positions 0..9, sees [0, 10)", "context     6 tokens",
        "trained     4 tokens  \"a&b<｜end▁of▁sentence｜>\"", "    5        0         5  |<｜Assistant｜>|", "MTP 1"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  EXPECT_EQ(text.find('\033'), std::string::npos);
  options.colour = true;
  EXPECT_NE(explain_text(batch, p.shards, p.tokenizer, f.config.data, options).find("\033[32m\"a&b"),
            std::string::npos);
  const std::string html = explain_html(batch, p.shards, p.tokenizer, f.config.data, options);
  EXPECT_NE(html.find("<span class=\"t\" title=\"place 6, segment 0, position 6, target &amp;, MTP 1 b\">a</span>"),
            std::string::npos)
      << html;
  EXPECT_EQ(html.find("<q>"), std::string::npos) << "text is escaped";
}

}  // namespace
}  // namespace hadal::data
