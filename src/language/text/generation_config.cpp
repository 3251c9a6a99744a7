#include "text/generation_config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void wrong(const std::string& key, const Json& value, const std::string& right) {
  fail(ErrorKind::corrupt, "generation_config.json: \"{}\" is {}, not {}", key, json_text(value).substr(0, 100), right);
}

int64_t whole(const std::string& key, const Json& value, int64_t least, int64_t most) {
  const bool in_range =
      value.is_number_integer() &&
      !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max())) &&
      value.get<int64_t>() >= least && value.get<int64_t>() <= most;
  if (!in_range) wrong(key, value, fmt::format("a whole number in {} .. {}", least, most));
  return value.get<int64_t>();
}

double real(const std::string& key, const Json& value, double least, double most) {
  const bool in_range = value.is_number() && value.get<double>() >= least && value.get<double>() <= most;
  if (!in_range) wrong(key, value, fmt::format("a number in {} .. {}", least, most));
  return value.get<double>();
}

constexpr int64_t kMostId = std::numeric_limits<int32_t>::max(), kMost = int64_t(1) << 40;

std::vector<int32_t> ids(const std::string& key, const Json& value) {
  std::vector<int32_t> out;
  if (!value.is_array()) {
    out.push_back(int32_t(whole(key, value, 0, kMostId)));
    return out;
  }
  for (const Json& one : value) out.push_back(int32_t(whole(key, one, 0, kMostId)));
  return out;
}

std::vector<std::string> strings(const std::string& key, const Json& value) {
  std::vector<std::string> out;
  const auto take = [&](const Json& one) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty()) wrong(key, value, "a text or a list of texts");
    out.push_back(one.get<std::string>());
  };
  if (!value.is_array()) {
    take(value);
  } else {
    for (const Json& one : value) take(one);
  }
  return out;
}

// Whether the key changes no text: it never does, or its value is the one that switches it off.
bool changes_nothing(const std::string& key, const Json& value) {
  for (const char* name :
       {"transformers_version", "_from_model_config", "use_cache", "return_dict_in_generate", "num_return_sequences",
        "early_stopping", "compile_config", "disable_compile", "trust_remote_code"})
    if (key == name) return true;
  if (key.rfind("output_", 0) == 0 || key.rfind("cache_", 0) == 0 || key.rfind("_", 0) == 0) return true;
  const std::pair<const char*, double> off[] = {{"num_beams", 1},
                                                {"num_beam_groups", 1},
                                                {"typical_p", 1},
                                                {"epsilon_cutoff", 0},
                                                {"eta_cutoff", 0},
                                                {"length_penalty", 1},
                                                {"no_repeat_ngram_size", 0},
                                                {"encoder_no_repeat_ngram_size", 0},
                                                {"diversity_penalty", 0},
                                                {"encoder_repetition_penalty", 1},
                                                {"min_length", 0},
                                                {"guidance_scale", 1}};
  for (const auto& [name, neutral] : off)
    if (key == name) return value.is_number() && value.get<double>() == neutral;
  const bool says_no = value.is_boolean() && !value.get<bool>();
  return says_no || (value.is_array() && value.empty());
}

// Whether this key is ours; its value is read.
bool read_key(const std::string& key, const Json& value, GenerationConfig& config) {
  if (key == "bos_token_id") {
    config.bos_ids = ids(key, value);
  } else if (key == "eos_token_id") {
    config.eos_ids = ids(key, value);
  } else if (key == "pad_token_id") {
    if (!(value.is_number_integer() && value == -1))
      config.pad_id = int32_t(whole(key, value, 0, kMostId));  // -1: none
  } else if (key == "do_sample") {
    if (!value.is_boolean()) wrong(key, value, "true or false");
    config.do_sample = value.get<bool>();
  } else if (key == "temperature") {
    config.temperature = real(key, value, 0, 1e6);
  } else if (key == "top_p") {
    config.top_p = real(key, value, 0, 1);
  } else if (key == "min_p") {
    config.min_p = real(key, value, 0, 1);
  } else if (key == "repetition_penalty") {
    config.repetition_penalty = real(key, value, 1e-6, 1e6);
  } else if (key == "top_k") {
    config.top_k = whole(key, value, 0, kMostId);
  } else if (key == "max_new_tokens") {
    config.max_new_tokens = whole(key, value, 1, kMost);
  } else if (key == "max_length") {
    config.max_length = whole(key, value, 1, kMost);
  } else if (key == "stop_strings") {
    config.stop_strings = strings(key, value);
  } else if (key == "suppress_tokens") {
    config.suppressed_ids = ids(key, value);
  } else {
    return changes_nothing(key, value);
  }
  return true;
}

}  // namespace

double GenerationConfig::sampling_temperature(double otherwise) const {
  if (do_sample && !*do_sample) return 0;
  return temperature.value_or(otherwise);
}

GenerationConfig read_generation_config(const std::string& text) {
  const Json json = parse_json<Json>(text, "generation_config.json", {.object = true});
  GenerationConfig config;
  for (const auto& [key, value] : json.items()) {
    if (value.is_null()) continue;
    if (!read_key(key, value, config)) config.unused.push_back(key);
  }
  return config;
}

std::optional<GenerationConfig> load_generation_config(const std::string& directory) {
  const std::filesystem::path path = std::filesystem::path(directory) / "generation_config.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    return read_generation_config(read_file(path));
  } catch (const Error& e) {
    fail(e.kind(), "'{}': {}", path.string(), e.what());
  }
}

}  // namespace hadal
