// A task file in lm-eval's format (YAML), read and checked: the part of it that local JSON needs. Everything else is
// refused by name: code (!function, process_docs, process_results), data sets of a hub, samplers that draw with
// Python's random numbers, metrics and filters that there are not.
//
//   task: sea                               a word; names files of results
//   dataset_path: json
//   dataset_kwargs: {data_files: {test: sea.jsonl, train: shots.jsonl}}     in the file's own folder
//   test_split: test                        else validation_split is evaluated
//   output_type: multiple_choice            loglikelihood, loglikelihood_rolling, generate_until (default)
//   doc_to_text: "{{question}}"             Jinja, or the name of a field
//   doc_to_choice: choices                  Jinja, a field, a list or a mapping
//   doc_to_target: gold                     a number, text or list of either
//   target_delimiter: " "   fewshot_delimiter: "\n\n"   description: ""   gen_prefix: ""
//   num_fewshot: 2   fewshot_split: train   fewshot_config: {sampler: first_n}
//   generation_kwargs: {until: ["\n"], max_gen_toks: 32, do_sample: false}
//   filter_list: [{name: strict, filter: [{function: regex, regex_pattern: "(-?[0-9]+)"}, {function: take_first}]}]
//   metric_list: [{metric: acc}, {metric: exact_match, ignore_case: true}]
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "grading/exact_match.h"
#include "grading/filters.h"

namespace hadal::eval {

using Json = nlohmann::ordered_json;

enum class OutputType { log_likelihood, rolling, multiple_choice, generate };
std::string output_type_name(OutputType type);  // lm-eval's

struct FileMetric {
  std::string name;
  bool higher_is_better = true;
  grading::ExactMatch::Options exact;  // of exact_match
};

struct FileFilter {
  std::string name;
  std::vector<grading::Filter> steps;
};

// How an item or an example becomes text.
struct DocFields {
  Json text, target, choice;  // null: none
  std::string gen_prefix, target_delimiter = " ", fewshot_delimiter = "\n\n";
};

struct TaskFile {
  std::string path, task;
  Json config;  // as it stands in the file
  OutputType output = OutputType::generate;
  std::map<std::string, std::vector<std::filesystem::path>> files;  // of each split
  std::string eval_split, shot_split;                               // shot_split empty: none
  std::vector<Json> shot_samples;                                   // examples that stand in the file itself
  DocFields fields, shot_fields;
  std::string description;
  int64_t num_fewshot = 0;
  std::vector<std::string> until;
  int64_t max_tokens = 256;
  bool samples = false;
  double temperature = 0;
  std::vector<FileMetric> metrics;
  std::vector<FileFilter> filters;
};

// Throws invalid or unsupported, "FILE: ...", for what is wrong or not offered.
TaskFile read_task_file(const std::filesystem::path& path);
// The same of a text; data files lie in `folder`.
TaskFile parse_task_file(const std::string& yaml, const std::string& origin, const std::filesystem::path& folder);

}  // namespace hadal::eval
