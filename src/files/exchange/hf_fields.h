// Reading single keys of a config.json with errors that name the key, its value and what would be right. Private to the
// room.
#pragma once
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "exchange/hf_config.h"

namespace hadal {

class HfFields {
 public:
  static constexpr int64_t kMaxSize = (int64_t(1) << 31) - 1;

  // path: "" for the document, "rope_scaling." inside it.
  HfFields(const nlohmann::ordered_json& object, const std::string& where, std::string path = "");

  bool has(const char* key) const;  // present and not null
  bool contains(const char* key) const { return object_.contains(key); }
  const nlohmann::ordered_json& at(const char* key) const { return object_.at(key); }

  std::optional<int64_t> whole(const char* key, int64_t low, int64_t high = kMaxSize) const;
  std::optional<double> number(const char* key) const;  // finite
  std::optional<bool> truth(const char* key) const;
  std::optional<std::string> text(const char* key) const;
  int64_t size(const char* key, int64_t low = 1) const;  // required
  // Where the key stands its value must be there too: null has no meaning for it.
  void refuse_null(const char* key, const std::string& right) const {
    if (contains(key) && !has(key)) wrong(key, right + ", or absent");
  }
  std::vector<int64_t> ids(const char* key) const;  // an id, a list of ids, or nothing
  HfFields section(const char* key) const;          // must be an object

  std::string shown(const char* key) const;  // "config.json: rope_scaling.factor = 0.5"
  [[noreturn]] void wrong(const char* key, const std::string& right) const;
  [[noreturn]] void unsupported(const char* key, const std::string& why) const;
  const std::string& where() const { return where_; }
  const std::string& path() const { return path_; }

 private:
  const nlohmann::ordered_json& object_;
  const std::string& where_;
  std::string path_;
};

// Llama's attention (hf_heads.cpp): its sizes; what of such a model no class of transformers has; its keys.
void read_hf_heads(const HfFields& fields, ModelConfig& model);
void check_hf_heads(const ModelConfig& model);
void write_hf_heads(const ModelConfig& model, nlohmann::ordered_json& json);

void read_hf_rope(const HfFields& fields, HfConfig& config);  // needs model.max_positions
void write_hf_rope(const ModelConfig& model, nlohmann::ordered_json& json);
void check_hf_keys(const HfFields& fields, const nlohmann::ordered_json& json,
                   HfConfig& config);  // notices for what is not used

}  // namespace hadal
