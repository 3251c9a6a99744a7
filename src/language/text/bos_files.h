// A tokenizer's files as other programs read that BOS stands before a text, for models that were trained so although
// their tokenizer adds nothing (data.add_bos). transformers follows the template in tokenizer.json, or "add_bos_token"
// in tokenizer_config.json where the class is one of those that build the template from it; both say the same then.
#pragma once
#include <cstdint>
#include <string>

namespace hadal {

// tokenizer.json with a template that puts `bos` in front, behind what post-processors there are:
//   "post_processor": {"type": "Sequence", "processors": [..., {"type": "TemplateProcessing", ...}]}
// One that does so already stays. Throws corrupt for what is no JSON object.
std::string tokenizer_json_with_bos(const std::string& json, const std::string& bos, int32_t id);

// tokenizer_config.json with "add_bos_token": true. Throws likewise.
std::string tokenizer_config_with_bos(const std::string& json);

}  // namespace hadal
