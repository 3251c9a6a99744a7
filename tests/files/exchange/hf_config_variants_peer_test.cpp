// Every key of every released config.json left out, set to null and changed, in both spellings where there are two:
// what Hadal reads is what transformers' class reads, or a refusal that names the key.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/testing.h"
#include "exchange/hf_config.h"
#include "exchange/hf_peer.h"
#include "exchange/hf_testing.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;
using testing::hf_seed;

constexpr const char* kReleased[] = {"deepseek_v2", "deepseek_v2_lite", "deepseek_v3", "moonlight", "kimi_k2"};

struct Variant {
  std::string what;    // "moonlight (new spelling): n_group left out"
  std::string key;     // of which an error must speak
  std::string change;  // "left out", "null", or the new value
  Json config;
};

// As transformers 5 writes the same file.
Json in_new_spelling(Json config) {
  const auto rename = [&](const char* from, const char* to) {
    if (!config.contains(from)) return;
    config[to] = config[from];
    config.erase(from);
  };
  rename("torch_dtype", "dtype");
  rename("num_nextn_predict_layers", "num_mtp_layers");
  Json rope = {{"rope_type", "default"}};
  if (config["rope_scaling"].is_object()) {
    rope = config["rope_scaling"];
    rope["rope_type"] = rope["type"];
    rope.erase("type");
  }
  rope["rope_theta"] = config["rope_theta"];
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["rope_parameters"] = rope;
  config["rope_interleave"] = true;
  return config;
}

// transformers' second name of a key.
Json by_second_names(Json config) {
  const bool v2 = config["model_type"] == "deepseek_v2";
  config[v2 ? "num_experts" : "num_local_experts"] = config["n_routed_experts"];
  config.erase("n_routed_experts");
  return config;
}

std::vector<Json> other_values(const Json& value) {
  if (value.is_boolean()) return {!value.get<bool>(), "yes", 2};
  if (value.is_number_integer()) return {value.get<int64_t>() + 1, value.get<int64_t>() * 2, 0, 1, -1, "7", 2.5};
  if (value.is_number()) return {value.get<double>() * 1.5, 0.0, -1.0, "7", false};
  if (value.is_string()) return {"something", "greedy", "default", "float32", 3};
  return {"something", 3};
}

// Variants of one key of one object of the file: `section` is `whole` or lies in it.
void add_key(const std::string& name, const Json& whole, const std::string& path, Json& section, const std::string& key,
             std::vector<Variant>& variants) {
  const Json before = section;
  const auto add = [&](const std::string& change) {
    variants.push_back({fmt::format("{}: {}{} {}", name, path, key, change), key, change, whole});
    section = before;
  };
  section.erase(key);
  add("left out");
  section[key] = nullptr;
  add("null");
  for (const Json& other : other_values(before[key])) {
    section[key] = other;
    add(json_text(other));
  }
}

void add_variants(const std::string& name, const Json& whole, const std::string& path, Json& section,
                  std::vector<Variant>& variants) {
  const Json before = section;
  for (const auto& item : before.items()) add_key(name, whole, path, section, item.key(), variants);
}

std::vector<Variant> all_variants() {
  std::vector<Variant> variants;
  for (const char* name : kReleased) {
    const Json released = parse_json<Json>(hf_seed(name), name);
    for (const char* spelling : {"released", "new", "second names"}) {
      const bool is_new = spelling == std::string("new"), second = spelling == std::string("second names");
      Json config = is_new ? in_new_spelling(released) : second ? by_second_names(released) : released;
      const std::string what = fmt::format("{} ({})", name, spelling);
      if (second) {
        add_key(what, config, "", config, config.contains("num_experts") ? "num_experts" : "num_local_experts",
                variants);
        continue;
      }
      variants.push_back({what, "", "as released", config});
      add_variants(what, config, "", config, variants);
      for (const char* section : {"rope_scaling", "rope_parameters"})
        if (config.contains(section) && config[section].is_object())
          add_variants(what, config, std::string(section) + ".", config[section], variants);
    }
  }
  return variants;
}

// Keys that no forward pass reads; their class minds their types.
bool without_effect(const std::string& key) {
  return key == "use_cache" || key == "pretraining_tp" || key == "attention_dropout" || key == "output_router_logits";
}

