#include "train/run_checkpoint.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "nn/box_view.h"

namespace hadal {

DType wide_dtype(const Parameters& held) {
  for (const Parameter* parameter : held)
    if (parameter->grad) return parameter->grad.dtype();
  fail(ErrorKind::internal, "a rank that holds nothing to train");
}

void load_moments(const Exec& exec, const std::filesystem::path& checkpoint, const Optimizer& optimizer) {
  const TensorFiles files = TensorFiles::open(checkpoint, kOptimizerStem);
  for (const StateTensor& entry : optimizer.state()) {
    const Tensor box = part_of(files.tensor(entry.name), entry.range.parameter->box);
    entry.tensor.copy_from(exec, entry.range.of(box.contiguous() ? box : box.clone(exec)));
  }
  files.check_intact();
}

OwnedRange owned_by(const Optimizer& optimizer, Parameter& parameter) {
  if (optimizer.sharding()) return optimizer.sharding()->owned(parameter);
  return {&parameter, 0, parameter.box.count()};
}

TensorFile optimizer_file(const std::vector<ParameterSpec>& specs, const Parameters& held, const Optimizer& optimizer) {
  const DType wide = wide_dtype(held), moments = optimizer.moment_dtype(wide);
  TensorFile file;
  for (const ParameterSpec& spec : specs) {
    if (!spec.trained) continue;
    for (const char* moment : {"m.", "v."}) file.tensors.push_back({moment + spec.name, moments, spec.shape});
    if (optimizer.has_ema()) file.tensors.push_back({"ema." + spec.name, wide, spec.shape});
  }
  for (const StateTensor& entry : optimizer.state()) {
    const Parameter& parameter = *entry.range.parameter;
    for (TensorPart& part :
         parts_of(entry.name, parameter.spec.shape, {parameter.box, entry.range.begin, entry.tensor}))
      file.parts.push_back(std::move(part));
  }
  return file;
}

CheckpointContent checkpoint_content(const std::vector<ParameterSpec>& specs, const Parameters& held,
                                     const Optimizer& optimizer) {
  const DType wide = wide_dtype(held);
  CheckpointContent content;
  for (const ParameterSpec& spec : specs)
    for (SafetensorsEntry& entry : model_entries(spec, wide)) content.model.tensors.push_back(std::move(entry));
  for (Parameter* parameter : held) {
    const OwnedRange own = owned_by(optimizer, *parameter);
    if (own.count() == 0) continue;
    for (TensorPart& part : model_parts(parameter->spec, {parameter->box, own.begin, own.master()}))
      content.model.parts.push_back(std::move(part));
  }
  content.optimizer = optimizer_file(specs, held, optimizer);
  return content;
}

CheckpointWriterOptions writer_options(const CheckpointConfig& config) {
  CheckpointWriterOptions how{config.keep, config.asynchronous};
  how.wait_for_room = config.on_full == OnFull::wait;
  how.stop = interrupted;
  return how;
}

std::map<std::string, std::string> checkpoint_texts(const Config& config, const TrainState& state,
                                                    const Tokenizer& tokenizer) {
  Config stored = config;
  stored.run.clear();  // a checkpoint may be moved or copied
  stored.parallel = {};
  std::map<std::string, std::string> texts = {{"model.json", model_config_to_json(config.model)},
                                              {"config.toml", config_to_toml(stored)},
                                              {"state.json", state.to_json()}};
  for (auto& [name, text] : tokenizer.files()) texts[name] = std::move(text);
  return texts;
}

}  // namespace hadal
