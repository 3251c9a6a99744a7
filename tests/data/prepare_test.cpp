#include "data/prepare.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <map>
#include <thread>

#include "base/file_size_limit.h"
#include "base/interrupt.h"
#include "data/corpus_report.h"
#include "data/data_testing.h"

namespace hadal::data {
namespace {

std::vector<std::string> some_documents(int64_t n, uint64_t seed) {
  std::vector<std::string> documents;
  for (int64_t i = 0; i < n; ++i) documents.push_back(random_text(20 + i % 50, seed * 100000 + uint64_t(i)));
  return documents;
}

std::map<std::string, std::string> contents(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == ".shard") files[entry.path().filename().string()] = read_file(entry.path());
  }
  return files;
}

PrepareOptions saying(std::vector<std::string>& said, OnChange on_change = OnChange::rebuild,
                      int64_t unit_bytes = 1000) {
  PrepareOptions options;
  options.on_change = on_change;
  options.unit_bytes = unit_bytes;
  options.say = [&](const std::string& text) { said.push_back(text); };
  return options;
}

bool any_has(const std::vector<std::string>& said, const std::string& what) {
  return std::any_of(said.begin(), said.end(), [&](const std::string& s) { return s.find(what) != std::string::npos; });
}

TEST(Prepare, ShardsHoldEveryDocumentOfEverySource) {
  const auto a = some_documents(100, 1), b = some_documents(40, 2);
  Fixture f({a, b});
  PrepareOptions options;
  options.unit_bytes = 500;  // many units
  const Prepared p = f.prepare(options);
  EXPECT_TRUE(p.built);
  EXPECT_GT(p.shards.index().files.size(), 10u);
  ASSERT_EQ(p.shards.n_documents(Split::training, 0), 100);
  ASSERT_EQ(p.shards.n_documents(Split::training, 1), 40);
  std::vector<int32_t> tokens;
  int64_t total = 0;
  for (int64_t s = 0; s < 2; ++s) {
    for (int64_t d = 0; d < p.shards.n_documents(Split::training, s); ++d) {
      p.shards.tokens(Split::training, s, d, tokens);
      const std::string& text = (s == 0 ? a : b)[size_t(d)];
      EXPECT_EQ(p.tokenizer.decode(tokens), text);
      EXPECT_EQ(p.shards.document(Split::training, s, d).raw_bytes, text.size());
      total += int64_t(tokens.size());
    }
  }
  EXPECT_EQ(total, p.shards.n_tokens(Split::training, 0) + p.shards.n_tokens(Split::training, 1));
  EXPECT_NE(corpus_table(p.shards, f.config.data).find("mixture: s0 "), std::string::npos);
}

TEST(Prepare, ShardsDoNotDependOnThreads) {
  Fixture f({some_documents(300, 3)}, merging_tokenizer());
  f.config.data.holdout_fraction = 0.2;
  PrepareOptions options;
  options.quiet = true;
  options.unit_bytes = 2000;
  std::map<std::string, std::string> first;
  for (int threads : {1, 2, 5}) {
    OwnedExec exec(threads, Isa::reference);
    f.config.data.cache = (f.directory / ("cache" + std::to_string(threads))).string();
    data::prepare(f.config, exec.exec, options);
    const auto files = contents(f.directory / ("cache" + std::to_string(threads)) / "shards");
    if (first.empty()) first = files;
    EXPECT_EQ(files, first) << threads << " threads";
  }
  EXPECT_GT(first.size(), 8u);
}

TEST(Prepare, TakesTheCacheWhileNothingChanged) {
  Fixture f({some_documents(50, 4)});
  std::vector<std::string> said;
  EXPECT_TRUE(f.prepare(saying(said)).built);
  EXPECT_TRUE(any_has(said, "read as JSON lines: 1 .jsonl"));
  said.clear();
  EXPECT_FALSE(f.prepare(saying(said)).built);
  EXPECT_FALSE(f.prepare(saying(said, OnChange::keep)).built);
  const fs::path file = f.directory / "s0.jsonl";
  fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(10));
  EXPECT_FALSE(f.prepare(saying(said, OnChange::keep)).built) << "touched, but the same bytes";
  f.config.data.sources[0].weight = 0.7;
  f.config.data.sequence_length = 32;
  EXPECT_FALSE(f.prepare(saying(said, OnChange::keep)).built) << "the shards do not depend on these";
  EXPECT_TRUE(said.empty());
}

