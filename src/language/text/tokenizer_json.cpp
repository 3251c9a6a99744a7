#include "text/tokenizer_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "text/byte_alphabet.h"
#include "text/pre_tokenizer.h"
#include "text/token_index.h"
#include "text/tokenizer_lists.h"

namespace hadal {
namespace {

using SortedJson = nlohmann::json;
bool absent(const SortedJson& object, const char* key) { return !object.contains(key) || object[key].is_null(); }

bool flag(const SortedJson& object, const char* key, bool otherwise) {
  if (absent(object, key)) return otherwise;
  check(object[key].is_boolean(), ErrorKind::corrupt, "tokenizer.json: \"{}\" is {}, not true or false", key,
        json_text(object[key]));
  return object[key];
}

std::string text_of(const SortedJson& object, const char* key) {
  check(object.is_object() && object.contains(key) && object[key].is_string(), ErrorKind::corrupt,
        "tokenizer.json: text \"{}\" is missing where it is needed", key);
  return object[key];
}

[[noreturn]] void refuse(const std::string& what) {
  fail(ErrorKind::unsupported, "tokenizer.json uses {}, which is not supported", what);
}

int32_t id_of(const SortedJson& value, const std::string& token) {
  check(value.is_number_integer(), ErrorKind::corrupt, "tokenizer.json: the id of token '{}' is {}, not a whole number",
        token, json_text(value));
  const bool in_range = value.is_number_unsigned() ? value.get<uint64_t>() < uint64_t(BpeModel::kMostTokens) : false;
  check(in_range, ErrorKind::corrupt, "tokenizer.json: the id {} of token '{}' is not in 0 .. {}", json_text(value),
        token, BpeModel::kMostTokens - 1);
  return value.get<int32_t>();
}

void add_split(const SortedJson& part, std::vector<std::string>& splits) {
  const std::string type = text_of(part, "type");
  if (type == "Sequence") {
    check(part.contains("pretokenizers") && part["pretokenizers"].is_array(), ErrorKind::corrupt,
          "tokenizer.json: a pre-tokenizer Sequence has no list \"pretokenizers\"");
    for (const SortedJson& inner : part["pretokenizers"]) add_split(inner, splits);
  } else if (type == "Split") {
    const std::string behavior = text_of(part, "behavior");
    if (behavior != "Isolated") refuse("a Split of behavior " + behavior);
    if (flag(part, "invert", false)) refuse("an inverted Split");
    check(part.contains("pattern") && part["pattern"].is_object(), ErrorKind::corrupt,
          "tokenizer.json: a Split has no pattern");
    const SortedJson& pattern = part["pattern"];
    if (pattern.contains("Regex")) {
      splits.push_back(text_of(pattern, "Regex"));
    } else {
      std::string literal;
      for (char c : text_of(pattern, "String")) {
        if (std::string_view("\\^$.|?*+()[]{}").find(c) != std::string_view::npos) literal += '\\';
        literal += c;
      }
      splits.push_back(literal);
    }
  } else if (type == "Digits") {
    splits.push_back(flag(part, "individual_digits", false) ? "\\p{N}" : "\\p{N}+");
  } else if (type == "ByteLevel") {
    if (flag(part, "add_prefix_space", true)) refuse("a ByteLevel pre-tokenizer with add_prefix_space");
    if (flag(part, "use_regex", true)) {
      splits.push_back(PreTokenizer::gpt2_split());
    }
  } else {
    refuse("a pre-tokenizer of type " + type);
  }
}

bool has_byte_level(const SortedJson& part) {
  if (!part.is_object()) return false;
  if (part.value("type", "") == "ByteLevel") return true;
  for (const char* list : {"pretokenizers", "decoders"}) {
    if (part.contains(list) && part[list].is_array()) {
      return std::any_of(part[list].begin(), part[list].end(), has_byte_level);
    }
  }
  return false;
}

void refuse_other_kinds(const SortedJson& json, const SortedJson& model) {
  const std::string type = absent(model, "type") && model.contains("merges") ? "BPE" : text_of(model, "type");
  if (type != "BPE") refuse("a model of type " + type);
  if (!absent(model, "dropout") && model["dropout"] != 0.0) refuse("model.dropout = " + json_text(model["dropout"]));
  // An unk_token is for characters without a token; there are none (all 256 bytes are asked for).
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!absent(model, key) && model[key] != "") refuse(std::string("model.") + key + " = " + json_text(model[key]));
  }
  if (flag(model, "byte_fallback", false)) refuse("model.byte_fallback");
  if (!absent(json, "normalizer")) {
    const SortedJson& normalizer = json["normalizer"];
    const bool empty = normalizer.is_object() && normalizer.value("type", "") == "Sequence" &&
                       normalizer.value("normalizers", SortedJson::array()).empty();
    if (!empty) refuse("the normalizer " + json_text(normalizer));
  }
  if (!has_byte_level(json.value("pre_tokenizer", SortedJson()))) refuse("a pre-tokenizer without ByteLevel");
  if (!has_byte_level(json.value("decoder", SortedJson()))) refuse("a decoder other than ByteLevel");
}

