// Models with Llama's attention to and from Hugging Face: rows of q and k in its order, which classes there are, what
// is refused by name.
#include "base/expect_error.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "exchange/export_fixture.h"
#include "exchange/loaded_model.h"

namespace hadal {
namespace {

ModelConfig heads_model(int64_t n_routed_experts) {
  ModelConfig m;
  m.vocab_size = 70;
  m.hidden_size = 32;
  m.n_layers = 2;
  m.attention = AttentionKind::gqa;
  m.n_heads = 4, m.n_kv_heads = 2, m.head_dim = 6;
  m.dense_ffn_size = 48;
  m.expert_ffn_size = 16;
  m.n_routed_experts = n_routed_experts;
  m.n_dense_layers = n_routed_experts > 0 ? 1 : 2;
  m.n_shared_experts = n_routed_experts > 0 ? 1 : 0;
  m.n_experts_per_token = 2;
  m.max_positions = 64;
  return m;
}

// Pairs that turn together: (2i, 2i + 1) of a head here, (i, i + d/2) there.
void expect_rows_in_our_order(const Tensor& ours, const Tensor& theirs, int64_t d, double tolerance = 0) {
  ASSERT_EQ(ours.shape(), theirs.shape());
  const auto same = [&](int64_t row, int64_t other) {
    for (int64_t c = 0; c < ours.cols(); ++c)
      EXPECT_NEAR(element(ours, row * ours.cols() + c), element(theirs, other * ours.cols() + c), tolerance)
          << row << " against " << other;
  };
  for (int64_t head = 0; head < ours.rows(); head += d)
    for (int64_t i = 0; i < d / 2; ++i) same(head + 2 * i, head + i), same(head + 2 * i + 1, head + i + d / 2);
}

class HeadsExchange : public ExportTest {
 protected:
  void SetUp() override {
    ExportTest::SetUp();
    write_model(root_ / "llama", heads_model(0));
  }
  Tensor stored(const std::string& directory, const std::string& name) const {
    return TensorFiles::open(root_ / directory).tensor(name);
  }
  // As a run keeps it: model.json, rows in our order.
  void keep_as_ours(const std::string& from, const std::string& to) {
    const LoadedModel loaded = load_model(root_ / from, {.precision = Precision::fp32, .training = true}, owned_.exec);
    make_directories(root_ / to);
    atomic_write(root_ / to / "model.json", model_config_to_json(loaded.transformer->config()));
    save_safetensors(root_ / to / "model.safetensors", model_tensors(loaded.transformer->parameters()), {});
  }
  void export_as(const std::string& from, const std::string& to, const std::string& dtype) {
    const ExportSource source(open_model(root_ / from));
    run(source, plan_hf(source, {dtype}), to);
  }
};

const char* const kQ = "model.layers.1.self_attn.q_proj.weight";
const char* const kK = "model.layers.1.self_attn.k_proj.weight";
const char* const kV = "model.layers.1.self_attn.v_proj.weight";

TEST_F(HeadsExchange, RowsOfQueriesAndKeysTurnInPairsAndThoseOfValuesStay) {
  const LoadedModel loaded = load_model(
      root_ / "llama", {.precision = Precision::fp32, .unrecorded_form = AttentionForm::absorbed}, owned_.exec);
  const auto ours = [&](const char* name) { return loaded.transformer->parameter(name).value.plain; };
  expect_rows_in_our_order(ours("layers.1.attention.q"), stored("llama", kQ), 6);
  expect_rows_in_our_order(ours("layers.1.attention.k"), stored("llama", kK), 6);
  for (int64_t i = 0; i < stored("llama", kV).count(); ++i)
    EXPECT_EQ(element(ours("layers.1.attention.v"), i), element(stored("llama", kV), i));
}

TEST_F(HeadsExchange, AnExportGoesBackToTheirOrderInEveryType) {
  keep_as_ours("llama", "ours");
  expect_rows_in_our_order(stored("ours", kQ), stored("llama", kQ), 6);
  export_as("ours", "again", "fp32");
  for (const std::string& name : TensorFiles::open(root_ / "llama").names()) {
    const Tensor a = stored("llama", name), b = stored("again", name);
    ASSERT_EQ(a.shape(), b.shape()) << name;
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), size_t(a.bytes())), 0) << name;
  }
  export_as("ours", "narrow", "bf16");
  export_as("llama", "narrow of theirs", "bf16");
  export_as("ours", "codes", "fp8");
  export_as("llama", "codes of theirs", "fp8");
  for (const char* to : {"narrow", "codes"}) EXPECT_EQ(contents(to), contents(std::string(to) + " of theirs")) << to;
  // FP8 blocks go across heads: dequantised first, then put in order.
  const LoadedModel loaded = load_model(root_ / "codes", {.precision = Precision::fp32}, owned_.exec);
  const Tensor k = loaded.transformer->parameter("layers.1.attention.k").value.plain;
  expect_rows_in_our_order(k, stored("llama", kK), 6, 0.02);
}

