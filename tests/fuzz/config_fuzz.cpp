// libFuzzer: any bytes as a TOML configuration, as JSON, and as --set assignments (one a line). Only Error may come
// out, and what was read comes back equal from its own text.
// room: config
#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/config_io.h"

namespace {

using namespace hadal;

void comes_back(const Config& config) {
  if (!config_differences(config, config_from_toml(config_to_toml(config), "toml")).empty()) std::abort();
  if (!config_differences(config, config_from_json(config_to_json(config), "json")).empty()) std::abort();
  try {
    validate(config);
  } catch (const Error&) {
  }
}

template <class Action>
void only_errors(const Action& action) {
  try {
    action();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  Config read;
  bool fine = false;
  only_errors([&] { read = config_from_toml(text, "fuzzed.toml"), fine = true; });
  if (fine) comes_back(read);  // outside of the net: an Error here is a fault
  fine = false;
  only_errors([&] { read = config_from_json(text, "fuzzed.json"), fine = true; });
  if (fine) comes_back(read);
  only_errors([&] { validate(model_config_from_json(text, "model.json")); });
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; lines.size() < 8 && std::getline(stream, line);) lines.push_back(line);
  Config config;
  fine = false;
  only_errors([&] { apply_overrides(config, lines), fine = true; });
  if (fine) comes_back(config);
  return 0;
}
