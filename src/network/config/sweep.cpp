// From a file with [[arm]] to one whole configuration for each arm.
#include "config/sweep.h"

#include <fmt/ranges.h>

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "config/config_io.h"
#include "config/config_json.h"
#include "config/config_tree.h"
#include "config/entries.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

constexpr const char* kSections[] = {"model", "optim", "train", "fp8", "loss_scale"};  // that an arm may have
constexpr const char* kKeys[] = {"name", "title", "set"};
constexpr const char* kTaken[] = {"data", "tokenizer", "logs", "lock"};

struct Assignments {  // of --set
  std::vector<std::string> common, sweep;
  std::vector<std::pair<std::string, std::string>> arms;  // name, "KEY=VALUE"
};

Assignments sorted(const std::vector<std::string>& set) {
  Assignments all;
  for (const std::string& assignment : set) {
    if (assignment.starts_with("sweep.")) {
      all.sweep.push_back(assignment.substr(6));
    } else if (assignment.starts_with("arm.")) {
      const size_t dot = assignment.find('.', 4);
      check(dot != std::string::npos && dot < assignment.find('='), ErrorKind::invalid,
            "--set {}: must be arm.NAME.KEY=VALUE", assignment);
      all.arms.emplace_back(assignment.substr(4, dot - 4), assignment.substr(dot + 1));
    } else {
      all.common.push_back(assignment);
    }
  }
  return all;
}

// "budgets=[1e12]" on top of the table [sweep].
void assign(ordered_json& table, const std::vector<std::string>& assignments) {
  for (const std::string& assignment : assignments) {
    const size_t equals = assignment.find('=');
    check(equals != std::string::npos && equals > 0, ErrorKind::invalid, "--set sweep.{}: must be sweep.KEY=VALUE",
          assignment);
    merge_tables(table, tree_of_toml(assignment, "--set sweep." + assignment));
  }
}

template <class T>
void check_ascending(const std::vector<T>& values, const char* key, const std::string& where) {
  check(!values.empty(), ErrorKind::invalid, "{}: sweep.{} is empty: say at least one", where, key);
  for (size_t i = 0; i < values.size(); ++i)
    check(values[i] > 0 && (i == 0 || values[i] > values[i - 1]), ErrorKind::invalid,
          "{}: sweep.{} must be positive and ascending, not {}", where, key, fmt::join(values, ", "));
}

void check_sections(const ordered_json& entry, const std::string& where) {
  for (const auto& item : entry.items())
    check(holds(kKeys, item.key()) || holds(kSections, item.key()), ErrorKind::invalid,
          "{}: '{}' cannot be another in an arm: text, batches and validation are common to all; an arm may say {}",
          where, item.key(), fmt::join(kSections, ", "));
}

// What decides which text a step reads is the same for all arms, so that they differ in nothing but the model.
void check_common(const Config& arm, const Config& common, const std::string& where) {
  check(arm.train.batch_sequences == common.train.batch_sequences, ErrorKind::invalid,
        "{}: train.batch_sequences = {} is not the common {}: every arm reads the same text in the same steps", where,
        arm.train.batch_sequences, common.train.batch_sequences);
  check(arm.train.batch_ramp.empty(), ErrorKind::invalid,
        "{}: train.batch_ramp: a sweep's batch is constant, so that its FLOPs are those of its steps", where);
}

class Resolver {
 public:
  Resolver(const std::string& path, const std::vector<std::string>& set) : path_(path), set_(sorted(set)) {
    base_ = tree_of_toml(read_file(path), path);
    check(base_.contains("arm") && base_["arm"].is_array() && !base_["arm"].empty(), ErrorKind::invalid,
          "{}: no [[arm]] in it: a sweep compares at least two models, each below its own [[arm]]", path);
    arms_ = base_["arm"], sweep_ = base_.value("sweep", ordered_json::object());
    base_.erase("arm"), base_.erase("sweep");
  }

  Sweep resolve() {
    assign(sweep_, set_.sweep);
    all_.config = sweep_config_from_tree(sweep_, path_ + ": sweep");
    check_ascending(all_.config.budgets, "budgets", path_);
    check_ascending(all_.config.learning_rates, "learning_rates", path_);
    check(!all_.config.seeds.empty(), ErrorKind::invalid, "{}: sweep.seeds is empty: say at least one", path_);
    check(std::set<int64_t>(all_.config.seeds.begin(), all_.config.seeds.end()).size() == all_.config.seeds.size(),
          ErrorKind::invalid, "{}: sweep.seeds names one twice: {}", path_, fmt::join(all_.config.seeds, ", "));
    common_ = config_from_tree(base_, path_);
    apply_overrides(common_, set_.common);
    check(common_.evaluation.tasks.empty(), ErrorKind::invalid,
          "{}: a sweep compares losses on held-out text and asks no tasks: take [evaluation] out", path_);
    all_.run = common_.run;
    for (const ordered_json& entry : arms_) add(entry);
    for (const auto& [name, assignment] : set_.arms)
      check(all_.find(name), ErrorKind::invalid, "--set arm.{}.{}: the arms are {}", name, assignment, names());
    check(all_.config.baseline.empty() || all_.find(all_.config.baseline), ErrorKind::invalid,
          "{}: sweep.baseline = \"{}\" must be one of the arms: {}", path_, all_.config.baseline, names());
    return std::move(all_);
  }

 private:
  std::string names() const {
    std::vector<std::string> all;
    for (const SweepArm& arm : all_.arms) all.push_back(arm.name);
    return fmt::format("{}", fmt::join(all, ", "));
  }

  void add(const ordered_json& entry) {
    const std::string number = fmt::format("{}: arm {}", path_, all_.arms.size() + 1);
    check(entry.is_object(), ErrorKind::invalid, "{}: must be a table", number);
    SweepArm arm;
    arm.name = new_name(
        entry, "an arm", kTaken, [&](const std::string& name) { return all_.find(name) != nullptr; }, number);
    const std::string where = fmt::format("{}: arm '{}'", path_, arm.name);
    arm.title = text_of(entry, "title", arm.name, where);
    check_sections(entry, where);
    arm.config = with_entry(common_, entry, kKeys, where);
    apply_overrides(arm.config, assignments_of(entry, arm.name, where));
    naming(where, [&] { validate(arm.config); });
    check_common(arm.config, common_, where);
    all_.arms.push_back(std::move(arm));
  }

  std::vector<std::string> assignments_of(const ordered_json& entry, const std::string& name,
                                          const std::string& where) const {
    std::vector<std::string> all = list_of_texts(entry, "set", "\"KEY=VALUE\"", where);
    for (const auto& [arm, assignment] : set_.arms)
      if (arm == name) all.push_back(assignment);
    for (const std::string& assignment : all)
      check(holds(kSections, assignment.substr(0, assignment.find('.'))), ErrorKind::invalid,
            "{}: '{}' cannot be another in an arm; an arm may say {}", where,
            assignment.substr(0, assignment.find('=')), fmt::join(kSections, ", "));
    return all;
  }

  const std::string& path_;
  const Assignments set_;
  ordered_json base_, sweep_, arms_;
  Config common_;
  Sweep all_;
};

}  // namespace

const SweepArm* Sweep::find(const std::string& name) const {
  for (const SweepArm& arm : arms)
    if (arm.name == name) return &arm;
  return nullptr;
}

const SweepArm& Sweep::baseline() const { return config.baseline.empty() ? arms.front() : *find(config.baseline); }

Sweep load_sweep(const std::string& path, const std::vector<std::string>& set) { return Resolver(path, set).resolve(); }

}  // namespace hadal
