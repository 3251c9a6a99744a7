// An item of a task file as text: its fields through Jinja or by name, the few-shot examples in front of it, and what
// is asked of the model, all by lm-eval's rules.
#pragma once
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "eval/task.h"
#include "eval/task_file.h"
#include "jinja/chat_template.h"

namespace hadal::eval {

// The fields of docs of one kind (items, or examples), their templates parsed once.
class DocReader {
 public:
  // where: for messages. in_choices: doc_to_choice is there, so digits are the number of a choice.
  DocReader(const DocFields& fields, std::set<std::string> names, std::string where);

  Json text(const Json& doc) const;                         // a text, or the number of a choice
  Json target(const Json& doc) const;                       // a text, a number, or a list of either
  std::vector<std::string> choices(const Json& doc) const;  // none where the file names none
  bool has_choices() const { return !fields_.choice.is_null(); }
  std::string prefix(const Json& doc) const;
  // A template, or the name of a field of this doc.
  std::string resolve(const std::string& field, const Json& doc) const;
  const DocFields& fields() const { return fields_; }
  const std::string& where() const { return where_; }

 private:
  std::string render(const std::string& source, const Json& doc) const;

  DocFields fields_;
  std::set<std::string> names_;
  std::string where_;
  mutable std::map<std::string, std::shared_ptr<ChatTemplate>> templates_;
};

// What stands before an item's answer: description, examples, question. Of a task whose choices are contexts
// (doc_to_text gives a number) one for each choice.
struct Contexts {
  std::vector<std::string> texts;
  std::vector<std::vector<ChatTurn>> chats;  // in place of texts where the task is asked in a chat
  bool by_choice = false;
};
struct ContextParts {
  const DocReader& items;
  const DocReader& shots;
  std::string description;
  std::vector<const Json*> examples;
  bool chat = false;
  bool example_turns = true;  // of a chat: examples are turns of their own
};
Contexts contexts_of(const ContextParts& parts, const Json& doc);

}  // namespace hadal::eval
