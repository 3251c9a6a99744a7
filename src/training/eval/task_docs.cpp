#include "eval/task_docs.h"

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/json_members.h"
#include "base/text_mark.h"
#include "base/utf8.h"

namespace hadal::eval {
namespace {

using Json = nlohmann::ordered_json;

Json parse_doc(std::string_view text, const std::string& where) {
  int64_t replaced = 0;
  check(utf8_valid_prefix(text) == int64_t(text.size()), ErrorKind::invalid, "{}: byte {} is not UTF-8", where,
        utf8_valid_prefix(text));
  return parse_json<Json>(strict_json(text, replaced), where, {.levels = 32, .kind = ErrorKind::invalid});
}

void add_doc(Json doc, const std::string& where, Docs& docs) {
  check(doc.is_object(), ErrorKind::invalid, "{}: an item must be a JSON object", where);
  for (const auto& [field, value] : doc.items()) docs.fields.insert(field);
  docs.docs.push_back(std::move(doc));
}

void read_lines(std::string_view text, const std::string& path, Docs& docs) {
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string where = fmt::format("{}: line {}", path, ++number);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) add_doc(parse_doc(line, where), where, docs);
  }
}

}  // namespace

Docs read_docs(const std::vector<std::filesystem::path>& files) {
  Docs docs;
  for (const std::filesystem::path& path : files) {
    const std::string whole = read_file(path);
    const std::string_view text = behind_mark(whole, path.string());
    const size_t first = text.find_first_not_of(" \t\r\n");
    check(first != std::string_view::npos, ErrorKind::invalid, "{}: the file holds no items", path.string());
    if (text[first] != '[') {
      read_lines(text, path.string(), docs);
      continue;
    }
    Json list = parse_doc(text, path.string());
    int64_t number = 0;
    for (Json& doc : list) add_doc(std::move(doc), fmt::format("{}: item {}", path.string(), number++), docs);
  }
  for (Json& doc : docs.docs)
    for (const std::string& field : docs.fields)
      if (!doc.contains(field)) doc[field] = nullptr;
  return docs;
}

}  // namespace hadal::eval
