// Files of an export, one after the other, and the note that lets an interrupted one continue; see exporter.h.
#include "exchange/exporter.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/text_format.h"
#include "exchange/export_stream.h"

namespace hadal {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace {

constexpr const char* kFormat = "hadal-export-1";
constexpr const char* kNote = "export.partial.json";
constexpr const char* kLock = "export.lock";

// Chained over chunks that are read, not mapped: memory does not grow with the file.
std::string hash_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string chunk(size_t(kExportChunkBytes), '\0');
  uint64_t hash = 0;
  while (file.read(chunk.data(), std::streamsize(chunk.size())) || file.gcount() > 0)
    hash = hash64(std::string_view(chunk.data(), size_t(file.gcount())), hash);
  check(!file.bad() && file.eof(), ErrorKind::io, "{}: cannot be read back", path.string());
  return fmt::format("{:016x}", hash);
}

std::string layout_hash(const ExportPlan& plan) {
  Sha256 hash;
  for (const auto& file : plan.files) hash.update(file.name + "\n" + file.prefix);
  for (const auto& [name, text] : plan.texts) hash.update(name + "\n" + text);
  return hash.hex();
}

class Exporter {
 public:
  Exporter(const Exec& exec, const ExportSource& source, const ExportPlan& plan, const ExportOutput& output)
      : exec_(exec), source_(source), plan_(plan), output_(output), directory_(output.directory) {
    note_ = {{"format", kFormat},
             {"to", plan.to},
             {"dtype", plan.dtype},
             {"shard_bytes", plan.shard_bytes},
             {"model", sha256_hex(source.identity())},
             {"layout", layout_hash(plan)},
             {"files", ordered_json::object()}};
  }

  ExportOutcome write_all() {
    look();
    check_space();
    make_directories(directory_);
    const FileLock lock(directory_ / kLock, "output directory");
    sweep();
    save_note();
    uint64_t total = 0;
    for (const auto& file : plan_.files) total += kept(file.name) ? 0 : file.bytes;
    ProgressOptions options;
    options.unit = std::string("B");  // not assigned from a literal: GCC 12 warns there for nothing
    options.quiet = output_.quiet;
    Progress progress("writing", int64_t(total), options);
    for (const auto& file : plan_.files) {
      if (kept(file.name)) continue;
      write(file, progress);
      outcome_.bytes_written += file.bytes;
    }
    for (const auto& [name, text] : plan_.texts) {
      const fs::path path = directory_ / name;
      make_directories(path.parent_path());
      atomic_write(path, text);
    }
    fs::remove(directory_ / kNote);
    fs::remove(directory_ / kLock);
    sync_directory(directory_);
    progress.finish();
    return outcome_;
  }

 private:
  bool kept(const std::string& name) const { return note_["files"].contains(name); }

  static ordered_json read_note(const fs::path& path) {
    try {
      return read_json<ordered_json>(path, {.levels = 8});
    } catch (const Error& error) {
      fail(error.kind(), "{}; remove the directory to begin anew", error.what());
    }
  }

  // Decides from what stands in the directory, and changes nothing there.
  void look() {
    if (!fs::exists(directory_)) return;
    check(fs::is_directory(directory_), ErrorKind::invalid, "{}: a file; --output takes a directory",
          directory_.string());
    if (!fs::exists(directory_ / kNote)) {
      for (const auto& item : fs::directory_iterator(directory_))
        check(item.path().filename() == kLock, ErrorKind::invalid,
              "{}: is not empty ('{}' stands there); choose a new directory, or remove this one", directory_.string(),
              item.path().filename().string());
      return;
    }
    const auto path = directory_ / kNote;
    const auto old = read_note(path);
    const bool known = old.is_object() && old.value("format", ordered_json()) == kFormat && old.contains("files") &&
                       old["files"].is_object();
    check(known, ErrorKind::corrupt, "{}: not a note of format {}; remove the directory to begin anew", path.string(),
          kFormat);
    for (const char* key : {"to", "dtype", "shard_bytes", "model", "layout"})
      check(old.value(key, ordered_json()) == note_[key], ErrorKind::invalid,
            "{}: holds an unfinished export of {}; choose a new directory, or remove this one", directory_.string(),
            differs(key, old));
    keep_whole_files(old["files"]);
  }

