// From the entries [[phase]] to one whole configuration for each.
#include "config/phases.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "config/config_json.h"
#include "config/config_tree.h"
#include "config/entries.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

constexpr const char* kSections[] = {"data",       "optim",      "train",      "fp8",
                                     "loss_scale", "checkpoint", "validation", "evaluation"};
constexpr const char* kOfModel[] = {"yarn", "max_positions"};
// Beside sections; and names that a run's directory has for other things.
constexpr const char* kKeys[] = {"name", "kind", "from", "moments", "start", "set", "control_of"};
constexpr const char* kTaken[] = {"checkpoints", "data", "tokenizer", "text", "logs", "lock", "before_fresh"};

struct File {
  ordered_json base;    // without its phases
  ordered_json phases;  // a list of tables
};

// --set phase.NAME.KEY=VALUE becomes an entry of that phase's list `set`.
void set_in_phase(ordered_json& phases, const std::string& assignment) {
  const std::string rest = assignment.substr(std::string("phase.").size());
  const std::string name = rest.substr(0, rest.find('.'));
  for (ordered_json& phase : phases) {
    if (!phase.is_object() || phase.value("name", "") != name) continue;
    check(rest.size() > name.size() + 1, ErrorKind::invalid, "--set {}: must be phase.NAME.KEY=VALUE", assignment);
    phase["set"].push_back(rest.substr(name.size() + 1));
    return;
  }
  fail(ErrorKind::invalid, "--set {}: there is no phase '{}'", assignment, name);
}

File read(const std::string& path, const std::vector<std::string>& set, const std::function<void(Config&)>& adjust) {
  File file{tree_of_toml(read_file(path), path), ordered_json::array()};
  if (file.base.contains("phase")) {
    file.phases = file.base["phase"];
    file.base.erase("phase");
    check(file.phases.is_array() && !file.phases.empty(), ErrorKind::invalid,
          "{}: 'phase' must be tables, each below its own [[phase]]", path);
  }
  std::vector<std::string> common;
  for (const std::string& assignment : set) {
    if (assignment.starts_with("phase.") && !file.phases.empty()) {
      set_in_phase(file.phases, assignment);
    } else {
      common.push_back(assignment);
    }
  }
  Config base = config_from_tree(file.base, path);
  apply_overrides(base, common);
  if (adjust) adjust(base);
  file.base = config_to_tree(base);
  return file;
}

std::string one_of(const ordered_json& entry, const char* key, const std::vector<std::string>& words,
                   const std::string& where) {
  const std::string word = text_of(entry, key, words.front(), where);
  check(holds(words, word), ErrorKind::invalid, "{}: {} = \"{}\" must be {}", where, key, word,
        fmt::join(words, " or "));
  return word;
}

// What a phase may say beside its own keys: sections, and of the model its context alone ("model.yarn").
void check_place(const std::string& section, const std::string& of_model, const std::string& where) {
  if (holds(kSections, section) || (section == "model" && holds(kOfModel, of_model))) return;
  fail(ErrorKind::invalid, "{}: '{}' cannot be another in a phase; a phase may say {}, model.{}", where,
       section + (section == "model" && !of_model.empty() ? "." + of_model : ""), fmt::join(kSections, ", "),
       fmt::join(kOfModel, ", model."));
}

void check_sections(const ordered_json& entry, const std::string& where) {
  for (const auto& item : entry.items()) {
    if (holds(kKeys, item.key())) continue;
    if (item.key() != "model" || !item.value().is_object() || item.value().empty()) {
      check_place(item.key(), "", where);
      continue;
    }
    for (const auto& of_model : item.value().items()) check_place(item.key(), of_model.key(), where);
  }
}

std::vector<std::string> assignments_of(const ordered_json& entry, const std::string& where) {
  const std::vector<std::string> all = list_of_texts(entry, "set", "\"KEY=VALUE\"", where);
  for (const std::string& assignment : all) {
    std::stringstream parts(assignment.substr(0, assignment.find('=')));
    std::string section, second;
    std::getline(parts, section, '.'), std::getline(parts, second, '.');
    check_place(section, second, where);
  }
  return all;
}

class Resolver {
 public:
  Resolver(const File& file, const std::string& path, std::span<const PhaseKind> kinds)
      : file_(file), path_(path), kinds_(kinds) {
    result_.base = config_from_tree(file.base, path);
  }

  PhasedConfig resolve() {
    for (const ordered_json& entry : file_.phases) add(entry);
    return std::move(result_);
  }

 private:
  void add(const ordered_json& entry) {
    const std::string number = fmt::format("{}: phase {}", path_, result_.phases.size() + 1);
    check(entry.is_object(), ErrorKind::invalid, "{}: must be a table", number);
    Phase phase;
    phase.name = new_name(
        entry, "a phase", kTaken, [&](const std::string& name) { return result_.find(name) != nullptr; }, number);
    const std::string where = fmt::format("{}: phase '{}'", path_, phase.name);
    if (entry.contains("control_of")) return add_control(entry, phase.name, where);
    check_sections(entry, where);
    const PhaseKind& kind = kind_of(entry, where);
    phase.kind = kind.name;
    const Phase* before = before_of(entry, phase, where);
    phase.keeps_moments = one_of(entry, "moments", {"restart", "keep"}, where) == "keep";
    phase.starts_from_average = one_of(entry, "start", {"weights", "average"}, where) == "average";
    check(before || (!phase.keeps_moments && !phase.starts_from_average), ErrorKind::invalid,
          "{}: there is no phase before it whose moments or average it could start from", where);
    phase.config = config_of(entry, kind, before, where);
    add_checked(std::move(phase), kind, before, where);
  }

