// hadal eval generate: problems of the generated tasks as lines of training data.
#include "apps/eval_verbs.h"
#include "apps/line_output.h"
#include "base/json.h"
#include "eval/needle.h"
#include "eval/problem.h"
#include "eval/problem_tasks.h"

namespace hadal {
namespace {

struct ProblemsOptions {
  std::string kind, split = "train", to = "-";
  int64_t n = 1000, first = 0;
  std::vector<int32_t> bytes = {2000};
  uint64_t seed = 1;
};

int run_problems(const ProblemsOptions& o) {
  const eval::Split split = eval::split_of(o.split);
  for (const int32_t bytes : o.bytes)
    check(bytes > 0, ErrorKind::invalid, "--bytes {}: a text has at least one", bytes);
  LineOutput out(o.to);
  for (int64_t i = o.first; i < o.first + o.n; ++i) {
    const int64_t bytes = o.bytes[size_t(i) % o.bytes.size()];
    const std::string line =
        o.kind == "needle" ? json_text(nlohmann::json{{"text", eval::needle_text(split, o.seed, i, bytes)}}) + "\n"
                           : eval::problem_line(eval::problem_kind(o.kind).draw(split, o.seed, i));
    out.write(line, "problem " + std::to_string(i));
  }
  out.commit();
  return kExitFine;
}

}  // namespace

void add_eval_generate(Verb eval, Cli& cli) {
  auto o = std::make_shared<ProblemsOptions>();
  std::vector<std::string> kinds;
  for (const auto& kind : eval::problem_kinds()) kinds.emplace_back(kind.name);
  kinds.emplace_back("needle");
  Verb verb = eval.add_verb("generate", "Problems of a generated task as training data, one chat or text a line");
  verb.add_option("kind", o->kind, "the kind of problems").one_of(kinds).required();
  verb.add_option("--split", o->split,
                  "train, or test: about a tenth of all operand tuples, withheld from the former whatever the seed")
      .one_of({"train", "test"})
      .show_default();
  verb.add_option("--n", o->n, "how many").positive().show_default();
  verb.add_option("--first", o->first, "index of the first; a problem depends on split, seed and index alone")
      .not_negative()
      .show_default();
  verb.add_option("--bytes", o->bytes, "of needle: about the sizes of texts, in turn, with commas between them")
      .separated_by(',');
  verb.add_option("--seed", o->seed, "of the draws").show_default();
  verb.add_option("--to", o->to,
                  "JSON lines {\"messages\": [user, assistant]}, of needle {\"text\"}; - is standard output")
      .show_default();
  verb.add_examples({"hadal eval generate word_problems --split train --n 6000 --to problems.jsonl",
                     "hadal eval generate needle --n 2000 --bytes 400,1600,6400 --to needles.jsonl"});
  cli.on(verb, [o] { return run_problems(*o); });
}

}  // namespace hadal
