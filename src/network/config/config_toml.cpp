// TOML text to Config and back, dotted overrides, help and differences.
#include <toml++/toml.h>
#include <limits>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "config/config_json.h"
#include "config/config_tree.h"
#include "config/visit.h"

namespace hadal {

using nlohmann::ordered_json;
using namespace config_detail;

namespace {

ordered_json tree_of(const toml::node& node, const std::string& origin, const std::string& path) {
  if (const auto* table = node.as_table()) {
    ordered_json tree = ordered_json::object();
    for (const auto& [key, value] : *table) {
      const std::string name(key.str());
      tree[name] = tree_of(value, origin, path.empty() ? name : path + "." + name);
    }
    return tree;
  }
  if (const auto* array = node.as_array()) {
    ordered_json tree = ordered_json::array();
    for (const auto& value : *array) tree.push_back(tree_of(value, origin, path + "." + std::to_string(tree.size())));
    return tree;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* truth = node.as_boolean()) return truth->get();
  fail(ErrorKind::invalid, "{}: {} is a date or time; no setting takes one", origin, path);
}

// The value of an override: TOML if it reads as such, else a bare word is a string.
ordered_json override_value(const std::string& text, const std::string& origin) {
  try {
    const auto table = toml::parse("value = " + text);
    if (table.size() == 1)
      return tree_of(*table.get("value"), origin, "value");  // more: a line break smuggled in other keys
  } catch (const toml::parse_error&) {
  }
  return text;
}

void set_in_tree(ordered_json& tree, const std::string& path, const ordered_json& value, const std::string& origin) {
  ordered_json* place = &tree;
  std::stringstream parts(path);
  std::string part, walked;
  while (std::getline(parts, part, '.')) {
    if (place->is_array()) {
      const bool number = !part.empty() && part.size() < 7 && part.find_first_not_of("0123456789") == std::string::npos;
      check(number, ErrorKind::invalid, "{}: '{}' is a list; '{}' must be a position in it, such as 0", origin, walked,
            part);
      const size_t index = std::stoul(part);
      check(index <= place->size(), ErrorKind::invalid, "{}: '{}' has {} entries; position {} is beyond its end",
            origin, walked, place->size(), index);
      if (index == place->size()) place->push_back(ordered_json::object());
      place = &(*place)[index];
    } else {
      check(place->is_object(), ErrorKind::invalid, "{}: '{}' is a value, not a section; '{}' cannot be set in it",
            origin, walked, part);
      if (!place->contains(part) && !place->empty()) {  // an entry just added to a list is still empty
        std::vector<std::string> known;
        for (const auto& item : place->items()) known.push_back(item.key());
        const std::string before = walked.empty() ? "" : walked + ".";
        fail(ErrorKind::invalid, "{}: unknown key '{}{}'; did you mean '{}{}'?", origin, before, part, before,
             nearest_name(part, known, std::numeric_limits<int>::max()));
      }
      place = &(*place)[part];
    }
    walked += (walked.empty() ? "" : ".") + part;
  }
  *place = value;
}

std::string toml_value(const ordered_json& value);

std::string toml_inline(const ordered_json& table) {
  std::string text = "{";
  for (const auto& item : table.items())
    text += (text.size() > 1 ? ", " : " ") + item.key() + " = " + toml_value(item.value());
  return text + " }";
}

std::string toml_value(const ordered_json& value) {
  if (value.is_object()) return toml_inline(value);
  if (value.is_array()) {
    std::string text = "[";
    for (const auto& item : value) text += (text.size() > 1 ? ", " : "") + toml_value(item);
    return text + "]";
  }
  if (value.is_string()) {  // JSON's escapes are TOML's, but for DEL, which TOML wants escaped
    std::string text = json_text(value), out;
    for (char c : text) out += c == 0x7f ? std::string("\\u007F") : std::string(1, c);
    return out;
  }
  return json_text(value);
}

void write_toml(const ordered_json& table, const std::string& path, std::string& out) {
  for (const auto& item : table.items()) {
    if (!item.value().is_object()) out += item.key() + " = " + toml_value(item.value()) + "\n";
  }
  for (const auto& item : table.items()) {
    if (!item.value().is_object()) continue;
    const std::string full = path.empty() ? item.key() : path + "." + item.key();
    out += "\n[" + full + "]\n";
    write_toml(item.value(), full, out);
  }
}

template <class T>
void help_of(const T& value, const std::string& path, const std::string& section, std::string& out) {
  T::visit(value, [&](const char* name, auto& field, const char* help) {
    using Field = std::remove_cvref_t<decltype(field)>;
    const std::string full = path.empty() ? name : path + "." + name;
    if constexpr (Struct<Field>) {
      help_of(field, full, section, out);
    } else {
      if (!section.empty() && full.rfind(section, 0) != 0) return;
      std::string shown;
      if constexpr (is_vector_v<Field>)
        shown = "[]";
      else if constexpr (NamedEnum<Field>)
        shown = json_text(ordered_json(enum_name(field)));
      else
        shown = json_text(ordered_json(field));
      out += fmt::format("  {:<28} {:<14} {}\n", full, shown, help);
      if constexpr (is_vector_v<Field>) {
        if constexpr (Struct<typename Field::value_type>)
          help_of(typename Field::value_type{}, full + ".N", section, out);
      }
    }
  });
}

void differences(const ordered_json& a, const ordered_json& b, const std::string& path, std::vector<std::string>& out) {
  if (a.is_object() && b.is_object()) {
    for (const auto& item : a.items()) {
      differences(item.value(), b.contains(item.key()) ? b[item.key()] : ordered_json(),
                  path.empty() ? item.key() : path + "." + item.key(), out);
    }
  } else if (a.is_array() && b.is_array() && !a.empty() && a[0].is_object() && a.size() == b.size()) {
    for (size_t i = 0; i < a.size(); ++i) differences(a[i], b[i], fmt::format("{}.{}", path, i), out);
  } else if (a != b) {
    out.push_back(fmt::format("{}: {} -> {}", path, json_text(a), json_text(b)));
  }
}

}  // namespace

ordered_json tree_of_toml(const std::string& text, const std::string& origin) {
  try {
    return tree_of(toml::parse(text), origin, "");
  } catch (const toml::parse_error& error) {
    fail(ErrorKind::invalid, "{}: line {}: {}", origin, error.source().begin.line, std::string(error.description()));
  }
}

std::string toml_of_tree(const ordered_json& tree) {
  std::string out;
  write_toml(tree, "", out);
  return out;
}

Config config_from_toml(const std::string& text, const std::string& origin) {
  const ordered_json tree = tree_of_toml(text, origin);
  check(!tree.contains("phase"), ErrorKind::invalid,
        "{}: its run goes through phases, [[phase]], and this reads a configuration of one; 'hadal train' walks them",
        origin);
  check(!tree.contains("arm") && !tree.contains("sweep"), ErrorKind::invalid,
        "{}: it compares models, [[arm]], and this reads a configuration of one run; hadal sweep {}", origin, origin);
  return config_from_tree(tree, origin);
}

Config load_config(const std::string& path) { return config_from_toml(read_file(path), path); }

void apply_overrides(Config& config, const std::vector<std::string>& assignments, const char* option) {
  if (assignments.empty()) return;
  auto tree = config_to_tree(config);
  for (const auto& assignment : assignments) {
    const size_t equals = assignment.find('=');
    check(equals != std::string::npos && equals > 0, ErrorKind::invalid,
          "{} {}: must be KEY=VALUE, such as optim.lr=1e-4", option, assignment);
    const std::string origin = fmt::format("{} {}", option, assignment);
    set_in_tree(tree, assignment.substr(0, equals), override_value(assignment.substr(equals + 1), origin), origin);
    config = config_from_tree(tree, origin);  // checked one by one, so that the message names the assignment
    tree = config_to_tree(config);            // a new entry of a list gets all its keys
  }
}

ParallelConfig parse_layout(const std::string& text) {
  Config config;
  std::vector<std::string> seen;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string item = text.substr(at, end - at), axis = item.substr(0, item.find('='));
    at = end + 1;
    check(axis.size() < item.size() && !axis.empty(), ErrorKind::invalid,
          "layout '{}': '{}' is no axis with its size, such as dp=2", text, item);
    check(std::find(seen.begin(), seen.end(), axis) == seen.end(), ErrorKind::invalid, "layout '{}' gives {} twice",
          text, axis);
    seen.push_back(axis);
    const std::string value = item.substr(axis.size() + 1);
    apply_overrides(config, {"parallel." + axis + "=" + (axis == "schedule" ? '"' + value + '"' : value)}, "--layout");
  }
  return config.parallel;
}

