#include "apps/data_config.h"

#include <fmt/ranges.h>

#include <filesystem>

#include "base/error.h"
#include "phases/kinds.h"
#include "phases/phase_text.h"
#include "train/run_data.h"

namespace hadal {

namespace fs = std::filesystem;

std::vector<AskedText> asked_texts(const std::string& path, const RunArguments& arguments, const std::string& phase) {
  if (!is_phased(path)) {
    check(phase.empty(), ErrorKind::invalid, "{}: it has no phases; leave --phase out", path);
    return {{"", "", read_run_config(path, arguments), {}}};
  }
  PhasedConfig plan = read_phased_config(path, arguments, training_kinds());
  std::vector<std::string> known;
  for (Phase& each : plan.phases) {
    known.push_back(each.name);
    each.config.run = (fs::path(plan.base.run) / each.name).string();
  }
  check(phase.empty() || plan.find(phase), ErrorKind::invalid, "--phase {}: the phases are {}", phase,
        fmt::join(known, ", "));
  const Config& first = plan.phases.front().config;
  const std::string tokenizer = phase_tokenizer(plan);
  std::vector<AskedText> all;
  for (const Phase& each : plan.phases) {
    if (!phase.empty() && each.name != phase) continue;
    all.push_back({each.name, each.kind, each.config, {}});
    if (&each == &plan.phases.front()) continue;
    all.back().config.tokenizer.path = tokenizer;
    if (first.tokenizer.path.empty() && !fs::exists(tokenizer)) all.back().first = first;
  }
  return all;
}

const AskedText& likeliest(const std::vector<AskedText>& all) {
  const AskedText* found = &all.front();
  for (const AskedText& text : all)
    if (has_begun(text.config)) found = &text;
  return *found;
}

}  // namespace hadal
