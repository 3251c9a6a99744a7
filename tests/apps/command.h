// Runs the binary as a user does, through a shell, and keeps its exit code and both outputs.
#pragma once
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/files.h"

namespace hadal {

struct CommandResult {
  int code = -1;
  std::string out, err;
};

// `arguments` is shell text; the binary is $HADAL there too. `before` goes in front (environment, pipes' left side).
inline CommandResult run_hadal(const std::string& arguments, const std::string& before = "",
                               const std::string& binary = HADAL_BINARY_DIR "/hadal") {
  std::string folder = (std::filesystem::temp_directory_path() / "hadal command XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return {};
  const std::filesystem::path dir = folder;
  const std::string command = "export HADAL='" + binary + "'; { " + before + " \"$HADAL\" " + arguments + "\n} > '" +
                              (dir / "out").string() + "' 2> '" + (dir / "err").string() + "'";
  const int status = std::system(command.c_str());
  CommandResult result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_file(dir / "out");
  result.err = read_file(dir / "err");
  std::filesystem::remove_all(dir);
  return result;
}

}  // namespace hadal
