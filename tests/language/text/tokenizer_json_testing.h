// A small tokenizer.json that tests change in one place.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "base/json.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace hadal::testing {

using Json = nlohmann::ordered_json;

// A valid file with 256 bytes, two merges (a b, ab c) and one added token.
inline Json small_json() {
  Json vocab, merges = Json::array();
  int id = 0;
  for (uint8_t byte : byte_alphabet().in_order) vocab[byte_alphabet().write(std::string(1, char(byte)))] = id++;
  vocab["ab"] = id++;
  vocab["abc"] = id++;
  merges.push_back("a b");
  merges.push_back({"ab", "c"});
  Json json;
  json["version"] = "1.0";
  json["added_tokens"] = {{{"id", id}, {"content", "<end>"}, {"special", true}, {"normalized", false}}};
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  json["decoder"] = {{"type", "ByteLevel"}};
  json["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}};
  return json;
}

inline Tokenizer from(const Json& json, const std::string& config = "") {
  return Tokenizer::from_json_text(json_text(json), config);
}

}  // namespace hadal::testing
