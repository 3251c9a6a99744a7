#include "eval/compare.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/table.h"

namespace hadal::eval {
namespace {

using Lines = std::map<std::pair<std::string, int64_t>, Json>;  // by filter and item

std::map<std::string, std::filesystem::path> sample_files(const std::filesystem::path& folder) {
  std::map<std::string, std::filesystem::path> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("samples_") && name.ends_with(".jsonl"))
      files[name.substr(8, name.size() - 14)] = entry.path();
  }
  check(!files.empty(), ErrorKind::not_found, "{}: no samples_TASK.jsonl; hadal eval --to writes them",
        folder.string());
  return files;
}

Lines read_samples(const std::filesystem::path& path) {
  Lines lines;
  const std::string text = read_file(path);
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string where = fmt::format("{}: line {}", path.string(), ++number);
    Json line = parse_json<Json>(std::string_view(text).substr(at, end - at), where, {.object = true});
    check(line.contains("doc_id") && line["doc_id"].is_number_integer() && line.contains("metrics") &&
              line["metrics"].is_array() && line.contains("doc"),
          ErrorKind::corrupt, "{}: not a line of samples", where);
    const auto key = std::pair(line.value("filter", "none"), line["doc_id"].get<int64_t>());
    check(lines.emplace(key, std::move(line)).second, ErrorKind::corrupt, "{}: item {} stands twice", where,
          key.second);
    at = end + 1;
  }
  return lines;
}

double value_of(const Json& line, const std::string& metric) {
  const Json& value = line.contains(metric) ? line.at(metric) : Json();
  if (value.is_array() && !value.empty() && value[0].is_number()) return value[0].get<double>();
  check(value.is_number() || value.is_boolean(), ErrorKind::corrupt, "item {} has no number for {}",
        line.at("doc_id").get<int64_t>(), metric);
  return value.is_boolean() ? double(value.get<bool>()) : value.get<double>();
}

std::string first_argument(const Json& line) {
  if (!line.contains("arguments") || !line["arguments"].contains("gen_args_0")) return "";
  const Json& argument = line["arguments"]["gen_args_0"].value("arg_0", Json());
  if (argument.is_string()) return argument.get<std::string>();
  return argument.is_array() && !argument.empty() ? argument.back().value("content", "") : "";
}

std::string extracted(const Json& line) {
  const Json& all = line.contains("filtered_resps") ? line.at("filtered_resps") : Json();
  return all.is_array() && !all.empty() && all[0].is_string() ? all[0].get<std::string>() : "";
}

void check_same_items(const std::string& task, const Lines& a, const Lines& b) {
  check(a.size() == b.size(), ErrorKind::invalid,
        "{}: {} lines of one evaluation and {} of the other: a test of pairs wants the same items", task, a.size(),
        b.size());
  for (const auto& [key, line] : a) {
    const auto other = b.find(key);
    check(other != b.end() && other->second.at("doc") == line.at("doc"), ErrorKind::invalid,
          "{}: item {} is not the same in both evaluations", task, key.second);
  }
}

ComparedMetric compare_metric(const std::string& task, const std::string& filter, const std::string& metric,
                              const Lines& a, const Lines& b) {
  ComparedMetric compared{.task = task, .filter = filter, .metric = metric};
  std::vector<double> before, after;
  for (const auto& [key, line] : a) {
    if (key.first != filter) continue;
    const Json& other = b.at(key);
    before.push_back(value_of(line, metric)), after.push_back(value_of(other, metric));
    if (before.back() != after.back())
      compared.flipped.push_back({key.second, before.back(), after.back(), first_argument(line),
                                  line.value("target", ""), extracted(line), extracted(other)});
  }
  compared.before = grading::mean_of(before), compared.after = grading::mean_of(after);
  compared.test = grading::paired_test(before, after);
  return compared;
}

void compare_task(const std::string& task, const Lines& a, const Lines& b, std::vector<ComparedMetric>& all) {
  check_same_items(task, a, b);
  std::string filter;
  bool first = true;
  for (const auto& [key, line] : a) {
    if (!first && key.first == filter) continue;
    first = false, filter = key.first;
    bool first_metric = true;
    for (const Json& metric : line.at("metrics")) {
      all.push_back(compare_metric(task, filter, metric.get<std::string>(), a, b));
      if (!first_metric) all.back().flipped.clear();
      first_metric = false;
    }
  }
}

std::string one_line(std::string text, size_t most) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() <= most) return text;
  size_t begin = text.size() - most;
  while (begin < text.size() && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) ++begin;
  return "..." + text.substr(begin);
}

}  // namespace

std::vector<ComparedMetric> compare_evaluations(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto files_a = sample_files(a), files_b = sample_files(b);
  std::vector<ComparedMetric> all;
  for (const auto& [task, path] : files_a)
    if (files_b.contains(task)) compare_task(task, read_samples(path), read_samples(files_b.at(task)), all);
  check(!all.empty(), ErrorKind::not_found, "{} and {} have no task in common", a.string(), b.string());
  return all;
}

std::string comparison_text(const std::vector<ComparedMetric>& compared, int64_t most_items) {
  Table table(
      {"task", "filter", "metric", "items", "before", "after", "difference", "95 % interval", "p", "up", "down"});
  for (const ComparedMetric& one : compared)
    table.add({one.task, one.filter, one.metric, std::to_string(one.test.n), fmt::format("{:.4f}", one.before),
               fmt::format("{:.4f}", one.after), fmt::format("{:+.4f}", one.test.difference),
               fmt::format("[{:+.4f}, {:+.4f}]", one.test.low, one.test.high),
               fmt::format("{:.4f}{}", one.test.p, one.test.exact ? "" : " (signs)"), std::to_string(one.test.gained),
               std::to_string(one.test.lost)});
  std::string text = table.text();
  for (const ComparedMetric& one : compared) {
    if (one.flipped.empty() || most_items == 0) continue;
    text += fmt::format("\n{} {}: {} items changed\n", one.task, one.filter, one.flipped.size());
    for (int64_t i = 0; i < std::min(most_items, int64_t(one.flipped.size())); ++i) {
      const FlippedItem& item = one.flipped[size_t(i)];
      text += fmt::format("  {} {:>5}: {:g} -> {:g}  {}  expected {}: {} -> {}\n", item.after > item.before ? "+" : "-",
                          item.id, item.before, item.after, one_line(item.prompt, 60), one_line(item.target, 30),
                          one_line(item.answer_before, 30), one_line(item.answer_after, 30));
    }
    if (int64_t(one.flipped.size()) > most_items) text += fmt::format("  ... --items shows more\n");
  }
  return text;
}

}  // namespace hadal::eval