void read_added(const SortedJson& json, TokenizerFile& file) {
  if (absent(json, "added_tokens")) return;
  check(json["added_tokens"].is_array(), ErrorKind::corrupt, "tokenizer.json: \"added_tokens\" is not a list");
  for (const SortedJson& entry : json["added_tokens"]) {
    AddedToken token;
    token.content = text_of(entry, "content");
    check(!token.content.empty(), ErrorKind::corrupt, "tokenizer.json: an added token is empty");
    check(entry.contains("id"), ErrorKind::corrupt, "tokenizer.json: added token '{}' has no id", token.content);
    token.id = id_of(entry["id"], token.content);
    token.special = flag(entry, "special", false);
    token.normalized = flag(entry, "normalized", !token.special);
    token.single_word = flag(entry, "single_word", false);
    token.lstrip = flag(entry, "lstrip", false);
    token.rstrip = flag(entry, "rstrip", false);
    file.added.push_back(token);
  }
  std::sort(file.added.begin(), file.added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
}

void set_token(TokenizerFile& file, std::vector<char>& taken, int32_t id, std::string bytes, bool again_is_fine) {
  if (size_t(id) >= file.tokens.size()) {
    file.tokens.resize(id + 1);
    taken.resize(id + 1, 0);
  }
  check(!taken[id] || (again_is_fine && file.tokens[id] == bytes), ErrorKind::corrupt,
        "tokenizer.json: id {} belongs to two tokens, '{}' and '{}'", id, file.tokens[id], bytes);
  taken[id] = 1;
  file.tokens[id] = std::move(bytes);
}

// The two long lists out of a tree, for files that read_tokenizer_lists() leaves to it. The texts stay in the tree.
void take_lists(const SortedJson& model, TokenizerLists& lists) {
  check(model.contains("vocab") && model["vocab"].is_object(), ErrorKind::corrupt,
        "tokenizer.json: model.vocab is missing");
  check(model.contains("merges") && model["merges"].is_array(), ErrorKind::corrupt,
        "tokenizer.json: model.merges is missing");
  for (auto it = model["vocab"].begin(); it != model["vocab"].end(); ++it)
    lists.vocabulary.emplace_back(it.key(), id_of(it.value(), it.key()));
  for (const SortedJson& entry : model["merges"]) {
    const size_t number = lists.merges.size();
    if (entry.is_string()) {
      const std::string_view text = entry.get_ref<const std::string&>();
      const size_t gap = text.find(' ');
      check(gap != std::string::npos && text.find(' ', gap + 1) == std::string::npos, ErrorKind::corrupt,
            "tokenizer.json: merge {} is '{}', not two tokens with a space between", number, text);
      lists.merges.emplace_back(text.substr(0, gap), text.substr(gap + 1));
    } else {
      const bool pair = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
      check(pair, ErrorKind::corrupt, "tokenizer.json: merge {} is {}, not two tokens", number, json_text(entry));
      lists.merges.emplace_back(entry[0].get_ref<const std::string&>(), entry[1].get_ref<const std::string&>());
    }
  }
}

// Fills tokens and byte_ids; gives the ids by the spelling that merges use.
TokenIndex read_vocabulary(const TokenizerLists& lists, TokenizerFile& file) {
  std::vector<char> taken;
  file.tokens.reserve(lists.vocabulary.size() + file.added.size());
  std::unordered_map<int32_t, const AddedToken*> added;
  for (const AddedToken& token : file.added) {
    check(added.emplace(token.id, &token).second, ErrorKind::corrupt, "tokenizer.json: two added tokens have the id {}",
          token.id);
    set_token(file, taken, token.id, token.content, false);
  }
  TokenIndex ids(lists.vocabulary.size());
  std::vector<char>& in_vocabulary = file.in_vocabulary;
  file.byte_ids.fill(-1);
  for (const auto& [spelling, id] : lists.vocabulary) {
    check(ids.add(spelling, id), ErrorKind::corrupt, "tokenizer.json: token '{}' stands twice in model.vocab",
          spelling);
    if (size_t(id) >= in_vocabulary.size()) in_vocabulary.resize(size_t(id) + 1, 0);
    in_vocabulary[size_t(id)] = 1;
    if (const auto found = added.find(id); found != added.end() && found->second->content == spelling) continue;
    check(!spelling.empty(), ErrorKind::corrupt, "tokenizer.json: token {} is empty", id);
    auto bytes = byte_alphabet().read(spelling);
    check(bytes.has_value(), ErrorKind::unsupported,
          "tokenizer.json: token '{}' ({}) is not spelt in the byte alphabet", spelling, id);
    if (bytes->size() == 1) file.byte_ids[uint8_t((*bytes)[0])] = id;
    set_token(file, taken, id, std::move(*bytes), true);
  }
  in_vocabulary.resize(file.tokens.size(), 0);
  const auto gap = std::find(taken.begin(), taken.end(), 0);
  check(gap == taken.end(), ErrorKind::corrupt, "tokenizer.json: ids end at {}, but no token has the id {}",
        taken.size() - 1, gap - taken.begin());
  for (int b = 0; b < 256; ++b) {
    check(file.byte_ids[b] >= 0, ErrorKind::unsupported,
          "tokenizer.json: no token stands for byte 0x{:02x}; all 256 are needed", b);
  }
  return ids;
}

// The ids of what merges make. Vocabularies mostly list them in the order of the merges: the one behind the last
// answer is tried before it is looked up.
class ResultFinder {
 public:
  ResultFinder(const TokenizerLists& lists, const TokenIndex& ids) : vocabulary_(lists.vocabulary), ids_(ids) {}

  int32_t find(std::string_view left, std::string_view right) {
    if (next_ < vocabulary_.size()) {
      const auto& [spelling, id] = vocabulary_[next_];
      if (spelling.size() == left.size() + right.size() && spelling.starts_with(left) && spelling.ends_with(right)) {
        ++next_;
        return id;
      }
    }
    both_.assign(left);
    both_ += right;
    const int32_t id = ids_.find(both_);
    if (id >= 0) next_ = size_t(id) + 1;  // a guess: entry i mostly has the id i
    return id;
  }

 private:
  const std::vector<std::pair<std::string_view, int32_t>>& vocabulary_;
  const TokenIndex& ids_;
  size_t next_ = 0;
  std::string both_;
};

void read_merges(const TokenizerLists& lists, const TokenIndex& ids, TokenizerFile& file) {
  std::vector<char> special(file.tokens.size(), 0);
  for (const AddedToken& token : file.added) special[token.id] = token.special;
  file.merges.reserve(lists.merges.size());
  ResultFinder results(lists, ids);
  for (const auto& [left, right] : lists.merges) {
    const Merge merge{ids.find(left), ids.find(right), results.find(left, right)};
    const bool known = merge.left >= 0 && merge.right >= 0 && merge.result >= 0;
    if (!known) {
      fail(ErrorKind::corrupt, "tokenizer.json: merge {} ('{}' with '{}') needs token '{}', which is absent",
           file.merges.size(), left, right,
           merge.left < 0    ? std::string(left)
           : merge.right < 0 ? std::string(right)
                             : std::string(left) + std::string(right));
    }
    check(!special[merge.result], ErrorKind::corrupt,
          "tokenizer.json: merge {} makes the special token '{}' out of plain text", file.merges.size(),
          file.tokens[merge.result]);
    file.merges.push_back(merge);
  }
}

// "single" of a TemplateProcessing: [{"SpecialToken": {"id"}} or {"Sequence": {"id": "A"}}, ...]; "special_tokens" has
// their ids.
void read_template(const SortedJson& part, TokenizerFile& file) {
  check(part.contains("single") && part["single"].is_array() && part.contains("special_tokens") &&
            part["special_tokens"].is_object(),
        ErrorKind::corrupt, "tokenizer.json: a TemplateProcessing lacks \"single\" or \"special_tokens\"");
  bool behind = false;
  for (const SortedJson& item : part["single"]) {
    if (item.is_object() && item.contains("Sequence")) {
      check(!behind && text_of(item["Sequence"], "id") == "A", ErrorKind::corrupt,
            "tokenizer.json: \"single\" of TemplateProcessing has another sequence than A, or A twice");
      behind = true;
      continue;
    }
    check(item.is_object() && item.contains("SpecialToken"), ErrorKind::corrupt,
          "tokenizer.json: \"single\" of TemplateProcessing holds {}, neither Sequence nor SpecialToken",
          json_text(item));
    const std::string name = text_of(item["SpecialToken"], "id");
    const SortedJson& known = part["special_tokens"];
    check(
        known.contains(name) && known[name].is_object() && known[name].contains("ids") && known[name]["ids"].is_array(),
        ErrorKind::corrupt, "tokenizer.json: TemplateProcessing uses '{}', which its \"special_tokens\" lack", name);
    for (const SortedJson& id : known[name]["ids"]) {
      const int32_t value = id_of(id, name);
      check(size_t(value) < file.tokens.size(), ErrorKind::corrupt,
            "tokenizer.json: TemplateProcessing gives '{}' the id {}, but ids end at {}", name, value,
            file.tokens.size() - 1);
      (behind ? file.after : file.before).push_back(value);
    }
  }
  check(behind, ErrorKind::corrupt,
        "tokenizer.json: \"single\" of TemplateProcessing leaves out the text (Sequence A)");
}

void read_post_processor(const SortedJson& part, TokenizerFile& file) {
  const std::string type = text_of(part, "type");
  if (type == "Sequence") {
    check(part.contains("processors") && part["processors"].is_array(), ErrorKind::corrupt,
          "tokenizer.json: a post-processor Sequence has no list \"processors\"");
    for (const SortedJson& inner : part["processors"]) read_post_processor(inner, file);
  } else if (type == "TemplateProcessing") {
    if (!file.before.empty() || !file.after.empty()) refuse("two TemplateProcessing");
    read_template(part, file);
  } else if (type != "ByteLevel") {
    refuse("a post-processor of type " + type);
  }
}

std::string quoted_text(std::string_view text) { return json_text(SortedJson(text)); }

SortedJson split_json(const std::string& expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
}

SortedJson byte_level_json(bool add_prefix_space, bool use_regex) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

}  // namespace

