#include "eval/result_files.h"

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "eval/item_page.h"

namespace hadal::eval {
namespace {

Json arguments_of(const Item& item) {
  Json arguments = Json::object();
  for (size_t r = 0; r < item.requests.size(); ++r) {
    const Request& request = item.requests[r];
    Json one = Json::object();
    Json context = request.context;
    if (!request.chat.empty()) {
      context = Json::array();
      for (const ChatTurn& turn : request.chat) context.push_back({{"role", turn.role}, {"content", turn.content}});
    }
    if (request.kind == RequestKind::rolling) {
      one["arg_0"] = request.continuation;
    } else if (request.kind == RequestKind::log_likelihood) {
      one["arg_0"] = context, one["arg_1"] = request.continuation;
    } else {
      one["arg_0"] = context;
      one["arg_1"] = {{"until", request.until}, {"max_gen_toks", request.max_tokens}, {"do_sample", request.samples}};
      if (request.samples) one["arg_1"]["temperature"] = request.temperature;
    }
    arguments[fmt::format("gen_args_{}", r)] = one;
  }
  return arguments;
}

Json reply_json(RequestKind kind, const Reply& reply) {
  if (kind == RequestKind::generate) return reply.text;
  if (kind == RequestKind::rolling) return reply.log_prob;
  return Json::array({reply.log_prob, reply.greedy});
}

Json sample_line(const TaskResult& result, size_t i, const Graded& graded) {
  const Item& item = result.task.items[i];
  Json line = {{"doc_id", item.id}, {"doc", item.doc}, {"target", item.target}, {"arguments", arguments_of(item)}};
  Json replies = Json::array(), names = Json::array();
  for (size_t r = 0; r < item.requests.size(); ++r) {
    Json samples = Json::array();
    for (const Reply& reply : result.replies[i][r]) samples.push_back(reply_json(item.requests[r].kind, reply));
    replies.push_back(samples);
  }
  line["resps"] = replies;
  line["filtered_resps"] = graded.extracted;
  line["filter"] = graded.filter;
  for (const auto& [name, value] : graded.values) names.push_back(name);
  line["metrics"] = names;
  for (size_t m = 0; m < graded.values.size(); ++m) {
    const auto& [name, value] = graded.values[m];
    const Aggregate how = result.task.metrics[m].aggregate;
    const bool ratio = how == Aggregate::exp_minus_ratio || how == Aggregate::minus_ratio_bits;
    line[name] = ratio ? Json::array({value.value, value.weight}) : Json(value.value);
  }
  return line;
}

}  // namespace

Json results_json(const std::vector<TaskResult>& results, const Json& about) {
  Json all;
  for (const TaskResult& result : results) {
    const Task& task = result.task;
    Json& one = all["results"][task.name];
    one["alias"] = task.name;
    for (const MetricResult& metric : result.metrics) {
      one[metric.name + "," + metric.filter] = metric.value;
      one[metric.name + "_stderr," + metric.filter] = metric.error ? Json(*metric.error) : Json("N/A");
    }
    all["configs"][task.name] = task.config;
    all["n-shot"][task.name] = task.n_shots;
    all["n-samples"][task.name] = {{"original", task.n_items}, {"effective", task.items.size()}};
    for (const Metric& metric : task.metrics) all["higher_is_better"][task.name][metric.name] = metric.higher_is_better;
    all["notes"][task.name] = task.notes;
  }
  all["config"] = about;
  return all;
}

std::string samples_text(const TaskResult& result) {
  std::string text;
  for (size_t i = 0; i < result.task.items.size(); ++i)
    for (const Graded& graded : result.grades[i])
      text += json_text(sample_line(result, i, graded), {.lossy = true}) + "\n";
  return text;
}

void write_results(const std::filesystem::path& folder, const std::vector<TaskResult>& results, const Json& about) {
  make_directories(folder);
  for (const TaskResult& result : results) {
    atomic_write(folder / ("samples_" + result.task.name + ".jsonl"), samples_text(result));
    atomic_write(folder / (result.task.name + ".html"), item_page(result));
  }
  atomic_write(folder / "results.json", json_text(results_json(results, about), {.indent = 2, .lossy = true}) + "\n");
}

}  // namespace hadal::eval
