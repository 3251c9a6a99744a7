// Reads model.json, config.toml (for the recorded precision and attention form) and model.safetensors.
#include "engine/loaded_model.h"

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"

namespace hadal {

namespace {

void load_ema(const std::filesystem::path& directory, Transformer& model) {
  const auto path = directory / "optimizer.safetensors";
  check(std::filesystem::exists(path), ErrorKind::not_found,
        "{}: no such file; an exported model keeps no moving average", path.string());
  const SafetensorsReader reader(path);
  for (Parameter* parameter : model.parameters()) {
    if (!parameter->spec.trained) continue;
    const std::string name = "ema." + parameter->spec.name;
    check(reader.has(name), ErrorKind::not_found,
          "{}: no '{}'; train with optim.ema_decay above 0 to keep a moving average", path.string(), name);
    parameter->master.copy_from(reader.tensor(name));
  }
}

}  // namespace

LoadedModel load_model(const std::filesystem::path& directory, const LoadOptions& options, const Exec& exec) {
  const auto location = locate_model(directory);
  const auto& from = location.directory;
  if (location.is_checkpoint) verify_checkpoint(from);
  const auto config = model_config_from_json(read_file(from / "model.json"), (from / "model.json").string());
  validate(config);
  std::string precision = options.precision, form = options.attention_form;
  if (std::filesystem::exists(from / "config.toml")) {
    const auto trained = load_config((from / "config.toml").string()).train;
    if (precision.empty()) precision = trained.precision;
    if (form.empty()) form = trained.attention_form;
  }
  ModelOptions model_options;
  model_options.precision = parse_precision(precision.empty() ? "fp32" : precision);
  model_options.attention_form = parse_attention_form(form.empty() ? "up_projected" : form);
  model_options.training = options.training;
  LoadedModel loaded{from, std::make_unique<Transformer>(config, model_options, exec)};
  load_model_tensors(from / "model.safetensors", loaded.transformer->parameters());
  if (options.ema) load_ema(from, *loaded.transformer);
  loaded.transformer->refresh_values();
  return loaded;
}

}  // namespace hadal
