// hadal version: what this binary is, what this machine is, and which kernels would run. --json for programs: the test
// runner takes the instruction sets that it names as executed from there.
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "base/error.h"
#include "base/json.h"
#include "base/system_info.h"
#include "base/table.h"
#include "base/text_format.h"
#include "kernels/devices.h"

namespace hadal {
namespace {

// Vector kernels are compiled all together or not at all.
bool compiled(Isa isa) {
#ifdef HADAL_HAVE_avx2
  return true;
#else
  return isa == Isa::reference;
#endif
}

const char* state(Isa isa) {
  if (!compiled(isa)) return "not compiled";
  return isa_available(isa) ? "runs here" : "compiled, this CPU does not run it";
}

// The cards of this machine, each with what is wrong with it; without any: why.
struct Devices {
  struct Entry {
    Device device;
    DeviceInfo info;
    std::string why_not;  // empty: programs may use it
  };
  std::vector<Entry> found;
  std::string why_none;
};
Devices devices() {
  Devices result;
  const kernels::DeviceBackend* backend = kernels::cuda_backend();
  if (backend == nullptr) return {{}, "this hadal was built without CUDA"};
  int count = 0;
  try {
    count = backend->driver->count();
  } catch (const Error& error) {
    return {{}, error.what()};
  }
  for (int i = 0; i < count; ++i) {
    Devices::Entry entry{{DeviceKind::cuda, i}, {}, ""};
    try {
      entry.info = backend->driver->info(i);
    } catch (const Error& error) {
      entry.why_not = error.what();
    }
    result.found.push_back(std::move(entry));
  }
  return result;
}

void print_text() {
  const MemoryInfo memory = memory_info();
  fmt::print("{}\n", version_text());
  fmt::print("compiler   {}\n", compiler_text());
  fmt::print("cpu        {}\n", cpu_description());
  fmt::print("threads    {} granted\n", granted_threads());
  fmt::print("memory     {} available of {}{}\n", format_bytes(double(memory.available)),
             format_bytes(double(memory.total)), memory.cgroup_limited ? " (control group limit)" : "");
  fmt::print("kernels    {}\n", isa_name(best_isa()));
  const Devices all = devices();
  for (const auto& [device, info, why_not] : all.found)
    fmt::print("{:<10} {}\n", device_name(device),
               why_not.empty()
                   ? fmt::format("{}, driver {}, {} free of {}", info.name, info.driver,
                                 format_bytes(double(info.free_bytes)), format_bytes(double(info.total_bytes)))
                   : "cannot be used: " + why_not);
  if (!all.why_none.empty()) fmt::print("cuda       none: {}\n", all.why_none);
  fmt::print("\n");
  Table table({"instruction set", "state"});
  for (Isa isa : kIsas) table.add({isa_name(isa), state(isa)});
  fmt::print("{}", table.text());
}

void print_json() {
  nlohmann::ordered_json json;
  json["version"] = version_text();
  json["compiler"] = compiler_text();
  json["cpu"] = cpu_description();
  json["threads"] = granted_threads();
  json["memory_bytes"] = memory_info().total;
  json["kernels"] = isa_name(best_isa());
  for (Isa isa : kIsas)
    json["instruction_sets"][isa_name(isa)] = {{"compiled", compiled(isa)}, {"runs", isa_available(isa)}};
  json["devices"] = nlohmann::ordered_json::array();
  const Devices all = devices();
  for (const auto& [device, info, why_not] : all.found) {
    if (why_not.empty())
      json["devices"].push_back({{"device", device_name(device)},
                                 {"name", info.name},
                                 {"driver", info.driver},
                                 {"free_bytes", info.free_bytes},
                                 {"total_bytes", info.total_bytes}});
    else
      json["unusable_devices"].push_back({{"device", device_name(device)}, {"why", why_not}});
  }
  if (!all.why_none.empty()) json["no_device"] = all.why_none;
  fmt::print("{}\n", json_text(json, {.indent = 2}));
}

}  // namespace

void add_version(Verb root, Cli& cli) {
  auto as_json = std::make_shared<bool>(false);
  Verb verb = root.add_verb("version", "Say what this binary is and which kernels run on this CPU");
  verb.add_flag("--json", *as_json, "print one JSON object");
  verb.add_examples({"hadal version", "hadal version --json"});
  cli.on(verb, [as_json] {
    *as_json ? print_json() : print_text();
    return kExitFine;
  });
}

}  // namespace hadal
