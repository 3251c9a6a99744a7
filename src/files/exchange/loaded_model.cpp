// Opens the directory, builds the transformer bare (or with masters and gradients) and fills it.
#include "exchange/loaded_model.h"

#include "base/clock.h"
#include "base/error.h"
#include "nn/init.h"

namespace hadal {

namespace {

void load_ema(const Exec& exec, const std::filesystem::path& directory, Transformer& model) {
  if (model.options().training) return load_average_masters(directory, exec, model.parameters());
  read_averages(directory, model.parameters(), [&](Parameter& parameter, const Tensor& average) {
    // the value may be the mapped file itself
    const DType dtype = value_dtype(parameter, activation_dtype(model.options().precision));
    parameter.value = Weight(average.to(exec, dtype));
    if (parameter.master) parameter.master = parameter.value.plain;
    keep_what_is_read(exec, parameter);
  });
}

AttentionForm form_of(const LoadOptions& options, const ModelDirectory& from) {
  if (options.attention_form) return *options.attention_form;
  if (options.cache == CacheFormat::fp8) return AttentionForm::absorbed;
  return from.attention_form.value_or(from.config.model.is_latent() ? options.unrecorded_form
                                                                    : AttentionForm::up_projected);
}

}  // namespace

LoadedModel load_model(const std::filesystem::path& directory, const LoadOptions& options, const Exec& exec) {
  const double start = steady_seconds();
  check(!options.training || options.weights == WeightFormat::values, ErrorKind::internal,
        "a model in training has values for weights, not {}", enum_name(options.weights));
  check(!options.ema || options.weights == WeightFormat::values || options.weights == WeightFormat::stored,
        ErrorKind::unsupported, "the moving average of the weights is read as values, not in {}",
        enum_name(options.weights));
  LoadedModel loaded;
  loaded.source = open_model(directory);
  const auto& from = loaded.source;
  loaded.directory = from.directory;
  ModelOptions model_options;
  model_options.precision = options.precision.value_or(from.precision);
  model_options.recipe = recipe_of(model_options.precision, from.fp8);
  model_options.cache = options.cache;
  model_options.attention_form = form_of(options, from);
  model_options.weights = options.weights;
  model_options.training = options.training;
  model_options.bare = !options.training;
  loaded.transformer = std::make_unique<Transformer>(from.config.model, model_options, exec);
  loaded.open_seconds = steady_seconds() - start;
  auto& model = *loaded.transformer;
  if (options.training) {
    load_masters(from, exec, model.parameters());
  } else {
    loaded.counts = load_values(from, exec, model.parameters(), model_options);
  }
  if (options.ema) load_ema(exec, from.directory, model);
  model.refresh_values(exec);
  loaded.load_seconds = steady_seconds() - start - loaded.open_seconds;
  return loaded;
}

}  // namespace hadal