  std::string differs(const std::string& key, const ordered_json& old) const {
    if (key == "model") return "another model, or of files that have changed since";
    if (key == "layout") return "the same model with another configuration or tokenizer";
    const char* option = key == "to" ? "--to" : key == "dtype" ? "--dtype" : "--shard-size";
    return fmt::format("{} {}, not {}", option, json_text(old.value(key, ordered_json())), json_text(note_[key]));
  }

  void keep_whole_files(const ordered_json& files) {
    for (const auto& file : plan_.files) {
      const auto path = directory_ / file.name;
      if (!files.contains(file.name) || !fs::is_regular_file(path)) continue;
      const auto& facts = files[file.name];
      const bool whole = facts.is_object() && facts.value("bytes", ordered_json()) == file.bytes &&
                         fs::file_size(path) == file.bytes && facts.value("hash", ordered_json()) == hash_of(path);
      if (!whole) continue;  // it is written again
      note_["files"][file.name] = facts;
      ++outcome_.files_kept;
    }
  }

  void check_space() const {
    uint64_t needed = plan_.bytes() + (uint64_t(1) << 16);
    for (const auto& file : plan_.files) {
      if (kept(file.name)) needed -= file.bytes;
    }
    check(needed <= output_.free_bytes, ErrorKind::io, "{}: the export needs {} more, the disk has {} free",
          directory_.string(), format_bytes(double(needed)), format_bytes(double(output_.free_bytes)));
  }

  // Temporaries of a run that was killed.
  void sweep() const {
    std::vector<fs::path> leftovers;
    for (const auto& item : fs::directory_iterator(directory_)) {
      const std::string name = item.path().filename().string();
      const size_t mark = name.find(".tmp.");
      if (mark == std::string::npos) continue;
      const std::string target = name.substr(0, mark);
      const auto named = [&](const auto& file) { return file.name == target; };
      if (target == kNote || std::any_of(plan_.files.begin(), plan_.files.end(), named))
        leftovers.push_back(item.path());
    }
    for (const auto& path : leftovers) fs::remove(path);
  }

  void save_note() const { atomic_write(directory_ / kNote, json_text(note_, {.indent = 1}) + "\n"); }

  void write(const ExportFile& plan, Progress& progress) {
    AtomicFile file(directory_ / plan.name);
    file.write(plan.prefix);
    progress.add(int64_t(plan.prefix.size()));
    ExportStream stream(exec_, source_, plan_, file, progress);
    std::map<std::string, uint64_t> offsets;
    for (const auto& slot : plan.slots) {
      file.write(std::string(slot.offset - file.size(), '\0'));
      const ExportTensor& tensor = plan_.tensors[slot.tensor];
      offsets[tensor.name] = slot.offset;
      const Tensor scales = stream.write(tensor);
      if (scales) file.write_at(offsets.at(tensor.scales), scales.raw(), size_t(scales.bytes()));
    }
    file.write(std::string(plan.bytes - file.size(), '\0'));
    file.commit();
    note_["files"][plan.name] = {{"bytes", plan.bytes}, {"hash", hash_of(directory_ / plan.name)}};
    save_note();
  }

  const Exec& exec_;
  const ExportSource& source_;
  const ExportPlan& plan_;
  const ExportOutput& output_;
  const fs::path& directory_;
  ordered_json note_;
  ExportOutcome outcome_;
};

}  // namespace

ExportOutcome write_export(const Exec& exec, const ExportSource& source, const ExportPlan& plan,
                           const ExportOutput& output) {
  try {
    return Exporter(exec, source, plan, output).write_all();
  } catch (const fs::filesystem_error& error) {
    fail(ErrorKind::io, "{}: {}", output.directory.string(), error.code().message());
  }
}

}  // namespace hadal
