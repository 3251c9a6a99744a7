// config.json of every family, its refusals by name, and what we write read back.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/expect_error.h"
#include "base/files.h"
#include "base/json.h"
#include "config/config_io.h"
#include "exchange/hf_config.h"
#include "exchange/hf_testing.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;
using testing::hf_seed;

HfConfig read_seed(const std::string& name) { return hf_config_from_json(hf_seed(name), name); }

void expect_model(const ModelConfig& read, const ModelConfig& right) {
  EXPECT_EQ(model_config_to_json(read), model_config_to_json(right));
}

ModelConfig v3_model() {
  Config config = load_config(std::string(HADAL_SOURCE_DIR) + "/configs/deepseek-v3-671b.toml");
  config.model.max_positions = 163840;
  config.model.init_std = 0.02;
  config.model.yarn.factor = 40;
  return config.model;
}

TEST(HfConfig, ReadsDeepSeekV3) {
  const HfConfig config = read_seed("deepseek_v3");
  expect_model(config.model, v3_model());
  EXPECT_EQ(config.model_type, "deepseek_v3");
  EXPECT_EQ(config.dtype, "bfloat16");
  EXPECT_TRUE(config.fp8);
  EXPECT_FALSE(config.fp8_ue8m0);
  EXPECT_EQ(config.fp8_block_rows, 128);
  EXPECT_EQ(config.fp8_block_cols, 128);
  EXPECT_EQ(config.bos_ids, std::vector<int64_t>{0});
  EXPECT_EQ(config.eos_ids, std::vector<int64_t>{1});
  EXPECT_EQ(config.pad_id, -1);
  EXPECT_TRUE(config.notices.empty()) << config.notices[0];
}

TEST(HfConfig, R1IsV3AndV31HasPowersOfTwoAsScales) {
  expect_model(read_seed("deepseek_r1").model, v3_model());
  const HfConfig v31 = read_seed("deepseek_v3_1");
  expect_model(v31.model, v3_model());
  EXPECT_TRUE(v31.fp8 && v31.fp8_ue8m0);
}

TEST(HfConfig, ReadsV2WithItsSoftmaxGateAndGroupMaximum) {
  ModelConfig right = v3_model();
  right.vocab_size = 102400, right.hidden_size = 5120, right.n_layers = 60, right.n_dense_layers = 1;
  right.dense_ffn_size = 12288, right.expert_ffn_size = 1536, right.n_routed_experts = 160, right.n_shared_experts = 2;
  right.n_experts_per_token = 6, right.n_groups = 8, right.n_limited_groups = 3, right.routed_scale = 16;
  right.score_function = ScoreFunction::softmax, right.group_score = GroupScore::max,
  right.selection_bias = right.normalize_top_k = false;
  right.n_mtp = 0, right.yarn.mscale = right.yarn.mscale_all_dim = 0.707;
  const HfConfig config = read_seed("deepseek_v2");
  expect_model(config.model, right);
  EXPECT_EQ(config.eos_ids, std::vector<int64_t>{100001});
  EXPECT_FALSE(config.fp8);
}

TEST(HfConfig, ReadsV2LiteWithoutQueryLatentAndGreedy) {
  const HfConfig config = read_seed("deepseek_v2_lite");
  EXPECT_EQ(config.model.q_lora_rank, 0);
  EXPECT_EQ(config.model.n_heads, 16);
  EXPECT_EQ(config.model.dense_ffn_size, 10944);
  EXPECT_EQ(config.model.n_groups, 1);
  EXPECT_EQ(config.model.score_function, ScoreFunction::softmax);
  EXPECT_DOUBLE_EQ(config.model.routed_scale, 1.0);
  Json greedy_with_groups = parse_json<Json>(hf_seed("deepseek_v2_lite"), "deepseek_v2_lite");
  greedy_with_groups["n_group"] = 8;  // "greedy" does not look at groups
  EXPECT_EQ(hf_config_from_json(json_text(greedy_with_groups), "x").model.n_groups, 1);
}

TEST(HfConfig, ReadsMoonlightAndKeepsTheLatentNormsEpsilon) {
  const HfConfig config = read_seed("moonlight");
  EXPECT_DOUBLE_EQ(config.model.rms_eps, 1e-5);
  EXPECT_DOUBLE_EQ(config.model.latent_norm_eps, 1e-6);
  EXPECT_DOUBLE_EQ(config.model.rope_theta, 50000);
  EXPECT_DOUBLE_EQ(config.model.yarn.factor, 1);
  EXPECT_EQ(config.model.n_groups, 1);
  EXPECT_EQ(config.model.n_mtp, 0);
  EXPECT_TRUE(config.model.selection_bias && config.model.normalize_top_k);
  EXPECT_EQ(config.pad_id, 163839);
  EXPECT_EQ(config.bos_ids, std::vector<int64_t>{163584});
}

