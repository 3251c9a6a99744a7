#include "eval/gsm8k_task.h"

#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "eval/file_task.h"

namespace hadal::eval {
namespace {

// As lm-eval has it; NAME stands for the file.
constexpr const char* kGsm8k = R"(task: gsm8k
dataset_path: json
dataset_kwargs: {data_files: {test: NAME}}
test_split: test
output_type: generate_until
doc_to_text: "Question: {{question}}\nAnswer:"
doc_to_target: "{{answer}}"
fewshot_config: {sampler: first_n}
generation_kwargs:
  until: ["Question:", "</s>", "<|im_end|>"]
  do_sample: false
filter_list:
  - name: strict-match
    filter: [{function: regex, regex_pattern: '#### (\-?[0-9\.\,]+)'}, {function: take_first}]
  - name: flexible-extract
    filter: [{function: regex, group_select: -1, regex_pattern: '(-?[$0-9.,]{2,})|(-?[0-9]+)'}, {function: take_first}]
metric_list:
  - metric: exact_match
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [',', '\$', '(?s).*#### ', '\.$']
)";

}  // namespace

Task gsm8k_task(const std::string& test_file, const std::string& examples, const TaskOptions& options) {
  check(!test_file.empty(), ErrorKind::invalid,
        "gsm8k: its items are not part of this program; --gsm8k FILE names the test file that you have");
  const std::filesystem::path path = test_file;
  std::string yaml = kGsm8k;
  yaml.replace(yaml.find("NAME"), 4, json_text(Json(path.filename().string())));
  TaskFile file = parse_task_file(yaml, "gsm8k", path.parent_path());
  TaskOptions asked = options;
  if (asked.few_shot < 0) asked.few_shot = examples.empty() ? 0 : 5;
  check(asked.few_shot == 0 || !examples.empty(), ErrorKind::invalid,
        "gsm8k: {} examples in front of each question are asked for; --gsm8k-examples FILE names the training file",
        asked.few_shot);
  if (!examples.empty()) {
    check(std::filesystem::exists(examples), ErrorKind::not_found, "gsm8k: there is no file '{}'", examples);
    file.files["train"] = {examples}, file.shot_split = "train";
  }
  return task_of_file(std::move(file), asked);
}

}  // namespace hadal::eval
