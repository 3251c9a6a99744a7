// What a run asks its model when it has ended: tasks of `hadal eval`, whose results it keeps (--record).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal {

struct EvaluationTaskConfig {
  std::string name;              // built in, or a file (.yaml) in lm-eval's format
  int64_t limit = 0;             // 0: all, of a generator its own number
  int64_t few_shot = -1;         // -1: as the task says
  std::vector<int64_t> lengths;  // of needle
  std::string file, examples;    // of positions: long texts; of gsm8k: its test and its training file
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("name", c.name, "a task of hadal eval: built in, or a file (.yaml) in lm-eval's format");
    v("limit", c.limit, "the first items; 0 takes all, of a generator its own number");
    v("few_shot", c.few_shot, "examples in front of each question; -1 is as the task says");
    v("lengths", c.lengths, "of needle: tokens; empty takes the model's positions and halves of them");
    v("file", c.file, "of positions the long texts, of gsm8k its test file");
    v("examples", c.examples, "of gsm8k its training file, whose first lines are examples");
  }
};

struct EvaluationConfig {
  std::vector<EvaluationTaskConfig> tasks;
  bool average = false;
  uint64_t seed = 1;
  template <class Self, class Visitor>
  static void visit(Self& c, Visitor&& v) {
    v("tasks", c.tasks, "what is asked when the run, or the phase, has ended");
    v("average", c.average, "ask the moving average of the weights too");
    v("seed", c.seed, "seed of generated items");
  }
};

}  // namespace hadal
