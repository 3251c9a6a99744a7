#include "eval/task_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "eval/yaml.h"
#include "eval/yaml_fields.h"

namespace hadal::eval {
namespace {

constexpr std::pair<const char*, OutputType> kOutputs[] = {{"loglikelihood", OutputType::log_likelihood},
                                                           {"loglikelihood_rolling", OutputType::rolling},
                                                           {"multiple_choice", OutputType::multiple_choice},
                                                           {"generate_until", OutputType::generate}};

struct KnownMetric {
  const char* name;
  OutputType output;
  const char* aggregation;
  bool higher_is_better, by_default;
};
constexpr KnownMetric kMetrics[] = {{"perplexity", OutputType::log_likelihood, "perplexity", false, true},
                                    {"acc", OutputType::log_likelihood, "mean", true, true},
                                    {"word_perplexity", OutputType::rolling, "weighted_perplexity", false, true},
                                    {"byte_perplexity", OutputType::rolling, "weighted_perplexity", false, true},
                                    {"bits_per_byte", OutputType::rolling, "bits_per_byte", false, true},
                                    {"acc", OutputType::multiple_choice, "mean", true, true},
                                    {"acc_norm", OutputType::multiple_choice, "mean", true, true},
                                    {"acc_bytes", OutputType::multiple_choice, "mean", true, false},
                                    {"acc_mutual_info", OutputType::multiple_choice, "mean", true, false},
                                    {"exact_match", OutputType::multiple_choice, "mean", true, false},
                                    {"exact_match", OutputType::generate, "mean", true, true},
                                    {"maths_equal", OutputType::generate, "mean", true, false}};

void read_output(YamlFields& fields, TaskFile& file) {
  const std::string name = fields.text("output_type", "generate_until");
  const auto known =
      std::find_if(std::begin(kOutputs), std::end(kOutputs), [&](const auto& o) { return name == o.first; });
  check(known != std::end(kOutputs), ErrorKind::unsupported,
        "{}: output_type '{}' is not one of loglikelihood, loglikelihood_rolling, multiple_choice, generate_until",
        fields.where(), name);
  file.output = known->second;
}

// A file of the task's own folder: a task that was downloaded reads nothing else.
std::filesystem::path inside(const std::filesystem::path& folder, const std::string& name, const std::string& where) {
  std::error_code ignored;
  const auto base = std::filesystem::weakly_canonical(folder.empty() ? "." : folder, ignored);
  const auto path = std::filesystem::weakly_canonical(base / name, ignored);
  const auto [at, end] = std::mismatch(base.begin(), base.end(), path.begin(), path.end());
  check(at == base.end(), ErrorKind::invalid, "{}: data_files: '{}' lies outside of the task file's folder", where,
        name);
  check(std::filesystem::exists(path), ErrorKind::not_found, "{}: data_files: there is no file '{}'", where,
        path.string());
  return path;
}

void add_files(const Json& names, const std::string& split, TaskFile& file, const std::filesystem::path& folder) {
  const Json list = names.is_array() ? names : Json::array({names});
  for (const Json& name : list) {
    check(name.is_string(), ErrorKind::invalid, "{}: data_files: a name of a file must be a text", file.path);
    check(name.get<std::string>().find("://") == std::string::npos, ErrorKind::unsupported,
          "{}: data_files: '{}' would be fetched from elsewhere; only local files are read", file.path,
          name.get<std::string>());
    file.files[split].push_back(inside(folder, name.get<std::string>(), file.path));
  }
}

void read_data(YamlFields& fields, TaskFile& file, const std::filesystem::path& folder) {
  const std::string kind = fields.text("dataset_path", "");
  check(kind == "json", ErrorKind::unsupported,
        "{}: dataset_path '{}': data sets of a hub are not fetched; with dataset_path: json and dataset_kwargs: "
        "{{data_files: ...}} local JSON is read",
        file.path, kind);
  fields.refuse("dataset_name", "local JSON has no named parts");
  YamlFields kwargs(fields.take("dataset_kwargs"), file.path + ": dataset_kwargs");
  const Json& files = kwargs.take("data_files");
  kwargs.finish();
  if (files.is_object())
    for (const auto& [split, names] : files.items()) add_files(names, split, file, folder);
  else
    add_files(files, "train", file, folder);
}

void check_split(const TaskFile& file, const char* key, const std::string& split) {
  check(split.empty() || file.files.contains(split), ErrorKind::invalid, "{}: {}: data_files has no split '{}'",
        file.path, key, split);
}

DocFields read_doc_fields(YamlFields& fields, const DocFields& otherwise) {
  DocFields doc = otherwise;
  const auto take = [&](const char* key, Json& into) {
    const Json& value = fields.take(key);
    if (!value.is_null()) into = value;
  };
  take("doc_to_text", doc.text), take("doc_to_target", doc.target), take("doc_to_choice", doc.choice);
  if (!doc.text.is_null() && !doc.text.is_string() && !doc.text.is_number_integer())
    fields.wrong("doc_to_text", "a text or a whole number");
  if (doc.choice.is_boolean() || doc.choice.is_number()) fields.wrong("doc_to_choice", "a text, a list or a mapping");
  doc.gen_prefix = fields.text("gen_prefix", doc.gen_prefix);
  doc.target_delimiter = fields.text("target_delimiter", doc.target_delimiter);
  doc.fewshot_delimiter = fields.text("fewshot_delimiter", doc.fewshot_delimiter);
  return doc;
}

void read_shots(YamlFields& fields, TaskFile& file, const std::string& training, const std::string& validation) {
  file.num_fewshot = fields.whole("num_fewshot", 0, 0);
  const Json& given = fields.take("fewshot_config");
  const Json none = Json::object();
  YamlFields config(given.is_null() ? none : given, file.path + ": fewshot_config");
  const std::string sampler = config.text("sampler", "default");
  file.shot_split = config.text("split", fields.text("fewshot_split", ""));
  file.shot_fields = read_doc_fields(config, file.fields);
  const Json& samples = config.take("samples");
  if (samples.is_array()) file.shot_samples.assign(samples.begin(), samples.end());
  if (!samples.is_null() && !samples.is_array()) config.wrong("samples", "a list of items");
  config.refuse("process_docs", "it would be code");
  config.refuse("fewshot_indices", "the first n examples are taken");
  config.finish();
  check(sampler == "first_n" || sampler == "default", ErrorKind::unsupported,
        "{}: fewshot_config: the sampler '{}' is not first_n", file.path, sampler);
  if (file.shot_split.empty() && file.shot_samples.empty()) file.shot_split = training.empty() ? validation : training;
  check_split(file, "fewshot_split", file.shot_split);
  // lm-eval's own default draws examples with Python's random numbers; it matters only where there are any.
  file.config["sampler_is_first_n"] = sampler == "first_n";
}

void read_generation(YamlFields& fields, TaskFile& file) {
  const Json& given = fields.take("generation_kwargs");
  file.until = {file.fields.fewshot_delimiter};
  if (given.is_null()) return;
  YamlFields kwargs(given, file.path + ": generation_kwargs");
  if (given.contains("until")) file.until = kwargs.texts("until");
  for (const char* key : {"max_completion_tokens", "max_tokens", "max_new_tokens", "max_gen_toks"})  // the last wins
    file.max_tokens = kwargs.whole(key, file.max_tokens, 1);
  file.temperature = kwargs.number("temperature", 0);
  file.samples = kwargs.truth("do_sample", file.temperature > 0) && file.temperature > 0;
  kwargs.finish();
}

void read_metrics(YamlFields& fields, TaskFile& file) {
  const Json& given = fields.take("metric_list");
  if (given.is_null()) {
    for (const KnownMetric& metric : kMetrics)
      if (metric.output == file.output && metric.by_default)
        file.metrics.push_back({metric.name, metric.higher_is_better, {}});
    return;
  }
  check(given.is_array() && !given.empty(), ErrorKind::invalid, "{}: metric_list must be a list of metrics", file.path);
  for (const Json& one : given) {
    YamlFields metric(one, file.path + ": metric_list");
    FileMetric read{metric.text("metric", ""), true, {}};
    const auto known = std::find_if(std::begin(kMetrics), std::end(kMetrics), [&](const KnownMetric& m) {
      return read.name == m.name && m.output == file.output;
    });
    check(known != std::end(kMetrics), ErrorKind::unsupported, "{}: there is no metric '{}' of {}", metric.where(),
          read.name, output_type_name(file.output));
    const std::string aggregation = metric.text("aggregation", known->aggregation);
    check(aggregation == known->aggregation, ErrorKind::unsupported, "{}: the aggregation '{}' of {} must be {}",
          metric.where(), aggregation, read.name, known->aggregation);
    read.higher_is_better = metric.truth("higher_is_better", known->higher_is_better);
    metric.refuse("hf_evaluate", "its metrics are code that is fetched", false);
    if (read.name == "exact_match" && file.output == OutputType::generate) {
      read.exact.ignore_case = metric.truth("ignore_case", false);
      read.exact.ignore_punctuation = metric.truth("ignore_punctuation", false);
      read.exact.ignore_numbers = metric.truth("ignore_numbers", false);
      read.exact.regexes_to_ignore = metric.texts("regexes_to_ignore");
    }
    metric.finish();
    file.metrics.push_back(std::move(read));
  }
}

grading::Filter read_filter(const Json& given, const std::string& where) {
  using Kind = grading::Filter::Kind;
  static const std::map<std::string, Kind> kKinds = {{"regex", Kind::regex},       {"remove_whitespace", Kind::strip},
                                                     {"lowercase", Kind::lower},   {"uppercase", Kind::upper},
                                                     {"map", Kind::map},           {"take_first", Kind::take_first},
                                                     {"maths_answer", Kind::maths}};
  YamlFields fields(given, where);
  const std::string function = fields.text("function", "");
  const auto known = kKinds.find(function);
  check(known != kKinds.end(), ErrorKind::unsupported, "{}: there is no filter '{}'{}", where, function,
        function == "majority_vote" || function == "take_first_k" ? "; --samples N votes over N answers" : "");
  grading::Filter filter{.kind = known->second};
  if (filter.kind == Kind::regex) {
    filter.pattern = fields.text("regex_pattern", "#### (\\-?[0-9\\.\\,]+)");
    filter.select = fields.whole("group_select", 0, INT32_MIN);
    filter.fallback = fields.text("fallback", "[invalid]");
  } else if (filter.kind == Kind::map) {
    const Json& map = fields.take("mapping_dict");
    check(map.is_object(), ErrorKind::invalid, "{}: mapping_dict must be a mapping of texts to texts", where);
    for (const auto& [from, to] : map.items()) {
      check(to.is_string(), ErrorKind::invalid, "{}: mapping_dict: '{}' must stand for a text", where, from);
      filter.map.emplace_back(from, to.get<std::string>());
    }
    filter.fallback = fields.text("default_value", "None");
  }
  fields.finish();
  return filter;
}

void read_filters(YamlFields& fields, TaskFile& file) {
  const Json& given = fields.take("filter_list");
  if (given.is_null()) {
    file.filters.push_back({"none", {}});
    return;
  }
  check(given.is_array() && !given.empty(), ErrorKind::invalid, "{}: filter_list must be a list of filters", file.path);
  for (const Json& one : given) {
    YamlFields filter(one, file.path + ": filter_list");
    FileFilter read{filter.text("name", ""), {}};
    const Json& steps = filter.take("filter");
    check(!read.name.empty() && steps.is_array(), ErrorKind::invalid, "{}: a filter has a name and a list \"filter\"",
          filter.where());
    for (const Json& step : steps) read.steps.push_back(read_filter(step, filter.where() + ": " + read.name));
    filter.finish();
    const bool plain = std::all_of(read.steps.begin(), read.steps.end(),
                                   [](const auto& step) { return step.kind == grading::Filter::Kind::take_first; });
    check(file.output == OutputType::generate || plain, ErrorKind::unsupported,
          "{}: filters of texts belong to generate_until", filter.where());
    file.filters.push_back(std::move(read));
  }
}

bool is_word(const std::string& name) {
  return !name.empty() && name.size() <= 100 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; });
}

}  // namespace

