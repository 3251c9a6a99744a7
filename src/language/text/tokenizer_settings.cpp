#include "text/tokenizer_settings.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/bpe_model.h"
#include "text/byte_alphabet.h"
#include "text/token_index.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

// In transformers' order, in which new ones get their ids.
constexpr const char* kStandardNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};
constexpr const char* kConfig = "tokenizer_config.json";
constexpr const char* kMap = "special_tokens_map.json";
constexpr const char* kAdded = "added_tokens.json";

bool absent(const Json& object, const char* key) { return !object.contains(key) || object[key].is_null(); }

bool flag(const Json& object, const char* key, bool otherwise, const std::string& where) {
  if (absent(object, key)) return otherwise;
  check(object[key].is_boolean(), ErrorKind::corrupt, "{}: \"{}\" is {}, not true or false", where, key,
        json_text(object[key]));
  return object[key];
}

// A token as an object with its flags; what it leaves out is as in Hugging Face's AddedToken.
AddedToken token_of_object(const Json& value, bool special, const std::string& where) {
  check(value.contains("content") && value["content"].is_string(), ErrorKind::corrupt, "{}: {} has no text \"content\"",
        where, json_text(value).substr(0, 100));
  AddedToken token;
  token.content = value["content"];
  token.special = flag(value, "special", special, where);
  token.normalized = flag(value, "normalized", !token.special, where);
  token.single_word = flag(value, "single_word", false, where);
  token.lstrip = flag(value, "lstrip", false, where);
  token.rstrip = flag(value, "rstrip", false, where);
  return token;
}

// special_tokens_map.json holds special tokens only.
AddedToken token_of(const Json& value, const char* file, const std::string& where) {
  if (value.is_object()) {
    AddedToken token = token_of_object(value, file == kMap, where);
    token.special = token.special || file == kMap;
    return token;
  }
  check(value.is_string(), ErrorKind::corrupt, "{} is {}, not the name of a token", where,
        json_text(value).substr(0, 100));
  AddedToken token;
  token.content = value.get<std::string>();
  token.special = true;
  return token;
}

bool is_standard(std::string_view key) {
  return std::find(std::begin(kStandardNames), std::end(kStandardNames), key) != std::end(kStandardNames);
}

std::string place(const char* file, const std::string& key) { return std::string(file) + ": \"" + key + "\""; }

int32_t checked_id(int64_t id, const std::string& content, const char* where) {
  check(id >= 0 && id < BpeModel::kMostTokens, ErrorKind::corrupt, "{}: the id {} of token '{}' is not in 0 .. {}",
        where, id, content, BpeModel::kMostTokens - 1);
  return int32_t(id);
}

void read_decoder(const Json& config, TokenizerSettings& settings) {
  const std::string where = place(kConfig, "added_tokens_decoder");
  const Json& decoder = config["added_tokens_decoder"];
  check(decoder.is_object(), ErrorKind::corrupt, "{} is no object of ids", where);
  for (const auto& [key, value] : decoder.items()) {
    int64_t id = -1;
    const auto read = std::from_chars(key.data(), key.data() + key.size(), id);
    check(read.ec == std::errc() && read.ptr == key.data() + key.size(), ErrorKind::corrupt, "{}: '{}' is no id", where,
          key);
    check(value.is_object(), ErrorKind::corrupt, "{}: token {} is {}, not an object", where, key,
          json_text(value).substr(0, 100));
    AddedToken token = token_of_object(value, false, where);
    check(!token.content.empty(), ErrorKind::corrupt, "{}: token {} is empty", where, key);
    token.id = checked_id(id, token.content, kConfig);
    check(settings.by_id.emplace(token.id, token).second, ErrorKind::corrupt, "{}: two tokens have the id {}", where,
          token.id);
  }
}

