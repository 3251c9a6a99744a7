#include "eval/yaml_fields.h"

#include "base/error.h"
#include "base/json.h"
#include "base/text_format.h"

namespace hadal::eval {

namespace {
const nlohmann::ordered_json kNone = nullptr;
}

YamlFields::YamlFields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  check(object.is_object(), ErrorKind::invalid, "{}: must be a mapping of keys to values", where_);
}

bool YamlFields::has(const std::string& key) const { return object_.contains(key) && !object_.at(key).is_null(); }

const YamlFields::Json& YamlFields::take(const std::string& key) {
  taken_.insert(key);
  return object_.contains(key) ? object_.at(key) : kNone;
}

void YamlFields::wrong(const std::string& key, const std::string& wanted) const {
  std::string value = json_text(object_.at(key), {.lossy = true});
  if (value.size() > 60) value = value.substr(0, 60) + "...";
  fail(ErrorKind::invalid, "{}: {}: {} must be {}", where_, key, value, wanted);
}

std::string YamlFields::text(const std::string& key, const std::string& otherwise) {
  const Json& value = take(key);
  if (value.is_null()) return otherwise;
  if (!value.is_string()) wrong(key, "a text");
  return value.get<std::string>();
}

int64_t YamlFields::whole(const std::string& key, int64_t otherwise, int64_t least) {
  const Json& value = take(key);
  if (value.is_null()) return otherwise;
  if (!value.is_number_integer() || value.get<int64_t>() < least)
    wrong(key, fmt::format("a whole number from {}", least));
  return value.get<int64_t>();
}

double YamlFields::number(const std::string& key, double otherwise) {
  const Json& value = take(key);
  if (value.is_null()) return otherwise;
  if (!value.is_number()) wrong(key, "a number");
  return value.get<double>();
}

bool YamlFields::truth(const std::string& key, bool otherwise) {
  const Json& value = take(key);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) wrong(key, "true or false");
  return value.get<bool>();
}

std::vector<std::string> YamlFields::texts(const std::string& key) {
  const Json& value = take(key);
  std::vector<std::string> texts;
  if (value.is_string()) texts.push_back(value.get<std::string>());
  if (value.is_array())
    for (const Json& one : value) {
      if (!one.is_string()) wrong(key, "a text or a list of texts");
      texts.push_back(one.get<std::string>());
    }
  if (!value.is_null() && !value.is_string() && !value.is_array()) wrong(key, "a text or a list of texts");
  return texts;
}

void YamlFields::refuse(const std::string& key, const std::string& why, const Json& harmless) {
  const Json& value = take(key);
  check(value.is_null() || value == harmless, ErrorKind::unsupported, "{}: {} is not followed: {}", where_, key, why);
}

void YamlFields::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (taken_.contains(key)) continue;
    const std::string near = nearest_name(key, taken_, 3);
    fail(ErrorKind::unsupported, "{}: the key '{}' is not known{}", where_, key,
         near.empty() ? "" : fmt::format(" (did you mean {}?)", near));
  }
}

}  // namespace hadal::eval
