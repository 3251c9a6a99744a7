// Configuration file or run directory, with the command line on top.
#include "apps/run_config.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
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

void start_from(Config& config, const std::string& model, bool is_run, bool fresh) {
  const std::string directory = fs::weakly_canonical(fs::absolute(model)).string();
  const std::string run = fs::weakly_canonical(fs::absolute(config.run)).string();
  check(!fresh || !(directory + "/").starts_with(run + "/"), ErrorKind::invalid,
        "--model {} lies in the run that --fresh gives up; name another directory for the new one: --run NEW", model);
  const fs::path stored_file = fs::path(config.run) / "config.toml";
  if (fs::exists(stored_file) && !fresh) {
    const Config stored = load_config(stored_file.string());
    check(!is_run || stored.train.start_model == directory, ErrorKind::invalid,
          "{}: this run started from {}, not from {}; leave --model out to go on with it", config.run,
          stored.train.start_model.empty() ? "newly drawn weights" : stored.train.start_model, directory);
    if (stored.train.start_model == directory) {
      take_model(config, stored.model, directory);
      if (config.tokenizer.path.empty()) config.tokenizer.path = stored.tokenizer.path;
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

}  // namespace

Config read_run_config(const std::string& path, const RunArguments& arguments) {
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
  if (!arguments.text.empty()) {
    config.data.sources.clear();
    for (const std::string& name : arguments.text) {
      check(name != "-", ErrorKind::invalid,
            "--text -: the text is read more than once, and standard input cannot be; write it to a file");
      SourceConfig source;
      source.name = fs::path(name).filename().string();
      source.paths = {name};
      config.data.sources.push_back(source);
    }
  }
  for (const std::string& change : arguments.change) {
    const std::string key = change.substr(0, change.find('='));
    const auto same = [&](const std::string& set) { return set.substr(0, set.find('=')) == key; };
    check(std::none_of(arguments.set.begin(), arguments.set.end(), same), ErrorKind::invalid,
          "{} was given with --set and with --change; leave one of them out", key);
  }
  apply_overrides(config, arguments.set);
  apply_overrides(config, arguments.change, "--change");
  if (!arguments.run.empty()) config.run = arguments.run;
  if (config.run.empty()) config.run = (fs::path("runs") / fs::path(path).stem()).string();
  check_run_place(config.run);
  check_cache_place(config);
  if (!arguments.model.empty()) start_from(config, arguments.model, is_run, arguments.fresh);
  validate(config);
  return config;
}

}  // namespace hadal
