// Keys of config.json that are left out or null: the family's default, or a refusal that names the key; second names.
// Every key against transformers: hf_config_variants_peer_test.cpp.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "exchange/hf_config.h"
#include "exchange/hf_testing.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

Json seed(const std::string& name) { return parse_json<Json>(testing::hf_seed(name), name); }

HfConfig read(const Json& json) { return hf_config_from_json(json_text(json), "config.json"); }

HfConfig without(const std::string& name, std::initializer_list<const char*> keys) {
  Json json = seed(name);
  for (const char* key : keys) json.erase(key);
  return read(json);
}

HfConfig with(const std::string& name, const char* key, const Json& value) {
  Json json = seed(name);
  json[key] = value;
  return read(json);
}

template <class Call>
void refused(const Call& call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "read, but should be refused for " << part;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(HfConfigDefaults, OfGroupsAreThoseOfTheClassAndNotOne) {
  const ModelConfig v3 = without("deepseek_v3", {"n_group", "topk_group"}).model;
  EXPECT_EQ(v3.n_groups, 8);
  EXPECT_EQ(v3.n_limited_groups, 4);
  EXPECT_EQ(without("moonlight", {"n_group"}).model.n_groups, 8);
  EXPECT_EQ(without("deepseek_v2_lite", {"n_group", "topk_group"}).model.n_groups, 1);  // "greedy" has none
  refused([] { without("moonlight", {"topk_group"}); }, "topk_group = 4 must lie in 1 .. 1");
  Json uneven = seed("moonlight");
  uneven.erase("n_group");
  uneven["n_routed_experts"] = 60;
  refused([&] { read(uneven); }, "n_group is not in the file: this is its class's default");
  Json shallow = seed("deepseek_v3");
  shallow.erase("first_k_dense_replace");
  shallow["num_hidden_layers"] = 2;
  refused([&] { read(shallow); }, "first_k_dense_replace = 3 (left out: the class's default)");
  refused([] { without("deepseek_v2", {"n_group"}); }, "n_group is missing");
  refused([] { with("deepseek_v3", "n_group", nullptr); }, "n_group = null");
}

TEST(HfConfigDefaults, AreAskedForWhereTheFamilysClassesDiffer) {
  for (const char* name : {"deepseek_v3", "deepseek_v2", "moonlight"})
    refused([&] { without(name, {"n_shared_experts"}); }, "n_shared_experts is missing");
  EXPECT_EQ(with("deepseek_v2", "n_shared_experts", nullptr).model.n_shared_experts, 0);
}

TEST(HfConfigDefaults, NullIsFalseWhereTheClassAsksForTruth) {
  EXPECT_TRUE(without("deepseek_v3", {"norm_topk_prob"}).model.normalize_top_k);
  EXPECT_FALSE(with("deepseek_v3", "norm_topk_prob", nullptr).model.normalize_top_k);
  refused([] { with("deepseek_v3", "rope_interleave", nullptr); }, "rope_interleave = null");
}

TEST(HfConfigDefaults, NullIsRefusedWhereItMeansNothing) {
  for (const char* key : {"tie_word_embeddings", "hidden_act", "rms_norm_eps", "initializer_range",
                          "routed_scaling_factor", "rope_theta", "first_k_dense_replace"})
    refused([&] { with("deepseek_v3", key, nullptr); }, std::string(key) + " = null");
  refused([] { with("deepseek_v2", "topk_method", nullptr); }, "topk_method = null");
  Json json = seed("deepseek_v3");
  json["rope_scaling"]["type"] = nullptr;  // would leave its factor without effect
  refused([&] { read(json); }, "rope_scaling.type = null");
  json = seed("transformers_v3");
  json["rope_parameters"]["rope_theta"] = nullptr;
  refused([&] { read(json); }, "rope_parameters.rope_theta = null");
}

TEST(HfConfigDefaults, V3HasOneMtpModuleWhereNothingIsSaid) {
  const HfConfig unsaid = without("deepseek_v3", {"num_nextn_predict_layers"});
  EXPECT_EQ(unsaid.model.n_mtp, 1);
  EXPECT_FALSE(unsaid.mtp_stated);
  EXPECT_EQ(with("deepseek_v3", "num_nextn_predict_layers", nullptr).model.n_mtp, 0);
  EXPECT_EQ(without("deepseek_v2", {"num_nextn_predict_layers"}).model.n_mtp, 0);
}

TEST(HfConfigDefaults, ExpertsMayGoByTransformersSecondName) {
  Json v3 = seed("deepseek_v3"), v2 = seed("deepseek_v2");
  v3["num_local_experts"] = v3["n_routed_experts"];
  v2["num_experts"] = v2["n_routed_experts"];
  EXPECT_EQ(read(v3).model.n_routed_experts, 256);  // both names, one number
  v3.erase("n_routed_experts");
  v2.erase("n_routed_experts");
  EXPECT_EQ(read(v3).model.n_routed_experts, 256);
  EXPECT_EQ(read(v2).model.n_routed_experts, 160);
  EXPECT_TRUE(read(v2).notices.empty());
  refused([] { with("deepseek_v3", "num_local_experts", 64); },
          "n_routed_experts = 256 contradicts num_local_experts = 64");
  refused([] { with("deepseek_v3", "num_experts", 256); }, "num_experts = 256");  // V2's second name
}

}  // namespace
}  // namespace hadal
