// Writing a planned export into a directory. Each file is complete or absent; export.partial.json notes the finished
// ones with their hashes, so that the same command continues after an interruption, and goes when all is done. The
// index and config.json come last: a directory that has them is whole.
//   export.partial.json: {"format": "hadal-export-1", "to", "dtype", "shard_bytes", "model": identity's hash,
//                         "layout": hash of the plan, "files": {name: {"bytes": n, "hash": hex}}}
#pragma once
#include <filesystem>

#include "exchange/export_plan.h"

namespace hadal {

struct ExportOutcome {
  int64_t files_kept = 0;  // finished by an earlier run and still whole
  uint64_t bytes_written = 0;
};

struct ExportOutput {
  std::filesystem::path directory;  // new, empty, or of an interrupted export of the same plan
  uint64_t free_bytes = 0;          // of its file system
  bool quiet = false;               // no progress
};

// Throws invalid when something else stands in the directory, io when the disk is too small, full or read-only, or the
// user interrupts.
ExportOutcome write_export(const Exec& exec, const ExportSource& source, const ExportPlan& plan,
                           const ExportOutput& output);

}  // namespace hadal
