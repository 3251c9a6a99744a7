// hadal eval: how good a model is at tasks: files in lm-eval's format, and generators that need no file.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/eval_record.h"
#include "apps/eval_verbs.h"
#include "apps/evaluation.h"
#include "apps/line_output.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "eval/result_files.h"
#include "eval/task_list.h"

namespace hadal {
namespace {

struct EvalOptions {
  EvaluationRequest asked;  // its tasks are made of the following
  std::vector<std::string> tasks;
  std::string example_turns = "on";
  eval::TaskOptions task;
  eval::TaskSources sources;
  std::vector<int32_t> needle_lengths;
  std::string to, svg;
  bool json = false, record = false;
  CommonOptions common;
};

eval::Json about_evaluation(const EvalOptions& o) {
  return {{"model", o.asked.model.directory},
          {"ema", o.asked.model.load.ema},
          {"tasks", o.tasks},
          {"limit", o.task.limit},
          {"few_shot", o.task.few_shot},
          {"samples", o.task.samples},
          {"seed", o.task.seed},
          {"bos", o.asked.bos},
          {"chat", o.asked.chat},
          {"example_turns", o.example_turns}};
}

// The grid of each needle task, in colour on a terminal, and as a picture where one is asked for.
void show_needles(const EvalOptions& o, const std::vector<eval::TaskResult>& results) {
  for (const eval::TaskResult& result : results) {
    if (result.task.name != "needle") continue;
    const eval::NeedleGrid grid = eval::needle_grid(result);
    if (!o.json) write_out(eval::needle_table(grid, ::isatty(1) != 0) + "\n");
    if (!o.svg.empty()) atomic_write(o.svg, eval::needle_svg(grid, "needle: " + o.asked.model.directory));
    if (!o.to.empty())
      atomic_write(std::filesystem::path(o.to) / "needle.svg",
                   eval::needle_svg(grid, "needle: " + o.asked.model.directory));
  }
}

int run_eval(EvalOptions o) {
  check(!o.asked.model.directory.empty(), ErrorKind::invalid, "--model is missing: the model that is to be evaluated");
  check(!o.tasks.empty(), ErrorKind::invalid, "--tasks is missing: names of tasks, or files, with commas between them");
  if (o.record) run_of_record(o.asked.model.directory);  // refused before any work
  check(o.task.samples == 1 || o.task.temperature != 0, ErrorKind::invalid,
        "--samples {} at --temperature 0 are {} times the same answer", o.task.samples, o.task.samples);
  if (o.task.samples > 1 && o.task.temperature < 0) o.task.temperature = 1;
  o.sources.needle.lengths.assign(o.needle_lengths.begin(), o.needle_lengths.end());
  o.task.example_turns = o.example_turns == "on";
  o.asked.quiet = o.common.quiet;
  for (const std::string& name : o.tasks) o.asked.tasks.push_back({name, o.task, o.sources});
  const auto exec = o.common.exec();
  const std::vector<eval::TaskResult> results = evaluate_model(o.asked, exec.exec);
  if (!o.to.empty()) eval::write_results(o.to, results, about_evaluation(o));
  if (o.record) record_in_run(o.asked.model.directory, results, about_evaluation(o));
  show_needles(o, results);
  write_out(o.json ? json_text(eval::results_json(results, about_evaluation(o)), {.indent = 2, .lossy = true}) + "\n"
                   : eval::results_table(results));
  return kExitFine;
}

std::string tasks_help() {
  std::string help = "tasks with commas between them: files (.yaml) in lm-eval's format, or ";
  bool first = true;
  for (const auto& task : eval::built_in_tasks())
    help += (std::exchange(first, false) ? "" : ", ") + task.name + " (" + task.about + ")";
  return help;
}

}  // namespace

void add_eval(Verb root, Cli& cli) {
  auto o = std::make_shared<EvalOptions>();
  Verb verb = root.add_verb("eval", "How good a model is at tasks");
  add_model_options(verb, o->asked.model, {.ema = true, .attention_form = true, .formats = true, .required = false});
  verb.add_option("--tasks", o->tasks, tasks_help()).separated_by(',');
  verb.add_option("--limit", o->task.limit, "the first items of each task; 0 = all, of a generator its own number")
      .not_negative()
      .show_default();
  verb.add_option("--few-shot", o->task.few_shot, "examples in front of each question; without it as the task says")
      .not_negative();
  verb.add_option("--samples", o->task.samples,
                  "answers to each question; several are drawn, and judged together: pass@k and maj@N")
      .positive()
      .show_default();
  verb.add_option("--temperature", o->task.temperature, "of drawn answers (1 with --samples); without it greedy")
      .not_negative();
  verb.add_option("--seed", o->task.seed, "of generated items and drawn answers").not_negative().show_default();
  verb.add_option("--chat", o->asked.chat,
                  "ask through the model's chat template: on, off, auto = generated tasks do where the model has one")
      .one_of({"auto", "on", "off"})
      .show_default();
  verb.add_option("--example-turns", o->example_turns,
                  "in a chat, examples are turns of their own (on) or stand in the message of the question (off)")
      .one_of({"on", "off"})
      .show_default();
  verb.add_option("--bos", o->asked.bos, "token before a text: on = BOS, off = none, auto = as trained")
      .one_of({"auto", "on", "off"})
      .show_default();
  verb.add_option("--gsm8k", o->sources.gsm8k, "the test file of GSM8K, for the task gsm8k");
  verb.add_option("--gsm8k-examples", o->sources.gsm8k_examples, "its training file, whose first lines are examples");
  verb.add_option("--text", o->sources.text, "long texts for the task positions: plain, or JSON lines with \"text\"");
  verb.add_option("--lengths", o->needle_lengths,
                  "of needle: tokens, with commas between them; without it the model's positions and halves of them")
      .separated_by(',');
  verb.add_option("--svg", o->svg, "a file for the grid of needle as a picture");
  verb.add_option("--overlap", o->asked.overlap,
                  "look for items in the text that the run was trained on: on, off, auto = up to 1 GiB of it")
      .one_of({"auto", "on", "off"})
      .show_default();
  verb.add_option("--to", o->to, "a folder for results.json, samples_TASK.jsonl and TASK.html");
  verb.add_flag("--record", o->record,
                "keep the results in the run (evals/TASK.json in its directory), for the page of hadal report");
  verb.add_flag("--json", o->json, "print results.json instead of the table");
  add_place_options(verb, o->common);
  verb.add_examples({"hadal eval --model runs/life --tasks word_problems,arithmetic --limit 200 --to scores",
                     "hadal eval --model DeepSeek-V2-Lite --tasks tasks/my_task.yaml --few-shot 5",
                     "hadal eval --model runs/life --tasks word_problems --samples 8 --temperature 1",
                     "hadal eval --model runs/life --tasks needle --lengths 256,1024 --svg needle.svg",
                     "hadal eval --model runs/life:base --tasks needle --record     (on the page of hadal report)",
                     "hadal eval generate word_problems --split train --n 6000 --to problems.jsonl"});
  cli.on(verb, [o] { return run_eval(*o); });
  add_eval_generate(verb, cli);
  add_eval_compare(verb, cli);
}

}  // namespace hadal
