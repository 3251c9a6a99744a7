// The table of signatures, from the formats' own specifications.
#include "data/foreign_formats.h"

#include <algorithm>
#include <cstdint>

namespace hadal::data {
namespace {

constexpr const char* kPandas =
    "write its text as JSON lines: python3 -c 'import pandas; pandas.read_parquet(\"%\").to_json(\"text.jsonl\", "
    "orient=\"records\", lines=True)'";
constexpr const char* kArrow =
    "write its text as JSON lines: python3 -c 'import datasets; datasets.Dataset.from_file(\"%\").to_json("
    "\"text.jsonl\")'";
constexpr const char* kPandoc = "write its text to a file: pandoc -t plain '%' -o text.txt";
constexpr const char* kUnpack = "unpack it and name what was in it: tar -xf '%'";
constexpr const char* kExport = "write its text as JSON lines, one {\"text\": \"...\"} per line";
constexpr const char* kNoText = "leave it out";

struct Signature {
  size_t at;
  std::string_view bytes;
  ForeignFormat format;
};

using namespace std::string_view_literals;

constexpr Signature kWritten[] = {
    // of formats that are letters, but no prose
    {0, "%PDF-"sv, {"a PDF document", "write its text to a file: pdftotext '%' text.txt"}},
    {0, "{\\rtf"sv, {"an RTF document", kPandoc}},
    {0, "%!PS"sv, {"a PostScript document", "write its text to a file: ps2ascii '%' text.txt"}},
};

constexpr Signature kSignatures[] = {
    {0, "BZh"sv, {"a bzip2 file", "decompress it first: bunzip2 -k '%'"}},
    {0,
     "\xFD"
     "7zXZ\0"sv,
     {"an xz file", "decompress it first: xz -dk '%'"}},
    {0, "\x04\x22\x4D\x18"sv, {"an lz4 file", "decompress it first: lz4 -dk '%'"}},
    {0, "\x1F\x9D"sv, {"a file of compress", "decompress it first: gzip -dk '%'"}},
    {0,
     "\x1F\x8B\x08"sv,
     {"a gzip file inside of a compressed file", "decompress it once: gzip -dk '%' or zstd -dk '%'"}},
    {0,
     "\x28\xB5\x2F\xFD"sv,
     {"a zstd file inside of a compressed file", "decompress it once: gzip -dk '%' or zstd -dk '%'"}},
    {0, "7z\xBC\xAF\x27\x1C"sv, {"a 7z archive", "unpack it and name what was in it: 7z x '%'"}},
    {0, "Rar!\x1A\x07"sv, {"a RAR archive", "unpack it and name what was in it: unrar x '%'"}},
    {257, "ustar"sv, {"a tar archive", kUnpack}},
    {0, "PAR1"sv, {"a Parquet file", kPandas}},
    {0, "PARE"sv, {"an encrypted Parquet file", kPandas}},
    {0,
     "ARROW1"sv,
     {"an Arrow file",
      "write its text as JSON lines: python3 -c 'import pandas; pandas.read_feather("
      "\"%\").to_json(\"text.jsonl\", orient=\"records\", lines=True)'"}},
    {0, "FEA1"sv, {"a Feather file", kExport}},
    {0, "Obj\x01"sv, {"an Avro file", kExport}},
    {0, "ORC\x0A"sv, {"an ORC file", kExport}},
    {0, "\x89HDF\r\n\x1A\n"sv, {"an HDF5 file", kExport}},
    {0, "SQLite format 3\0"sv, {"an SQLite database", kExport}},
    {0, "MMIDIDX\0"sv, {"an index of tokens of Megatron", "name the text that they were made from"}},
    {0, "\x93NUMPY"sv, {"a NumPy array", "name the text that it was made from"}},
    {0,
     "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv,
     {"a document of an old Office", "write its text to a file: libreoffice --convert-to txt:Text '%'"}},
    {0, "AT&TFORM"sv, {"a DjVu document", "write its text to a file: djvutxt '%' text.txt"}},
    {0, "\x89PNG\r\n\x1A\n"sv, {"a PNG picture", kNoText}},
    {0, "\xFF\xD8\xFF"sv, {"a JPEG picture", kNoText}},
    {0, "GIF8"sv, {"a GIF picture", kNoText}},
    {0, "OggS"sv, {"an Ogg file", kNoText}},
    {0, "ID3\x03"sv, {"an MP3 file", kNoText}},
    {4, "ftyp"sv, {"a film or picture", kNoText}},
    {0,
     "\x7F"
     "ELF"sv,
     {"a program", kNoText}},
    {0, "GGUF"sv, {"a GGUF model", kNoText}},
};

bool holds_controls(std::string_view start) {
  return std::any_of(start.begin(), start.end(), [](char c) {
    const auto byte = uint8_t(c);
    return byte < 0x09 || (byte > 0x0D && byte < 0x1B) || (byte > 0x1B && byte < 0x20);
  });
}

// What lies in a ZIP archive shows by the names of its first members.
ForeignFormat zip_format(std::string_view start) {
  const auto holds = [&](std::string_view name) { return start.find(name) != std::string_view::npos; };
  if (holds("mimetypeapplication/epub")) return {"an EPUB book", kPandoc};
  if (holds("mimetypeapplication/vnd.oasis.opendocument")) return {"an OpenDocument file", kPandoc};
  if (holds("word/")) return {"a Word document", kPandoc};
  if (holds("xl/")) return {"an Excel workbook", "save its text as .csv or .txt"};
  if (holds("ppt/")) return {"a PowerPoint file", "save its text as .txt"};
  if (holds("[Content_Types].xml")) return {"an Office document", kPandoc};
  if (holds("/data.pkl")) return {"a file of PyTorch", kNoText};
  if (holds(".npy")) return {"an archive of NumPy arrays", "name the text that they were made from"};
  return {"a ZIP archive", "unpack it and name what was in it: unzip '%'"};
}

// The stream of record batches that Hugging Face datasets saves: a marker, and the length of a first message.
bool is_arrow_stream(std::string_view start) {
  if (start.size() < 8 || start.substr(0, 4) != "\xFF\xFF\xFF\xFF"sv) return false;
  const auto byte = [&](size_t i) { return uint32_t(uint8_t(start[i])); };
  const uint32_t length = byte(4) | byte(5) << 8 | byte(6) << 16 | byte(7) << 24;
  return length > 0 && length % 8 == 0 && length < (1u << 26);
}

}  // namespace

std::string ForeignFormat::remedy_for(const std::string& path) const {
  std::string text;
  for (const char* at = remedy; *at != 0; ++at) text += *at == '%' ? path : std::string(1, *at);
  return text;
}

ForeignFormat foreign_format(std::string_view start) {
  for (const Signature& signature : kWritten)
    if (start.starts_with(signature.bytes)) return signature.format;
  if (!holds_controls(start)) return {};  // a text may begin with the letters of a signature
  if (start.starts_with("PK\x03\x04") || start.starts_with("PK\x05\x06")) return zip_format(start);
  if (is_arrow_stream(start)) return {"an Arrow stream", kArrow};
  for (const Signature& signature : kSignatures)
    if (start.size() >= signature.at && start.substr(signature.at).starts_with(signature.bytes))
      return signature.format;
  return {};
}

}  // namespace hadal::data
