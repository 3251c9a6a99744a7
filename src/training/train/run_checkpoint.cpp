#include "train/run_checkpoint.h"

#include "config/config_io.h"
#include "nn/box_view.h"

namespace hadal {

void load_moments(const Exec& exec, const std::filesystem::path& checkpoint, const Optimizer& optimizer) {
  const SafetensorsReader reader(checkpoint / "optimizer.safetensors");
  for (const StateTensor& entry : optimizer.state()) {
    const Tensor box = part_of(reader.tensor(entry.name), entry.range.parameter->box);
    entry.tensor.copy_from(exec, entry.range.of(box.contiguous() ? box : box.clone(exec)));
  }
}

CheckpointContent gather_state(const Exec& exec, const std::vector<ParameterSpec>& specs, const Parameters& parameters,
                               const Optimizer& optimizer) {
  std::vector<Tensor> masters;
  for (WholeTensor& one : optimizer.whole_masters(exec, parameters)) masters.push_back(std::move(one.tensor));
  CheckpointContent content;
  for (WholeTensor& one : optimizer.whole_state(exec))
    content.optimizer.push_back({std::move(one.name), std::move(one.tensor)});
  if (!masters.empty()) content.model = model_tensors(specs, masters);
  return content;
}

void add_texts(const Config& config, const TrainState& state, const Tokenizer& tokenizer, CheckpointContent& content) {
  content.step = state.step;
  Config stored = config;
  stored.run.clear();  // a checkpoint may be moved or copied
  stored.parallel = {};
  content.texts = {{"model.json", model_config_to_json(config.model)},
                   {"config.toml", config_to_toml(stored)},
                   {"state.json", state.to_json()}};
  for (auto& [name, text] : tokenizer.files()) content.texts[name] = std::move(text);
}

}  // namespace hadal
