// What a file is shows by what it holds: compression, encodings, forms of JSON, and files that hold no text, whatever
// their names say.
#include "base/testing.h"
#include "data/byte_stream.h"

#include "data/corpus.h"
#include "data/corpus_report.h"
#include "data/data_testing.h"
#include "data/document_reader.h"
#include "data/file_names.h"
#include "data/foreign_formats.h"

namespace hadal::data {
namespace {

using namespace std::string_view_literals;
using Texts = std::vector<std::string>;

struct Read {
  Form form;
  Texts texts;
  std::string notes, not_text, refusal;
  int64_t replaced, bad_lines;
};

Read read(const fs::path& path, ReaderOptions options = {}) {
  DocumentReader reader(path, options);
  Read result{reader.form(), {}, "", reader.not_text(), reader.refusal(), 0, 0};
  if (result.not_text.empty())
    for (std::string text; reader.next(text);) result.texts.push_back(text);
  for (const std::string& note : reader.notes()) result.notes += note + "|";
  result.replaced = reader.replaced(), result.bad_lines = reader.bad_lines();
  return result;
}

Read read_as(const TempDir& dir, const std::string& name, const std::string& content, ReaderOptions options = {}) {
  write_text(dir / name, content);
  return read(dir / name, options);
}

std::string made_by(const TempDir& dir, const std::string& command, const std::string& content) {
  write_text(dir / "plain", content);
  const std::string in = "cd '" + dir.path().string() + "' && ";
  EXPECT_EQ(std::system((in + command + " < plain > made").c_str()), 0) << command;
  return read_file(dir / "made");
}

using testing::has;

const std::string kLines = "{\"text\": \"one\"}\n{\"id\": 2, \"text\": \"two\"}\n";

TEST(Formats, JsonIsKnownWhateverTheNameOrItsCase) {
  TempDir dir;
  const Texts texts{"one", "two"};
  for (const char* name : {"a.jsonl", "b.JSONL", "c.NdJson", "d.json", "e.txt", "f", "g.jsonl.1"}) {
    const Read found = read_as(dir, name, kLines);
    EXPECT_EQ(found.texts, texts) << name;
    EXPECT_EQ(found.form, Form::lines) << name;
    const std::string extension = lower_extension(name);
    EXPECT_EQ(found.notes.empty(), extension == ".jsonl" || extension == ".ndjson") << name << found.notes;
  }
  for (const char* json :
       {"[{\"text\": \"one\"}, {\"text\": \"two\", \"x\": [1]}]", "[\n {\"text\": \"one\"},\n {\"text\": \"two\"}\n]\n",
        "[{\"text\":\"one\"}\n,\n{\"text\":\"two\"}]", "{\n  \"text\": \"one\"\n}\n{\n  \"text\": \"two\"\n}\n",
        "{\"text\":\n\"one\"} {\"text\": \"two\"}", "[{\"text\": \"one\"}]\n[{\"text\": \"two\"}]\n",
        "\n\n  [ {\"text\": \"one\"} , {\"text\": \"two\"} ] \n"}) {
    for (const char* name : {"a.json", "b.JSON", "c.jsonl", "d.txt"}) {
      const Read found = read_as(dir, name, json);
      EXPECT_EQ(found.texts, texts) << name << ": " << json;
      EXPECT_EQ(found.form, Form::values) << name << ": " << json;
      EXPECT_EQ(has(found.notes, "over several lines or in a list"), lower_extension(name) != ".json") << found.notes;
    }
  }
  EXPECT_EQ(read_as(dir, "one.json", "{\"text\": \"alone\"}").texts, Texts{"alone"});
  EXPECT_EQ(read_as(dir, "none.json", "[]").texts, Texts{});
}

TEST(Formats, LargeListsAreReadValueByValue) {
  TempDir dir;
  std::string list = "[";
  Texts texts;
  for (int i = 0; i < 40; ++i) {
    texts.push_back(random_text(i % 7 == 0 ? 900'000 : 30'000, uint64_t(i)));
    list += (i ? ",\n" : "\n") + json_line(texts.back());
  }
  EXPECT_EQ(read_as(dir, "a.json", list + "]").texts, texts);
  expect_error(ErrorKind::corrupt, {"a.json", "] is missing"}, [&] { read_as(dir, "a.json", list); });
}

TEST(Formats, WhatOnlyLooksLikeJsonIsText) {
  TempDir dir;
  for (const std::string text :
       {"{braces} begin this text", "[1] A footnote.", "[Music]\n\nSilence.", "{\"a\": 1, // a comment\n\"text\": 2}\n",
        "{\"text\": \"one\"} and then prose\n", "{\"text\": \"a sample\"}\nis what a line looks like.\n", "[1, 2, 3]",
        "[]", "{\"text\": 5}", "{\"title\": \"no text\"}", "[{\"title\": \"no text\"}]", "[\"one\", \"two\"]"}) {
    const Read found = read_as(dir, "a.md", text);
    EXPECT_EQ(found.form, Form::text) << text;
    EXPECT_EQ(found.texts, Texts{text});
  }
}

TEST(Formats, AJsonFileWithoutTextsIsProseInADirectoryAndAnErrorWhenNamed) {
  TempDir dir;
  const std::pair<const char*, const char*> cases[] = {{"{\"name\": \"package\"}\n", "(fields: name)"},
                                                       {"{\n \"name\": {\"text\": \"x\"}\n}\n", "(fields: name)"},
                                                       {"[{\"a\": 1, \"b\": 2}]", "(fields: a, b)"},
                                                       {"[\"one\", \"two\"]", "not of objects"},
                                                       {"{\"a\": nothing}", "no JSON"},
                                                       {"plain words", "no object and no list"}};
  for (const auto& [json, why] : cases) {
    const Read found = read_as(dir, "a.json", json);
    EXPECT_EQ(found.form, Form::text) << json;
    EXPECT_TRUE(has(found.notes, "plain text") && has(found.notes, why)) << found.notes;
    expect_error(ErrorKind::invalid, {"a.json", why, "text_field"},
                 [&] { read_as(dir, "a.json", json, {.named = true}); });
  }
  EXPECT_EQ(read_as(dir, "a.json", "[{\"body\": \"b\"}]", {.text_field = "body", .named = true}).texts, Texts{"b"});
}

TEST(Formats, ALineThatIsCutOffDoesNotMakeAFileOfLinesAList) {
  TempDir dir;
  for (const std::string first :
       {"{\"text\": \"cut", "{\"text\": \"cut\"", "{\"text\":", "{\"text\": \"a\"}}", "words", "5"}) {
    expect_error(ErrorKind::corrupt, {"a.jsonl", "line 1", "data.on_bad_line"},
                 [&] { read_as(dir, "a.jsonl", first + "\n" + kLines); });
    const Read found = read_as(dir, "a.jsonl", first + "\n" + kLines, {.on_bad_line = OnBadLine::skip});
    EXPECT_EQ(found.texts, (Texts{"one", "two"})) << first;
    EXPECT_EQ(found.bad_lines, 1) << first;
  }
}

TEST(Formats, CompressionIsKnownByWhatAFileHolds) {
  TempDir dir;
  const std::string text = random_text(50'000, 1);
  const std::string gzip = made_by(dir, "gzip -c", text), zstd = made_by(dir, "zstd -q -c", text);
  const std::string lines = made_by(dir, "gzip -c", kLines);
  for (const char* name : {"a.txt", "a", "a.gz", "a.GZ", "a.zst", "a.Zst"}) {
    EXPECT_EQ(read_as(dir, name, gzip).texts, Texts{text}) << name;
    EXPECT_EQ(read_as(dir, name, zstd).texts, Texts{text}) << name;
    EXPECT_EQ(read_as(dir, name, text).texts, Texts{text}) << name;
  }
  for (const char* name : {"a.JSONL.GZ", "a.jsonl", "a.gz", "a"})
    EXPECT_EQ(read_as(dir, name, lines).texts, (Texts{"one", "two"})) << name;
  EXPECT_EQ(read_as(dir, "a.jsonl.gz", kLines).texts, (Texts{"one", "two"}));
  EXPECT_TRUE(has(read_as(dir, "a.gz", text).notes, "is no gzip file"));
  EXPECT_TRUE(has(read_as(dir, "a.zst", gzip).notes, "is a gzip file by what it holds"));
  EXPECT_TRUE(has(read_as(dir, "a", zstd).notes, "is a zstd file by what it holds"));
  EXPECT_EQ(read_as(dir, "a.gz", gzip).notes, "");
  for (const char* name : {"empty.gz", "empty.zst", "empty.txt"}) {
    EXPECT_EQ(read_as(dir, name, "").texts, Texts{""}) << name;
    EXPECT_EQ(read(dir / name).notes, "") << name;
  }
}

TEST(Formats, WhatFollowsACompressedPartIsLeftOutAndTold) {
  TempDir dir;
  const std::string text = random_text(3'000'000, 2);
  const std::string gzip = made_by(dir, "gzip -c", text), zstd = made_by(dir, "zstd -q -c", text);
  for (const auto& [name, whole] : {std::pair{"a.gz", gzip}, {"a.zst", zstd}}) {
    const Read zeros = read_as(dir, name, whole + std::string(5000, '\0'));
    EXPECT_EQ(zeros.texts, Texts{text}) << name;
    EXPECT_EQ(zeros.notes, "") << name;
    const Read rubbish = read_as(dir, name, whole + "rubbish");
    EXPECT_EQ(rubbish.texts, Texts{text}) << name;
    EXPECT_TRUE(has(rubbish.notes, "7 other bytes")) << rubbish.notes;
    EXPECT_EQ(read_as(dir, name, whole + whole).texts, Texts{text + text}) << name;
    DocumentReader reader(dir / name);
    for (std::string all; reader.next(all);) {
    }
    EXPECT_EQ(reader.file_hash(), hash_of_file(dir / name));
    expect_error(ErrorKind::corrupt, {name, "damaged"}, [&] { read_as(dir, name, whole + whole.substr(0, 1000)); });
  }
}

TEST(Formats, ZstdFilesWithLongWindowsAreWhole) {
  TempDir dir;
  std::string text = random_text(1'000'000, 3);
  const std::string once = text;
  for (int i = 0; i < 3; ++i) text += once;
  // A window of 2^28 bytes, of which the library by itself would only take 2^27.
  const std::string zstd = made_by(dir, "zstd -q --long=28 --no-check -c", text);
  EXPECT_EQ(read_as(dir, "a.zst", zstd).texts, Texts{text});
}

TEST(Formats, ByteOrderMarksAreNoText) {
  TempDir dir;
  const std::string bom = "\xEF\xBB\xBF";
  EXPECT_EQ(read_as(dir, "a.txt", bom + "text").texts, Texts{"text"});
  EXPECT_EQ(read_as(dir, "a.txt", bom).texts, Texts{""});
  EXPECT_EQ(read_as(dir, "a.txt", "no " + bom).texts, Texts{"no " + bom});
  EXPECT_EQ(read_as(dir, "a.jsonl", bom + kLines).texts, (Texts{"one", "two"}));
  EXPECT_EQ(read_as(dir, "a.jsonl", kLines + bom + kLines).texts, (Texts{"one", "two", "one", "two"}));
  EXPECT_EQ(read_as(dir, "a.jsonl", "{\"text\": \"\\ufefffile\"}\n{\"text\": \"" + bom + "file\"}").texts,
            (Texts{"file", "file"}));
  EXPECT_EQ(read_as(dir, "a.json", bom + "[{\"text\": \"one\"}]").texts, Texts{"one"});
  EXPECT_EQ(read_as(dir, "a.txt.gz", made_by(dir, "gzip -c", bom + "text")).texts, Texts{"text"});
  DocumentReader reader(dir / "a.txt.gz");
  char bytes[16];
  std::string streamed;
  while (const int64_t got = reader.read(bytes, 3)) streamed.append(bytes, size_t(got));
  EXPECT_EQ(streamed, "text");
}

std::string encoded(const std::u32string& text, int unit, bool big_endian) {
  std::string out;
  const auto put = [&](uint32_t value) {
    for (int i = 0; i < unit; ++i) out += char(value >> (8 * (big_endian ? unit - 1 - i : i)));
  };
  for (const char32_t c : text) {
    if (unit == 2 && c > 0xFFFF)
      put(0xD800 + ((c - 0x10000) >> 10)), put(0xDC00 + ((c - 0x10000) & 0x3FF));
    else
      put(c);
  }
  return out;
}

TEST(Formats, Utf16AndUtf32WithTheirMarkAreConverted) {
  TempDir dir;
  std::u32string text = U"aä漢😀\n";
  std::string expected = "aä漢😀\n";
  for (int i = 0; i < 15; ++i) text += text, expected += expected;  // over many blocks
  for (const int unit : {2, 4})
    for (const bool big : {false, true}) {
      const Read found = read_as(dir, "a.txt", encoded(U"\uFEFF" + text, unit, big));
      EXPECT_EQ(found.texts, Texts{expected}) << unit << big;
      EXPECT_TRUE(has(found.notes, unit == 2 ? "UTF-16" : "UTF-32")) << found.notes;
      EXPECT_EQ(found.replaced, 0);
      const std::u32string lines = U"\uFEFF{\"text\": \"one\"}\r\n{\"text\": \"two\"}\r\n";
      EXPECT_EQ(read_as(dir, "a.jsonl", encoded(lines, unit, big)).texts, (Texts{"one", "two"})) << unit << big;
    }
  const std::string u = "\xEF\xBF\xBD";
  const std::string lone = std::string(
      "\xFF\xFE"
      "a\0\x3D\xD8"
      "b\0\0\xDE\x3D\xD8"
      "c"sv);
  const Read found = read_as(dir, "a.txt", lone);
  EXPECT_EQ(found.texts, Texts{"a" + u + "b" + u + u});
  EXPECT_EQ(found.replaced, 3);
  const Read unmarked = read_as(dir, "a.txt", encoded(U"text in two bytes each, a line of it", 2, false));
  EXPECT_TRUE(has(unmarked.refusal, "iconv -f UTF-16LE")) << unmarked.refusal;
  EXPECT_TRUE(
      has(read_as(dir, "a.txt", encoded(U"text in two bytes each, a line of it", 2, true)).refusal, "UTF-16BE"));
}

TEST(Formats, FilesThatHoldNoTextAreNamedForWhatTheyAre) {
  TempDir dir;
  const std::string tail("\0\1\2\3\xFF\xFE\x80 and so on", 17);
  const std::tuple<std::string, const char*, const char*> cases[] = {
      {"BZh91AY&SY" + tail, "bzip2", "bunzip2"},
      {"\xFD"
       "7zXZ" +
           std::string(1, '\0') + tail,
       "xz", "xz -d"},
      {"\x04\x22\x4D\x18" + tail, "lz4", "lz4 -d"},
      {"PK\x03\x04" + tail + "notes.txt", "ZIP", "unzip"},
      {"PK\x03\x04" + tail + "[Content_Types].xml" + tail + "word/document.xml", "Word", "pandoc"},
      {"PK\x03\x04" + tail + "mimetypeapplication/epub+zip", "EPUB", "pandoc"},
      {"PK\x03\x04" + tail + "model/data.pkl", "PyTorch", "leave it out"},
      {"7z\xBC\xAF\x27\x1C" + tail, "7z", "7z x"},
      {"PAR1\x15\x04" + tail, "Parquet", "read_parquet"},
      {"ARROW1" + tail, "Arrow", "JSON lines"},
      {std::string("\xFF\xFF\xFF\xFF\x10\1\0\0", 8) + tail, "Arrow stream", "Dataset.from_file"},
      {"%PDF-1.7\n" + tail, "PDF", "pdftotext"},
      {"%PDF-1.4\nwith no byte beyond ASCII", "PDF", "pdftotext"},
      {"{\\rtf1 words}", "RTF", "pandoc"},
      {"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1" + tail, "Office", "libreoffice"},
      {std::string(257, '\0') + "ustar" + tail, "tar", "tar -xf"},
      {"SQLite format 3" + std::string(1, '\0'), "SQLite", "JSON lines"},
      {"\x89PNG\r\n\x1A\n" + tail, "PNG", "leave it out"}};
  for (const auto& [content, what, remedy] : cases) {
    for (const char* name : {"a.txt", "a.gz", "a"}) {
      const Read found = read_as(dir, name, content);
      EXPECT_TRUE(has(found.not_text, what)) << what << ": " << found.not_text;
      EXPECT_TRUE(has(found.refusal, remedy) && has(found.refusal, name)) << found.refusal;
      EXPECT_FALSE(has(found.refusal, "fetch it again"));
    }
    EXPECT_TRUE(has(read_as(dir, "a.gz", made_by(dir, "gzip -c", content)).not_text, what)) << what;
  }
  const std::string gzip = made_by(dir, "gzip -c", "text");
  EXPECT_TRUE(has(read_as(dir, "a.gz", made_by(dir, "gzip -c", gzip)).refusal, "inside of a compressed file"));
  for (const std::string text : {"BZh is how bzip2 files begin.", "PAR1 begins a Parquet file", "GIF89a", "PK\n", "Obj",
                                 "GGUF is a format", "ID3 tags", "OggS", "ORC\n", "7z", "some ftyp here"})
    EXPECT_EQ(read_as(dir, "a.txt", text).texts, Texts{text});
}

TEST(Formats, ADirectoryPassesOverWhatHoldsNoTextAndNamesIt) {
  TempDir dir;
  write_text(dir / "d/a.md", "one");
  write_text(dir / "d/b.csv", "x,y\n1,2\n");
  write_text(dir / "d/c.CSV", "x,y\n3,4\n");
  write_text(dir / "d/data.parquet", std::string("PAR1\x15\0PAR1", 10));
  write_text(dir / "d/e.jsonl", kLines);
  write_text(dir / "d/f.json", "{\"name\": \"x\"}");
  write_text(dir / "d/README", "two caf\xe9s");
  DataConfig config;
  config.sources = {source_of("d", dir / "d")};
  config.holdout_fraction = 0;
  const Corpus corpus = Corpus::scan(config, kQuiet);
  EXPECT_EQ(corpus.counts()[0].skipped_files, 1);
  EXPECT_EQ(corpus.counts()[0].documents, 7);
  std::string notes;
  for (const std::string& note : corpus_notes(corpus.sources(), corpus.counts())) notes += note + "\n";
  EXPECT_TRUE(has(notes, "read as plain text: 1 without extension, 2 .csv, 1 .json, 1 .md; as JSON lines: 1 .jsonl\n"))
      << notes;
  EXPECT_TRUE(has(notes, "README' holds 1 bytes that are no UTF-8, kept as they stand")) << notes;
  EXPECT_TRUE(has(notes, "f.json' is read as plain text: its objects have no string 'text' (fields: name)")) << notes;
  config.sources = {source_of("d", dir / "d/data.parquet")};
  expect_error(ErrorKind::invalid, {"data.parquet", "Parquet", "read_parquet"},
               [&] { Corpus::scan(config, kQuiet); });
  config.sources[0].paths = {(dir / "d/*.parquet").string()};
  expect_error(ErrorKind::invalid, {"passed over: 1 Parquet file"}, [&] { Corpus::scan(config, kQuiet); });
}

}  // namespace
}  // namespace hadal::data