TEST(Prepare, NoticesAChangedSource) {
  Fixture f({some_documents(50, 5)});
  std::vector<std::string> said;
  f.prepare(saying(said));
  std::string text = read_file(f.directory / "s0.jsonl");
  text[20] = text[20] == 'x' ? 'y' : 'x';  // same size
  write_text(f.directory / "s0.jsonl", text);
  fs::last_write_time(f.directory / "s0.jsonl",
                      fs::last_write_time(f.directory / "s0.jsonl") + std::chrono::seconds(10));
  const auto kept = f.prepare(saying(said, OnChange::keep));
  EXPECT_FALSE(kept.built) << "what something was trained on is not replaced";
  EXPECT_TRUE(any_has(said, "changed: "));
  said.clear();
  const Prepared p = f.prepare(saying(said));
  EXPECT_TRUE(p.built);
  EXPECT_TRUE(any_has(said, "changed: "));
  std::vector<int32_t> tokens;
  p.shards.tokens(Split::training, 0, 0, tokens);
  EXPECT_NE(p.tokenizer.decode(tokens), some_documents(50, 5)[0]) << "the new text is in the shards";
}

TEST(Prepare, NoticesNewAndGoneFilesAndOtherSettings) {
  Fixture f({some_documents(5, 6)});
  write_text(f.directory / "d/a.txt", "first");
  write_text(f.directory / "d/b.txt", "second");
  f.config.data.sources.push_back(source_of("d", f.directory / "d"));
  std::vector<std::string> said;
  f.prepare(saying(said));
  write_text(f.directory / "d/c.txt", "third");
  EXPECT_FALSE(f.prepare(saying(said, OnChange::keep)).built);
  EXPECT_TRUE(any_has(said, "new: ") && any_has(said, "c.txt"));
  fs::remove(f.directory / "d/c.txt");
  fs::remove(f.directory / "d/a.txt");
  EXPECT_FALSE(f.prepare(saying(said, OnChange::keep)).built);
  EXPECT_TRUE(any_has(said, "gone: ") && any_has(said, "a.txt"));
  write_text(f.directory / "d/a.txt", "first");
  f.config.data.holdout_fraction = 0.5;
  expect_error(ErrorKind::invalid, {"split"}, [&] { f.prepare(saying(said, OnChange::keep)); });
  merging_tokenizer().save((f.directory / "tok").string());
  f.config.data.holdout_fraction = 0;
  expect_error(ErrorKind::invalid, {"tokenizer"}, [&] { f.prepare(saying(said, OnChange::keep)); });
}

TEST(Prepare, RepairsADamagedShardAndKeepsTheOthers) {
  Fixture f({some_documents(100, 7)});
  std::vector<std::string> said;
  const Prepared before = f.prepare(saying(said));
  const auto good = contents(f.directory / "cache/shards");
  const std::string victim = before.shards.index().files[2];
  std::string bytes = good.at(victim);
  bytes[bytes.size() / 2] ^= 1;
  write_text(f.directory / "cache/shards" / victim, bytes);
  expect_error(ErrorKind::corrupt, {victim, "hadal data build"}, [&] { f.prepare(saying(said, OnChange::look)); });
  const Prepared after = f.prepare(saying(said));
  EXPECT_TRUE(any_has(said, victim));
  EXPECT_EQ(after.units_kept, int64_t(before.shards.index().files.size()) / 2 - 1);
  EXPECT_EQ(contents(f.directory / "cache/shards"), good);
  fs::remove(f.directory / "cache/shards" / victim);
  expect_error(ErrorKind::not_found, {victim, "missing"}, [&] { f.prepare(saying(said, OnChange::look)); });
  write_text(f.directory / "cache/shards/index.json", "{\"version\": 1, \"plan\": ");
  expect_error(ErrorKind::corrupt, {"index.json", "damaged"}, [&] { f.prepare(saying(said, OnChange::look)); });
  f.prepare(saying(said));
  EXPECT_EQ(contents(f.directory / "cache/shards"), good);
}

