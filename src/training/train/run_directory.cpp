// Creating, locking and reconciling run directories.
#include "train/run_directory.h"

#include "base/error.h"
#include "base/glob.h"
#include "config/config_io.h"
#include "data/cache_users.h"
#include "data/corpus.h"
#include "data/prepare.h"
#include "train/run_place.h"

namespace hadal {

namespace {

enum class Change { free, asked_for, never };

// What a key of the configuration may do in the life of a run.
Change kind_of_change(const std::string& key) {
  // Same bits, what the machine chose (micro-batches: rounding differs), or what reacts, observes and stores.
  for (const char* name : {"run", "parallel.", "train.steps", "checkpoint.", "validation.", "evaluation.", "data.cache",
                           "data.on_bad_line", "tokenizer.path", "train.micro_batch_sequences", "train.recompute",
                           "train.on_nan", "train.max_skips", "fp8.shadow_every"}) {
    if (key.rfind(name, 0) == 0) return Change::free;
  }
  if (key.starts_with("data.sources") && key.ends_with(".domain")) return Change::free;
  // The steps to come compute something else, from the weights and moments that there are.
  for (const char* name : {"optim.lr", "optim.beta", "optim.eps", "optim.weight_decay", "optim.clip", "train.precision",
                           "fp8.", "train.attention_form", "train.batch_sequences", "train.batch_ramp", "train.bias_",
                           "train.balance_alpha", "train.mtp_weight", "loss_scale."}) {
    if (key.rfind(name, 0) == 0) return Change::asked_for;
  }
  return Change::never;
}

std::string key_of(const std::string& text) { return text.substr(0, text.find_first_of(":=")); }

bool named(const std::vector<std::string>& changes, const std::string& key) {
  for (const std::string& change : changes) {
    const std::string name = key_of(change);
    if (key == name || name.rfind(key + ".", 0) == 0 || key.rfind(name + ".", 0) == 0) return true;  // of a list
  }
  return false;
}

void add(std::string& list, const std::string& text) { list += (list.empty() ? "" : "; ") + text; }

}  // namespace

void keep_source_names(const DataConfig& stored, DataConfig& asked) {
  for (size_t s = 0; s < asked.sources.size() && s < stored.sources.size(); ++s)
    asked.sources[s].name = data::source_name(stored, s);
}

Config with_absolute_paths(Config config) {
  for (size_t s = 0; s < config.data.sources.size(); ++s) {
    SourceConfig& source = config.data.sources[s];
    source.name = data::source_name(config.data, s);
    for (std::string& path : source.paths) path = absolute_pattern(path);
  }
  for (std::string& path : config.data.decontaminate.files) path = absolute_pattern(path);
  std::string& chat_template = config.data.chat_template;  // a file, or a name
  if (std::filesystem::is_regular_file(chat_template))
    chat_template = std::filesystem::absolute(chat_template).string();
  const auto make_absolute = [](std::string& path) {
    if (!path.empty()) path = std::filesystem::absolute(path).lexically_normal().string();
  };
  for (std::string* path : {&config.data.cache, &config.tokenizer.path}) make_absolute(*path);
  for (EvaluationTaskConfig& task : config.evaluation.tasks) {
    if (task.name.ends_with(".yaml") || task.name.ends_with(".yml")) make_absolute(task.name);
    make_absolute(task.file), make_absolute(task.examples);
  }
  return config;
}

RunDirectory::RunDirectory(const std::filesystem::path& root) : RunDirectoryView(root) {
  check_run_place(root);
  make_directories(root);
  lock_ = FileLock(root / "lock", "run directory");
}

bool RunDirectoryView::has_config() const { return std::filesystem::exists(config()); }

RunDirectory::Reconciled RunDirectory::reconcile(const Config& given, const std::vector<std::string>& changes) const {
  Reconciled result{with_absolute_paths(given), {}, false};
  Config& asked = result.config;
  for (const std::string& change : changes) {
    check(has_config(), ErrorKind::invalid, "--change {}: {} has not begun; say --set {}", change, root().string(),
          change);
    check(
        kind_of_change(key_of(change)) != Change::never, ErrorKind::invalid,
        "--change {}: this cannot change in the life of a run; a new run can start from its weights (--model {} --run "
        "NEW)",
        change, root().string());
  }
  if (!has_config()) return result;
  const Config stored = with_absolute_paths(load_config(config().string()));
  if (asked.train.precision == Precision::automatic) asked.train.precision = stored.train.precision;
  if (asked.train.recompute == Recompute::automatic) asked.train.recompute = stored.train.recompute;
  if (asked.train.micro_batch_sequences == 0) asked.train.micro_batch_sequences = stored.train.micro_batch_sequences;
  if (asked.fp8.tile == 0 && asked.train.precision == stored.train.precision) asked.fp8.tile = stored.fp8.tile;
  if (asked.train.steps == 0) asked.train.steps = stored.train.steps;
  if (asked.train.start_model.empty()) asked.train.start_model = stored.train.start_model;
  if (asked.model.vocab_size == 0) asked.model.vocab_size = stored.model.vocab_size;
  keep_source_names(stored.data, asked.data);
  Config compared = stored;  // but for where its text lies
  for (size_t s = 0; s < compared.data.sources.size() && s < asked.data.sources.size(); ++s) {
    auto& paths = compared.data.sources[s].paths;
    result.text_moved = result.text_moved || paths != asked.data.sources[s].paths;
    paths = asked.data.sources[s].paths;
  }
  std::string never, with_change, how;
  for (const auto& difference : config_differences(compared, asked)) {
    const std::string key = key_of(difference);
    const Change kind = kind_of_change(key);
    const bool high = stored.train.precision == Precision::fp64 || asked.train.precision == Precision::fp64;
    if (kind == Change::never || (key == "train.precision" && high)) {
      add(never, difference);
    } else if (kind == Change::asked_for && !named(changes, key)) {
      add(with_change, difference);
      how += fmt::format(" --change {}=VALUE", key);
    } else {
      result.differences.push_back(difference);
    }
  }
  if (never.empty() && with_change.empty()) return result;
  std::string message = fmt::format("{}: this run was started with another configuration.", root().string());
  if (!with_change.empty())
    message += fmt::format(" {}: to go on with the new values, and have it recorded, add{}.", with_change, how);
  if (!never.empty())
    message += fmt::format(
        " {}: this cannot change in the life of a run; a new run can start from these weights "
        "(--model {} --run NEW).",
        never, root().string());
  fail(ErrorKind::invalid,
       "{} 'hadal train {}' goes on with the values that it has; --fresh deletes it and starts over", message,
       root().string());
}

void RunDirectory::store(const Config& resolved) const {
  atomic_write(config(), config_to_toml(resolved));
  if (!resolved.data.cache.empty()) data::add_cache_user(data::cache_directory(resolved), root());
}

}  // namespace hadal
