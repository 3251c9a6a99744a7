// Stored tensors become the parameters they should: stacked, fused, FP8, copied by MTP modules. What does not fit is
// refused by name before anything is read.
#include "exchange/hf_weights.h"

#include <cmath>
#include <limits>

#include "base/float_formats.h"
#include "exchange/hf_directory.h"

namespace hadal {
namespace {

const std::string kExpert = "model.layers.1.mlp.experts.";

class HfWeightsTest : public testing::HfDirectory {
 protected:
  struct Fp8 {
    Tensor codes, scales, values;
  };
  // Every code once or more, and scales of all sizes; `values` by the definition, in double.
  Fp8 fp8(const Shape& shape, DType scale_dtype = DType::f32) {
    Fp8 w{Tensor::empty(owned_.exec, DType::f8_e4m3, shape),
          Tensor::empty(owned_.exec, scale_dtype, scale_shape(shape, {})),
          Tensor::empty(owned_.exec, DType::f64, shape)};
    for (int64_t i = 0; i < w.scales.count(); ++i)
      set_element(w.scales, i, scale_dtype == DType::f32 ? 0.0123 * double(1 + i) : std::ldexp(1.0, int(i) - 6));
    for (int64_t i = 0; i < w.codes.count(); ++i) {
      uint8_t bits = uint8_t(i * 37 + i / shape[1]);
      if ((bits & 0x7f) == 0x7f) bits = 0;
      static_cast<uint8_t*>(w.codes.raw())[i] = bits;
      const int64_t block = i / shape[1] / 128 * w.scales.cols() + i % shape[1] / 128;
      set_element(w.values, i, element(w.codes, i) * element(w.scales, block));
    }
    return w;
  }
  void put_fp8(const std::string& name, const Fp8& w) {
    config_.fp8 = true;
    tensors_[name] = w.codes;
    tensors_[name + "_scale_inv"] = w.scales;
  }
};

TEST_F(HfWeightsTest, EveryParameterIsReadInEveryType) {
  for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (auto& [name, tensor] : tensors_) tensor = tensor.to(owned_.exec, dtype);
    write(2);
    const auto from = open_model(root_);
    EXPECT_TRUE(from.hugging_face);
    EXPECT_TRUE(
        same(read(from, "layers.1.attention.kv_b", DType::f64), tensors_["model.layers.1.self_attn.kv_b_proj.weight"]));
    EXPECT_TRUE(same(read(from, "layers.2.mtp.projection", DType::f64), tensors_["model.layers.2.eh_proj.weight"]));
    for (const char* part : {"gate", "up", "down"}) {
      const Tensor stacked = read(from, std::string("layers.1.moe.experts.") + part, DType::f64);
      for (int e = 0; e < 4; ++e)
        EXPECT_TRUE(same(stacked.slice(e), tensors_[kExpert + std::to_string(e) + "." + part + "_proj.weight"]))
            << part;
    }
    EXPECT_EQ(from.precision, dtype == DType::f64    ? Precision::fp64
                              : dtype == DType::bf16 ? Precision::bf16
                                                     : Precision::fp32);
    std::filesystem::remove_all(root_);
    std::filesystem::create_directory(root_);
  }
}

TEST_F(HfWeightsTest, LargeTensorsAreReadInPiecesByManyThreads) {
  config_.model.vocab_size = 9000;
  config_.model.hidden_size = 96;
  config_.model.n_mtp = 0;
  fill();
  tensors_["lm_head.weight"] = tensors_["lm_head.weight"].to(owned_.exec, DType::bf16);
  write();
  const auto from = open_model(root_);
  EXPECT_TRUE(same(read(from, "embedding"), tensors_["model.embed_tokens.weight"]));
  EXPECT_TRUE(same(read(from, "head"), tensors_["lm_head.weight"]));
}

TEST_F(HfWeightsTest, FusedExpertsAreSplit) {
  const int64_t experts = 4, width = 10, hidden = 24;
  Tensor gate_up = Tensor::empty(owned_.exec, DType::f32, {experts, 2 * width, hidden});
  Tensor down = Tensor::empty(owned_.exec, DType::f32, {experts, hidden, width});
  std::map<std::string, Tensor> apart;
  for (int64_t e = 0; e < experts; ++e) {
    for (const char* part : {"gate", "up", "down"}) {
      const std::string name = kExpert + std::to_string(e) + "." + part + "_proj.weight";
      apart[name] = tensors_[name];
      tensors_.erase(name);
    }
    const auto of = [&](const char* part) { return apart[kExpert + std::to_string(e) + "." + part + "_proj.weight"]; };
    gate_up.slice(e).row_range(0, width).copy_from(of("gate"));
    gate_up.slice(e).row_range(width, width).copy_from(of("up"));
    down.slice(e).copy_from(of("down"));
  }
  tensors_[kExpert + "gate_up_proj"] = gate_up;
  tensors_[kExpert + "down_proj"] = down;
  write();
  const auto from = open_model(root_);
  for (const char* part : {"gate", "up", "down"}) {
    const Tensor stacked = read(from, std::string("layers.1.moe.experts.") + part);
    for (int e = 0; e < 4; ++e)
      EXPECT_TRUE(same(stacked.slice(e), apart[kExpert + std::to_string(e) + "." + part + "_proj.weight"]))
          << part << e;
  }
  tensors_[kExpert + "gate_up_proj"] = random({experts, width, hidden}, 5);
  write();
  refused(ErrorKind::corrupt, {"gate_up_proj", "[4, 10, 24]", "[4, 20, 24]"});
}

TEST_F(HfWeightsTest, Fp8BlocksAreDequantisedExactlyWithPartialBlocksAtTheEdges) {
  config_.model.hidden_size = 140;
  fill();
  for (DType scale : {DType::f32, DType::f8_e8m0}) {
    const auto gate = fp8({150, 140}, scale), expert = fp8({10, 140}, scale);
    put_fp8("model.layers.0.mlp.gate_proj.weight", gate);
    put_fp8(kExpert + "2.up_proj.weight", expert);
    write();
    const auto from = open_model(root_);
    EXPECT_TRUE(same(read(from, "layers.0.ffn.gate", DType::f64), gate.values));  // no rounding at all
    const Tensor single = read(from, "layers.0.ffn.gate");
    const Tensor narrow = read(from, "layers.0.ffn.gate", DType::bf16);
    const Tensor stacked = read(from, "layers.1.moe.experts.up");
    for (int64_t i = 0; i < gate.values.count(); ++i) {
      ASSERT_EQ(element(single, i), double(float(element(gate.values, i)))) << i;
      ASSERT_EQ(element(narrow, i), double(float(bf16(float(element(gate.values, i)))))) << i;
    }
    for (int64_t i = 0; i < expert.values.count(); ++i)
      ASSERT_EQ(element(stacked.slice(2), i), double(float(element(expert.values, i)))) << i;
    EXPECT_TRUE(same(stacked.slice(1), tensors_[kExpert + "1.up_proj.weight"]));
  }
}

TEST_F(HfWeightsTest, ACodeThatIsNotANumberStaysOne) {
  Tensor codes = Tensor::zeros(owned_.exec, DType::f8_e4m3, {1, 3}),
         out = Tensor::zeros(owned_.exec, DType::f32, {1, 3});
  static_cast<uint8_t*>(codes.raw())[1] = 0x7f;
  static_cast<uint8_t*>(codes.raw())[2] = 0xff;
  dequantise_blocks(owned_.exec, codes, Tensor::from<float>(owned_.exec, {2}, {1, 1}), out);
  EXPECT_EQ(element(out, 0), 0);
  EXPECT_TRUE(std::isnan(element(out, 1)) && std::isnan(element(out, 2)));
}

TEST_F(HfWeightsTest, BadScalesAreRefusedByName) {
  const std::string name = "model.layers.0.mlp.gate_proj.weight", scale = name + "_scale_inv";
  const auto good = fp8({150, 24});
  put_fp8(name, good);
  for (float bad : {0.f, -0.f, -1.f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    tensors_[scale] = Tensor::from<float>(owned_.exec, {1, bad}, {2, 1});
    write();
    refused(ErrorKind::corrupt, {"'" + scale + "'", "block [1, 0]", "finite number above zero"});
  }
  Tensor nan = Tensor::empty(owned_.exec, DType::f8_e8m0, {2, 1});
  static_cast<uint8_t*>(nan.raw())[0] = 0xff;
  static_cast<uint8_t*>(nan.raw())[1] = 127;
  tensors_[scale] = nan;
  write();
  refused(ErrorKind::corrupt, {"'" + scale + "'", "block [0, 0]", "not a number"});
  tensors_[scale] = Tensor::from<float>(owned_.exec, {1, 1, 1}, {3, 1});
  write();
  refused(ErrorKind::corrupt, {"'" + scale + "'", "[3, 1]", "[2, 1]", "128 x 128"});
  tensors_[scale] = random({2, 1}, 3, DType::f16);
  write();
  refused(ErrorKind::unsupported, {"'" + scale + "'", "F16"});
  tensors_.erase(scale);
  write();
  refused(ErrorKind::corrupt, {"'" + scale + "' is missing", "needs its scales"});
  put_fp8(name, good);
  config_.fp8 = false;
  write();
  refused(ErrorKind::corrupt, {"'" + name + "'", "quantization_config"});
  tensors_[name] = random({150, 24}, 4);
  config_.fp8 = true;
  write();
  refused(ErrorKind::corrupt, {"'" + scale + "' holds scales", "F32"});
}

TEST_F(HfWeightsTest, MissingSurplusAndMisshapenTensorsAreNamed) {
  const auto good = tensors_;
  tensors_.erase("model.layers.1.mlp.experts.3.down_proj.weight");
  write();
  refused(ErrorKind::corrupt, {"'model.layers.1.mlp.experts.3.down_proj.weight' is missing"});
  tensors_.erase("lm_head.weight");
  write();
  refused(ErrorKind::corrupt, {"'lm_head.weight' is missing", "and 1 more"});
  tensors_ = good;
  tensors_["model.layers.0.self_attn.q_a_proj.bias"] = random({12}, 1);
  write();
  refused(ErrorKind::corrupt, {"'model.layers.0.self_attn.q_a_proj.bias' has no place"});
  tensors_ = good;
  tensors_["model.layers.0.self_attn.o_proj.weight"] = random({16, 24}, 1);
  write();
  refused(ErrorKind::corrupt, {"'model.layers.0.self_attn.o_proj.weight'", "[16, 24]", "[24, 16]"});
  tensors_ = good;
  tensors_["model.norm.weight"] = Tensor::zeros(owned_.exec, DType::i32, {24});
  write();
  refused(ErrorKind::unsupported, {"'model.norm.weight' is I32"});
  tensors_ = good;
  tensors_["model.layers.7.input_layernorm.weight"] = random({24}, 1);
  write();
  refused(ErrorKind::corrupt, {"'model.layers.7.input_layernorm.weight' belongs to layer 7", "num_hidden_layers = 2",
                               "num_nextn_predict_layers = 1"});
}

TEST_F(HfWeightsTest, OldRotaryBuffersAreKnown) {
  tensors_["model.layers.0.self_attn.rotary_emb.inv_freq"] = random({2}, 1);
  write();
  const auto notices = open_model(root_).notices();
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_NE(notices[0].find("inv_freq"), std::string::npos);
}

TEST_F(HfWeightsTest, CopiesInMtpModulesMustBeCopies) {
  tensors_["model.layers.2.embed_tokens.weight"] = tensors_["model.embed_tokens.weight"];
  tensors_["model.layers.2.shared_head.head.weight"] = tensors_["lm_head.weight"];
  write();
  const auto from = open_model(root_);
  EXPECT_EQ(from.config.model.n_mtp, 1);
  EXPECT_EQ(from.weights->copies(),
            (std::map<std::string, std::string>{{"model.layers.2.embed_tokens.weight", "model.embed_tokens.weight"},
                                                {"model.layers.2.shared_head.head.weight", "lm_head.weight"}}));
  Tensor other = tensors_["lm_head.weight"].clone(owned_.exec);
  set_element(other, 49 * 24 + 23, 0.5);
  tensors_["model.layers.2.shared_head.head.weight"] = other;
  write();
  refused(ErrorKind::corrupt,
          {"'model.layers.2.shared_head.head.weight'", "must equal 'lm_head.weight'", "it does not"});
  tensors_["model.layers.2.shared_head.head.weight"] = tensors_["lm_head.weight"].to(owned_.exec, DType::bf16);
  write();
  refused(ErrorKind::corrupt, {"(BF16 [50, 24])", "(F32 [50, 24])"});
}

TEST_F(HfWeightsTest, AClaimOfMtpWithoutTensorsIsDroppedWithANotice) {
  for (auto it = tensors_.begin(); it != tensors_.end();)
    it = it->first.rfind("model.layers.2.", 0) == 0 ? tensors_.erase(it) : std::next(it);
  write();
  const auto from = open_model(root_);
  EXPECT_EQ(from.config.model.n_mtp, 0);
  EXPECT_EQ(read_model_config(root_).n_mtp, 0);
  ASSERT_EQ(from.notices().size(), 1u);
  EXPECT_NE(from.notices()[0].find("num_nextn_predict_layers = 1"), std::string::npos);
  tensors_["model.layers.2.enorm.weight"] = random({24}, 1);  // a part of it is another matter
  write();
  refused(ErrorKind::corrupt, {"'model.layers.2.", "is missing"});
}

TEST_F(HfWeightsTest, MtpTensorsThatTheConfigurationDoesNotClaimAreRefused) {
  write();
  config_.model.n_mtp = 0;
  atomic_write(root_ / "config.json", hf_config_to_json(config_));
  refused(ErrorKind::corrupt, {"belongs to layer 2", "num_nextn_predict_layers = 0"});
}

TEST_F(HfWeightsTest, ATiedHeadMayBeStoredIfItIsTheEmbedding) {
  config_.model.tie_embeddings = true;
  fill();
  write();
  EXPECT_TRUE(open_model(root_).weights->copies().empty());
  tensors_["lm_head.weight"] = tensors_["model.embed_tokens.weight"];
  tensors_["model.layers.2.shared_head.head.weight"] = tensors_["model.embed_tokens.weight"];
  write();
  EXPECT_EQ(open_model(root_).weights->copies().size(), 2u);
  tensors_["lm_head.weight"] = random({50, 24}, 9);
  write();
  refused(ErrorKind::corrupt, {"'lm_head.weight'", "tie_word_embeddings"});
}

TEST_F(HfWeightsTest, ViewsAreTheMappedFileWhereTypeAndPlaceAllow) {
  write();
  const auto from = open_model(root_);
  int64_t views = 0;
  for (const auto& spec : from.parameters) {
    const Tensor view = from.weights->view(spec, DType::f32);
    EXPECT_FALSE(bool(from.weights->view(spec, DType::bf16))) << spec.name;
    EXPECT_EQ(bool(view), spec.kind != ParameterKind::routed_expert) << spec.name;
    if (!view) continue;
    ++views;
    EXPECT_EQ(view.raw(), from.files->tensor(spec.hf_name).raw());
  }
  EXPECT_GT(views, 20);
}

TEST_F(HfWeightsTest, SafetensorsWithoutAConfigurationAreNoModel) {
  write();
  std::filesystem::remove(root_ / "config.json");
  refused(ErrorKind::not_found, {"config.json", "model.json"});
}

}  // namespace
}  // namespace hadal
