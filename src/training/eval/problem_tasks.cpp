#include "eval/problem_tasks.h"

#include "base/error.h"
#include "base/json.h"
#include "eval/generation_grades.h"

namespace hadal::eval {
namespace {

constexpr int64_t kItems = 500;

Request request_of(const ProblemKind& kind, const Problem& problem, const TaskOptions& options) {
  Request request{
      .kind = RequestKind::generate, .max_tokens = 2 * kind.longest + 8, .yields = true, .keeps_marks = true};
  request.samples = options.temperature > 0;
  if (request.samples) request.temperature = options.temperature;
  if (!options.chat) request.until = {"\n"};
  for (int64_t shot = 0; shot < std::max<int64_t>(0, options.few_shot); ++shot) {
    const Problem example = kind.draw(Split::train, options.seed, shot);
    if (options.chat)
      request.chat.push_back({"user", example.question}), request.chat.push_back({"assistant", example.written()});
    else
      request.context += fmt::format("Question: {}\nAnswer: {}\n\n", example.question, example.written());
  }
  if (options.chat)
    request.chat.push_back({"user", problem.question});
  else
    request.context += fmt::format("Question: {}\nAnswer:", problem.question);
  return request;
}

// Of a model that is asked in plain text the blank behind "Answer:" is the prompt's, not the answer's.
std::string answer_text(const std::string& text, bool chat) {
  return !chat && text.starts_with(' ') ? text.substr(1) : text;
}

}  // namespace

Task problem_task(const ProblemKind& kind, const TaskOptions& options) {
  const std::vector<std::string> own = {"exact_match", "well_formed"};
  Task task{.name = std::string(kind.name)};
  task.n_items = kItems, task.n_shots = std::max<int64_t>(0, options.few_shot);
  task.output_type = "generate_until";
  const int64_t n = options.limit > 0 ? options.limit : kItems;
  task.n_items = std::max(task.n_items, n);
  task.config = {{"task", task.name},
                 {"about", std::string(kind.about)},
                 {"output_type", "generate_until"},
                 {"split", "test"},
                 {"seed", options.seed},
                 {"num_fewshot", task.n_shots},
                 {"chat", options.chat},
                 {"samples", options.samples}};
  task.metrics = generation_metrics(own, options.samples);
  for (int64_t i = 0; i < n; ++i) {
    const Problem problem = kind.draw(Split::test, options.seed, i);
    Item item{.id = i, .target = problem.answer};
    item.doc = {{"question", problem.question}, {"answer", problem.answer}, {"operands", problem.operands}};
    if (!problem.reasoning.empty()) item.doc["reasoning"] = problem.reasoning;
    item.text = problem.question + " " + problem.written();
    item.requests = {request_of(kind, problem, options)};
    task.items.push_back(std::move(item));
  }
  task.grade = [&kind, own, chat = options.chat](const Item& item, const std::vector<Replies>& replies) {
    std::vector<GradedSample> samples;
    for (const Reply& reply : replies.at(0)) {
      const ProblemVerdict verdict = judge_problem(kind, item.target, answer_text(reply.text, chat), reply.ended);
      samples.push_back({{verdict.answer, verdict.well_formed},
                         verdict.why,
                         false,
                         {verdict.right ? 1.0 : 0.0, verdict.well_formed ? 1.0 : 0.0}});
    }
    const auto same = [](const std::string& a, const std::string& b) { return a == b; };
    return std::vector<Graded>{grade_samples(own, "none", samples, same)};
  };
  return task;
}

std::string problem_line(const Problem& problem) {
  Json line;
  line["messages"] = Json::array(
      {{{"role", "user"}, {"content", problem.question}}, {{"role", "assistant"}, {"content", problem.written()}}});
  return json_text(line) + "\n";
}

}  // namespace hadal::eval