  void add_control(const ordered_json& entry, const std::string& name, const std::string& where) {
    for (const auto& item : entry.items())
      check(item.key() == "name" || item.key() == "control_of", ErrorKind::invalid,
            "{}: '{}' beside control_of; a control is another phase without YaRN and differs in nothing else", where,
            item.key());
    const std::string of = text_of(entry, "control_of", "", where);
    const Phase* other = result_.find(of);
    std::vector<std::string> known;
    for (const Phase& phase : result_.phases)
      if (under_yarn(phase) && !phase.from.empty()) known.push_back(phase.name);
    check(holds(known, of), ErrorKind::invalid,
          "{}: control_of = \"{}\" must be a phase before it that is trained under YaRN{}", where, of,
          known.empty() ? ", and there is none" : fmt::format(": {}", fmt::join(known, ", ")));
    check(!result_.control_of(of), ErrorKind::invalid, "{}: control_of = \"{}\" has a control already", where, of);
    const Phase* before = result_.find(other->from);
    if (under_yarn(*before)) {
      const Phase* control = result_.control_of(before->name);
      check(control, ErrorKind::invalid,
            "{}: '{}' starts from '{}', whose weights were trained under YaRN: a control of '{}' must stand before it",
            where, of, before->name, before->name);
      before = control;
    }
    Phase phase = *other;
    phase.name = name, phase.from = before->name, phase.control_of = of;
    phase.config.model.yarn = YarnConfig();
    add_checked(std::move(phase), kind_named(other->kind, where), before, where);
  }

  static bool under_yarn(const Phase& phase) { return phase.config.model.yarn.factor > 1; }

  void add_checked(Phase phase, const PhaseKind& kind, const Phase* before, const std::string& where) {
    naming(where, [&] {
      validate(phase.config);
      check_context(phase, before);
      kind.check(phase, before);
    });
    result_.phases.push_back(std::move(phase));
  }

  const PhaseKind& kind_of(const ordered_json& entry, const std::string& where) const {
    return kind_named(text_of(entry, "kind", "", where), where);
  }

  const PhaseKind& kind_named(const std::string& name, const std::string& where) const {
    std::vector<std::string> known;
    for (const PhaseKind& kind : kinds_) {
      if (kind.name == name) return kind;
      known.push_back(kind.name);
    }
    fail(ErrorKind::invalid, "{}: kind = \"{}\" must be one of {}", where, name, fmt::join(known, ", "));
  }

  const Phase* before_of(const ordered_json& entry, Phase& phase, const std::string& where) const {
    if (result_.phases.empty()) {
      if (entry.contains("from"))
        fail(ErrorKind::invalid, "{}: from = {}, but it is the first", where,
             json_text(entry["from"], {.lossy = true}));
      return nullptr;
    }
    std::vector<std::string> known;  // on the main line
    for (const Phase& other : result_.phases)
      if (other.control_of.empty()) known.push_back(other.name);
    phase.from = text_of(entry, "from", known.back(), where);
    check(holds(known, phase.from), ErrorKind::invalid, "{}: from = \"{}\" must be a phase before it: {}{}", where,
          phase.from, fmt::join(known, ", "),
          result_.find(phase.from) ? "; that one is a control, from which nothing else goes on" : "");
    return result_.find(phase.from);
  }

  Config config_of(const ordered_json& entry, const PhaseKind& kind, const Phase* before, const std::string& where) {
    Config common = result_.base;
    if (before) common.model = before->config.model;
    apply_overrides(common, kind.defaults(before), "the kind's default");
    Config config = with_entry(common, entry, kKeys, where);
    apply_overrides(config, assignments_of(entry, where));
    return config;
  }

  static void check_context(const Phase& phase, const Phase* before) {
    if (!before) return;
    check(phase.config.model.max_positions >= before->config.model.max_positions, ErrorKind::invalid,
          "model.max_positions = {} is below the {} of phase '{}'; a context grows, or stays",
          phase.config.model.max_positions, before->config.model.max_positions, before->name);
  }

  const File& file_;
  const std::string& path_;
  std::span<const PhaseKind> kinds_;
  PhasedConfig result_;
};

}  // namespace

const Phase* PhasedConfig::find(const std::string& name) const {
  for (const Phase& phase : phases)
    if (phase.name == name) return &phase;
  return nullptr;
}

const Phase* PhasedConfig::control_of(const std::string& name) const {
  for (const Phase& phase : phases)
    if (phase.control_of == name) return &phase;
  return nullptr;
}

bool has_phases(const std::string& path) { return tree_of_toml(read_file(path), path).contains("phase"); }

PhasedConfig load_phases(const std::string& path, std::span<const PhaseKind> kinds, const std::vector<std::string>& set,
                         const std::function<void(Config&)>& adjust) {
  File file = read(path, set, adjust);
  PhasedConfig result = Resolver(file, path, kinds).resolve();
  if (!file.phases.empty()) file.base["phase"] = std::move(file.phases);
  result.toml = toml_of_tree(file.base);
  return result;
}

}  // namespace hadal
