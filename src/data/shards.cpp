// The set of shard files, and index.json beside them.
#include "data/shards.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"

namespace hadal::data {
namespace {

constexpr int kIndexVersion = 1;
using Json = nlohmann::ordered_json;

// Paths may hold any bytes; JSON only UTF-8. Bytes that are not are written as U+FFFD, and such a path counts as
// changed.
std::string dump_line(const Json& json) { return json_text(json, {.indent = 1, .lossy = true}) + "\n"; }

Json counts_to_json(const SourceCounts& c) {
  return {{"files", c.files},
          {"skipped_files", c.skipped_files},
          {"documents", c.documents},
          {"bytes", c.bytes},
          {"bad_lines", c.bad_lines},
          {"replaced", c.replaced},
          {"empty", c.empty},
          {"duplicates", c.duplicates},
          {"duplicate_bytes", c.duplicate_bytes},
          {"filtered", c.filtered},
          {"filtered_bytes", c.filtered_bytes},
          {"training", c.training},
          {"training_bytes", c.training_bytes},
          {"training_tokens", c.training_tokens},
          {"held_out", c.held_out},
          {"held_out_bytes", c.held_out_bytes},
          {"held_out_tokens", c.held_out_tokens}};
}

SourceCounts counts_from_json(const Json& j) {
  SourceCounts c;
  c.files = j.at("files"), c.skipped_files = j.at("skipped_files"), c.documents = j.at("documents"),
  c.bytes = j.at("bytes");
  c.bad_lines = j.value("bad_lines", int64_t(0)), c.replaced = j.value("replaced", int64_t(0));  // older ones lack them
  c.refused = j.value("refused", int64_t(0));
  c.cut_bytes = j.value("cut_bytes", int64_t(0));
  if (j.contains("by_rule"))
    for (const auto& rule : j.at("by_rule").items())
      c.by_rule[rule.key()] = {rule.value().at("documents"), rule.value().at("bytes"), rule.value().at("alone")};
  c.empty = j.at("empty"), c.duplicates = j.at("duplicates"), c.duplicate_bytes = j.at("duplicate_bytes");
  c.filtered = j.at("filtered"), c.filtered_bytes = j.at("filtered_bytes");
  c.training = j.at("training"), c.training_bytes = j.at("training_bytes"), c.training_tokens = j.at("training_tokens");
  c.held_out = j.at("held_out"), c.held_out_bytes = j.at("held_out_bytes"), c.held_out_tokens = j.at("held_out_tokens");
  return c;
}

// What texts do not have is written where it is there alone: their index is what it was.
void add_of_dialogues(const SourceFiles& source, const SourceCounts& counts, Json& json) {
  if (source.format != SourceFormat::text) json["format"] = enum_name(source.format);
  if (counts.refused > 0) json["counts"]["refused"] = counts.refused;
}

// Likewise of sources with rules.
void add_of_rules(const SourceCounts& counts, Json& json) {
  if (counts.cut_bytes > 0) json["counts"]["cut_bytes"] = counts.cut_bytes;
  for (const auto& [rule, removed] : counts.by_rule)
    json["counts"]["by_rule"][rule] = {
        {"documents", removed.documents}, {"bytes", removed.bytes}, {"alone", removed.alone}};
}

Json file_to_json(const SourceFile& f) {
  Json file{{"path", f.path}, {"bytes", f.bytes},           {"modified_ns", f.modified_ns},
            {"hash", f.hash}, {"documents", f.n_documents}, {"skipped", f.skipped}};
  if (f.form) file["form"] = kFormNames[size_t(*f.form)];
  if (!f.notes.empty()) file["notes"] = f.notes;
  for (const BadLine& bad : f.bad_lines) file["bad_lines"].push_back({{"line", bad.line}, {"reason", bad.reason}});
  return file;
}

SourceFile file_from_json(const Json& f) {
  SourceFile file{f.at("path"), f.at("bytes"), f.at("modified_ns"), f.at("hash"), f.at("documents"), f.at("skipped")};
  for (size_t i = 0; i < std::size(kFormNames); ++i)
    if (f.value("form", "") == kFormNames[i]) file.form = Form(i);
  file.notes = f.value("notes", std::vector<std::string>());
  for (const Json& bad : f.value("bad_lines", Json::array()))
    file.bad_lines.push_back({bad.at("line"), bad.at("reason")});
  return file;
}

Json sources_to_json(const ShardIndex& index) {
  Json sources = Json::array();
  for (size_t s = 0; s < index.sources.size(); ++s) {
    Json files = Json::array();
    for (const SourceFile& f : index.sources[s].files) files.push_back(file_to_json(f));
    sources.push_back({{"name", index.sources[s].name},
                       {"text_field", index.sources[s].text_field},
                       {"counts", counts_to_json(index.counts[s])},
                       {"files", files}});
    add_of_dialogues(index.sources[s], index.counts[s], sources.back());
    add_of_rules(index.counts[s], sources.back());
    if (!index.sources[s].left_out.empty()) sources.back()["left_out"] = index.sources[s].left_out;
  }
  return sources;
}

ShardIndex parse_index(const std::string& text) {
  const Json json = parse_json<Json>(text, "the index", {.levels = 8, .integers = true});
  check(json.at("version").get<int>() == kIndexVersion, ErrorKind::unsupported, "version {}",
        json_text(json.at("version")));
  ShardIndex index;
  index.plan = json.at("plan"), index.recipe = json.at("recipe"), index.tokenizer_hash = json.at("tokenizer");
  for (const Json& s : json.at("sources")) {
    SourceFiles source{s.at("name"), s.at("text_field"), {}, s.value("left_out", std::vector<std::string>())};
    for (const Json& f : s.at("files")) source.files.push_back(file_from_json(f));
    source.format = parse_enum<SourceFormat>("format", s.value("format", enum_name(SourceFormat::text)));
    index.sources.push_back(std::move(source));
    index.counts.push_back(counts_from_json(s.at("counts")));
  }
  index.chat_template = json.value("chat_template", std::string());
  index.evaluation = json.value("evaluation", std::string());
  index.notes = json.value("notes", std::vector<std::string>());
  index.tails_instead = json.value("tails_instead", false);  // older ones lack it
  index.files = json.at("shards").get<std::vector<std::string>>();
  return index;
}

}  // namespace

ShardIndex read_index(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "index.json";
  const std::string text = read_file(path);
  try {
    return parse_index(text);
  } catch (const std::exception& error) {
    fail(ErrorKind::corrupt, "'{}' is damaged or of another version ({}); run `hadal data build` again", path.string(),
         error.what());
  }
}

void write_index(const std::filesystem::path& directory, const ShardIndex& index) {
  Json json{{"version", kIndexVersion},
            {"plan", index.plan},
            {"recipe", index.recipe},
            {"tokenizer", index.tokenizer_hash},
            {"sources", sources_to_json(index)},
            {"tails_instead", index.tails_instead},
            {"shards", index.files}};
  if (!index.chat_template.empty()) json["chat_template"] = index.chat_template;
  if (!index.evaluation.empty()) json["evaluation"] = index.evaluation;
  if (!index.notes.empty()) json["notes"] = index.notes;
  atomic_write(directory / "index.json", dump_line(json));
}

Shards Shards::open(const std::filesystem::path& directory, const Exec& exec) {
  Shards shards;
  shards.index_ = read_index(directory);
  const ShardIndex& index = shards.index_;
  shards.files_.resize(index.files.size());
  for (const std::string& name : index.files) {
    check(std::filesystem::exists(directory / name), ErrorKind::not_found,
          "the shard '{}' is missing; run `hadal data build` again", (directory / name).string());
  }
  exec.compute->parallel_for(int64_t(index.files.size()), [&](int64_t i, int) {
    shards.files_[size_t(i)] = ShardFile::open(directory / index.files[size_t(i)]);
  });
  for (auto& documents : shards.documents_) documents.resize(index.sources.size());
  for (size_t i = 0; i < shards.files_.size(); ++i) {
    const ShardInfo& info = shards.files_[i].info();
    check(info.plan == index.plan && info.tokenizer_hash == index.tokenizer_hash && info.source < shards.n_sources() &&
              info.dialogues == shards.of_dialogues(info.source),
          ErrorKind::corrupt, "'{}' belongs to another build than its index; run `hadal data build` again",
          (directory / index.files[i]).string());
    Documents& documents = shards.documents_[size_t(info.split)][size_t(info.source)];
    if (info.n_documents > 0) documents.files.push_back({documents.n_documents, int64_t(i)});
    documents.n_documents += info.n_documents, documents.n_tokens += info.n_tokens;
    documents.n_raw_bytes += info.n_raw_bytes, documents.n_trained += info.n_trained;
    shards.max_token_ = std::max(shards.max_token_, shards.files_[i].max_token());
  }
  for (size_t s = 0; s < index.sources.size(); ++s) {
    check(shards.documents_[0][s].n_tokens == index.counts[s].training_tokens &&
              shards.documents_[1][s].n_tokens == index.counts[s].held_out_tokens,
          ErrorKind::corrupt, "the shards in '{}' do not add up to what their index says; run `hadal data build` again",
          directory.string());
  }
  return shards;
}

const Shards::Documents& Shards::documents(Split split, int64_t source) const {
  return documents_[size_t(split)][size_t(source)];
}

const Shards::FileStart& Shards::file_of(Split split, int64_t source, int64_t document) const {
  const Documents& all = documents(split, source);
  check(document >= 0 && document < all.n_documents, ErrorKind::internal, "document {} of {}", document,
        all.n_documents);
  auto after = std::upper_bound(all.files.begin(), all.files.end(), document,
                                [](int64_t d, const FileStart& file) { return d < file.first_document; });
  return *(after - 1);
}

int64_t Shards::n_documents(Split split, int64_t source) const { return documents(split, source).n_documents; }
int64_t Shards::n_tokens(Split split, int64_t source) const { return documents(split, source).n_tokens; }
int64_t Shards::n_raw_bytes(Split split, int64_t source) const { return documents(split, source).n_raw_bytes; }

const DocumentRecord& Shards::document(Split split, int64_t source, int64_t document) const {
  const FileStart& start = file_of(split, source, document);
  return files_[size_t(start.file)].document(document - start.first_document);
}

int64_t Shards::n_trained(Split split, int64_t source) const { return documents(split, source).n_trained; }

void Shards::trained(Split split, int64_t source, int64_t document, std::vector<uint8_t>& out) const {
  const FileStart& start = file_of(split, source, document);
  files_[size_t(start.file)].trained(document - start.first_document, out);
}

void Shards::tokens(Split split, int64_t source, int64_t document, std::vector<int32_t>& out) const {
  const FileStart& start = file_of(split, source, document);
  files_[size_t(start.file)].tokens(document - start.first_document, out);
}

}  // namespace hadal::data
