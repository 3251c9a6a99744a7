#include "apps/fresh_run.h"

#include <utility>
#include <vector>

#include "apps/cli.h"
#include "base/error.h"
#include "base/files.h"
#include "data/cache_users.h"
#include "train/run_place.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

constexpr const char* kWritten[] = {"checkpoints", "data", "tokenizer",   "text",        "config.toml", "metrics.jsonl",
                                    "log.txt",     "logs", "report.html", "phases.toml", "phases.json"};

fs::path aside(const fs::path& run) { return run / "before_fresh"; }
fs::path whole_mark(const fs::path& run) { return aside(run) / ".whole"; }

// What a run wrote: files of these names, and a run of its own for each of its phases. `in`: the run's directory, or
// where what it wrote stands aside.
std::vector<std::string> written(const fs::path& in) {
  std::vector<std::string> names(std::begin(kWritten), std::end(kWritten));
  const bool phased = fs::exists(in / "phases.toml");
  if (!fs::is_directory(in)) return names;
  for (const auto& entry : fs::directory_iterator(in))
    if (phased && entry.is_directory() && is_run(entry.path())) names.push_back(entry.path().filename().string());
  return names;
}

void remove_whole(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  check(!error, ErrorKind::io, "{}: cannot be deleted: {}", path.string(), error.message());
}

void move(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  check(!error, ErrorKind::io, "{}: cannot be moved to {}: {}", from.string(), to.string(), error.message());
}

bool others_use(const fs::path& run, const fs::path& name) {
  return name == "data" && !data::other_cache_users(run / name, run).empty();
}

// At every moment what stands aside can be put back: with the mark all of it is old, without what stands beside is old
// as well.
void set_aside(const fs::path& run) {
  make_directories(aside(run));
  for (const std::string& name : written(run))
    if (fs::exists(run / name) && !others_use(run, name)) move(run / name, aside(run) / name);
  atomic_write(whole_mark(run), "");
}

void put_back_locked(const fs::path& run) {
  if (fs::exists(whole_mark(run))) {
    for (const std::string& name : written(run))
      if (!others_use(run, name)) remove_whole(run / name);
    remove_whole(whole_mark(run));
  }
  for (const std::string& name : written(aside(run)))
    if (fs::exists(aside(run) / name)) move(aside(run) / name, run / name);
  remove_whole(aside(run));
}

bool put_back(const fs::path& run) {
  if (!fs::exists(aside(run))) return false;
  const FileLock lock(run / "lock", "run directory");
  put_back_locked(run);
  return true;
}

fs::path leftovers(const fs::path& run) { return run / "before_fresh.deleted"; }

}  // namespace

FreshRun::FreshRun(const fs::path& run) {
  if (!fs::exists(run)) return;
  check(fs::is_directory(run) && (fs::is_empty(run) || is_run(run)), ErrorKind::invalid,
        "{}: not a run directory (no lock of a trainer and no configuration of Hadal in it); --fresh deletes only runs",
        run.string());
  const FileLock lock(run / "lock", "run directory");  // a trainer that is at work keeps its files
  if (fs::exists(aside(run))) put_back_locked(run);
  set_aside(run);
  run_ = run;
}

FreshRun::~FreshRun() {
  if (run_.empty()) return;
  try {
    put_back(run_);
  } catch (const std::exception&) {  // it stands aside, and the next command tries again
  }
}

void FreshRun::ready() {
  if (run_.empty()) return;
  remove_whole(leftovers(run_));
  move(aside(run_), leftovers(run_));  // from here on the new run is the one
  remove_whole(leftovers(std::exchange(run_, {})));
}

bool put_back_with_note(const fs::path& run, bool quiet) {
  if (!put_back(run)) return false;
  print_notes({fmt::format("{}: --fresh did not come to its first step; the run that was there before is put back",
                           run.string())},
              quiet);
  return true;
}

}  // namespace hadal
