#include "apps/evaluation.h"

#include "base/error.h"
#include "base/text_format.h"
#include "eval/asked_model.h"
#include "eval/training_overlap.h"

namespace hadal {
namespace {

bool asks_in_chat(const EvaluationRequest& request, const std::string& task, const eval::AskedModel& model) {
  if (request.chat != "auto") return request.chat == "on";
  return !task.ends_with(".yaml") && !task.ends_with(".yml") && bool(model.chat);
}

// Whether items stand in the run's own training text, where that is not too much to read unasked.
void look_into_training_text(const EvaluationRequest& request, std::vector<eval::Task>& tasks) {
  if (request.overlap == "off") return;
  const eval::TrainingText text = eval::training_text_of(request.model.directory);
  for (const std::string& missing : text.missing)
    print_notes({"the run's text " + missing + " is not there any more: nobody looked whether items stand in it"},
                request.quiet);
  if (request.overlap == "on" && text.files.empty() && text.missing.empty())
    print_notes({request.model.directory + " is no run, and nothing says on what text it was trained: nobody looked "
                                           "whether items stand in it"},
                request.quiet);
  constexpr int64_t kUnasked = 1 << 30;
  if (request.overlap == "auto" && text.bytes > kUnasked) {
    print_notes({"the run's text has " + format_bytes(double(text.bytes)) +
                 ": --overlap on looks whether items of the tasks stand in it"},
                request.quiet);
    return;
  }
  eval::note_training_overlap(text, tasks, request.quiet);
}

}  // namespace

std::vector<eval::TaskResult> evaluate_model(const EvaluationRequest& request, const Exec& exec) {
  const auto loaded = request.model.open(exec, request.quiet);
  const eval::AskedModel asked = eval::asked_model(exec, loaded, request.bos);
  check(request.chat != "on" || asked.chat, ErrorKind::invalid,
        "--chat on: {} has no chat template, and its tokenizer lacks the report's tokens of chats",
        request.model.directory);
  std::vector<eval::Task> tasks;
  for (AskedTask task : request.tasks) {
    task.options.chat = asks_in_chat(request, task.name, asked);
    task.sources.needle.positions = asked.transformer.config().max_positions;
    task.sources.needle.n_tokens = [&](const std::string& text) {
      return int64_t(asked.start.size() + asked.tokenizer.encode(text).size());
    };
    tasks.push_back(eval::make_task(task.name, task.options, task.sources));
  }
  look_into_training_text(request, tasks);
  std::vector<eval::TaskResult> results;
  for (size_t t = 0; t < tasks.size(); ++t) {
    const AskedTask& task = request.tasks[t];
    results.push_back(
        eval::evaluate(asked, std::move(tasks[t]),
                       {.samples = task.options.samples, .seed = task.options.seed, .quiet = request.quiet}));
    loaded.model.check_intact();
    if (request.on_result) request.on_result(t, results.back());
  }
  return results;
}

}  // namespace hadal
