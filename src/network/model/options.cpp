#include "model/options.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {

void check_precision(Precision precision, const Exec& exec) {
  check(precision != Precision::fp64 || exec.device.kind == DeviceKind::cpu, ErrorKind::invalid,
        "precision fp64 is that of the reference formulas and runs on the CPU alone; {} computes in fp32 and bf16",
        device_name(exec.device));
  check(!is_fp8(precision) || exec.device.kind == DeviceKind::cpu, ErrorKind::unsupported,
        "precision {} runs on the CPU so far; on {} choose bf16 or fp32", enum_name(precision),
        device_name(exec.device));
  check(precision != Precision::fp16 || exec.device.kind == DeviceKind::cpu, ErrorKind::unsupported,
        "precision fp16 has kernels for the CPU alone; {} computes in fp32 and bf16", device_name(exec.device));
}

int64_t fp8_tile(Precision precision, const Fp8Config& config) {
  if (precision == Precision::mxfp8) return kMxRowTile.cols;
  return config.tile == 0 ? kRowTile.cols : config.tile;
}

Recipe recipe_of(Precision precision, const Fp8Config& config) {
  if (!is_fp8(precision)) return Recipe::high();
  const bool mx = precision == Precision::mxfp8;
  const ScaleRule mx_rule = config.mx_scales == MxScales::ocp ? ScaleRule::ocp : ScaleRule::power_of_two;
  const int64_t tile = fp8_tile(precision, config);
  Recipe recipe = mx ? Recipe::mxfp8(mx_rule) : Recipe::fp8();
  const auto rule = [](ScaleRule report, Fp8Scales asked) {
    return asked == Fp8Scales::power_of_two ? ScaleRule::power_of_two : report;
  };
  const auto accumulation = ops::Accumulation(config.accumulate);
  static_assert(int(ops::Accumulation::hopper) == int(Fp8Accumulate::hopper) &&
                int(ops::Accumulation::hopper_unpromoted) == int(Fp8Accumulate::hopper_unpromoted));
  const std::array entries = Recipe::fp8_linears();
  static_assert(entries.size() == kFp8Linears.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    GemmRecipe& entry = recipe.*entries[i];
    if (std::find(config.high.begin(), config.high.end(), kFp8Linears[i]) != config.high.end()) {
      entry = {};
      continue;
    }
    entry.accumulation = accumulation;
    if (mx) continue;
    entry.x_scale = rule(entry.x_scale, config.input_scales);
    entry.dy_scale = rule(entry.dy_scale, config.gradient_scales);
    entry.weight_scale = rule(entry.weight_scale, config.weight_scales);
    entry.activation = {1, tile}, entry.token = {tile, 1}, entry.weight = entry.turned_weight = {tile, tile};
  }
  const auto kept = [](Fp8Kept asked) {
    return asked == Fp8Kept::bf16 ? Kept::values : asked == Fp8Kept::e4m3 ? Kept::e4m3 : Kept::e5m6;
  };
  recipe.attention_output = kept(config.attention_output), recipe.swiglu_inputs = kept(config.swiglu_inputs);
  recipe.high_first_layers = config.high_first_layers, recipe.high_last_layers = config.high_last_layers;
  return recipe;
}

namespace {

void check_heads(const ModelConfig& config, const ModelOptions& options) {
  check(options.cache == CacheFormat::values, ErrorKind::unsupported,
        "a cache in {} keeps latents, and this model's attention is {}, which keeps keys and values: choose a cache of "
        "values",
        enum_name(options.cache), enum_name(config.attention));
  check(options.attention_form == AttentionForm::up_projected, ErrorKind::invalid,
        "the {} form is one of latent attention (mla), and this model's attention is {}: leave it out",
        enum_name(options.attention_form), enum_name(config.attention));
}

}  // namespace

void check_attention(const ModelConfig& config, const ModelOptions& options) {
  if (!config.is_latent()) return check_heads(config, options);
  if (options.cache == CacheFormat::values) return;
  check(!options.training, ErrorKind::internal, "a model in training reads its keys as values, not in {}",
        enum_name(options.cache));
  check(options.precision == Precision::fp32 || options.precision == Precision::bf16, ErrorKind::unsupported,
        "a cache in {} is for precision fp32 or bf16, not {}", enum_name(options.cache), enum_name(options.precision));
  check(options.attention_form == AttentionForm::absorbed, ErrorKind::invalid,
        "a cache in {} keeps latents, which attention reads in the absorbed form; the {} form reads keys and values of "
        "every head: choose the absorbed form, or a cache of values",
        enum_name(options.cache), enum_name(options.attention_form));
}

DType activation_dtype(Precision precision) {
  switch (precision) {
    case Precision::fp64: return DType::f64;
    case Precision::fp32: return DType::f32;
    case Precision::bf16:
    case Precision::fp8:
    case Precision::mxfp8: return DType::bf16;
    case Precision::fp16: return DType::f16;
    case Precision::automatic: break;
  }
  fail(ErrorKind::invalid,
       "precision \"{}\" is not one of fp64, fp32, bf16, fp16, fp8, mxfp8: a model computes in one of them",
       enum_name(precision));
}

}  // namespace hadal
