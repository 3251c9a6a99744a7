// hadal eval compare: two evaluations of the same items, tested pair by pair.
#include "apps/eval_verbs.h"
#include "apps/line_output.h"
#include "eval/compare.h"

namespace hadal {
namespace {

struct CompareOptions {
  std::string before, after;
  int64_t items = 10;
};

}  // namespace

void add_eval_compare(Verb eval, Cli& cli) {
  auto o = std::make_shared<CompareOptions>();
  Verb verb = eval.add_verb("compare", "Two evaluations of the same items: paired tests, and the items that changed");
  verb.add_option("before", o->before, "a folder that `hadal eval --to` wrote").required();
  verb.add_option("after", o->after, "another, of the same tasks and items").required();
  verb.add_option("--items", o->items, "changed items of each task to show").not_negative().show_default();
  verb.add_examples({"hadal eval compare scores/before scores/after"});
  cli.on(verb, [o] {
    write_out(eval::comparison_text(eval::compare_evaluations(o->before, o->after), o->items));
    return kExitFine;
  });
}

}  // namespace hadal