// What a run was trained on: looking writes nothing, keeping mends from the same text and never from another.
TEST(Prepare, KeepsWhatWasTrainedOnWhateverBecomesOfTheText) {
  Fixture f({some_documents(100, 11)});
  std::vector<std::string> said;
  const Prepared before = f.prepare(saying(said));
  const auto good = contents(f.directory / "cache/shards");
  const fs::path text = f.directory / "s0.jsonl";
  const std::string original = read_file(text), victim = before.shards.index().files[0];
  auto keep = saying(said, OnChange::keep);
  keep.plan = before.shards.index().plan;
  write_text(text, "{\"text\": \"something else altogether\"}\n");
  EXPECT_FALSE(f.prepare(keep).built);
  EXPECT_FALSE(f.prepare(saying(said, OnChange::look)).built);
  EXPECT_EQ(contents(f.directory / "cache/shards"), good);

  std::string bytes = good.at(victim);
  bytes[bytes.size() / 2] ^= 1;
  write_text(f.directory / "cache/shards" / victim, bytes);
  const auto damaged = contents(f.directory / "cache/shards");
  expect_error(ErrorKind::corrupt, {victim, "not the one"}, [&] { f.prepare(keep); });
  EXPECT_EQ(contents(f.directory / "cache/shards"), damaged) << "another text replaces nothing";
  fs::remove(text);
  expect_error(ErrorKind::corrupt, {victim, "no such file", "s0.jsonl"}, [&] { f.prepare(keep); });
  write_text(text, original);
  expect_error(ErrorKind::corrupt, {victim}, [&] { f.prepare(saying(said, OnChange::look)); });
  EXPECT_EQ(contents(f.directory / "cache/shards"), damaged) << "looking writes nothing";
  said.clear();
  EXPECT_TRUE(f.prepare(keep).built) << "the same text mends";
  EXPECT_TRUE(any_has(said, victim));
  EXPECT_EQ(contents(f.directory / "cache/shards"), good);
}

TEST(Prepare, ShardsOfAnotherTextThatTookThePlaceAreMadeAgain) {
  Fixture f({some_documents(60, 12)});
  std::vector<std::string> said;
  const std::string plan = f.prepare(saying(said)).shards.index().plan;
  const auto good = contents(f.directory / "cache/shards");
  const fs::path text = f.directory / "s0.jsonl";
  const std::string original = read_file(text);
  write_text(text, "{\"text\": \"something else altogether\"}\n");
  f.prepare(saying(said));
  auto keep = saying(said, OnChange::keep);
  keep.plan = plan;
  expect_error(ErrorKind::invalid, {"not the one that was trained on"}, [&] { f.prepare(keep); });
  write_text(text, original);
  EXPECT_TRUE(f.prepare(keep).built);
  EXPECT_EQ(contents(f.directory / "cache/shards"), good);
}

TEST(Prepare, ARunsCopyOfTheTokenizerServesWhenTheOtherIsGone) {
  Fixture f({some_documents(60, 13)});
  f.config.tokenizer.path = (f.directory / "tok").string();
  std::vector<std::string> said;
  f.prepare(saying(said));
  fs::rename(f.directory / "tok", f.directory / "copy");
  expect_error(ErrorKind::not_found, {"tok"}, [&] { f.prepare(saying(said, OnChange::look)); });
  auto keep = saying(said, OnChange::keep);
  keep.tokenizer = (f.directory / "copy").string();
  EXPECT_FALSE(f.prepare(keep).built);
}

TEST(Prepare, MovedTextIsKnownByItsHashes) {
  Fixture f({some_documents(30, 14)});
  write_text(f.directory / "d/a.txt", "first");
  write_text(f.directory / "d/b.txt", "second");
  f.config.data.sources.push_back(source_of("d", f.directory / "d"));
  std::vector<std::string> said;
  const Prepared p = f.prepare(saying(said));
  Config moved = f.config;
  fs::rename(f.directory / "d", f.directory / "elsewhere");
  moved.data.sources[1].paths = {(f.directory / "elsewhere/b.txt").string(),
                                 (f.directory / "elsewhere/a.txt").string()};
  check_same_text(moved, p.shards.index());
  write_text(f.directory / "elsewhere/a.txt", "fi\u0161st");
  expect_error(ErrorKind::invalid, {"a.txt", "source 'd'"}, [&] { check_same_text(moved, p.shards.index()); });
  moved.data.sources[1].paths = {(f.directory / "elsewhere/b.txt").string()};
  expect_error(ErrorKind::invalid, {"source 'd'", "1 of its files"}, [&] { check_same_text(moved, p.shards.index()); });
  moved.data.sources.pop_back();
  expect_error(ErrorKind::invalid, {"1 sources", "2"}, [&] { check_same_text(moved, p.shards.index()); });
}

// Builds in another process and kills it once some shards stand there. False: the build was over before.
bool kill_a_build(const Fixture& f, const fs::path& shards) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      OwnedExec exec(2, Isa::reference);
      PrepareOptions options;
      options.quiet = true;
      options.unit_bytes = 300;
      data::prepare(f.config, exec.exec, options);
    } catch (...) {
    }
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) != child) {
    if (fs::exists(shards) && std::distance(fs::directory_iterator(shards), fs::directory_iterator()) > 20) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return !fs::exists(shards / "index.json");
}

