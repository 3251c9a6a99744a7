// Listing, verifying and locating checkpoints.
#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "checkpoint/phase_record.h"

namespace hadal {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

void verify_file(const fs::path& path, const json& listed, bool whole) {
  const char* advice = "remove this checkpoint's directory to resume from the one before";
  check(fs::exists(path), ErrorKind::corrupt, "{}: missing, though the manifest lists it; {}", path.string(), advice);
  const char* hash = listed.is_object() && listed.contains("xxh3") ? "xxh3" : "sha256";
  const bool typed = listed.is_object() && listed.contains("bytes") && listed["bytes"].is_number_unsigned() &&
                     listed.contains(hash) && listed[hash].is_string();
  check(typed, ErrorKind::corrupt, "{}: entry '{}' has no size and hash",
        (path.parent_path() / "manifest.json").string(), path.filename().string());
  const MappedFile file(path);
  check(file.size() == listed["bytes"].get<uint64_t>(), ErrorKind::corrupt,
        "{}: {} bytes, the manifest says {}: truncated or overwritten; {}", path.string(), file.size(),
        listed["bytes"].get<uint64_t>(), advice);
  if (!whole) return;
  const std::string found = *hash == 'x' ? xxh3_128_hex(file.text()) : sha256_hex(file.text());
  check(found == listed[hash].get<std::string>(), ErrorKind::corrupt,
        "{}: its bytes do not have the hash of the manifest: damaged; {}", path.string(), advice);
}

json read_manifest(const fs::path& checkpoint) {
  try {
    return read_json(checkpoint / "manifest.json", {.levels = 8});
  } catch (const Error& error) {
    fail(error.kind(), "{}; the checkpoint is damaged, remove its directory to resume from the one before",
         error.what());
  }
}

void verify(const fs::path& checkpoint, CheckpointPart part, bool whole) {
  const json manifest = read_manifest(checkpoint);
  const bool known = manifest.is_object() && manifest.contains("format") && manifest["format"] == kCheckpointFormat &&
                     manifest.contains("files") && manifest["files"].is_object();
  check(known, ErrorKind::corrupt, "{}: not a manifest of format {}", (checkpoint / "manifest.json").string(),
        kCheckpointFormat);
  for (const auto& item : manifest["files"].items()) {
    const auto belongs = is_tensor_file(item.key(), kOptimizerStem) ? CheckpointPart::optimizer : CheckpointPart::model;
    if (part == CheckpointPart::all || part == belongs) verify_file(checkpoint / item.key(), item.value(), whole);
  }
}

}  // namespace

fs::path checkpoint_path(const fs::path& checkpoints, int64_t step) {
  return checkpoints / fmt::format("step_{:08d}", step);
}

void verify_checkpoint(const fs::path& checkpoint, CheckpointPart part) { verify(checkpoint, part, true); }
void verify_checkpoint_sizes(const fs::path& checkpoint, CheckpointPart part) { verify(checkpoint, part, false); }

std::vector<fs::path> list_checkpoints(const fs::path& checkpoints) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints, ignored)) {
    const auto name = entry.path().filename().string();
    const bool ours =
        name.size() > 5 && name.rfind("step_", 0) == 0 && name.find_first_not_of("0123456789", 5) == std::string::npos;
    if (ours && entry.is_directory(ignored))
      found.push_back(entry.path());  // no copies that somebody named "step_1 good"
  }
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) {
    const auto x = a.filename().string(), y = b.filename().string();
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  });
  return found;
}

void remove_old_checkpoints(const fs::path& checkpoints, int64_t keep) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints, ignored)) {
    if (entry.path().filename().string().find(".partial") != std::string::npos) fs::remove_all(entry.path(), ignored);
  }
  const auto found = list_checkpoints(checkpoints);
  for (int64_t i = 0; i + keep < int64_t(found.size()); ++i) fs::remove_all(found[i], ignored);
}

ModelLocation locate_model(const fs::path& directory) {
  if (const auto phase = phase_run(directory)) return locate_model(*phase);
  check(fs::exists(directory), ErrorKind::not_found, "{}: no such directory", directory.string());
  check(fs::is_directory(directory), ErrorKind::invalid,
        "{}: a file; --model takes a run directory or an exported model's directory", directory.string());
  const bool weights = tensor_file_in(directory, kModelStem).has_value();
  if (weights && fs::exists(directory / "model.json"))
    return {directory, fs::exists(directory / "manifest.json"), false};
  if (weights && fs::exists(directory / "config.json")) return {directory, false, true};
  check(!weights, ErrorKind::not_found,
        "{}: safetensors, but neither config.json (Hugging Face) nor model.json beside them to say what model they are",
        directory.string());
  const auto found = list_checkpoints(directory / "checkpoints");
  check(!found.empty(), ErrorKind::not_found,
        "{}: neither model.safetensors (or its index) nor checkpoints/step_N is in it: not a model's directory, or a "
        "run that has not saved yet",
        directory.string());
  return {found.back(), true, false};
}

}  // namespace hadal
