// JSON lines as other programs write them: what stands in other fields does not matter, and the wanted field is read as
// Python would read it.
#include "data/corpus.h"
#include "data/data_testing.h"
#include "data/document_reader.h"

namespace hadal::data {
namespace {

const ProgressOptions kQuiet{.unit = "B", .quiet = true};

std::vector<std::string> read_all(const fs::path& path, int64_t replaced = 0) {
  DocumentReader reader(path, "text");
  std::vector<std::string> documents;
  for (std::string text; reader.next(text);) documents.push_back(text);
  EXPECT_EQ(reader.replaced(), replaced) << path;
  return documents;
}

TEST(JsonLines, AFieldNobodyAskedForCannotStopACorpus) {
  TempDir dir;
  std::string lines;
  const std::string values[] = {"340282366920938463463374607431768211456",
                                "-18446744073709551616",
                                "1e400",
                                "-1E+999",
                                "NaN",
                                "Infinity",
                                "-Infinity",
                                "\"cut \\ud83d\"",
                                "\"\\udead\"",
                                "{\"\\ud800\": [NaN, {\"text\": 1e999}]}",
                                "\"bytes \xff\xc0\x80\"",
                                std::string(5000, '[') + std::string(5000, ']')};
  std::vector<std::string> documents;
  for (const std::string& value : values) {
    lines += "{\"other\": " + value + ", \"text\": \"document " + std::to_string(documents.size()) + "\"}\n";
    documents.push_back("document " + std::to_string(documents.size()));
    lines += "{\"text\": \"document " + std::to_string(documents.size()) + "\", \"other\": " + value + "}\r\n";
    documents.push_back("document " + std::to_string(documents.size()));
  }
  write_text(dir / "a.jsonl", lines);
  EXPECT_EQ(read_all(dir / "a.jsonl"), documents);
}

TEST(JsonLines, LoneSurrogatesOfTheTextBecomeU_FFFDAndAreCounted) {
  TempDir dir;
  const std::string u = "\xEF\xBF\xBD";
  write_text(
      dir / "a.jsonl",
      "{\"text\": \"cut \\ud83d here\"}\n{\"text\": \"whole \\ud83d\\ude00\"}\n{\"text\": \"\\ude00\\ud83d\"}\n");
  EXPECT_EQ(read_all(dir / "a.jsonl", 3), (std::vector<std::string>{"cut " + u + " here", "whole 😀", u + u}));
  DataConfig config;
  config.sources = {source_of("a", dir / "a.jsonl")};
  config.holdout_fraction = 0;
  const Corpus corpus = Corpus::scan(config, {}, kQuiet);
  EXPECT_EQ(corpus.counts()[0].replaced, 3);
  EXPECT_NE(Corpus::table(corpus.sources(), corpus.counts()).find("U+FFFD"), std::string::npos);
  auto none = corpus.counts();
  none[0].replaced = 0;
  EXPECT_EQ(Corpus::table(corpus.sources(), none).find("U+FFFD"), std::string::npos);
}

TEST(JsonLines, BytesOutsideOfUtf8StayAsInPlainText) {
  TempDir dir;
  write_text(dir / "a.jsonl", "{\"text\": \"caf\xe9 \xed\xa0\x80\"}\n");
  write_text(dir / "a.txt", "caf\xe9 \xed\xa0\x80");
  EXPECT_EQ(read_all(dir / "a.jsonl"), read_all(dir / "a.txt"));
}

TEST(JsonLines, TheLastOfEqualNamesCounts) {
  TempDir dir;
  write_text(dir / "a.jsonl",
             "{\"text\": \"first\", \"text\": \"second\"}\n{\"text\": 5, \"x\": 1, \"te\\u0078t\": \"third\"}\n");
  EXPECT_EQ(read_all(dir / "a.jsonl"), (std::vector<std::string>{"second", "third"}));
  write_text(dir / "a.jsonl", "{\"text\": \"first\", \"text\": null}\n");
  expect_error(ErrorKind::corrupt, {"a.jsonl", "line 1", "not a string"}, [&] { read_all(dir / "a.jsonl"); });
}

TEST(JsonLines, CountsOfTheTableSurviveTheIndex) {
  Fixture f(one_source({"one", "two"}));
  write_text(f.directory / "s0.jsonl", "{\"text\": \"one \\udcff\"}\n{\"text\": \"two\"}\n");
  EXPECT_EQ(f.prepare().shards.index().counts[0].replaced, 1);
  EXPECT_EQ(f.prepare().shards.index().counts[0].replaced, 1);  // as read from the index
  std::string index = read_file(f.directory / "cache/shards/index.json");
  const size_t at = index.find("\"replaced\": 1,");
  ASSERT_NE(at, std::string::npos);
  write_text(f.directory / "cache/shards/index.json", index.erase(at, 14));  // as an earlier version wrote it
  EXPECT_EQ(f.prepare().shards.index().counts[0].replaced, 0);
}

}  // namespace
}  // namespace hadal::data
