// One way to open what --model names, and the two ways to fill parameters from it.
#include "exchange/model_directory.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/open_device.h"
#include "base/text_format.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "model/weight_format.h"
#include "nn/box_view.h"
#include "nn/init.h"
#include "nn/norm.h"
#include "ops/weight.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

HfConfig read_config(const ModelLocation& at) {
  const fs::path file = at.directory / (at.hugging_face ? "config.json" : "model.json");
  const std::string text = read_file(file);
  if (at.hugging_face) return hf_config_from_json(text, file.string());
  HfConfig config;
  config.model = model_config_from_json(text, file.string());
  validate(config.model);
  return config;
}

// What most bytes of the weights are stored in decides what a model is computed in, unless told.
Precision stored_precision(const ModelDirectory& from) {
  int64_t f64 = 0, wide = 0, narrow = 0;
  for (const auto& spec : from.parameters) {
    const DType dtype = from.files->entry(from.weights->stored(spec).front().name).dtype;
    (dtype == DType::f64 ? f64 : dtype == DType::f32 || dtype == DType::f16 ? wide : narrow) += spec.count();
  }
  return f64 > wide + narrow ? Precision::fp64 : wide >= narrow ? Precision::fp32 : Precision::bf16;
}

}  // namespace

std::vector<std::string> ModelDirectory::notices() const {
  std::vector<std::string> all = config.notices;
  all.insert(all.end(), files->notices().begin(), files->notices().end());
  all.insert(all.end(), weights->notices().begin(), weights->notices().end());
  return all;
}

ModelDirectory open_model(const fs::path& path, FileCheck file_check) {
  const auto at = locate_model(path);
  const bool contents = file_check == FileCheck::contents;
  if (at.is_checkpoint)
    contents ? verify_checkpoint(at.directory, CheckpointPart::model)
             : verify_checkpoint_sizes(at.directory, CheckpointPart::model);
  ModelDirectory from;
  from.directory = at.directory;
  from.hugging_face = at.hugging_face;
  from.config = read_config(at);
  from.files = std::make_shared<const TensorFiles>(TensorFiles::open(at.directory));
  drop_absent_mtp(from.config, *from.files);
  from.parameters = parameter_list(from.config.model);
  from.weights = std::make_shared<const HfWeights>(from.files, from.config, from.parameters, file_check);
  if (fs::exists(at.directory / "config.toml")) {
    const Config trained = load_config((at.directory / "config.toml").string());
    from.precision = trained.train.precision;
    from.attention_form = trained.train.attention_form;
    from.fp8 = trained.fp8;
    if (trained.train.precision == Precision::mxfp8) from.fp8.tile = 0;  // its blocks are the precision's, no tiles
  } else {
    from.precision = at.hugging_face ? stored_precision(from) : Precision::fp32;
    const HfConfig& c = from.config;  // products in FP8 find the codes that are stored
    if (c.fp8 && c.fp8_block_rows == c.fp8_block_cols && is_fp8_tile(c.fp8_block_rows))
      from.fp8.tile = c.fp8_block_rows;
    if (c.fp8 && c.fp8_ue8m0) from.fp8.weight_scales = Fp8Scales::power_of_two;
  }
  return from;
}

ModelConfig read_model_config(const fs::path& path) {
  const auto at = locate_model(path);
  HfConfig config = read_config(at);
  if (config.model.n_mtp > 0) drop_absent_mtp(config, TensorFiles::open(at.directory));
  return config.model;
}

void load_masters(const ModelDirectory& from, const Exec& exec, const Parameters& parameters) {
  for (const Parameter* parameter : parameters)
    from.weights->read(exec, parameter->spec, parameter->box, parameter->master);
  from.files->check_intact();
}

namespace {

TensorFiles open_averages(const fs::path& directory) {
  check(tensor_file_in(directory, kOptimizerStem).has_value(), ErrorKind::not_found,
        "{}: neither {} nor its index is in it; an exported model keeps no moving average", directory.string(),
        tensor_file_name(kOptimizerStem, 0, 1));
  if (fs::exists(directory / "manifest.json"))
    verify_checkpoint(directory, CheckpointPart::optimizer);  // opening left it out
  return TensorFiles::open(directory, kOptimizerStem);
}

void check_average(const TensorFiles& files, const ParameterSpec& spec) {
  const std::string where = files.file().string(), name = average_name(spec);
  check(files.has(name), ErrorKind::not_found,
        "{}: no '{}'; train with optim.ema_decay above 0 to keep a moving average", where, name);
  const Shape& shape = files.entry(name).shape;
  check(shape == spec.shape, ErrorKind::corrupt, "{}: '{}' has shape {}, the model needs {}", where, name,
        shape_text(shape), shape_text(spec.shape));
}

}  // namespace

void read_averages(const fs::path& directory, const Parameters& parameters,
                   const std::function<void(Parameter&, const Tensor&)>& take) {
  const TensorFiles files = open_averages(directory);
  for (Parameter* parameter : parameters) {
    if (!parameter->spec.trained) continue;
    check_average(files, parameter->spec);
    take(*parameter, files.tensor(average_name(parameter->spec)));
  }
  files.check_intact();
}