std::string layout_text(const ParallelConfig& p) {
  const ParallelConfig usual;
  std::string text;
  const auto item = [&](const char* name, const auto& value, const auto& without) {
    if (value != without) text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, value);
  };
  item("dp", p.dp, usual.dp), item("pp", p.pp, usual.pp), item("ep", p.ep, usual.ep), item("tp", p.tp, usual.tp);
  item("cp", p.cp, usual.cp), item("schedule", p.schedule, usual.schedule), item("chunks", p.chunks, usual.chunks);
  item("node_ranks", p.node_ranks, usual.node_ranks);
  return text.empty() ? "dp=1" : text;
}

std::string fp8_text(const Fp8Config& fp8, Precision precision) {
  Config config;
  config.train.precision = precision, config.fp8 = fp8;
  const auto tree = config_to_tree(config);
  std::string text;
  for (const auto& item : tree["fp8"].items()) {
    const bool of_fp8 = item.key() != "mx_scales" && item.key().ends_with("_scales");
    if (precision == Precision::mxfp8 ? of_fp8 : item.key() == "mx_scales") continue;
    text += (text.empty() ? "" : ", ") + item.key() + " = " + toml_value(item.value());
  }
  return text;
}

std::string config_to_toml(const Config& config) { return toml_of_tree(config_to_tree(config)); }

std::string config_help(const std::string& section) {
  std::string out;
  help_of(Config{}, "", section, out);
  return out;
}

std::vector<std::string> config_differences(const Config& a, const Config& b) {
  std::vector<std::string> out;
  differences(config_to_tree(a), config_to_tree(b), "", out);
  return out;
}

}  // namespace hadal