void read_added(const std::string& text, const std::set<std::string>& special, TokenizerSettings& settings) {
  const Json json = parse_json<Json>(text, kAdded, {.object = true});
  for (const auto& [content, value] : json.items()) {
    check(value.is_number_integer(), ErrorKind::corrupt, "{}: the id of token '{}' is {}, not a whole number", kAdded,
          content, json_text(value));
    check(!content.empty(), ErrorKind::corrupt, "{}: token {} is empty", kAdded, json_text(value));
    AddedToken token;
    token.content = content;
    token.id = checked_id(value.get<int64_t>(), content, kAdded);
    token.special = special.count(content) > 0;
    token.normalized = !token.special;
    check(settings.by_id.emplace(token.id, token).second, ErrorKind::corrupt, "{}: two tokens have the id {}", kAdded,
          token.id);
  }
}

// Names and lists of one file over those read before: a name given again, or as null, replaces the earlier one.
class Names {
 public:
  void read(const Json& json, const char* file) {
    for (const auto& [key, value] : json.items()) {
      const bool token = value.is_string() || (value.is_object() && value.contains("content"));
      if (is_standard(key) || (key.ends_with("_token") && token)) set(key, value, file);
    }
    const char* const extra = "extra_special_tokens";
    const bool by_name = !absent(json, extra) && json[extra].is_object();
    if (by_name)
      for (const auto& [name, value] : json[extra].items()) set(name, value, file);
    if (!by_name && !absent(json, extra)) extra_ = list(json, extra, file, extra_.value_or(Tokens()));
    if (json.contains(kOldList)) old_.reset();
    if (!absent(json, kOldList)) old_ = list(json, kOldList, file, {});
    if (file == kMap || (by_name && !json[extra].empty()) || (extra_ && !extra_->empty())) return;
    if (old_) extra_ = std::exchange(old_, std::nullopt);
  }

  // The contents that are special in added_tokens.json: those of the standard names and of the list as it stands.
  std::set<std::string> special() const {
    std::set<std::string> contents;
    for (const auto& [name, token] : named_)
      if (is_standard(name)) contents.insert(token.content);
    for (const AddedToken& token : extra_.value_or(Tokens())) contents.insert(token.content);
    return contents;
  }

  void give(TokenizerSettings& settings) {
    for (const char* key : kStandardNames)
      for (const auto& [name, token] : named_)
        if (name == key && !token.content.empty()) settings.named.emplace_back(name, token);
    for (const auto& [name, token] : named_)
      if (!is_standard(name) && !token.content.empty()) settings.named.emplace_back(name, token);
    settings.extra = extra_ ? *extra_ : old_.value_or(Tokens());
  }

 private:
  using Tokens = std::vector<AddedToken>;
  static constexpr const char* kOldList = "additional_special_tokens";

  static Tokens list(const Json& json, const char* key, const char* file, Tokens tokens) {
    check(json[key].is_array(), ErrorKind::corrupt, "{} is not a list of tokens", place(file, key));
    for (const Json& value : json[key]) {
      AddedToken token = token_of(value, file, place(file, key));
      const auto same = [&](const AddedToken& known) { return known.content == token.content; };
      if (!token.content.empty() && std::none_of(tokens.begin(), tokens.end(), same))
        tokens.push_back(std::move(token));
    }
    return tokens;
  }

  void set(const std::string& key, const Json& value, const char* file) {
    AddedToken token;
    if (!value.is_null()) token = token_of(value, file, place(file, key));
    for (auto& [name, known] : named_) {
      if (name == key) {
        known = token;
        return;
      }
    }
    named_.emplace_back(key, token);
  }

  std::vector<std::pair<std::string, AddedToken>> named_;  // empty content: none
  std::optional<Tokens> extra_, old_;  // the list, and the one of the old name while the new one goes before it
};

// The id of the vocabulary's token that is spelt so, or -1.
int32_t spelt_so(const TokenIndex& plain, const std::string& spelling) {
  const auto bytes = byte_alphabet().read(spelling);
  return bytes ? plain.find(*bytes) : -1;
}

}  // namespace

