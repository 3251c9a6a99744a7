// Configuration file or run directory, with the command line on top.
#include "apps/run_config.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/phase_record.h"
#include "config/config_io.h"
#include "exchange/model_directory.h"
#include "text/tokenizer.h"
#include "train/run_place.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

// The model section of `config` gives way to `theirs`, unless it says something else.
void take_model(Config& config, const ModelConfig& theirs, const std::string& directory) {
  Config asked, wanted;
  asked.model = config.model;
  if (!config_differences({}, asked).empty()) {
    wanted.model = theirs;
    if (asked.model.vocab_size == 0) asked.model.vocab_size = theirs.vocab_size;
    asked.model.init_std = theirs.init_std;  // nothing is initialised
    std::string differences;
    for (const auto& text : config_differences(wanted, asked)) differences += (differences.empty() ? "" : "; ") + text;
    check(differences.empty(), ErrorKind::invalid,
          "the model section of the configuration is not that of {} ({}); leave the section out to take it from there",
          directory, differences);
  }
  config.model = theirs;
}

// `stored`: the configuration of the run that is there already, or null.
void start_from(Config& config, const RunArguments& arguments, bool is_run, const Config* stored) {
  const std::string directory = fs::weakly_canonical(fs::absolute(arguments.model)).string();
  const std::string run = fs::weakly_canonical(fs::absolute(config.run)).string();
  check(!arguments.fresh || !(directory + "/").starts_with(run + "/"), ErrorKind::invalid,
        "--model {} lies in the run that --fresh gives up; name another directory for the new one: --run NEW",
        arguments.model);
  if (stored && !arguments.fresh) {
    check(!is_run || stored->train.start_model == directory, ErrorKind::invalid,
          "{}: this run started from {}, not from {}; leave --model out to go on with it", config.run,
          stored->train.start_model.empty() ? "newly drawn weights" : stored->train.start_model, directory);
    if (stored->train.start_model == directory) {
      take_model(config, stored->model, directory);
      if (config.tokenizer.path.empty()) config.tokenizer.path = stored->tokenizer.path;
      config.train.start_model = directory;
      return;
    }
  }
  take_model(config, read_model_config(directory), directory);
  config.train.start_model = directory;
  if (!config.tokenizer.path.empty()) return;
  const fs::path files = locate_model(directory).directory;
  check(Tokenizer::is_in(files.string()), ErrorKind::invalid,
        "{}: neither tokenizer.json nor tiktoken.model to turn text into this model's ids; name the tokenizer with "
        "--set tokenizer.path=DIR",
        files.string());
  config.tokenizer.path = files.string();
}

// One cache holds the tokens of one text: a phase of another would take the place of those of the phase before it.
void check_caches(const PhasedConfig& plan, const std::string& path) {
  const auto text_of = [](const Config& config) {
    std::vector<std::pair<std::vector<std::string>, SourceFormat>> text;
    for (const SourceConfig& source : config.data.sources) text.emplace_back(source.paths, source.format);
    return text;
  };
  std::map<std::string, const Phase*> users;
  for (const Phase& phase : plan.phases) {
    if (phase.config.data.cache.empty()) continue;
    const Phase& first = *users.emplace(phase.config.data.cache, &phase).first->second;
    check(text_of(first.config) == text_of(phase.config), ErrorKind::invalid,
          "{}: data.cache = \"{}\" is that of the phases '{}' and '{}', whose text is not the same; leave it out, or "
          "give each its own in [phase.data]",
          path, phase.config.data.cache, first.name, phase.name);
  }
}

void check_set_and_change(const RunArguments& arguments) {
  for (const std::string& change : arguments.change) {
    const std::string key = change.substr(0, change.find('='));
    const auto same = [&](const std::string& set) { return set.substr(0, set.find('=')) == key; };
    check(std::none_of(arguments.set.begin(), arguments.set.end(), same), ErrorKind::invalid,
          "{} was given with --set and with --change; leave one of them out", key);
  }
}

}  // namespace

