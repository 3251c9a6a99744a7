// The command line. A verb is one file src/apps/<verb>.cpp with `void add_<verb>(Verb root, Cli& cli)` and one
// line in verbs.h. It declares its subcommand and options and gives cli.on() what to run; nothing runs while arguments
// are parsed.
//
//   void add_count(Verb root, Cli& cli) {
//     struct Options { std::string file; CommonOptions common; };
//     auto o = std::make_shared<Options>();
//     Verb verb = root.add_verb("count", "Count the bytes of a file");
//     verb.add_option("file", o->file, "the file").required();
//     add_threads_option(verb, o->common);
//     verb.add_examples({"hadal count README.md"});
//     cli.on(verb, [o] { ...; return kExitFine; });
//   }
//
// Exit codes: 0 fine, 1 the work failed, 2 wrong use (parse errors and Errors of kind invalid). An Error becomes one
// line "hadal: error: ..." on standard error.
#pragma once
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/options.h"
#include "base/exec.h"
#include "config/enums.h"

namespace hadal {

constexpr int kExitFine = 0, kExitFailed = 1, kExitWrongUse = 2;

// Options that several verbs share; a verb adds those that it obeys.
struct CommonOptions {
  int threads = 0;    // 0: all that the machine grants
  int processes = 1;  // ranks of this program on this machine that take as many each
  std::string isa = "best";
  std::vector<std::string> set;  // dotted overrides "optim.lr=1e-4", in order
  bool quiet = false;
  std::string device = "cpu";
  std::string memory;  // of the device, "40GiB"; empty: as much as there is

  // Pool, memory and kernels as asked; throws invalid or unsupported for what this machine does not run.
  OwnedExec exec() const;
};
void add_threads_option(Verb verb, CommonOptions& options);                 // --threads
void add_isa_option(Verb verb, CommonOptions& options);                     // --isa
void add_device_option(Verb verb, CommonOptions& options);                  // --device, --memory
void add_set_option(Verb verb, CommonOptions& options);                     // --set key=value, repeatable
void add_quiet_option(Verb verb, CommonOptions& options);                   // --quiet
void add_precision_option(Verb verb, std::optional<Precision>& precision);  // --precision, which a model is loaded in
void add_weights_option(Verb verb, WeightFormat& weights);                  // --weights
void add_cache_option(Verb verb, CacheFormat& cache);                       // --cache
void add_attention_form_option(Verb verb, std::optional<AttentionForm>& form);  // --attention-form

// "hadal: note: ..." each, on standard error, unless quiet.
void print_notes(const std::vector<std::string>& notes, bool quiet);

class Cli {
 public:
  Cli();
  ~Cli();
  int run(int argc, const char* const* argv);  // parses, runs, reports; the exit code
  // The innermost parsed verb wins; a verb that only has verbs of its own registers those and requires one.
  void on(Verb verb, std::function<int()> action);

 private:
  int parse(int argc, const char* const* argv);
  std::unique_ptr<CLI::App> root_;
  std::function<int()> action_;
};

// The program's own name and build, for version, logs and manifests.
std::string version_text();   // "hadal 0.1.0"
std::string compiler_text();  // "GCC 12.2.0, Release"

}  // namespace hadal
