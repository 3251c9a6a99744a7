// Modules: parts of this program that lean on libraries which not every machine has, in files of their own that are
// opened when they are asked for.
#pragma once
#include <string>

namespace hadal {

struct ModuleFile {
  std::string file;        // "hadal_mpi.so"
  const char* symbol;      // of its only function
  std::string library;     // whose interface it speaks, as users know it: "MPI"
  std::string when_shut;   // what to do where it is there and cannot be opened
  std::string when_built;  // what to do where it is not there
};

// Where the module's file lies: beside the program, one folder up, or where `make install` puts it. Throws unsupported,
// with what to do, where it does not.
std::string module_path(const ModuleFile& module);

// The module's function. Throws unsupported, with what to do, where that is not to be had.
void* open_module(const ModuleFile& module);

}  // namespace hadal
