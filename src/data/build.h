// A build: text becomes a tokenizer and shards (prepare.h says when). Ranks divide the work: the first one decides,
// trains the tokenizer and writes the index; the others do their share of reading, comparing and tokenising.
#pragma once
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/exec.h"
#include "base/progress.h"
#include "data/prepared.h"

namespace hadal::data {

struct BuildJob {
  BuildJob(const Config& config, const Exec& exec, const PrepareOptions& options);

  const Config& config;
  const Exec& exec;
  const PrepareOptions& options;
  std::filesystem::path cache, shards, tokenizer;

  void say(const std::string& text) const {
    if (options.say) options.say(text);
  }
  ProgressOptions progress() const { return {.unit = "B", .quiet = options.quiet}; }
  std::string recipe() const;
};

// What stands between a cache and its use; empty: nothing.
struct Obstacle {
  std::string why;
  ErrorKind kind = ErrorKind::invalid;
};

// Whether an error says that something of a cache is missing or damaged.
bool is_damage(const Error& error);

// With a plan, nothing is written before the text has shown to be that of the plan; else the obstacle is thrown.
Prepared build(const BuildJob& job, const std::string& plan = {}, const Obstacle& obstacle = {});

// On the other ranks: waits for the first one, and does its share of its build, if it says that there is one.
void help_to_build(const BuildJob& job);
void release_helpers(Group& ranks);  // on the first rank, where nothing was built

}  // namespace hadal::data
