// config.json of the DeepSeek-V3 family, as Hugging Face directories carry it, to and from ModelConfig (§1.1).
// Families: DeepSeek-V2 and V2-Lite (softmax gate, "greedy" or "group_limited_greedy"), V3, V3.1, R1, Moonlight and
// Kimi-K2 (sigmoid, "noaux_tc"); with Llama's attention Llama (dense) and Glm4Moe (V3's experts), whose files keep rows
// of q and k in another order (row_of_half_split in arch/parameter_list.h). Where released code and transformers read a
// field differently the released code counts and a notice says so.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/model_config.h"

namespace hadal {

struct HfConfig {
  ModelConfig model;
  // "deepseek_v3", "deepseek_v2", "kimi_k2", "llama", "glm4_moe" as read; the writer names the class by the rules used
  std::string model_type;
  std::string dtype = "bfloat16";  // "dtype" or "torch_dtype"; without the "torch." that old files have
  bool fp8 = false;                // quantization_config.quant_method == "fp8"
  int64_t fp8_block_rows = 128, fp8_block_cols = 128;
  bool fp8_ue8m0 = false;                 // scale_fmt: scales are powers of two
  std::vector<std::string> fp8_high;      // modules_to_not_convert: modules whose weights are values all the same
  std::vector<int64_t> bos_ids, eos_ids;  // empty: null or absent
  int64_t pad_id = -1;                    // -1: null or absent
  bool half_split = false;                // rows of q and k are in Llama's order (ParameterSpec::rotated_head)
  bool mtp_stated = true;                 // false: model.n_mtp is the class's default, said nowhere in the file
  std::vector<std::string> notices;  // what a user should know: keys that are not used, readings that differ elsewhere
};

// Throws corrupt (not JSON), invalid (a value) or unsupported (another family or rule), naming the key, its value and
// what is right.
HfConfig hf_config_from_json(std::string_view json, const std::string& where);

// Loads in transformers unchanged, as DeepseekV3ForCausalLM or, for V2's rules, DeepseekV2ForCausalLM; with Llama's
// attention as LlamaForCausalLM, or with experts as Glm4MoeForCausalLM. Rules that no class knows are refused by name.
// hf_config_from_json gives back the same ModelConfig, but for fields without effect (groups when there is one).
std::string hf_config_to_json(const HfConfig& config);

// Why hf_config_to_json refuses the rules of such a model; empty: it does not. vocab_size may be open (0).
std::string hf_config_obstacle(ModelConfig model);

// What the file says that transformers does not do: one sentence each; empty for every released model without MTP.
std::vector<std::string> hf_config_limits(const ModelConfig& model);

}  // namespace hadal