TEST_F(HeadsExchange, ConfigurationsComeBackFromTheirClasses) {
  for (const int64_t experts : {0, 4}) {
    for (const bool grouped : {true, false}) {
      HfConfig config;
      config.model = heads_model(experts);
      if (!grouped) config.model.attention = AttentionKind::mha, config.model.n_kv_heads = 0;
      config.model.yarn.factor = 4, config.model.yarn.mscale = 0.7;
      const std::string text = hf_config_to_json(config);
      const HfConfig read = hf_config_from_json(text, "config.json");
      EXPECT_EQ(read.model_type, experts > 0 ? "glm4_moe" : "llama");
      EXPECT_TRUE(read.half_split);
      if (experts == 0) {  // what Llama's class does not know stays as by default
        config.model.expert_ffn_size = read.model.expert_ffn_size, config.model.routed_scale = read.model.routed_scale;
        config.model.n_experts_per_token = read.model.n_experts_per_token;
      }
      EXPECT_EQ(model_config_to_json(read.model), model_config_to_json(config.model)) << text;
    }
  }
}

TEST_F(HeadsExchange, RefusesByNameWhatNoClassHas) {
  const auto obstacle = [](int64_t experts, auto change) {
    ModelConfig m = heads_model(experts);
    change(m);
    return hf_config_obstacle(m);
  };
  const auto nothing = [](ModelConfig&) {};
  EXPECT_EQ(obstacle(0, nothing), "");
  EXPECT_EQ(obstacle(4, nothing), "");
  const auto mtp = [](ModelConfig& m) { m.n_mtp = 1; };
  EXPECT_NE(obstacle(0, mtp).find("model.n_mtp = 1 with model.attention = \"gqa\""), std::string::npos);
  EXPECT_NE(obstacle(4, mtp).find("Glm4MoeForCausalLM"), std::string::npos);
  EXPECT_NE(obstacle(0, [](ModelConfig& m) { m.hidden_size = 30; }).find("model.hidden_size = 30"), std::string::npos);
  EXPECT_NE(obstacle(4, [](ModelConfig& m) { m.score_function = ScoreFunction::softmax; }).find("\"sigmoid\""),
            std::string::npos);
  EXPECT_NE(obstacle(4, [](ModelConfig& m) { m.selection_bias = false; }).find("selection_bias = false"),
            std::string::npos);
  EXPECT_NE(obstacle(4, [](ModelConfig& m) { m.n_groups = 2, m.group_score = GroupScore::max; }).find("\"max\""),
            std::string::npos);
  const ExportSource source(open_model(root_ / "llama"));
  EXPECT_ERROR(plan_gguf(source, {"bf16"}, nullptr, "x"), ErrorKind::unsupported, "model.attention = \"gqa\"", "GGUF");
}

TEST_F(HeadsExchange, RefusesFilesThatSayWhatItHasNot) {
  const auto refusal = [](int64_t experts, const std::string& from, const std::string& to) {
    HfConfig config;
    config.model = heads_model(experts);
    std::string text = hf_config_to_json(config);
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
      text.replace(at, from.size(), to);
    try {
      hf_config_from_json(text, "config.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(refusal(4, "\"use_qk_norm\": false", "\"use_qk_norm\": true").find("use_qk_norm"), std::string::npos);
  EXPECT_NE(refusal(0, "\"attention_bias\": false", "\"attention_bias\": true").find("bias vector"), std::string::npos);
  EXPECT_NE(refusal(4, "\"partial_rotary_factor\": 1.0", "\"partial_rotary_factor\": 0.5").find("as a whole (1)"),
            std::string::npos);
  EXPECT_NE(refusal(4, "\"partial_rotary_factor\"", "\"another\"").find("partial_rotary_factor is missing"),
            std::string::npos);
  EXPECT_EQ(refusal(0, "\"partial_rotary_factor\"", "\"another\""), "accepted");
  EXPECT_NE(refusal(0, "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3").find("num_key_value_heads = 3"),
            std::string::npos);
  EXPECT_NE(refusal(0, "\"head_dim\": 6", "\"head_dim\": 7").find("head_dim = 7"), std::string::npos);
}

}  // namespace
}  // namespace hadal