TEST(HfConfig, ReadsKimiK2) {
  const HfConfig config = read_seed("kimi_k2");
  EXPECT_EQ(config.model_type, "kimi_k2");
  EXPECT_EQ(config.model.n_routed_experts, 384);
  EXPECT_EQ(config.model.n_heads, 64);
  EXPECT_DOUBLE_EQ(config.model.yarn.factor, 32);
  EXPECT_DOUBLE_EQ(config.model.yarn.beta_fast, 1);
  EXPECT_DOUBLE_EQ(config.model.routed_scale, 2.827);
  EXPECT_TRUE(config.fp8);
}

TEST(HfConfig, ReadsTheNewSpellingAndAStatedAttentionFactor) {
  const HfConfig config = read_seed("transformers_v3");
  const auto& yarn = config.model.yarn;
  EXPECT_DOUBLE_EQ(config.model.rope_theta, 5000);
  EXPECT_EQ(yarn.original_positions, 64);
  EXPECT_DOUBLE_EQ(yarn.mscale_all_dim, 0.5);
  const double log4 = std::log(4.0);
  EXPECT_NEAR((0.1 * yarn.mscale * log4 + 1) / (0.1 * 0.5 * log4 + 1), 1.2, 1e-12);
  EXPECT_TRUE(config.model.tie_embeddings);
  EXPECT_EQ(config.dtype, "float32");
  EXPECT_EQ(config.eos_ids, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(config.model.n_mtp, 1);
}

Json yarn(std::initializer_list<std::pair<const char*, Json>> more) {
  Json rope = {{"type", "yarn"}, {"factor", 8.0}, {"original_max_position_embeddings", 64}};
  for (const auto& [key, value] : more) rope[key] = value;
  return rope;
}

HfConfig with_rope(const Json& rope) {
  Json json = parse_json<Json>(hf_seed("transformers_v3"), "transformers_v3");
  json.erase("rope_parameters");
  json["rope_scaling"] = rope;
  return hf_config_from_json(json_text(json), "config.json");
}

TEST(HfConfig, AbsentMscaleMeansWhatTheReleasedCodeDoes) {
  const HfConfig none = with_rope(yarn({}));  // cos and sin times 0.1 ln 8 + 1, softmax untouched: transformers agrees
  EXPECT_DOUBLE_EQ(none.model.yarn.mscale, 1);
  EXPECT_DOUBLE_EQ(none.model.yarn.mscale_all_dim, 0);
  EXPECT_DOUBLE_EQ(none.model.yarn.beta_fast, 32);
  EXPECT_DOUBLE_EQ(none.model.rope_theta, 10000);
  EXPECT_TRUE(none.notices.empty());
  const HfConfig half = with_rope(yarn({{"mscale", 0.707}}));
  EXPECT_DOUBLE_EQ(half.model.yarn.mscale, 0.707);
  ASSERT_EQ(half.notices.size(), 1u);
  EXPECT_NE(half.notices[0].find("transformers multiplies by 1.20794"), std::string::npos) << half.notices[0];
  EXPECT_DOUBLE_EQ(with_rope(yarn({{"factor", nullptr}})).model.yarn.factor, 4);  // 256 / 64
}

TEST(HfConfig, SaysWhatItDoesNotUse) {
  const HfConfig config = read_seed("dense");
  std::string all;
  for (const auto& notice : config.notices) all += notice + "\n";
  EXPECT_NE(all.find("keys that Hadal does not use: strange_key"), std::string::npos) << all;
  EXPECT_NE(all.find("unheard_of"), std::string::npos) << all;
  EXPECT_NE(all.find("attention_dropout"), std::string::npos) << all;
  EXPECT_EQ(config.model.n_dense_layers, 2);
  EXPECT_EQ(config.model.n_mtp, 1);
  EXPECT_DOUBLE_EQ(config.model.latent_norm_eps, 1e-5);
}

TEST(HfConfig, ATailOfDenseLayersBeyondTheModelIsSaid) {
  Json json = parse_json<Json>(hf_seed("moonlight"), "moonlight");
  json["first_k_dense_replace"] = 28;
  json["eos_token_id"] = 163840;
  const HfConfig config = hf_config_from_json(json_text(json), "x");
  EXPECT_EQ(config.model.n_dense_layers, 27);
  EXPECT_EQ(config.notices.size(), 2u);
}

// ---- one clear error each
// ------------------------------------------------------------------------------------------------

struct BadCase {
  const char* seed;
  const char* change;  // a JSON merge patch; null removes a key
  ErrorKind kind;
  const char* message;  // must stand in the error
};

const BadCase kBad[] = {
    // other families and rules, by name
    {"deepseek_v3", R"({"model_type": "gpt2"})", ErrorKind::unsupported, R"(model_type = "gpt2")"},
    {"deepseek_v3", R"({"model_type": "qwen3_moe"})", ErrorKind::unsupported,
     "Hadal reads models of the DeepSeek-V3 family"},
    {"deepseek_v3", R"({"model_type": "deepseek_v32"})", ErrorKind::unsupported, "V3.2's sparse attention"},
    {"deepseek_v3", R"({"model_type": "deepseek_v4"})", ErrorKind::unsupported, R"("deepseek_v4")"},
    {"deepseek_v3", R"({"index_topk": 2048})", ErrorKind::unsupported, "index_topk = 2048"},
    {"deepseek_v3", R"({"index_n_heads": 64})", ErrorKind::unsupported, "sparse attention"},
    {"deepseek_v3", R"({"architectures": ["GPT2LMHeadModel"]})", ErrorKind::unsupported, "GPT2LMHeadModel"},
    {"deepseek_v3", R"({"architectures": ["DeepseekV2ForCausalLM"]})", ErrorKind::invalid, "contradicts architectures"},
    {"deepseek_v3", R"({"architectures": "DeepseekV3ForCausalLM"})", ErrorKind::invalid, "a list of one name"},
    {"deepseek_v3", R"({"architectures": null, "model_type": null})", ErrorKind::unsupported, "neither model_type nor"},
    {"deepseek_v3", R"({"quantization_config": {"quant_method": "compressed-tensors"}})", ErrorKind::unsupported,
     "compressed-tensors"},
    {"deepseek_v3", R"({"quantization_config": {"quant_method": "awq"}})", ErrorKind::unsupported,
     R"(quant_method = "awq")"},
    {"deepseek_v3", R"({"quantization_config": {"quant_method": "gptq"}})", ErrorKind::unsupported,
     R"(quant_method = "gptq")"},
    {"deepseek_v3", R"({"quantization_config": {"quant_method": null}})", ErrorKind::invalid,
     "quant_method is missing"},
    {"deepseek_v3", R"({"quantization_config": {"fmt": "e5m2"}})", ErrorKind::unsupported, "e5m2"},
    {"deepseek_v3", R"({"quantization_config": {"activation_scheme": "static"}})", ErrorKind::unsupported, "static"},
    {"deepseek_v3", R"({"quantization_config": {"scale_fmt": "ue4m3"}})", ErrorKind::unsupported, "ue4m3"},
    {"deepseek_v3", R"({"quantization_config": {"weight_block_size": [128]}})", ErrorKind::invalid,
     "weight_block_size = [128]"},
    {"deepseek_v3", R"({"quantization_config": {"weight_block_size": [0, 128]}})", ErrorKind::invalid, "two sizes"},
    {"deepseek_v3", R"({"quantization_config": "fp8"})", ErrorKind::invalid, "an object or null"},
    {"deepseek_v3", R"({"attention_bias": true})", ErrorKind::unsupported, "attention_bias = true"},
    {"deepseek_v3", R"({"hidden_act": "gelu"})", ErrorKind::unsupported, R"(hidden_act = "gelu")"},
    {"deepseek_v3", R"({"moe_layer_freq": 2})", ErrorKind::unsupported, "moe_layer_freq = 2"},
    {"deepseek_v3", R"({"moe_layer_freq": [0, 1]})", ErrorKind::unsupported, "moe_layer_freq = [0,1]"},
    {"deepseek_v3", R"({"sliding_window": 4096})", ErrorKind::unsupported, "sliding_window = 4096"},
    {"deepseek_v3", R"({"scoring_func": "softmax"})", ErrorKind::unsupported, R"(scoring_func = "softmax")"},
    {"deepseek_v3", R"({"topk_method": "group_limited_greedy"})", ErrorKind::unsupported, "noaux_tc"},
    {"deepseek_v3", R"({"topk_method": "greedy"})", ErrorKind::invalid, "n_group = 8 must be 1"},
    {"deepseek_v2", R"({"scoring_func": "sigmoid"})", ErrorKind::unsupported, R"(scoring_func = "sigmoid")"},
    {"deepseek_v2", R"({"topk_method": "noaux_tc"})", ErrorKind::unsupported, R"(topk_method = "noaux_tc")"},
    {"deepseek_v2", R"({"norm_topk_prob": true})", ErrorKind::unsupported, "norm_topk_prob = true"},
    {"deepseek_v3", R"({"torch_dtype": "int8"})", ErrorKind::unsupported, R"(torch_dtype = "int8")"},
    // sizes
    {"deepseek_v3", R"({"hidden_size": 0})", ErrorKind::invalid,
     "hidden_size = 0 must be a whole number in 1 .. 2147483647"},
    {"deepseek_v3", R"({"hidden_size": -7168})", ErrorKind::invalid, "hidden_size = -7168"},
    {"deepseek_v3", R"({"hidden_size": 7168.5})", ErrorKind::invalid, "hidden_size = 7168.5"},
    {"deepseek_v3", R"({"hidden_size": 1e300})", ErrorKind::invalid, "hidden_size = 1e+300"},
    {"deepseek_v3", R"({"hidden_size": 18446744073709551615})", ErrorKind::invalid,
     "hidden_size = 18446744073709551615"},
    {"deepseek_v3", R"({"hidden_size": "7168"})", ErrorKind::invalid, R"(hidden_size = "7168")"},
    {"deepseek_v3", R"({"hidden_size": true})", ErrorKind::invalid, "hidden_size = true"},
    {"deepseek_v3", R"({"hidden_size": null})", ErrorKind::invalid, "hidden_size is missing"},
    {"deepseek_v3", R"({"vocab_size": 2147483648})", ErrorKind::invalid, "vocab_size = 2147483648"},
    {"deepseek_v3", R"({"num_hidden_layers": 1000000})", ErrorKind::invalid, "num_hidden_layers = 1000000 must lie in"},
    {"deepseek_v3", R"({"hidden_size": 2000000000, "vocab_size": 2000000000})", ErrorKind::invalid,
     "more than 10^16 weights"},
    {"deepseek_v3", R"({"q_lora_rank": null})", ErrorKind::invalid, "q_lora_rank is missing"},
    {"deepseek_v3", R"({"q_lora_rank": 0})", ErrorKind::invalid, "q_lora_rank = 0"},
    {"deepseek_v3", R"({"qk_rope_head_dim": 63})", ErrorKind::invalid, "qk_rope_head_dim = 63 must be even"},
    {"deepseek_v3", R"({"num_key_value_heads": 8})", ErrorKind::invalid, "num_attention_heads = 128"},
    {"transformers_v3", R"({"qk_head_dim": 21})", ErrorKind::invalid, "qk_nope_head_dim + qk_rope_head_dim = 20"},
    {"deepseek_v3", R"({"n_routed_experts": null})", ErrorKind::invalid, "n_routed_experts is missing"},
    {"deepseek_v3", R"({"num_experts_per_tok": 300})", ErrorKind::invalid,
     "num_experts_per_tok = 300 must not exceed n_routed_experts = 256"},
    {"deepseek_v3", R"({"num_experts_per_tok": 200})", ErrorKind::invalid,
     "must not exceed the 128 experts of 4 groups"},
    {"deepseek_v3", R"({"n_group": 7})", ErrorKind::invalid, "n_group = 7 must divide n_routed_experts = 256"},
    {"deepseek_v3", R"({"topk_group": 9})", ErrorKind::invalid, "topk_group = 9 must lie in 1 .. 8"},
    {"deepseek_v3", R"({"n_group": 256, "topk_group": 8})", ErrorKind::invalid, "at least 2 experts per group"},
    {"deepseek_v3", R"({"routed_scaling_factor": 0})", ErrorKind::invalid, "routed_scaling_factor = 0 must be above 0"},
    {"deepseek_v3", R"({"first_k_dense_replace": 62})", ErrorKind::invalid, "must not exceed num_hidden_layers = 61"},
    {"deepseek_v3", R"({"num_nextn_predict_layers": -1})", ErrorKind::invalid, "num_nextn_predict_layers = -1"},
    {"deepseek_v3", R"({"num_mtp_layers": 2})", ErrorKind::invalid, "contradicts num_mtp_layers = 2"},
    {"deepseek_v3", R"({"rms_norm_eps": -1e-6})", ErrorKind::invalid, "rms_norm_eps = -1e-06"},
    {"deepseek_v3", R"({"rms_norm_eps": "1e-6"})", ErrorKind::invalid, "a finite number"},
    {"deepseek_v3", R"({"tie_word_embeddings": 1})", ErrorKind::invalid, "true or false"},
    {"deepseek_v3", R"({"scoring_func": 1})", ErrorKind::invalid, "a string"},
    {"deepseek_v3", R"({"eos_token_id": [1, -2]})", ErrorKind::invalid, "a token id, a list of token ids, or null"},
    {"deepseek_v3", R"({"bos_token_id": -1})", ErrorKind::invalid, "bos_token_id = -1"},
    // rotary embedding
    {"deepseek_v3", R"({"rope_scaling": {"type": "linear"}})", ErrorKind::unsupported,
     R"(rope_scaling.type = "linear")"},
    {"deepseek_v3", R"({"rope_scaling": {"rope_type": "dynamic", "type": null}})", ErrorKind::unsupported, "dynamic"},
    {"deepseek_v3", R"({"rope_scaling": {"rope_type": "default"}})", ErrorKind::invalid, "contradicts"},
    {"deepseek_v3", R"({"rope_scaling": {"factor": 0.5}})", ErrorKind::invalid, "rope_scaling.factor = 0.5"},
    {"deepseek_v3", R"({"rope_scaling": {"factor": null}})", ErrorKind::invalid, "factor is missing"},
    {"deepseek_v3", R"({"rope_scaling": {"original_max_position_embeddings": null}})", ErrorKind::invalid,
     "original_max_position_embeddings is missing"},
    {"deepseek_v3", R"({"rope_scaling": {"original_max_position_embeddings": 0}})", ErrorKind::invalid,
     "rope_scaling.original_max_position_embeddings = 0"},
    {"deepseek_v3", R"({"rope_scaling": {"beta_fast": 0.5}})", ErrorKind::invalid, "must be at least beta_slow"},
    {"deepseek_v3", R"({"rope_scaling": {"beta_slow": 0}})", ErrorKind::invalid, "beta_slow = 0"},
    {"deepseek_v3", R"({"rope_scaling": {"mscale": -1}})", ErrorKind::invalid, "mscale = -1"},
    {"deepseek_v3", R"({"rope_scaling": {"truncate": false}})", ErrorKind::unsupported, "truncate = false"},
    {"deepseek_v3", R"({"rope_scaling": {"partial_rotary_factor": 0.5}})", ErrorKind::unsupported,
     "partial_rotary_factor"},
    {"deepseek_v3", R"({"rope_scaling": {"attention_factor": 1.3}})", ErrorKind::invalid,
     "attention_factor = 1.3 must be 1"},
    {"deepseek_v3", R"({"rope_scaling": [1]})", ErrorKind::invalid, "an object or null"},
    {"deepseek_v3", R"({"rope_parameters": {"rope_type": "default"}})", ErrorKind::invalid,
     "contradicts rope_parameters"},
    {"deepseek_v3", R"({"rope_scaling": {"rope_theta": 5.0}})", ErrorKind::invalid, "rope_scaling.rope_theta = 5"},
    {"deepseek_v3", R"({"rope_theta": 0})", ErrorKind::invalid, "rope_theta = 0 must be above 1"},
    {"transformers_v3", R"({"rope_interleave": false})", ErrorKind::unsupported, "rope_interleave = false"},
    {"transformers_v3", R"({"rope_parameters": {"attention_factor": -1.0}})", ErrorKind::invalid,
     "attention_factor = -1.0"},
    // found by hf_config_fuzz: the mscale that follows could not be read back from the file that we write
    {"transformers_v3", R"({"rope_parameters": {"attention_factor": 0.2}})", ErrorKind::invalid,
     "attention_factor = 0.2 must be such that mscale"},
};

TEST(HfConfig, RefusesWhatIsWrongByNameValueAndRightOne) {
  for (const auto& bad : kBad) {
    Json json = parse_json<Json>(hf_seed(bad.seed), bad.seed);
    json.merge_patch(parse_json<Json>(bad.change, "the change"));
    try {
      hf_config_from_json(json_text(json), "model/config.json");
      ADD_FAILURE() << "accepted " << bad.change;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(error.kind(), bad.kind) << message;
      EXPECT_NE(message.find(bad.message), std::string::npos) << bad.change << ": " << message;
      EXPECT_EQ(message.rfind("model/config.json: ", 0), 0u) << message;
      EXPECT_EQ(message.find("model.n_"), std::string::npos) << "our own name of a field in: " << message;
    }
  }
}

TEST(HfConfig, RefusesWhatIsNoJsonObject) {
  for (const std::string text : {"", "[]", "{", "null", "{\"a\": NaN}", "{\"a\": 1}}", "\xff\xfe"}) {
    try {
      hf_config_from_json(text, "config.json");
      ADD_FAILURE() << "accepted " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
    }
  }
  EXPECT_ERROR(hf_config_from_json(std::string(100000, '['), "x"), ErrorKind::corrupt,
               "x: nested deeper than 64 levels");
}

TEST(HfConfig, RefusesAKeyThatStandsTwice) {
  std::string text = hf_seed("deepseek_v3");
  text.insert(text.find('{') + 1, "\"hidden_size\": 64, ");
  try {
    hf_config_from_json(text, "config.json");
    ADD_FAILURE() << "accepted two hidden sizes";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'hidden_size' stands twice"), std::string::npos) << error.what();
  }
}

// ---- writing
// --------------------------------------------------------------------------------------------------------------

TEST(HfConfig, WhatIsWrittenForEveryFamilyReadsBackTheSame) {
  for (const char* name : {"deepseek_v3", "deepseek_r1", "deepseek_v3_1", "deepseek_v2", "deepseek_v2_lite",
                           "moonlight", "kimi_k2", "transformers_v3"}) {
    const HfConfig read = read_seed(name);
    const HfConfig again = hf_config_from_json(hf_config_to_json(read), name);
    expect_model(again.model, read.model);
    EXPECT_EQ(again.fp8, read.fp8);
    EXPECT_EQ(again.fp8_ue8m0, read.fp8_ue8m0);
    EXPECT_EQ(again.bos_ids, read.bos_ids);
    EXPECT_EQ(again.eos_ids, read.eos_ids);
    EXPECT_EQ(again.pad_id, read.pad_id);
    EXPECT_EQ(again.dtype, read.dtype);
    EXPECT_TRUE(again.notices.empty()) << again.notices[0];
  }
}

TEST(HfConfig, RandomModelsComeBackFieldByField) {
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    HfConfig config;
    config.model = testing::random_hf_model(seed);
    const std::string written = hf_config_to_json(config);
    const HfConfig again = hf_config_from_json(written, "written");
    ASSERT_EQ(model_config_to_json(again.model), model_config_to_json(config.model)) << "seed " << seed << "\n"
                                                                                     << written;
  }
}