// Read here, an error there, on purpose.
bool their_class_is_stricter(const Variant& v, const std::string& error) {
  if (without_effect(v.key)) return true;
  if (error.find("is not a multiple of the number of attention") != std::string::npos) return true;  // V2's class alone
  if (v.change != "null") return false;
  // The released code takes these for "none", transformers' rotary code the last for the ratio of both contexts.
  for (const char* key : {"attention_bias", "n_routed_experts", "num_experts", "num_local_experts", "n_shared_experts",
                          "num_mtp_layers", "factor"})
    if (v.key == key) return true;
  return false;
}

// What the class makes of a key that is left out or null, where Hadal means something else on purpose.
void put_our_reading(const Variant& v, const HfConfig& config, nlohmann::json& said) {
  const bool left_out = v.change == "left out", none = left_out || v.change == "null";
  if (left_out && (v.key == "bos_token_id" || v.key == "eos_token_id")) said[v.key] = nullptr;  // the tokenizer knows
  if (none && (v.key == "torch_dtype" || v.key == "dtype")) said["dtype"] = config.dtype;       // the tensors know
  if (left_out && v.key == "num_key_value_heads") said[v.key] = config.model.n_heads;           // not V3's 128
  if (said["norm_topk_prob"].is_null()) said["norm_topk_prob"] = false;
  if (said["mtp"].is_null()) said["mtp"] = 0;
  if (config.model.n_routed_experts == 0) said["first_k_dense_replace"] = config.model.n_dense_layers;
  for (const std::string& notice : config.notices)  // the released code counts
    if (notice.find("transformers multiplies by") != std::string::npos)
      said["rope_multiplier"] = rope_multiplier(config.model);
}

// An error may speak of the key that no longer fits to the changed one.
bool speaks_of(const std::string& error, const Variant& v) {
  const std::map<std::string, std::string> partners = {
      {"n_group", "topk_group"}, {"num_experts", "n_routed_experts"}, {"num_local_experts", "n_routed_experts"}};
  const auto partner = partners.find(v.key);
  return error.find(v.key) != std::string::npos ||
         (partner != partners.end() && error.find(partner->second) != std::string::npos);
}

struct Read {
  Variant variant;
  HfConfig config;
};

// The variants that Hadal reads; the others are refused by name.
std::vector<Read> read_all(const std::vector<Variant>& variants) {
  std::vector<Read> read;
  for (const Variant& v : variants) {
    try {
      read.push_back({v, hf_config_from_json(json_text(v.config), "config.json")});
    } catch (const Error& error) {
      EXPECT_TRUE(v.key != "" && speaks_of(error.what(), v)) << v.what << ": " << error.what();
    }
  }
  return read;
}

TEST(HfConfigVariants, MeanWhatTheirClassSaysOrAreRefusedByName) {
  const std::vector<Variant> variants = all_variants();
  const std::vector<Read> read = read_all(variants);
  EXPECT_GT(variants.size(), 3000u);
  EXPECT_GT(read.size(), 1000u);
  testing::TempDir directory;
  std::string lines;
  for (const Read& one : read) lines += json_text(one.variant.config) + "\n";
  atomic_write(directory / "configs.jsonl", lines);
  const std::string root = HADAL_SOURCE_DIR;
  const std::string command = fmt::format(
      "'{0}/.venv/bin/python' '{0}/tests/oracle/hf_config_peer.py' say '{1}/configs.jsonl' '{1}/said.jsonl'", root,
      directory.path());
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  std::ifstream file(directory / "said.jsonl");
  size_t n = 0;
  for (std::string line; std::getline(file, line); ++n) {
    ASSERT_LT(n, read.size());
    const auto& [v, config] = read[n];
    SCOPED_TRACE(v.what);
    auto said = parse_json<nlohmann::json>(line, "a line");
    if (said.contains("error")) {
      EXPECT_TRUE(their_class_is_stricter(v, said["error"])) << "read, but their class says " << said["error"];
      continue;
    }
    put_our_reading(v, config, said);
    testing::expect_same(config, said);
  }
  EXPECT_EQ(n, read.size());
}

}  // namespace
}  // namespace hadal
