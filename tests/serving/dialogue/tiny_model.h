// A tiny random model with a tokenizer and a chat template, in a directory as Hugging Face has them.
#pragma once
#include <filesystem>
#include <string>

#include "arch/parameter_list.h"
#include "base/files.h"
#include "base/random.h"
#include "base/testing.h"
#include "exchange/hf_config.h"
#include "storage/safetensors.h"
#include "text/text_testing.h"

namespace hadal {

constexpr const char* kChatTemplate =
    "{% for m in messages %}{{ '<｜User｜>' if m.role == 'user' else '<｜Assistant｜>' if m.role == 'assistant' else "
    "'' }}"
    "{{ m.content or '' }}{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% if thinking %}{{ '<think>' }}{% endif %}{% endif %}";

struct TinyModel {
  bool tokenizer = true, chat = true;
  std::string chat_template = kChatTemplate;
  int64_t positions = 256, dense_ffn_size = 48, words = 400, n_mtp = 0;
  uint64_t seed = 1;              // of the weights
  std::string generation_config;  // the file's text; empty: none
};

// The directory of the model alone.
inline void write_tiny_model(const std::filesystem::path& directory, const TinyModel& options) {
  std::filesystem::create_directories(directory);
  ModelConfig m;
  m.vocab_size = 400;
  m.hidden_size = 32;
  m.n_layers = 2;
  m.n_heads = 2;
  m.kv_lora_rank = 16;
  m.qk_nope_head_dim = 8;
  m.qk_rope_head_dim = 4;
  m.v_head_dim = 8;
  m.dense_ffn_size = options.dense_ffn_size;
  m.expert_ffn_size = 16;
  m.n_routed_experts = 4;
  m.n_experts_per_token = 2;
  m.max_positions = options.positions;
  m.n_mtp = options.n_mtp;
  HfConfig config;
  config.model = m;
  config.dtype = "float32";
  atomic_write(directory / "config.json", hf_config_to_json(config));
  OwnedExec owned(1);
  std::vector<NamedTensor> tensors;
  uint64_t seed = options.seed * 1000;
  for (const auto& spec : parameter_list(m)) {
    Shape shape = spec.shape;
    if (spec.kind == ParameterKind::routed_expert) shape.erase(shape.begin());
    for (int64_t e = 0; e < spec.n_experts(); ++e) {
      Tensor tensor = Tensor::empty(owned.exec, DType::f32, shape);
      RandomStream stream{seed++, stream_id("test.served"), 0};
      for (int64_t i = 0; i < tensor.count(); ++i) tensor.data<float>()[i] = float(0.3 * stream.normal());
      tensors.push_back({spec.hf_name_of(e), tensor});
    }
  }
  save_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
  if (options.tokenizer) testing::small_tokenizer(options.words).save(directory.string());
  if (!options.generation_config.empty()) atomic_write(directory / "generation_config.json", options.generation_config);
  if (options.chat) atomic_write(directory / "chat_template.jinja", options.chat_template);
}

}  // namespace hadal