TEST(HfConfig, RulesWithoutAClassInTransformersAreNotWritten) {
  const ModelConfig v3 = read_seed("deepseek_v3").model, v2 = read_seed("deepseek_v2").model;
  auto refused = [](HfConfig config, const char* message) {
    try {
      hf_config_to_json(config);
      ADD_FAILURE() << "written, but should be refused for " << message;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported);
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  };
  auto changed = [](const ModelConfig& model, auto change) {
    HfConfig config;
    config.model = model;
    change(config.model);
    return config;
  };
  refused(changed(v3, [](auto& m) { m.group_score = GroupScore::max; }), "group_score = \"max\"");
  refused(changed(v3, [](auto& m) { m.selection_bias = false; }), "selection_bias = false");
  refused(changed(v2, [](auto& m) { m.selection_bias = true; }), "selection_bias = true");
  refused(changed(v2, [](auto& m) { m.normalize_top_k = true; }), "normalize_top_k = true");
  refused(changed(v2, [](auto& m) { m.group_score = GroupScore::top2_sum; }), "group_score = \"top2_sum\"");
  refused(changed(v2, [](auto& m) { m.hidden_size = 5121; }), "hidden_size = 5121");
  EXPECT_ERROR(hf_config_to_json(changed(v3, [](auto& m) { m.vocab_size = 0; })), ErrorKind::invalid,
               "model.vocab_size = 0 must lie in 1 .. 2147483647");
}

TEST(HfConfig, TheLimitsOfTransformersAreSaid) {
  EXPECT_TRUE(hf_config_limits(read_seed("deepseek_v2").model).empty());
  EXPECT_TRUE(hf_config_limits(read_seed("moonlight").model).empty());
  ModelConfig m = read_seed("moonlight").model;
  m.n_mtp = 2, m.latent_norm_eps = 1e-5, m.n_shared_experts = 0, m.selection_bias = false;
  EXPECT_EQ(hf_config_limits(m).size(), 4u);
}

}  // namespace
}  // namespace hadal