std::string output_type_name(OutputType type) {
  return std::find_if(std::begin(kOutputs), std::end(kOutputs), [&](const auto& o) { return o.second == type; })->first;
}

TaskFile parse_task_file(const std::string& yaml, const std::string& origin, const std::filesystem::path& folder) {
  TaskFile file{.path = origin};
  file.config = read_yaml(yaml, origin);
  const Json given = file.config;
  YamlFields fields(given, origin);
  file.task = fields.text("task", "");
  check(is_word(file.task), ErrorKind::invalid, "{}: task: '{}' must be a name of letters, digits, '_', '-' and '.'",
        origin, file.task);
  for (const char* ignored : {"task_alias", "tag", "metadata"}) fields.take(ignored);  // for lists of tasks
  read_output(fields, file);
  read_data(fields, file, folder);
  const std::string training = fields.text("training_split", ""), validation = fields.text("validation_split", "");
  const std::string test = fields.text("test_split", "");
  check_split(file, "training_split", training), check_split(file, "validation_split", validation);
  check_split(file, "test_split", test);
  file.eval_split = test.empty() ? validation : test;
  check(!file.eval_split.empty(), ErrorKind::invalid,
        "{}: neither test_split nor validation_split says what to evaluate", origin);
  file.description = fields.text("description", "");
  file.fields = read_doc_fields(fields, {});
  read_shots(fields, file, training, validation);
  read_generation(fields, file);
  read_metrics(fields, file);
  read_filters(fields, file);
  for (const char* key : {"process_docs", "process_results", "custom_dataset", "use_prompt", "include", "group"})
    fields.refuse(key, "it would be code, or another file");
  for (const char* key : {"doc_to_image", "doc_to_audio"}) fields.refuse(key, "the model reads text");
  fields.refuse("unsafe_code", "no code is run", false);
  fields.refuse("repeats", "--samples N asks for several answers", 1);
  fields.refuse("should_decontaminate", "`hadal data build` removes evaluation items from training data", false);
  fields.take("doc_to_decontamination_query");
  fields.finish();
  check(file.output == OutputType::rolling || !file.fields.text.is_null(), ErrorKind::invalid,
        "{}: doc_to_text is missing", origin);
  check(!file.fields.target.is_null(), ErrorKind::invalid, "{}: doc_to_target is missing", origin);
  check(file.output != OutputType::multiple_choice || !file.fields.choice.is_null(), ErrorKind::invalid,
        "{}: multiple_choice wants doc_to_choice", origin);
  return file;
}

TaskFile read_task_file(const std::filesystem::path& path) {
  return parse_task_file(read_file(path), path.string(), path.parent_path());
}

}  // namespace hadal::eval
