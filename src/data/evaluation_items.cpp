// See evaluation_items.h.
#include "data/evaluation_items.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "data/byte_stream.h"
#include "data/document_reader.h"
#include "data/foreign_formats.h"
#include "data/text_stream.h"

namespace hadal::data {
namespace {

using EvaluationJson = nlohmann::ordered_json;

void add_texts(const EvaluationJson& json, std::vector<std::string>& texts) {
  if (json.is_string()) texts.push_back(json.get<std::string>());
  if (json.is_structured())
    for (const auto& member : json) add_texts(member, texts);
}

std::string whole_text(const std::string& path) {
  const auto stream = open_text(path);
  std::string text;
  for (int64_t got = 1; got > 0;) {
    const size_t had = text.size();
    text.resize(had + (1 << 20));
    got = stream->read(text.data() + had, 1 << 20);
    text.resize(had + size_t(got));
  }
  return text;
}

bool holds_objects(const EvaluationJson& json) {
  return json.is_array() && !json.empty() &&
         std::all_of(json.begin(), json.end(), [](const EvaluationJson& one) { return one.is_object(); });
}

// Reads one file.
class ItemFile {
 public:
  ItemFile(const DecontaminateConfig& config, const std::string& path,
           const std::function<void(EvaluationItem&&)>& take)
      : config_(config), path_(path), take_(take) {}

  void read() {
    const std::string text = whole_text(path_);
    const std::string_view begin = std::string_view(text).substr(0, kFormatBytes);
    if (const ForeignFormat foreign = foreign_format(begin))
      fail(ErrorKind::invalid, "'{}' is {}; items of evaluations are JSON lines, JSON or lines of text; {}", path_,
           foreign.name, foreign.remedy_for(path_));
    check(!looks_binary(text), ErrorKind::invalid, "{}", binary_refusal(path_, text));
    const size_t first = text.find_first_not_of(" \t\r\n");
    const char kind = first == std::string::npos ? ' ' : text[first];
    if (kind == '[' || (kind == '{' && !holds_lines(text, first))) {
      read_list(parse_json<EvaluationJson>(text, "'" + path_ + "'"));
    } else {
      read_lines(text, kind == '{');
    }
    check(n_ > 0, ErrorKind::invalid, "'{}' holds no evaluation items{}", path_,
          config_.fields.empty() ? "" : ": none has a text in " + joined_fields());
  }

 private:
  // JSON lines, not one object over several.
  static bool holds_lines(const std::string& text, size_t first) {
    const size_t end = std::min(text.find('\n', first), text.size());
    const size_t last = text.find_last_not_of(" \t\r\n", end);
    return text[last] == '}' || text.find("\n{", first) != std::string::npos;
  }
  void read_lines(const std::string& text, bool json) {
    int64_t number = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const std::string line = text.substr(at, end - at);
      at = end + 1, ++number;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      if (json) {
        add(parse_json<EvaluationJson>(line, "'" + path_ + "' line " + std::to_string(number)), number, false);
      } else {
        put({path_, number, false, {line}});
      }
    }
  }
  void read_list(const EvaluationJson& json) {
    int64_t number = 0;
    bool inside = false;
    if (json.is_object())
      for (const auto& member : json)
        if (holds_objects(member)) {
          inside = true;
          for (const auto& item : member) add(item, ++number, true);
        }
    if (inside) return;
    if (json.is_object()) return add(json, 1, true);
    for (const auto& item : json) add(item, ++number, true);
  }
  void add(const EvaluationJson& json, int64_t number, bool in_list) {
    EvaluationItem item{path_, number, in_list, {}};
    if (config_.fields.empty() || !json.is_object()) add_texts(json, item.parts);
    if (json.is_object())
      for (const std::string& field : config_.fields)
        if (json.contains(field)) add_texts(json.at(field), item.parts);
    std::string all;
    for (const std::string& part : item.parts) all += (all.empty() ? "" : "\n") + part;
    if (item.parts.size() > 1) item.parts.push_back(std::move(all));
    put(std::move(item));
  }
  void put(EvaluationItem&& item) {
    if (item.parts.empty()) return;
    ++n_;
    take_(std::move(item));
  }
  std::string joined_fields() const {
    std::string text;
    for (const std::string& field : config_.fields) text += (text.empty() ? "'" : ", '") + field + "'";
    return text;
  }

  const DecontaminateConfig& config_;
  const std::string& path_;
  const std::function<void(EvaluationItem&&)>& take_;
  int64_t n_ = 0;
};

}  // namespace

std::string EvaluationItem::place() const { return fmt::format("'{}' {} {}", file, in_list ? "item" : "line", number); }

std::vector<std::string> evaluation_files(const DecontaminateConfig& config) {
  std::vector<std::string> files;
  for (const std::string& pattern : config.files)
    for (const auto& path : list_files(pattern)) files.push_back(path.string());
  return files;
}

void read_evaluation_items(const DecontaminateConfig& config, const std::function<void(EvaluationItem&&)>& take) {
  for (const std::string& path : evaluation_files(config)) ItemFile(config, path, take).read();
}

std::string evaluation_hash(const DecontaminateConfig& config) {
  if (config.files.empty()) return "";
  Sha256 hash;
  for (const std::string& path : evaluation_files(config)) {
    const uint64_t one = hash_of_file(path);
    hash.update(&one, sizeof one);
  }
  return hash.hex();
}

}  // namespace hadal::data
