// The binary with or without hadal_nccl.so beside it, and with stand-ins for CUDA's driver and NCCL
// (parallel/comm/nccl_stand_in/stand_in.h), which need no card.
#pragma once
#include <filesystem>
#include <string>

#include "apps/command.h"
#include "base/testing.h"

namespace hadal {

class NcclBinary {
 public:
  explicit NcclBinary(bool with_module = true) {
    namespace fs = std::filesystem;
    const fs::path build = HADAL_BINARY_DIR;
    std::error_code elsewhere;  // a link is another name of the file, and so a place of its own
    fs::create_hard_link(build / "hadal", folder_ / "hadal", elsewhere);
    if (elsewhere) fs::copy_file(build / "hadal", folder_ / "hadal");
    if (fs::exists(build / "hadal_mpi.so")) fs::create_symlink(build / "hadal_mpi.so", folder_ / "hadal_mpi.so");
    const bool product = fs::exists(build / "hadal_nccl.so");
    if (with_module)
      fs::create_symlink((product ? build : build / "tests") / "hadal_nccl.so", folder_ / "hadal_nccl.so");
  }
  // `environment`: "A=1 B=2", what the stand-ins are asked; `libraries`: a folder that is looked into before theirs.
  CommandResult run(const std::string& arguments, const std::string& environment = "",
                    const std::string& libraries = "") const {
    const std::string paths =
        libraries + (libraries.empty() ? "" : ":") + HADAL_BINARY_DIR "/tests/nccl_stand_in:$LD_LIBRARY_PATH";
    return run_hadal(arguments, environment + " LD_LIBRARY_PATH=\"" + paths + "\"", folder_ / "hadal");
  }

 private:
  testing::TempDir folder_;
};

}  // namespace hadal
