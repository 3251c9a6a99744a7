// JSON lines as other programs write them: what stands in other fields does not matter, and the wanted field is read as
// Python would read it.
#include "data/corpus.h"

#include <map>

#include "data/corpus_report.h"
#include "data/data_testing.h"
#include "data/document_reader.h"

namespace hadal::data {
namespace {

std::vector<std::string> read_lines(const fs::path& path, int64_t replaced = 0) {
  DocumentReader reader(path);
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
  EXPECT_EQ(read_lines(dir / "a.jsonl"), documents);
}

TEST(JsonLines, LoneSurrogatesOfTheTextBecomeU_FFFDAndAreCounted) {
  TempDir dir;
  const std::string u = "\xEF\xBF\xBD";
  write_text(
      dir / "a.jsonl",
      "{\"text\": \"cut \\ud83d here\"}\n{\"text\": \"whole \\ud83d\\ude00\"}\n{\"text\": \"\\ude00\\ud83d\"}\n");
  EXPECT_EQ(read_lines(dir / "a.jsonl", 3), (std::vector<std::string>{"cut " + u + " here", "whole 😀", u + u}));
  DataConfig config;
  config.sources = {source_of("a", dir / "a.jsonl")};
  config.holdout_fraction = 0;
  const Corpus corpus = Corpus::scan(config, kQuiet);
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
  EXPECT_EQ(read_lines(dir / "a.jsonl"), read_lines(dir / "a.txt"));
}

TEST(JsonLines, TheLastOfEqualNamesCounts) {
  TempDir dir;
  write_text(dir / "a.jsonl",
             "{\"text\": \"first\", \"text\": \"second\"}\n{\"text\": 5, \"x\": 1, \"te\\u0078t\": \"third\"}\n");
  EXPECT_EQ(read_lines(dir / "a.jsonl"), (std::vector<std::string>{"second", "third"}));
  write_text(dir / "a.jsonl", "{\"text\": \"first\", \"text\": null}\n");
  expect_error(ErrorKind::corrupt, {"a.jsonl", "line 1", "not a string"}, [&] { read_lines(dir / "a.jsonl"); });
}

const std::string kBadLines =
    "{\"text\": \"one\"}\nno JSON\n{\"title\": \"x\"}\n{\"text\": null}\n{\"text\": \"cut\n{\"text\": \"two\"}\n[7]\n"
    "{\"text\": [\"list\"]}\n{\"text\": \"a\"} {\"text\": \"b\"}\n{\"text\": \"three\"}\n";

TEST(JsonLines, BadLinesStopOrAreSkippedCountedAndListed) {
  TempDir dir;
  write_text(dir / "a.jsonl", kBadLines);
  std::string more = "{\"text\": \"four\"}\n";
  for (int i = 0; i < 12; ++i) more += "x\n";
  write_text(dir / "b.jsonl", more);
  DataConfig config;
  config.sources = {source_of("a", dir / "a.jsonl"), source_of("b", dir / "b.jsonl")};
  config.holdout_fraction = 0;
  expect_error(ErrorKind::corrupt, {"a.jsonl", "line 2", "not valid JSON", "data.on_bad_line = \"skip\""},
               [&] { Corpus::scan(config, kQuiet); });
  config.on_bad_line = OnBadLine::skip;
  const Corpus corpus = Corpus::scan(config, kQuiet);
  EXPECT_EQ(corpus.counts()[0].bad_lines, 7);
  EXPECT_EQ(corpus.counts()[1].bad_lines, 12);
  std::vector<std::string> texts;
  corpus.read(0, [&](int64_t, const std::string& text) { return texts.push_back(text), true; });
  EXPECT_EQ(texts, (std::vector<std::string>{"one", "two", "three", "four"}));
  const std::string table = Corpus::table(corpus.sources(), corpus.counts());
  EXPECT_NE(table.find("bad lines"), std::string::npos) << table;
  std::vector<std::string> notes = corpus_notes(corpus.sources(), corpus.counts());
  ASSERT_EQ(notes.size(), 1u + 10 + 1);
  for (const auto& [at, part] : std::map<size_t, const char*>{{1, "a.jsonl' line 2: not valid JSON"},
                                                              {2, "line 3: there is no field 'text' (fields: title)"},
                                                              {3, "line 4: the field 'text' is not a string"},
                                                              {4, "line 5: not valid JSON"},
                                                              {5, "line 7: a JSON object"},
                                                              {8, "b.jsonl' line 2: "},
                                                              {11, "skipped: 9 more lines"}})
    EXPECT_NE(notes[at].find(part), std::string::npos) << notes[at];
}

TEST(JsonLines, BadValuesOfAListAreSkippedButABrokenListStops) {
  TempDir dir;
  write_text(dir / "a.json", "[\n{\"text\": \"one\"},\n{\"title\": 5},\n17,\n{\"text\": \"two\"}\n]");
  DocumentReader reader(dir / "a.json", {.on_bad_line = OnBadLine::skip});
  std::vector<std::string> texts;
  for (std::string text; reader.next(text);) texts.push_back(text);
  EXPECT_EQ(texts, (std::vector<std::string>{"one", "two"}));
  ASSERT_EQ(reader.bad_lines(), 2);
  EXPECT_EQ(reader.listed_bad_lines()[0].line, 3);
  EXPECT_EQ(reader.listed_bad_lines()[1].line, 4);
  for (const std::string broken : {"{\"text\": }", "\"open", "{\"text\": \"x\"} {\"text\": \"y\"}", ","}) {
    write_text(dir / "a.json", "[\n{\"text\": \"one\"},\n\n" + broken + ",\n{\"text\": \"two\"}]");
    expect_error(ErrorKind::corrupt, {"a.json", "line 4", "not valid JSON"}, [&] {
      DocumentReader again(dir / "a.json", {.on_bad_line = OnBadLine::skip});
      for (std::string text; again.next(text);) {
      }
    });
  }
}

TEST(JsonLines, SkippingIsPartOfABuildOnlyWhereItChangesIt) {
  Fixture f(one_source({"one", "two"}));
  EXPECT_TRUE(f.prepare().built);
  f.config.data.on_bad_line = OnBadLine::skip;
  EXPECT_FALSE(f.prepare().built) << "there was nothing to skip";
  write_text(f.directory / "s0.jsonl", kBadLines);
  EXPECT_TRUE(f.prepare().built);
  const Prepared again = f.prepare();
  EXPECT_FALSE(again.built);
  EXPECT_EQ(again.shards.index().counts[0].bad_lines, 7);  // as read from the index
  EXPECT_EQ(corpus_notes(again.shards.index().sources, again.shards.index().counts).size(), 8u);
  f.config.data.on_bad_line = OnBadLine::stop;
  expect_error(ErrorKind::corrupt, {"s0.jsonl", "line 2"}, [&] { f.prepare(); });
  PrepareOptions going_on;
  going_on.on_change = OnChange::keep;
  EXPECT_FALSE(f.prepare(going_on).built) << "what a run was trained on stays";
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