ModelDirectory averages_of(const ModelDirectory& from) {
  const TensorFiles files = open_averages(from.directory);
  for (const ParameterSpec& spec : from.parameters)
    if (spec.trained) check_average(files, spec);
  ModelDirectory averaged = from;
  averaged.averages = true;
  averaged.weights = std::make_shared<const HfWeights>(*from.weights, files, from.parameters);
  averaged.files = averaged.weights->shared_files();
  return averaged;
}

void load_average_masters(const fs::path& directory, const Exec& exec, const Parameters& parameters) {
  read_averages(directory, parameters, [&](Parameter& parameter, const Tensor& average) {
    const bool whole = parameter.box == Box::whole(parameter.spec.shape);
    const bool has_master = parameter.master && parameter.master.count() == parameter.box.count();
    (has_master ? parameter.master : parameter.value.plain)
        .copy_from(exec, whole ? average : part_of(average, parameter.box));
  });
}

namespace {

// What becomes of one parameter.
struct Loading {
  Parameter* parameter;
  DType dtype;                      // of its values
  std::optional<PanelType> panels;  // none: it stays a tensor
  Tensor view;                      // of the file, where it can be used as it lies
  int64_t bytes;                    // in memory
};

Loading loading_of(const ModelDirectory& from, const Exec& exec, Parameter& parameter, const ModelOptions& options) {
  const ParameterSpec& spec = parameter.spec;
  const DType compute = activation_dtype(options.precision);
  Loading one{&parameter, value_dtype(parameter, compute), {}, {}, 0};
  const bool on_device = exec.memory->device() != nullptr;  // there every weight is a copy
  const bool as_they_lie =
      !on_device && (one.dtype == DType::f32 || one.dtype == DType::bf16) && from.weights->is_stored_as_codes(spec);
  if (!parameter.codes && (options.weights != WeightFormat::stored || as_they_lie))
    one.panels = panel_type(spec, options.weights, options.attention_form);
  if (!on_device) one.view = from.weights->view(spec, one.dtype);
  if (parameter.codes_alone) {  // stored as such, or made of the values of the file, which go again
    one.bytes = Quantised::bytes_of(spec.shape, parameter.codes->tile, scale_type(parameter.codes->rule));  // one set
    return one;
  }
  one.bytes = one.panels ? ops::panel_bytes(exec, spec.shape, *one.panels) : spec.count() * dtype_bytes(one.dtype);
  return one;
}

void load_one(const ModelDirectory& from, const Exec& exec, const Loading& one) {
  Parameter& parameter = *one.parameter;
  std::optional<Quantised> codes;
  if (one.panels == PanelType::fp8) codes = from.weights->read_codes(exec, parameter.spec, one.dtype);
  if (parameter.codes && parameter.codes->tile == kSquareTile)
    codes = from.weights->read_codes(exec, parameter.spec, parameter.codes->source);
  if (codes) {
    if (parameter.codes) codes->rule = parameter.codes->rule;  // whatever theirs are: none is made anew
    parameter.value = Weight(std::move(*codes));
  } else if (one.view) {
    parameter.value = Weight(one.view);
  } else {
    parameter.value = Weight(Tensor::empty(exec, one.dtype, parameter.spec.shape));
    from.weights->read(exec, parameter.spec, parameter.value.plain);
  }
  if (one.panels) ops::pack(exec, parameter.value, *one.panels);
  keep_what_is_read(exec, parameter);
}

}  // namespace

LoadCounts load_values(const ModelDirectory& from, const Exec& exec, const Parameters& parameters,
                       const ModelOptions& options) {
  LoadCounts counts;
  const DType compute = activation_dtype(options.precision);
  const DType wide = statistics_dtype(compute);
  const OpenDevice* device = exec.memory->device();
  const bool integers = options.weights == WeightFormat::int8 || options.weights == WeightFormat::int4;
  check(!is_fp8(options.precision) || !integers, ErrorKind::invalid,
        "weights in {} do not go with precision {}, whose products multiply codes of their own: choose "
        "--precision bf16, or leave --weights out",
        enum_name(options.weights), enum_name(options.precision));
  const bool rounds = options.weights != WeightFormat::values && options.weights != WeightFormat::stored;
  check(!rounds || (!device && (compute == DType::f32 || compute == DType::bf16)), ErrorKind::unsupported,
        "weights in {} are for the CPU, in fp32 or bf16; on {} in {} they are values", enum_name(options.weights),
        device ? device_name(device->device()) : "the CPU", dtype_name(compute));
  std::vector<Loading> all;
  for (Parameter* parameter : parameters) {
    all.push_back(loading_of(from, exec, *parameter, options));
    const bool mapped = all.back().view && !all.back().panels && !parameter->codes_alone;
    (mapped ? counts.mapped_bytes : counts.packed_bytes) += all.back().bytes;
  }
  const uint64_t available = available_memory(*exec.memory);
  check(uint64_t(counts.packed_bytes) <= available, ErrorKind::invalid,
        "{}: {} of its weights must be converted or stacked in memory{}, {} are available", from.directory.string(),
        format_bytes(double(counts.packed_bytes)), device ? fmt::format(" of {}", device_name(device->device())) : "",
        format_bytes(double(available)));
  for (const Loading& one : all) load_one(from, exec, one);
  for (Parameter* parameter : parameters)
    if (parameter->value.dtype == wide) parameter->master = parameter->value.plain;
  from.files->check_intact();
  return counts;
}

}  // namespace hadal
