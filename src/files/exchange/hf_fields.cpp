#include "exchange/hf_fields.h"

#include <cmath>

#include "base/error.h"
#include "base/json.h"

namespace hadal {

using nlohmann::ordered_json;

HfFields::HfFields(const ordered_json& object, const std::string& where, std::string path)
    : object_(object), where_(where), path_(std::move(path)) {}

bool HfFields::has(const char* key) const {
  const auto it = object_.find(key);
  return it != object_.end() && !it->is_null();
}

std::string HfFields::shown(const char* key) const {
  std::string value = json_text(object_.at(key), {.lossy = true});
  if (value.size() > 120) value.replace(117, std::string::npos, "...");
  return fmt::format("{}: {}{} = {}", where_, path_, key, value);
}

void HfFields::wrong(const char* key, const std::string& right) const {
  fail(ErrorKind::invalid, "{} must be {}", shown(key), right);
}

void HfFields::unsupported(const char* key, const std::string& why) const {
  fail(ErrorKind::unsupported, "{} is not supported: {}", shown(key), why);
}

std::optional<int64_t> HfFields::whole(const char* key, int64_t low, int64_t high) const {
  if (!has(key)) return std::nullopt;
  const auto& json = object_.at(key);
  const std::string right = fmt::format("a whole number in {} .. {}", low, high);
  if (!json.is_number()) wrong(key, right);
  const double number = json.get<double>();  // 4096.0 is a fine way to write it; beyond 2^53 the range refuses anyway
  if (!std::isfinite(number) || number != std::floor(number) || number < double(low) || number > double(high))
    wrong(key, right);
  return int64_t(number);
}

std::optional<double> HfFields::number(const char* key) const {
  if (!has(key)) return std::nullopt;
  const auto& json = object_.at(key);
  if (!json.is_number() || !std::isfinite(json.get<double>())) wrong(key, "a finite number");
  return json.get<double>();
}

std::optional<bool> HfFields::truth(const char* key) const {
  if (!has(key)) return std::nullopt;
  if (!object_.at(key).is_boolean()) wrong(key, "true or false");
  return object_.at(key).get<bool>();
}

std::optional<std::string> HfFields::text(const char* key) const {
  if (!has(key)) return std::nullopt;
  if (!object_.at(key).is_string()) wrong(key, "a string");
  return object_.at(key).get<std::string>();
}

int64_t HfFields::size(const char* key, int64_t low) const {
  check(contains(key), ErrorKind::invalid, "{}: {}{} is missing; a model of this family must state it", where_, path_,
        key);
  const auto value = whole(key, low);
  if (!value) wrong(key, fmt::format("a whole number in {} .. {}", low, kMaxSize));
  return *value;
}

std::vector<int64_t> HfFields::ids(const char* key) const {
  if (!has(key)) return {};
  const auto& json = object_.at(key);
  if (!json.is_array()) return {*whole(key, 0)};
  std::vector<int64_t> ids;
  for (const auto& item : json) {
    if (!item.is_number_integer() || item.get<double>() < 0 || item.get<double>() > double(kMaxSize))
      wrong(key, "a token id, a list of token ids, or null");
    ids.push_back(item.get<int64_t>());
  }
  return ids;
}

HfFields HfFields::section(const char* key) const {
  if (!object_.at(key).is_object()) wrong(key, "an object or null");
  return HfFields(object_.at(key), where_, path_ + key + ".");
}

}  // namespace hadal
