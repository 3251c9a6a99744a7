// Configuration file or run directory, with the command line on top.
#include "apps/run_config.h"

#include <filesystem>

#include "base/error.h"
#include "config/config_io.h"

namespace hadal {

namespace fs = std::filesystem;

Config read_run_config(const std::string& path, const std::vector<std::string>& text,
                       const std::vector<std::string>& overrides) {
  const bool is_run = fs::is_directory(path);
  const fs::path file = is_run ? fs::path(path) / "config.toml" : fs::path(path);
  check(!is_run || fs::exists(file), ErrorKind::not_found, "{}: no config.toml in it: not a run directory", path);
  Config config = load_config(file.string());
  if (is_run) config.run = path;
  if (!text.empty()) {
    config.data.sources.clear();
    for (const std::string& name : text) {
      SourceConfig source;
      source.name = fs::path(name).filename().string();
      source.paths = {name};
      config.data.sources.push_back(source);
    }
  }
  apply_overrides(config, overrides);
  if (config.run.empty()) config.run = (fs::path("runs") / fs::path(path).stem()).string();
  validate(config);
  return config;
}

}  // namespace hadal
