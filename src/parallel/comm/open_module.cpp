#include "comm/open_module.h"

#include <dlfcn.h>

#include <filesystem>

#include "base/error.h"

namespace hadal {

namespace fs = std::filesystem;

std::string module_path(const ModuleFile& module) {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path beside = program / module.file, installed = program / "../lib/hadal" / module.file;
  for (const fs::path& path : {beside, program.parent_path() / module.file, installed})
    if (fs::exists(path)) return path;
  fail(ErrorKind::unsupported, "this program was built without {} ({} is not there): {}", module.library,
       beside.string(), module.when_built);
}

void* open_module(const ModuleFile& module) {
  const std::string path = module_path(module);
  // Global: MPI opens plugins of its own, which look for its symbols.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  check(library != nullptr, ErrorKind::unsupported, "{} cannot be opened: {}; {}", module.library, dlerror(),
        module.when_shut);
  void* function = dlsym(library, module.symbol);
  check(function != nullptr, ErrorKind::unsupported, "{} is of another version of this program", path);
  return function;
}

}  // namespace hadal
