// GSM8K from end to end (tools/gsm8k.py) and lm-eval's own task on the exported model (tests/oracle/gsm8k.py), for the
// tests that bring the two files of problems: a folder with gsm8k_train.jsonl and gsm8k_test.jsonl.
#pragma once
#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "apps/command.h"
#include "base/testing.h"

namespace hadal {

inline bool has_lm_eval() { return std::filesystem::exists(HADAL_SOURCE_DIR "/.venv/bin/lm_eval"); }
constexpr const char* kNoLmEval = "no .venv with lm-eval in the source directory; ./setup --tests makes it";

// A shell command of the test's Python; $HADAL is the binary.
inline CommandResult run_python(const std::string& arguments) {
  return run_hadal("version > /dev/null; '" HADAL_SOURCE_DIR "/.venv/bin/python' " + arguments);
}

// Trains, evaluates and exports into `out`; `settings` are --set of the shipped configuration.
inline CommandResult run_gsm8k(const std::string& problems, const std::filesystem::path& out,
                               const std::string& settings, int limit) {
  return run_python(fmt::format("'{}/tools/gsm8k.py' \"$HADAL\" '{}' --out '{}' --run '{}' --limit {} {}",
                                HADAL_SOURCE_DIR, problems, out.string(), (out / "run").string(), limit, settings));
}

inline CommandResult compare_gsm8k(const std::string& problems, const std::filesystem::path& out,
                                   const std::string& more = "") {
  return run_python(fmt::format("'{}/tests/oracle/gsm8k.py' \"$HADAL\" '{}' '{}' {}", HADAL_SOURCE_DIR,
                                (out / "model").string(), problems, more));
}

}  // namespace hadal
