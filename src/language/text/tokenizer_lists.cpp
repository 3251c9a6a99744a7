#include "text/tokenizer_lists.h"

#include <simdjson.h>

namespace hadal {
namespace {

namespace ondemand = simdjson::ondemand;

struct Memory {
  explicit Memory(std::string_view text) : json(text) {}
  simdjson::padded_string json;
  ondemand::parser parser;  // holds the texts, unescaped
};

class Reader {
 public:
  Reader(Memory& memory, int32_t most_ids, TokenizerLists& lists)
      : memory_(memory), most_ids_(most_ids), lists_(lists) {}

  bool run() {
    ondemand::document document;
    ondemand::object root;
    if (memory_.parser.iterate(memory_.json).get(document) || document.get_object().get(root)) return false;
    bool found = false;
    for (auto field : root) {
      std::string_view key;
      if (field.unescaped_key().get(key)) return false;
      if (key != "model") continue;
      ondemand::object model;
      if (found || field.value().get_object().get(model) || !read_model(model)) return false;
      found = true;
    }
    return found && !vocabulary_.empty() && !merges_.empty() && cut_out();
  }

 private:
  bool read_model(ondemand::object& model) {
    for (auto field : model) {
      std::string_view key;
      if (field.unescaped_key().get(key)) return false;
      if (key == "vocab") {
        ondemand::object vocabulary;
        if (!vocabulary_.empty() || field.value().get_object().get(vocabulary) || !read_vocabulary(vocabulary))
          return false;
      } else if (key == "merges") {
        ondemand::array merges;
        if (!merges_.empty() || field.value().get_array().get(merges) || !read_merges(merges)) return false;
      }
    }
    return true;
  }

  bool read_vocabulary(ondemand::object& vocabulary) {
    if (vocabulary.raw_json().get(vocabulary_) || vocabulary.reset().error()) return false;
    for (auto field : vocabulary) {
      std::string_view key;
      uint64_t id = 0;
      if (field.unescaped_key().get(key) || field.value().get_uint64().get(id) || id >= uint64_t(most_ids_))
        return false;
      lists_.vocabulary.emplace_back(key, int32_t(id));
    }
    return true;
  }

  bool read_merges(ondemand::array& merges) {
    if (merges.raw_json().get(merges_) || merges.reset().error()) return false;
    for (auto item : merges) {
      ondemand::json_type type;
      std::string_view left, right;
      if (item.type().get(type)) return false;
      if (type == ondemand::json_type::string) {
        std::string_view text;
        if (item.get_string().get(text)) return false;
        const size_t gap = text.find(' ');
        if (gap == std::string_view::npos || text.find(' ', gap + 1) != std::string_view::npos) return false;
        left = text.substr(0, gap);
        right = text.substr(gap + 1);
      } else {
        ondemand::array pair;
        size_t n = 0;
        if (type != ondemand::json_type::array || item.get_array().get(pair)) return false;
        for (auto part : pair)
          if (n == 2 || part.get_string().get(n++ == 0 ? left : right)) return false;
        if (n != 2) return false;
      }
      lists_.merges.emplace_back(left, right);
    }
    return true;
  }

  // What follows a raw list up to the next mark belongs to it; white space only.
  bool cut_out() {
    const std::string_view text = memory_.json;
    std::pair<std::string_view, const char*> cuts[] = {{vocabulary_, "{}"}, {merges_, "[]"}};
    if (cuts[0].first.data() > cuts[1].first.data()) std::swap(cuts[0], cuts[1]);
    size_t from = 0;
    for (const auto& [list, instead] : cuts) {
      const auto begin = size_t(list.data() - text.data());
      lists_.rest += text.substr(from, begin - from);
      lists_.rest += instead;
      from = begin + list.size();
    }
    lists_.rest += text.substr(from);
    return true;
  }

  Memory& memory_;
  int32_t most_ids_;
  TokenizerLists& lists_;
  std::string_view vocabulary_, merges_;  // as they stand in the file
};

}  // namespace

std::optional<TokenizerLists> read_tokenizer_lists(std::string_view text, int32_t most_ids) {
  TokenizerLists lists;
  lists.vocabulary.reserve(text.size() / 48);  // about so many in a long file; memory that is not touched costs nothing
  lists.merges.reserve(text.size() / 48);
  const auto memory = std::make_shared<Memory>(text);
  lists.memory = memory;
  if (!Reader(*memory, most_ids, lists).run()) return std::nullopt;
  return lists;
}

}  // namespace hadal
