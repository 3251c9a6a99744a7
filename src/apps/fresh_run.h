// --fresh: a run that gives way to a new one in its directory. What it wrote is set aside until the new one is ready
// for its first step, and is put back if it never is: a command that cannot be carried out costs nobody a run.
//   RUN/before_fresh/          what was there before
//   RUN/before_fresh/.whole    all of it: whatever stands beside before_fresh is the new run's
#pragma once
#include <filesystem>

namespace hadal {

class FreshRun {
 public:
  // Sets aside what a run wrote, and only in a directory that a trainer locked and whose config.toml, if any, is ours
  // (or that is empty, or absent). Throws invalid elsewhere: other programs have a config.toml and a data/ too.
  // Tokenised text that other runs use stays where it is.
  explicit FreshRun(const std::filesystem::path& run);
  ~FreshRun();  // puts it back, unless the new run is ready
  FreshRun(const FreshRun&) = delete;
  FreshRun& operator=(const FreshRun&) = delete;
  void ready();  // deletes what was set aside

 private:
  std::filesystem::path run_;
};

// Puts back what a --fresh that was killed left set aside, and says so. Whether there was something.
bool put_back_with_note(const std::filesystem::path& run, bool quiet);

}  // namespace hadal