TEST(Prepare, ContinuesABuildThatWasKilled) {
  Fixture f({some_documents(3000, 8)});
  const fs::path shards = f.directory / "cache/shards";
  std::vector<std::string> said;
  bool killed = false;
  for (int attempt = 0; attempt < 5 && !killed; ++attempt) {  // a busy machine may wake us too late
    fs::remove_all(f.directory / "cache");
    killed = kill_a_build(f, shards);
  }
  ASSERT_TRUE(killed) << "no build could be killed in time";
  const Prepared p = f.prepare(saying(said, OnChange::rebuild, 300));
  EXPECT_GE(p.units_kept, 5);
  EXPECT_LT(p.units_kept, int64_t(p.shards.index().files.size()) / 2);
  for (const auto& entry : fs::directory_iterator(shards))
    EXPECT_EQ(entry.path().string().find(".tmp."), std::string::npos) << "leftovers are removed";
  const auto continued = contents(shards);
  fs::remove_all(f.directory / "cache");
  f.prepare(saying(said, OnChange::rebuild, 300));
  EXPECT_EQ(contents(shards), continued) << "as if never interrupted";
}

TEST(Prepare, AnInterruptStopsBetweenDocuments) {
  Fixture f({some_documents(50, 9)});
  std::vector<std::string> said;
  request_interrupt();
  expect_error(ErrorKind::io, {"interrupted", "continues"}, [&] { f.prepare(saying(said)); });
  clear_interrupt();
  EXPECT_TRUE(f.prepare(saying(said)).built);
}

// A limit on the size of files stands in for a full disk: writes fail in the middle of a shard.
TEST(Prepare, AFullDiskIsAnErrorAndLeavesNoHalfShard) {
  Fixture f({some_documents(2000, 10)});
  f.config.tokenizer.path = (f.directory / "tok").string();
  std::vector<std::string> said;
  FileSizeLimit little(20'000);
  expect_error(ErrorKind::io, {"cannot write", ".shard"},
               [&] { f.prepare(saying(said, OnChange::rebuild, 64 << 20)); });
  little.end();
  for (const auto& entry : fs::directory_iterator(f.directory / "cache/shards"))
    ADD_FAILURE() << entry.path() << " was left";
  EXPECT_TRUE(f.prepare(saying(said, OnChange::rebuild, 64 << 20)).built);
}

TEST(Prepare, TrainsTheTokenizerOnTrainingTextAlone) {
  // "held" stands only in the last tenth of each document, so no token may join its letters.
  std::vector<std::string> documents;
  for (int i = 0; i < 40; ++i) {
    std::string text;
    for (int k = 0; k < 90; ++k) text += "abcdefgh ";
    for (int k = 0; k < 16; ++k) text += "held ";
    documents.push_back(text + std::to_string(i));
  }
  Fixture f({documents});
  f.config.tokenizer.path = "";
  f.config.tokenizer.vocab_size = 300;
  f.config.data.holdout = Holdout::tail;
  f.config.data.holdout_fraction = 0.1;
  std::vector<std::string> said;
  const Prepared p = f.prepare(saying(said));
  EXPECT_TRUE(p.tokenizer_trained);
  EXPECT_TRUE(p.tokenizer.find_token("abcdefgh").has_value());
  EXPECT_FALSE(p.tokenizer.find_token("ld").has_value());
  EXPECT_TRUE(any_has(said, "training a tokenizer"));
  EXPECT_FALSE(f.prepare(saying(said)).tokenizer_trained);
  fs::remove_all(f.directory / "cache/shards");
  EXPECT_FALSE(f.prepare(saying(said)).tokenizer_trained) << "the tokenizer of an interrupted build is kept";
  f.config.tokenizer.vocab_size = 290;
  EXPECT_TRUE(f.prepare(saying(said)).tokenizer_trained);
}

TEST(Prepare, RefusesAVocabularyThatCannotHoldTheBytes) {
  Fixture f(one_source({"some", "text"}));
  f.config.tokenizer.path = "";
  f.config.tokenizer.vocab_size = 100;
  std::vector<std::string> said;
  expect_error(ErrorKind::invalid, {"100"}, [&] { f.prepare(saying(said)); });
}

TEST(Prepare, KeepsASecondBuilderOut) {
  Fixture f({some_documents(5, 11)});
  fs::create_directories(f.directory / "cache");
  const FileLock lock(f.directory / "cache/.lock");
  std::vector<std::string> said;
  expect_error(ErrorKind::invalid, {"data cache is in use"}, [&] { f.prepare(saying(said)); });
}

TEST(Prepare, NeedsAPlaceForTheCache) {
  Config config;
  expect_error(ErrorKind::invalid, {"data.cache", "run"}, [&] { cache_directory(config); });
  config.run = "runs/x";
  EXPECT_EQ(cache_directory(config), fs::path("runs/x/data"));
}

}  // namespace
}  // namespace hadal::data
