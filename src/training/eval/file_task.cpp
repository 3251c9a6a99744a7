#include "eval/file_task.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "eval/doc_text.h"
#include "eval/file_grades.h"
#include "eval/generation_grades.h"
#include "eval/python_value.h"
#include "eval/task_docs.h"
#include "jinja/characters.h"

namespace hadal::eval {
namespace {

Docs split_docs(const TaskFile& file, const std::string& split) {
  const auto found = file.files.find(split);
  check(found != file.files.end(), ErrorKind::invalid, "{}: data_files has no split '{}'", file.path, split);
  return read_docs(found->second);
}

struct Examples {
  Docs docs;
  int64_t n = 0;
  bool of_items = false;  // they are drawn from what is evaluated
};

Examples examples_of(const TaskFile& file, int64_t n) {
  Examples examples{.n = n};
  if (n == 0) return examples;
  check(file.config.value("sampler_is_first_n", false), ErrorKind::unsupported,
        "{}: num_fewshot {}: lm-eval's default sampler draws with Python's random numbers; say fewshot_config: "
        "{{sampler: first_n}}",
        file.path, n);
  if (!file.shot_samples.empty() && file.shot_split.empty()) {
    examples.docs.docs = file.shot_samples;
    for (const Json& doc : file.shot_samples)
      for (const auto& [field, value] : doc.items()) examples.docs.fields.insert(field);
  } else {
    check(!file.shot_split.empty(), ErrorKind::invalid,
          "{}: num_fewshot {}: no fewshot_split, training_split or validation_split says where examples come from",
          file.path, n);
    examples.docs = split_docs(file, file.shot_split);
    examples.of_items = file.shot_split == file.eval_split;
  }
  const int64_t there = int64_t(examples.docs.docs.size());
  check(n + examples.of_items <= there, ErrorKind::invalid, "{}: num_fewshot {}: there are {} examples{}", file.path, n,
        there, examples.of_items ? ", of which an item may not be its own" : "");
  return examples;
}

// The first n that are not the item itself.
std::vector<const Json*> examples_for(const Examples& examples, const Json& doc) {
  std::vector<const Json*> chosen;
  for (const Json& one : examples.docs.docs) {
    if (int64_t(chosen.size()) == examples.n) break;
    if (examples.of_items && one == doc) continue;
    chosen.push_back(&one);
  }
  check(int64_t(chosen.size()) == examples.n, ErrorKind::invalid, "only {} examples differ from the item",
        chosen.size());
  return chosen;
}

Request with_context(RequestKind kind, const Contexts& contexts, size_t choice) {
  Request request{.kind = kind};
  const size_t at = contexts.by_choice ? choice : 0;
  if (!contexts.chats.empty())
    request.chat = contexts.chats[at];
  else
    request.context = contexts.texts[at];
  return request;
}

void add_choices(const TaskFile& file, const Contexts& contexts, Item& item) {
  // In a chat a choice begins a message, or goes on behind what the answer begins with.
  const std::string& prefix = file.fields.gen_prefix;
  const bool begins =
      !contexts.chats.empty() && (prefix.empty() || jinja::strip_range(prefix, false, true).second < prefix.size());
  const std::string delimiter = begins ? "" : file.fields.target_delimiter;
  for (size_t c = 0; c < item.choices.size(); ++c) {
    Request request = with_context(RequestKind::log_likelihood, contexts, c);
    request.continuation = delimiter + (contexts.by_choice ? item.target : item.choices[c]);
    item.requests.push_back(std::move(request));
  }
  const bool mutual = std::any_of(file.metrics.begin(), file.metrics.end(),
                                  [](const FileMetric& metric) { return metric.name == "acc_mutual_info"; });
  for (size_t c = 0; mutual && c < item.choices.size(); ++c)
    item.requests.push_back({.kind = RequestKind::log_likelihood, .continuation = delimiter + item.choices[c]});
}

std::string text_target(const TaskFile& file, const Json& target) {
  check(target.is_string(), ErrorKind::invalid, "{}: doc_to_target must give a text, not {}", file.path,
        python_text(target).substr(0, 60));
  return target.get<std::string>();
}

Request generation(const TaskFile& file, const Contexts& contexts, const TaskOptions& options) {
  Request request = with_context(RequestKind::generate, contexts, 0);
  request.until = file.until, request.max_tokens = file.max_tokens;
  request.samples = file.samples, request.temperature = file.temperature;
  if (options.temperature >= 0) request.samples = options.temperature > 0, request.temperature = options.temperature;
  return request;
}

void add_requests(const TaskFile& file, const Contexts& contexts, const TaskOptions& options, const Json& target,
                  Item& item) {
  check(file.output == OutputType::multiple_choice || !contexts.by_choice, ErrorKind::invalid,
        "{}: doc_to_text gives the number of a choice, which is for multiple_choice", file.path);
  switch (file.output) {
    case OutputType::multiple_choice: return add_choices(file, contexts, item);
    case OutputType::log_likelihood: {
      Request request = with_context(RequestKind::log_likelihood, contexts, 0);
      request.continuation = text_target(file, target);
      item.requests.push_back(std::move(request));
      return;
    }
    case OutputType::rolling:
      item.requests.push_back({.kind = RequestKind::rolling, .continuation = text_target(file, target)});
      return;
    case OutputType::generate: item.requests.push_back(generation(file, contexts, options));
  }
}

// Question and right answer, whatever examples stand in front of it.
std::string own_text(const TaskFile& file, const DocReader& reader, const Item& item, const ItemGold& gold) {
  std::string text;
  const Json question = file.output == OutputType::rolling ? Json("") : reader.text(item.doc);
  if (question.is_string()) text = question.get<std::string>() + " ";
  if (question.is_number_integer()) return text + item.choices.at(size_t(question.get<int64_t>())) + " " + item.target;
  return text + (gold.texts.empty() ? item.target : gold.texts[0]);
}

}  // namespace

Task task_of_file(TaskFile given, const TaskOptions& options) {
  const auto file = std::make_shared<const TaskFile>(std::move(given));
  Docs docs = split_docs(*file, file->eval_split);
  const int64_t n_shots = options.few_shot >= 0 ? options.few_shot : file->num_fewshot;
  const Examples examples = examples_of(*file, n_shots);
  const DocReader reader(file->fields, docs.fields, file->path);
  const DocReader shots(file->shot_fields, examples.docs.fields, file->path);
  Task task{.name = file->task, .n_items = int64_t(docs.docs.size()), .n_shots = n_shots};
  task.config = file->config;
  task.config.erase("sampler_is_first_n");
  task.output_type = output_type_name(file->output);
  task.metrics = file_metrics(*file, options.samples);
  const size_t n = options.limit > 0 ? std::min(size_t(options.limit), docs.docs.size()) : docs.docs.size();
  const bool many_targets = !docs.docs.empty() && reader.target(docs.docs[0]).is_array();
  std::vector<ItemGold> golds;
  for (size_t i = 0; i < n; ++i) {
    const Json& doc = docs.docs[i];
    Item item{.id = int64_t(i), .doc = doc, .choices = reader.choices(doc)};
    const Json target = reader.target(doc);
    item.target = python_text(target);
    Contexts contexts{.texts = {""}};
    if (file->output != OutputType::rolling)
      contexts = contexts_of(
          {reader, shots, file->description, examples_for(examples, doc), options.chat, options.example_turns}, doc);
    golds.push_back(gold_of(*file, item, contexts.by_choice ? reader.text(doc) : target, many_targets));
    item.gold = golds.back().choices;
    item.text = own_text(*file, reader, item, golds.back());
    add_requests(*file, contexts, options, target, item);
    task.items.push_back(std::move(item));
  }
  task.grade = grader_of(file, std::move(golds));
  return task;
}

}  // namespace hadal::eval
