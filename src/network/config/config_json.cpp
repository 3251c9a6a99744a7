// Config to and from JSON. TOML text and dotted overrides are turned into JSON first (config_toml.cpp), so that types,
// unknown keys and ranges are checked in this one place.
#include "config/config_json.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/text_format.h"
#include "config/visit.h"

namespace hadal {

using nlohmann::ordered_json;
using namespace config_detail;

namespace {

struct Reader {
  const std::string& origin;

  template <class T>
  void read(T& value, const ordered_json& json, const std::string& path) const {
    auto wrong = [&](const std::string& what) {
      fail(ErrorKind::invalid, "{}: {} = {} must be {}", origin, path.empty() ? "the document" : path,
           json_text(json, {.lossy = true}), what);
    };
    if constexpr (Struct<T>) {
      if (!json.is_object()) wrong("a table of keys");
      read_struct(value, json, path);
    } else if constexpr (is_vector_v<T>) {
      if (!json.is_array()) wrong("a list");
      value.clear();
      for (size_t i = 0; i < json.size(); ++i) {
        value.emplace_back();
        read(value.back(), json[i], path + "." + std::to_string(i));
      }
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) wrong(type_text<T>());
      value = json.get<bool>();
    } else if constexpr (std::is_integral_v<T>) {
      read_integer(value, json, wrong);
    } else if constexpr (std::is_floating_point_v<T>) {
      if (!json.is_number() || !std::isfinite(json.get<double>())) wrong("a finite number");
      value = json.get<double>();
    } else if constexpr (NamedEnum<T>) {
      if (!json.is_string()) wrong(type_text<T>());
      const auto named = find_enum<T>(json.get<std::string>());
      if (!named) wrong("one of " + enum_choices<T>());
      value = *named;
    } else {
      if (!json.is_string()) wrong(type_text<T>());
      value = json.get<std::string>();
    }
  }

  template <class T, class Wrong>
  static void read_integer(T& value, const ordered_json& json, Wrong wrong) {
    if (json.is_number_float()) {  // 1e6 is a fine way to write a million
      const double number = json.get<double>();
      if (number != std::floor(number) || std::abs(number) > 9e15) wrong("a whole number");
      if (std::is_unsigned_v<T> && number < 0) wrong("a whole number of at least 0");
      value = T(number);
      return;
    }
    if (!json.is_number_integer()) wrong("a whole number");
    if (std::is_unsigned_v<T> && !json.is_number_unsigned() && json.get<int64_t>() < 0)
      wrong("a whole number of at least 0");
    // TOML's whole numbers end there, and every configuration can be written as TOML.
    if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max()))
      wrong("a whole number below 2^63");
    value = json.get<T>();
  }

  template <class T>
  void read_struct(T& value, const ordered_json& json, const std::string& path) const {
    std::vector<std::string> known;
    T::visit(value, [&](const char* name, auto& field, const char*) {
      known.push_back(name);
      const auto it = json.find(name);
      if (it != json.end()) read(field, *it, path.empty() ? name : path + "." + name);
    });
    for (const auto& item : json.items()) {
      if (std::find(known.begin(), known.end(), item.key()) != known.end()) continue;
      const std::string full = path.empty() ? item.key() : path + "." + item.key();
      fail(ErrorKind::invalid, "{}: unknown key '{}'; did you mean '{}'?", origin, full,
           (path.empty() ? "" : path + ".") + nearest_name(item.key(), known, std::numeric_limits<int>::max()));
    }
  }
};

// Paths may hold any bytes; TOML and JSON cannot say such a one, so it is refused before anything is written.
ordered_json utf8(const std::string& text) {
  ordered_json json(text);
  try {
    json_text(json);
  } catch (const ordered_json::type_error&) {
    fail(ErrorKind::invalid, "'{}' is not valid UTF-8; texts and paths of a configuration must be",
         json_text(json, {.ascii = true, .lossy = true}));
  }
  return json;
}

template <class T>
ordered_json to_json(const T& value) {
  if constexpr (Struct<T>) {
    ordered_json json = ordered_json::object();
    T::visit(value, [&](const char* name, auto& field, const char*) { json[name] = to_json(field); });
    return json;
  } else if constexpr (is_vector_v<T>) {
    ordered_json json = ordered_json::array();
    for (const auto& item : value) json.push_back(to_json(item));
    return json;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return utf8(value);
  } else if constexpr (NamedEnum<T>) {
    return enum_name(value);
  } else {
    return value;
  }
}

}  // namespace

ordered_json config_to_tree(const Config& config) { return to_json(config); }
ordered_json model_config_to_tree(const ModelConfig& config) { return to_json(config); }

Config config_from_tree(const ordered_json& tree, const std::string& origin) {
  Config config;
  Reader{origin}.read(config, tree, "");
  return config;
}

SweepConfig sweep_config_from_tree(const ordered_json& tree, const std::string& origin) {
  SweepConfig config;
  Reader{origin}.read(config, tree, "");
  return config;
}

std::string config_to_json(const Config& config) { return json_text(config_to_tree(config), {.indent = 2}); }
std::string model_config_to_json(const ModelConfig& config) {
  return json_text(model_config_to_tree(config), {.indent = 2});
}

Config config_from_json(const std::string& text, const std::string& origin) {
  return config_from_tree(parse_json<ordered_json>(text, origin), origin);
}

ModelConfig model_config_from_json(const std::string& text, const std::string& origin) {
  ModelConfig config;
  const auto tree = parse_json<ordered_json>(text, origin);
  Reader{origin}.read(config, tree, "");
  return config;
}

}  // namespace hadal
