#include "text/bos_files.h"

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

Json special(const std::string& token, int type) { return {{"SpecialToken", {{"id", token}, {"type_id", type}}}}; }
Json text(const char* name, int type) { return {{"Sequence", {{"id", name}, {"type_id", type}}}}; }

Json bos_template(const std::string& bos, int32_t id) {
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({special(bos, 0), text("A", 0)})},
          {"pair", Json::array({special(bos, 0), text("A", 0), special(bos, 1), text("B", 1)})},
          {"special_tokens", {{bos, {{"id", bos}, {"ids", {id}}, {"tokens", {bos}}}}}}};
}

bool puts_in_front(const Json& processor, const std::string& bos) {
  if (processor.value("type", "") != "TemplateProcessing" || !processor.contains("single")) return false;
  const Json& single = processor["single"];
  return single.is_array() && !single.empty() && single[0].contains("SpecialToken") &&
         single[0]["SpecialToken"].value("id", "") == bos;
}

}  // namespace

std::string tokenizer_json_with_bos(const std::string& json, const std::string& bos, int32_t id) {
  Json file = parse_json<Json>(json, "tokenizer.json", {.object = true});
  Json processors = Json::array();
  if (const auto old = file.find("post_processor"); old != file.end() && old->is_object()) {
    if (old->value("type", "") == "Sequence" && old->contains("processors"))
      processors = (*old)["processors"];
    else
      processors.push_back(*old);
  }
  for (const Json& one : processors)
    if (puts_in_front(one, bos)) return json;
  processors.push_back(bos_template(bos, id));
  file["post_processor"] = {{"type", "Sequence"}, {"processors", processors}};
  return json_text(file, {.indent = 1}) + "\n";
}

std::string tokenizer_config_with_bos(const std::string& json) {
  Json config = parse_json<Json>(json, "tokenizer_config.json", {.object = true});
  config["add_bos_token"] = true;
  return json_text(config, {.indent = 2}) + "\n";
}

}  // namespace hadal