TokenizerFile read_tokenizer_json(const std::string& text) {
  auto lists = read_tokenizer_lists(text, int32_t(BpeModel::kMostTokens));
  const SortedJson json = parse_json(lists ? lists->rest : text, "tokenizer.json", {.object = true});
  check(json.contains("model") && json["model"].is_object(), ErrorKind::corrupt,
        "tokenizer.json: \"model\" is missing");
  const SortedJson& model = json["model"];
  try {
    refuse_other_kinds(json, model);
    TokenizerFile file;
    read_added(json, file);
    if (!lists) take_lists(model, lists.emplace());
    read_merges(*lists, read_vocabulary(*lists, file), file);
    add_split(json["pre_tokenizer"], file.splits);
    if (!absent(json, "post_processor")) read_post_processor(json["post_processor"], file);
    file.ignore_merges = flag(model, "ignore_merges", false);
    return file;
  } catch (const SortedJson::exception& e) {
    fail(ErrorKind::corrupt, "tokenizer.json does not have the expected form: {}", e.what());
  }
}

std::string write_tokenizer_json(const TokenizerFile& file) {
  std::string out = "{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n\"added_tokens\": [";
  for (size_t i = 0; i < file.added.size(); ++i) {
    const AddedToken& token = file.added[i];
    out += fmt::format(
        "{}\n{{\"id\": {}, \"content\": {}, \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
        "\"normalized\": {}, \"special\": {}}}",
        i ? "," : "", token.id, quoted_text(token.content), token.normalized, token.special);
  }
  SortedJson splits = SortedJson::array();
  for (const std::string& expression : file.splits) splits.push_back(split_json(expression));
  splits.push_back(byte_level_json(false, false));
  const SortedJson pre_tokenizer = {{"type", "Sequence"}, {"pretokenizers", splits}};
  out += fmt::format("\n],\n\"normalizer\": null,\n\"pre_tokenizer\": {},\n\"post_processor\": {},\n\"decoder\": {},\n",
                     json_text(pre_tokenizer), json_text(byte_level_json(true, true)),
                     json_text(byte_level_json(true, true)));
  out +=
      "\"model\": {\n\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, "
      "\"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": ";
  out += file.ignore_merges ? "true,\n\"vocab\": {" : "false,\n\"vocab\": {";
  // Added tokens below the last plain one stand in the vocabulary too (spelt as they are): Hugging Face counts on that.
  std::vector<char> added(file.tokens.size(), 0);
  for (const AddedToken& token : file.added) added[token.id] = 1;
  const auto last = size_t(std::find(added.rbegin(), added.rend(), 0).base() - added.begin());
  for (size_t id = 0; id < last; ++id) {
    const std::string spelling = added[id] ? file.tokens[id] : byte_alphabet().write(file.tokens[id]);
    out += fmt::format("{}\n{}: {}", id ? "," : "", quoted_text(spelling), id);
  }
  out += "\n},\n\"merges\": [";
  for (size_t i = 0; i < file.merges.size(); ++i) {
    const std::string left = byte_alphabet().write(file.tokens[file.merges[i].left]);
    const std::string right = byte_alphabet().write(file.tokens[file.merges[i].right]);
    out += fmt::format("{}\n{}", i ? "," : "", quoted_text(left + " " + right));
  }
  return out + "\n]\n}\n}\n";
}

std::string write_tokenizer_config() {
  const SortedJson json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                           {"bos_token", kBosToken},
                           {"eos_token", kEosToken},
                           {"pad_token", kPadToken},
                           {"add_bos_token", false},
                           {"add_eos_token", false},
                           {"clean_up_tokenization_spaces", false}};
  return json_text(json, {.indent = 2}) + "\n";
}

}  // namespace hadal
