#include "data/corpus.h"
#include "data/corpus_report.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "base/utf8.h"
#include "data/byte_stream.h"
#include "data/data_testing.h"
#include "data/document_reader.h"

namespace hadal::data {
namespace {

void shell(const std::string& command) { ASSERT_EQ(std::system(command.c_str()), 0) << command; }

DataConfig config_of(std::vector<SourceConfig> sources, Holdout holdout = Holdout::hash, double fraction = 0) {
  DataConfig config;
  config.sources = std::move(sources);
  config.holdout = holdout;
  config.holdout_fraction = fraction;
  return config;
}

std::vector<std::string> read_all(const fs::path& path, const std::string& field = "text") {
  DocumentReader reader(path, {field});
  std::vector<std::string> documents;
  for (std::string text; reader.next(text);) documents.push_back(text);
  return documents;
}

std::vector<std::string> training(const Corpus& corpus, int64_t max_bytes = 0) {
  const auto next = corpus.training_texts(max_bytes);
  std::vector<std::string> texts;
  for (std::string text; next(text);) texts.push_back(text);
  return texts;
}

TEST(DocumentReader, ReadsTextAndJsonlPlainOrCompressed) {
  TempDir dir;
  const std::vector<std::string> lines{"one", "two \\n lines", "", "漢字 \\ud83d\\ude00"};
  const std::vector<std::string> texts{"one", "two \n lines", "", "漢字 😀"};
  std::string jsonl;
  for (const auto& line : lines) jsonl += "{\"id\": 1, \"text\": \"" + line + "\"}\r\n\n";
  write_text(dir / "a.jsonl", jsonl);
  const std::string prose = "A line.\r\n" + jsonl;
  write_text(dir / "b.txt", prose);
  for (const std::string name : {"a.jsonl", "b.txt"}) {
    const std::string quoted = "'" + (dir / name).string() + "'";
    shell("gzip -k " + quoted + " && zstd -q -k " + quoted);
    for (const std::string end : {"", ".gz", ".zst"}) {
      EXPECT_EQ(read_all(dir / (name + end)), name == "b.txt" ? std::vector{prose} : texts) << name << end;
    }
  }
}

TEST(DocumentReader, ReadsAllMembersOfConcatenatedFiles) {
  TempDir dir;
  write_text(dir / "a", "first ");
  write_text(dir / "b", "second");
  const std::string folder = "cd '" + dir.path().string() + "' && ";
  shell(folder +
        "gzip -c a > x.txt.gz && gzip -c b >> x.txt.gz && zstd -q -c a > x.txt.zst && zstd -q -c b >> x.txt.zst");
  EXPECT_EQ(read_all(dir / "x.txt.gz"), std::vector<std::string>{"first second"});
  EXPECT_EQ(read_all(dir / "x.txt.zst"), std::vector<std::string>{"first second"});
}

TEST(DocumentReader, ReadsLargeAndManyLinesWhole) {
  TempDir dir;
  std::vector<std::string> documents;
  for (int i = 0; i < 40; ++i) documents.push_back(random_text(i % 7 == 0 ? 900'000 : 50'000, uint64_t(i)));
  write_jsonl(dir / "big.jsonl", documents);
  EXPECT_EQ(read_all(dir / "big.jsonl"), documents);
  shell("zstd -q '" + (dir / "big.jsonl").string() + "'");
  EXPECT_EQ(read_all(dir / "big.jsonl.zst"), documents);
}

TEST(DocumentReader, NamesFileAndLineOfBadJson) {
  TempDir dir;
  const std::map<std::string, std::string> cases{{"{\"text\": \"a\"", "not valid JSON"},
                                                 {"{\"body\": \"a\"}", "no field 'text' (fields: body)"},
                                                 {"{\"text\": 5}", "is not a string"},
                                                 {"[1]", "JSON object"},
                                                 {"{\"text\": \"\\x\"}", "not valid JSON"}};
  for (const auto& [line, message] : cases) {
    write_text(dir / "bad.jsonl", "{\"text\": \"fine\"}\n\n" + line + "\n");
    expect_error(ErrorKind::corrupt, {"bad.jsonl", "line 3", message}, [&] { read_all(dir / "bad.jsonl"); });
  }
  write_text(dir / "other.jsonl", "{\"body\": \"a\"}\n");
  EXPECT_EQ(read_all(dir / "other.jsonl", "body"), std::vector<std::string>{"a"});
}

TEST(DocumentReader, SaysThatACompressedFileIsDamaged) {
  TempDir dir;
  write_text(dir / "x.txt", random_text(50'000, 1));
  const std::string folder = "cd '" + dir.path().string() + "' && ";
  shell(folder + "gzip -k x.txt && zstd -q -k x.txt");
  for (const std::string name : {"x.txt.gz", "x.txt.zst"}) {
    const std::string whole = read_file(dir / name);
    std::string flipped = whole;
    flipped[flipped.size() / 2] ^= 0x10;
    const std::string damages[] = {whole.substr(0, whole.size() / 2), whole.substr(0, 3),
                                   whole.substr(0, whole.size() - 1), flipped};
    for (const std::string& content : damages) {
      write_text(dir / ("bad " + name), content);
      expect_error(ErrorKind::corrupt, {"bad " + name, "damaged"}, [&] { read_all(dir / ("bad " + name)); });
    }
  }
}

TEST(DocumentReader, KnowsBinaryFromText) {
  EXPECT_TRUE(looks_binary(std::string("ab\0cd", 5)));
  EXPECT_TRUE(looks_binary(std::string(100, '\xff')));
  EXPECT_FALSE(looks_binary(""));
  EXPECT_FALSE(looks_binary("naïve 漢字 😀"));
  EXPECT_FALSE(looks_binary("one stray byte \xff in a text of some length"));
}

TEST(Corpus, FindsFilesDirectoriesAndGlobsOnce) {
  TempDir dir;
  write_text(dir / "d/a.txt", "a");
  write_text(dir / "d/deep er/b.txt", "b");
  write_text(dir / "d/deep er/c.md", "c");
  SourceConfig source = source_of("x", dir / "d");
  source.paths = {(dir / "d/deep er/*.txt").string(), (dir / "d").string(), (dir / "d/a.txt").string()};
  const auto sources = list_sources(config_of({source}));
  ASSERT_EQ(sources[0].files.size(), 3u);
  EXPECT_EQ(fs::path(sources[0].files[0].path).filename(), "b.txt") << "order of the configuration, then names";
}

TEST(Corpus, RefusesSourcesThatNameNothing) {
  TempDir dir;
  fs::create_directories(dir / "empty");
  expect_error(ErrorKind::invalid, {"data.sources"}, [] { list_sources(DataConfig{}); });
  expect_error(ErrorKind::not_found, {"nowhere.txt"},
               [&] { list_sources(config_of({source_of("a", dir / "nowhere.txt")})); });
  expect_error(ErrorKind::not_found, {"*.txt"},
               [&] { list_sources(config_of({source_of("a", dir / "empty/*.txt")})); });
  expect_error(ErrorKind::not_found, {"empty"}, [&] { list_sources(config_of({source_of("a", dir / "empty")})); });
  write_text(dir / "x.txt", "x");
  expect_error(ErrorKind::invalid, {"two sources", "'a'"}, [&] {
    list_sources(config_of({source_of("a", dir / "x.txt"), source_of("a", dir / "x.txt")}));
  });
}

TEST(Corpus, SkipsBinaryFilesOfADirectoryAndRefusesNamedOnes) {
  TempDir dir;
  write_text(dir / "d/a.txt", "text");
  write_text(dir / "d/b.bin", std::string("\0\1\2\3", 4));
  const Corpus corpus = Corpus::scan(config_of({source_of("d", dir / "d")}), kQuiet);
  EXPECT_EQ(corpus.counts()[0].skipped_files, 1);
  EXPECT_EQ(corpus.counts()[0].documents, 1);
  EXPECT_EQ(corpus.sources()[0].files[1].skipped, "binary");
  expect_error(ErrorKind::invalid, {"b.bin", "binary"},
               [&] { Corpus::scan(config_of({source_of("d", dir / "d/b.bin")}), kQuiet); });
}

TEST(Corpus, SaysThatAFileIsUnreadable) {
  TempDir dir;
  write_text(dir / "secret.txt", "text");
  fs::permissions(dir / "secret.txt", fs::perms::none);
  const uid_t user = ::geteuid();
  const auto config = config_of({source_of("d", dir / "secret.txt")});
  if (user == 0) {
    fs::permissions(dir.path(), fs::perms::all);
    ASSERT_EQ(::seteuid(65534), 0);
  }
  expect_error(ErrorKind::io, {"secret.txt", "ermission"}, [&] { Corpus::scan(config, kQuiet); });
  EXPECT_EQ(::seteuid(user), 0);
}

TEST(Corpus, RefusesSourcesWithoutAnyText) {
  TempDir dir;
  write_text(dir / "empty.txt", "");
  expect_error(ErrorKind::invalid, {"no text", "1 documents"},
               [&] { Corpus::scan(config_of({source_of("d", dir / "empty.txt")}), kQuiet); });
  write_text(dir / "one.txt", "one document");
  expect_error(ErrorKind::invalid, {"held out", "tail"},
               [&] { Corpus::scan(config_of({source_of("d", dir / "one.txt")}, Holdout::hash, 1.0), kQuiet); });
}

TEST(Corpus, RemovesEmptyDocumentsAndExactDuplicatesAcrossSources) {
  TempDir dir;
  write_jsonl(dir / "a.jsonl", {"one", "", "two", "one", "x"});
  write_jsonl(dir / "b.jsonl", {"two", "three", "onE"});
  const Corpus corpus =
      Corpus::scan(config_of({source_of("a", dir / "a.jsonl"), source_of("b", dir / "b.jsonl")}), kQuiet);
  EXPECT_EQ(training(corpus), (std::vector<std::string>{"one", "two", "x", "three", "onE"}));
  const SourceCounts &a = corpus.counts()[0], &b = corpus.counts()[1];
  EXPECT_EQ(a.documents, 5);
  EXPECT_EQ(a.bytes, 10);
  EXPECT_EQ(a.empty, 1);
  EXPECT_EQ(a.duplicates, 1);
  EXPECT_EQ(a.duplicate_bytes, 3);
  EXPECT_EQ(a.training_bytes, 7);
  EXPECT_EQ(b.duplicates, 1);
  EXPECT_EQ(b.training, 2);
  const std::string table = Corpus::table(corpus.sources(), corpus.counts());
  EXPECT_NE(table.find("all"), std::string::npos);
}

TEST(Corpus, HoldsOutByHashWithoutACopyInTraining) {
  TempDir dir;
  std::vector<std::string> documents;
  for (int i = 0; i < 2000; ++i) documents.push_back(random_text(30, uint64_t(i)));
  auto twice = documents;
  twice.insert(twice.end(), documents.begin(), documents.end());
  write_jsonl(dir / "a.jsonl", twice);
  std::reverse(documents.begin(), documents.end());
  write_jsonl(dir / "b.jsonl", documents);
  auto split = [&](const std::string& file) {
    const Corpus corpus = Corpus::scan(config_of({source_of("a", dir / file)}, Holdout::hash, 0.1), kQuiet);
    std::set<std::string> held_out;
    corpus.read(0, [&](int64_t d, const std::string& text) {
      if (corpus.facts(d).fate == Fate::held_out) held_out.insert(text);
      return true;
    });
    const auto texts = training(corpus);
    EXPECT_EQ(texts.size() + held_out.size(), 2000u);
    for (const auto& text : texts) EXPECT_EQ(held_out.count(text), 0u);
    return held_out;
  };
  const auto held_out = split("a.jsonl");
  EXPECT_NEAR(double(held_out.size()), 200, 41);  // three standard deviations
  EXPECT_EQ(held_out, split("b.jsonl")) << "the split depends on the text alone, not on its place";
}

TEST(Corpus, TailModeHoldsOutTheEndOfEveryDocumentAtACharacterBorder) {
  DataConfig config = config_of({}, Holdout::tail, 0.1);
  auto cut = [&](const std::string& text) {
    return split_point(text, {0, int64_t(text.size()), Fate::training}, config);
  };
  EXPECT_EQ(cut(std::string(1'115'394, 'x')), 1'003'855);
  EXPECT_EQ(cut("0123456789"), 9);
  EXPECT_EQ(cut("012345678"), 9) << "less than a byte: nothing is held out";
  EXPECT_EQ(cut("x"), 1);
  EXPECT_EQ(cut("1234567漢"), 7) << "one byte of three would be cut off";
  config.holdout_fraction = 0.5;
  EXPECT_EQ(cut("😀x😀"), 5);
  EXPECT_EQ(cut("x😀😀"), 5) << "held out: floor(9 / 2) bytes";
  EXPECT_EQ(cut("xx😀😀"), 2) << "in the middle of a character: back to its begin";
  EXPECT_EQ(cut("12\xC3\xA9"), 2);
}

TEST(Corpus, TrainingTextIsCappedAndLeavesOutWhatIsHeldOut) {
  TempDir dir;
  write_jsonl(dir / "a.jsonl", {"0123456789", "abcdefghij"});
  const Corpus corpus = Corpus::scan(config_of({source_of("a", dir / "a.jsonl")}, Holdout::tail, 0.2), kQuiet);
  EXPECT_EQ(training(corpus), (std::vector<std::string>{"01234567", "abcdefgh"}));
  EXPECT_EQ(training(corpus, 11), (std::vector<std::string>{"01234567", "abc"}));
  EXPECT_EQ(corpus.training_bytes(), 16);
}

TEST(Corpus, ReadsFromAnyDocumentOn) {
  TempDir dir;
  write_jsonl(dir / "d/a.jsonl", {"0", "1", "2"});
  write_text(dir / "d/b.txt", "3");
  write_jsonl(dir / "d/c.jsonl", {});
  write_jsonl(dir / "d/e.jsonl", {"4", "5"});
  const Corpus corpus = Corpus::scan(config_of({source_of("a", dir / "d")}), kQuiet);
  for (int64_t first = 0; first <= 6; ++first) {
    std::string read;
    corpus.read(first, [&](int64_t d, const std::string& text) {
      EXPECT_EQ(text, std::to_string(d));
      read += text;
      return true;
    });
    EXPECT_EQ(read, std::string("012345").substr(size_t(first)));
  }
}

TEST(Corpus, AsksRulesBehindDuplicatesAndCountsWhatEachRemoved) {
  TempDir dir;
  const std::string two = "A line that ends well.\nanother that does not", bad = "only a line { that does not";
  write_jsonl(dir / "a.jsonl", {two, bad, two, bad, "too few words.", "Lorem ipsum is never here."});
  auto config = config_of({source_of("a", dir / "a.jsonl")});
  config.sources[0].rules = {"c4"};
  config.sources[0].limits.c4.min_sentences = 1;
  const Corpus corpus = Corpus::scan(config, kQuiet);
  const SourceCounts& counts = corpus.counts()[0];
  EXPECT_EQ(counts.duplicates, 2);
  EXPECT_EQ(counts.filtered, 2);
  EXPECT_EQ(counts.by_rule.at("c4.min_sentences").documents, 1);
  EXPECT_EQ(counts.by_rule.at("c4.no_lorem_ipsum").documents, 1);
  EXPECT_EQ(training(corpus), (std::vector<std::string>{"A line that ends well.", "too few words."}));
  EXPECT_EQ(counts.cut_bytes, int64_t(std::string("\nanother that does not").size()));
  EXPECT_NE(Corpus::table(corpus.sources(), corpus.counts()).find("filtered"), std::string::npos);
  EXPECT_NE(removed_table(corpus.sources(), corpus.counts()).find("c4.min_sentences"), std::string::npos);
}

TEST(Corpus, NoticesAFileThatChangesWhileItIsRead) {
  TempDir dir;
  write_jsonl(dir / "a.jsonl", {"one", "two"});
  const Corpus corpus = Corpus::scan(config_of({source_of("a", dir / "a.jsonl")}), kQuiet);
  write_jsonl(dir / "a.jsonl", {"one", "tow"});
  expect_error(ErrorKind::corrupt, {"a.jsonl", "changed"},
               [&] { corpus.read(0, [](int64_t, const std::string&) { return true; }); });
  write_jsonl(dir / "a.jsonl", {"one"});
  expect_error(ErrorKind::corrupt, {"a.jsonl", "changed"}, [&] { training(corpus); });
}

}  // namespace
}  // namespace hadal::data