void take_text(Config& config, const std::vector<std::string>& text) {
  if (text.empty()) return;
  config.data.sources.clear();
  for (const std::string& name : text) {
    check(name != "-", ErrorKind::invalid,
          "--text -: the text is read more than once, and standard input cannot be; write it to a file");
    SourceConfig source;
    source.name = fs::path(name).filename().string();
    source.paths = {name};
    config.data.sources.push_back(source);
  }
}

std::string default_run(const std::string& path) { return (fs::path("runs") / fs::path(path).stem()).string(); }

Config read_run_config(const std::string& named, const RunArguments& arguments) {
  const std::string path = phase_run(named).value_or(named).string();
  const bool is_run = fs::is_directory(path);
  if (is_run) check_run_place(path);
  const fs::path file = is_run ? fs::path(path) / "config.toml" : fs::path(path);
  const auto saved = is_run ? list_checkpoints(fs::path(path) / "checkpoints") : std::vector<fs::path>();
  check(fs::exists(file) || saved.empty(), ErrorKind::not_found, "{}: config.toml is missing; put back the copy in {}",
        path, saved.empty() ? "" : (saved.back() / "config.toml").string());
  check(
      !is_run || fs::exists(file) || !fs::exists(fs::path(path) / "data"), ErrorKind::not_found,
      "{}: tokenised text and no config.toml in it: a run that has not begun; name the configuration that the text was "
      "built with: hadal train CONFIG --run {}",
      path, path);
  check(!is_run || fs::exists(file), ErrorKind::not_found, "{}: no config.toml in it: not a run directory", path);
  Config config = load_config(file.string());
  if (is_run) config.run = path;
  take_text(config, arguments.text);
  check_set_and_change(arguments);
  apply_overrides(config, arguments.set);
  apply_overrides(config, arguments.change, "--change");
  if (!arguments.run.empty()) config.run = arguments.run;
  if (config.run.empty()) config.run = default_run(path);
  check_run_place(config.run);
  check_cache_place(config);
  const fs::path stored_file = fs::path(config.run) / "config.toml";
  std::optional<Config> stored;
  if (!arguments.model.empty() && !arguments.fresh && fs::exists(stored_file))
    stored = load_config(stored_file.string());
  if (!arguments.model.empty()) start_from(config, arguments, is_run, stored ? &*stored : nullptr);
  validate(config);
  return config;
}

bool is_phased(const std::string& path) {
  if (fs::is_directory(path)) return fs::exists(fs::path(path) / kPhasesFile);
  return fs::is_regular_file(path) && has_phases(path);
}

PhasedConfig read_phased_config(const std::string& path, const RunArguments& arguments,
                                std::span<const PhaseKind> kinds) {
  const bool is_run = fs::is_directory(path);
  const fs::path file = is_run ? fs::path(path) / kPhasesFile : fs::path(path);
  check_set_and_change(arguments);
  const PhasedConfig plan = load_phases(file.string(), kinds, arguments.set, [&](Config& config) {
    if (is_run) config.run = path;
    take_text(config, arguments.text);
    if (!arguments.run.empty()) config.run = arguments.run;
    if (config.run.empty()) config.run = default_run(path);
    check_run_place(config.run);
    check(!fs::exists(fs::path(config.run) / "config.toml"), ErrorKind::invalid,
          "{} holds a run without phases; name another directory: --run NEW", config.run);
    check_cache_place(config);
    if (arguments.model.empty()) return;
    const fs::path kept = fs::path(config.run) / kPhasesFile;
    std::optional<Config> stored;
    if (!arguments.fresh && fs::exists(kept)) stored = load_phases(kept.string(), kinds).base;
    start_from(config, arguments, is_run, stored ? &*stored : nullptr);
  });
  check_caches(plan, path);
  return plan;
}

}  // namespace hadal