std::optional<std::string> TokenizerSettings::name(std::string_view key) const {
  for (const auto& [name, token] : named)
    if (name == key) return token.content;
  return std::nullopt;
}

TokenizerSettings read_tokenizer_settings(const TokenizerFiles& files) {
  TokenizerSettings settings;
  Names names;
  if (files.config) {
    const Json config = parse_json<Json>(*files.config, kConfig, {.object = true});
    names.read(config, kConfig);
    if (!absent(config, "tokenizer_class")) {
      check(config["tokenizer_class"].is_string(), ErrorKind::corrupt, "{} is {}, not a name",
            place(kConfig, "tokenizer_class"), json_text(config["tokenizer_class"]).substr(0, 100));
      settings.tokenizer_class = config["tokenizer_class"];
    }
    if (!absent(config, "add_bos_token")) settings.add_bos = flag(config, "add_bos_token", false, kConfig);
    if (!absent(config, "add_eos_token")) settings.add_eos = flag(config, "add_eos_token", false, kConfig);
    settings.has_decoder = !absent(config, "added_tokens_decoder");
    if (settings.has_decoder) read_decoder(config, settings);
  }
  if (!settings.has_decoder && files.special_map)
    names.read(parse_json<Json>(*files.special_map, kMap, {.object = true}), kMap);
  if (!settings.has_decoder && files.added) read_added(*files.added, names.special(), settings);
  names.give(settings);
  return settings;
}

void apply_settings(const TokenizerSettings& settings, TokenizerFile& file) {
  std::map<int32_t, AddedToken> by_id = settings.by_id;
  if (!settings.has_decoder)
    for (const AddedToken& token : file.added) by_id[token.id] = token;
  std::vector<AddedToken> wanted;
  for (const auto& [id, token] : by_id) wanted.push_back(token);
  const size_t with_id = wanted.size();
  std::set<std::string> known, named;
  std::unordered_map<std::string, size_t> place;  // in file.added
  for (size_t i = 0; i < file.added.size(); ++i) place.emplace(file.added[i].content, i);
  for (const auto& [content, i] : place) known.insert(content);
  for (const AddedToken& token : wanted) known.insert(token.content);
  const auto want = [&](const AddedToken& token) {  // of several with one content, but other flags, the last counts
    if (!known.count(token.content) && std::find(wanted.begin(), wanted.end(), token) == wanted.end())
      wanted.push_back(token);
  };
  for (const auto& [name, token] : settings.named) {
    named.insert(token.content);
    want(token);
  }
  for (const AddedToken& token : settings.extra) want(token);

  TokenIndex plain;
  file.tokens.reserve(file.tokens.size() + wanted.size());  // they stay where they are, and `plain` points at them
  for (size_t i = 0; i < wanted.size(); ++i) {
    AddedToken token = wanted[i];
    token.special = token.special || named.count(token.content) > 0;
    const auto again = place.find(token.content);
    if (again != place.end()) {
      token.id = file.added[again->second].id;
      file.added[again->second] = token;
      continue;
    }
    if (plain.size() == 0) {
      plain = TokenIndex(file.tokens.size());
      for (size_t id = 0; id < file.tokens.size(); ++id) plain.add(file.tokens[id], int32_t(id));
    }
    const int32_t spelt = spelt_so(plain, token.content);
    const int32_t id = spelt >= 0 ? spelt : int32_t(file.tokens.size());
    check(i >= with_id || spelt >= 0 || token.id == id, ErrorKind::corrupt,
          "{} gives the added token '{}' the id {}, but ids end at {}: the next one is {}",
          settings.has_decoder ? kConfig : kAdded, token.content, token.id, id - 1, id);
    token.id = id;
    if (spelt < 0) {
      file.tokens.push_back(token.content);
      file.in_vocabulary.push_back(0);
    }
    place.emplace(token.content, file.added.size());
    file.added.push_back(token);
  }
  std::sort(file.added.begin(), file.added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
}

}  // namespace hadal
