// Task files: what is refused by name, and items as text by lm-eval's rules, worked out by hand.
#include "eval/task_file.h"

#include "base/files.h"
#include "base/json.h"
#include "eval/eval_testing.h"
#include "eval/file_grades.h"
#include "eval/file_task.h"
#include "eval/python_value.h"

namespace hadal::eval {
namespace {

constexpr const char* kBase =
    "task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: t.jsonl, train: s.jsonl}}\ntest_split: test\n";
constexpr const char* kChoice =
    "output_type: multiple_choice\ndoc_to_text: '{{q}}'\ndoc_to_choice: c\ndoc_to_target: g\n";

class TaskFiles : public ::testing::Test {
 protected:
  TaskFiles() {
    atomic_write(folder_ / "t.jsonl",
                 "{\"q\": \"Is it? \", \"c\": [\"yes\", \"n\u00f6\"], \"g\": 1}\n"
                 "{\"q\": \"And?\", \"c\": [\"abcdef\", \"b\"], \"g\": 0, \"more\": null}\n");
    atomic_write(folder_ / "s.jsonl",
                 "[{\"q\": \"One?\", \"c\": [\"a\", \"b\"], \"g\": 0},\n"
                 " {\"q\": \"Two?\", \"c\": [\"a\", \"b\"], \"g\": 1}]");
  }
  TaskFile parse(const std::string& yaml) const { return parse_task_file(yaml, "T.yaml", folder_.path()); }
  Task task(const std::string& yaml, const TaskOptions& options = {}) const {
    return task_of_file(parse(yaml), options);
  }
  void refused(const std::string& yaml, ErrorKind kind, const char* part) const {
    ErrorKind found = ErrorKind::internal;
    const std::string message = testing::error_of([&] { task(yaml); }, &found);
    EXPECT_TRUE(testing::has(message, part)) << message << "\n" << yaml;
    EXPECT_EQ(int(found), int(kind)) << message;
    EXPECT_TRUE(testing::has(message, "T.yaml")) << message;
  }
  testing::TempDir folder_;
};

TEST_F(TaskFiles, RefuseWhatIsNotOfferedByName) {
  const std::string base = kBase, whole = base + kChoice;
  const auto more = [&](const std::string& line, const char* part) {
    refused(whole + line + "\n", ErrorKind::unsupported, part);
  };
  more("process_docs: !function utils.process", "tag !function");
  more("process_results: utils.f", "process_results is not followed");
  more("custom_dataset: x", "custom_dataset is not followed");
  more("repeats: 4", "--samples N");
  more("doc_to_txt: x", "the key 'doc_to_txt' is not known (did you mean doc_to_text?)");
  more("unsafe_code: true", "no code is run");
  more("metric_list: [{metric: bleu}]", "no metric 'bleu' of multiple_choice");
  more("metric_list: [{metric: acc, aggregation: median}]", "must be mean");
  more("metric_list: [{metric: acc, hf_evaluate: true}]", "hf_evaluate is not followed");
  more("num_fewshot: 1\nfewshot_split: train", "say fewshot_config: {sampler: first_n}");
  more("fewshot_config: {sampler: balanced}", "the sampler 'balanced'");
  more("filter_list: [{name: a, filter: [{function: majority_vote}]}]", "--samples N votes");
  more("filter_list: [{name: a, filter: [{function: regex}]}]", "belong to generate_until");
  more("dataset_name: x", "dataset_name is not followed");
  refused("task: t\ndataset_path: openai/gsm8k\n", ErrorKind::unsupported, "data sets of a hub are not fetched");
  refused(base + "output_type: choose\n", ErrorKind::unsupported, "output_type 'choose'");
}

TEST_F(TaskFiles, RefuseWhatIsWrongInOneLine) {
  const std::string base = kBase, whole = base + kChoice;
  const auto wrong = [&](const std::string& yaml, const char* part) { refused(yaml, ErrorKind::invalid, part); };
  wrong("task: ../x\n" + whole.substr(8), "task: '../x' must be a name");
  wrong("- a\n", "must be a mapping");
  wrong(base + "doc_to_text: q\n", "doc_to_target is missing");
  wrong(base + "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_target: g\n", "wants doc_to_choice");
  wrong(whole + "num_fewshot: -1\n", "num_fewshot: -1 must be a whole number from 0");
  refused(whole + "test_split: other\n", ErrorKind::unsupported, "stands here twice");
  wrong("task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: ../t.jsonl}}\n",
        "outside of the task file's folder");
  wrong("task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: /etc/passwd}}\n",
        "outside of the task file's folder");
  wrong(base + "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: '{{q}}'\ndoc_to_target: g\n",
        "no list of texts");
  wrong(base + "output_type: multiple_choice\ndoc_to_text: '{{nothing}}'\ndoc_to_choice: c\ndoc_to_target: g\n",
        "in the template '{{nothing}}': line 1: 'nothing' is undefined");
  wrong(whole + "num_fewshot: 5\nfewshot_split: train\nfewshot_config: {sampler: first_n}\n", "there are 2 examples");
  wrong(whole + "num_fewshot: 2\nfewshot_split: test\nfewshot_config: {sampler: first_n}\n", "may not be its own");
  wrong(whole + "num_fewshot: 1\nfewshot_config: {sampler: first_n}\n", "no fewshot_split");
  refused("task: t\ndataset_path: json\ndataset_kwargs: {data_files: {test: nosuch.jsonl}}\ntest_split: test\n",
          ErrorKind::not_found, "there is no file");
  atomic_write(folder_ / "t.jsonl", "{\"q\": 1}\nnonsense\n");
  ErrorKind kind{};
  EXPECT_TRUE(testing::has(testing::error_of([&] { task(whole); }, &kind), "t.jsonl: line 2")) << "names the line";
}

TEST_F(TaskFiles, MakeTheTextsOfExamplesAndItems) {
  const Task made = task(std::string(kBase) + kChoice +
                         "description: 'About {{g}}.'\nnum_fewshot: 2\nfewshot_split: train\n"
                         "fewshot_config: {sampler: first_n}\n");
  EXPECT_EQ(made.n_shots, 2);
  ASSERT_EQ(made.items.size(), 2u);
  EXPECT_EQ(made.items[0].requests[0].context, "About 1.One? a\n\nTwo? b\n\nIs it? ");
  EXPECT_EQ(made.items[0].requests[1].continuation, " n\u00f6");
  EXPECT_EQ(made.items[0].target, "1");
  const Task prefixed = task(std::string(kBase) + kChoice +
                             "gen_prefix: 'So'\nnum_fewshot: 1\nfewshot_split: train\n"
                             "fewshot_config: {sampler: first_n}\n");
  EXPECT_EQ(prefixed.items[1].requests[0].context, "One? So a\n\nAnd? So");
  EXPECT_EQ(prefixed.items[0].requests[0].context, "One? So a\n\nIs it? So");
}

// As lm-eval's default, --fewshot_as_multiturn, and without it.
TEST_F(TaskFiles, MakeExamplesTurnsOfAChatOrPartOfItsQuestion) {
  const std::string yaml = std::string(kBase) + kChoice +
                           "description: D\nnum_fewshot: 1\nfewshot_split: train\n"
                           "fewshot_config: {sampler: first_n}\n";
  const auto chat = [&](const std::string& more, bool example_turns) {
    std::string text;
    const Task made = task(yaml + more, {.chat = true, .example_turns = example_turns});
    for (const ChatTurn& turn : made.items[0].requests[0].chat) text += "[" + turn.role + "]" + turn.content;
    return text + "|" + made.items[0].requests[0].continuation;
  };
  EXPECT_EQ(chat("", true), "[system]D[user]One?[assistant]a[user]Is it? |yes");
  EXPECT_EQ(chat("", false), "[system]D[user]One? a\n\nIs it? |yes");
  EXPECT_EQ(chat("gen_prefix: So\n", true), "[system]D[user]One?[assistant]So a[user]Is it? [assistant]So| yes");
  EXPECT_EQ(chat("gen_prefix: So\n", false), "[system]D[user]One? So a\n\nIs it? [assistant]So| yes");
  EXPECT_EQ(chat("gen_prefix: 'So '\n", true), "[system]D[user]One?[assistant]So a[user]Is it? [assistant]So |yes");
}

// An item whose answer stands among its own examples says nothing of a model.
TEST_F(TaskFiles, NeverShowAnItemAmongItsOwnExamples) {
  const Task made = task(std::string(kBase) + kChoice +
                         "num_fewshot: 1\nfewshot_split: test\n"
                         "fewshot_config: {sampler: first_n}\n");
  EXPECT_EQ(made.items[0].requests[0].context, "And? abcdef\n\nIs it? ");
  EXPECT_EQ(made.items[1].requests[0].context, "Is it?  n\u00f6\n\nAnd?");  // lm-eval's delimiter too
}

TEST_F(TaskFiles, GradeChoicesByCharactersBytesAndMutualInformation) {
  const Task made = task(std::string(kBase) + kChoice +
                         "metric_list: [{metric: acc}, {metric: acc_norm}, {metric: acc_bytes}, "
                         "{metric: acc_mutual_info}, {metric: exact_match}]\n");
  ASSERT_EQ(made.items[0].requests.size(), 4u);
  EXPECT_EQ(made.items[0].requests[2].context, "");
  const auto graded = [&](std::vector<double> scores) {
    std::vector<Replies> replies;
    for (const double score : scores) replies.push_back({{.log_prob = score, .greedy = score > -1}});
    const std::vector<Graded> judged = made.grade(made.items[0], replies);
    std::vector<double> values;
    for (const auto& [name, value] : judged[0].values) values.push_back(value.value);
    return values;
  };
  // "yes" has 3 characters and bytes, "n\u00f6" 2 characters and 3 bytes; the second is right.
  EXPECT_EQ(graded({-3, -2.9, -1, -1}), (std::vector<double>{1, 0, 1, 1, 0}));
  EXPECT_EQ(graded({-3, -2, -9, -2}), (std::vector<double>{1, 0, 1, 0, 0}))
      << "-1 and -1 by characters: the first wins";
  EXPECT_EQ(graded({-4, -0.5, -4, -0.5}), (std::vector<double>{1, 1, 1, 0, 1}));
}

TEST_F(TaskFiles, GradeTextsThroughTheirFilters) {
  const Task made =
      task(std::string(kBase) +
           "doc_to_text: q\ndoc_to_target: '{{c[g]}}'\ngeneration_kwargs: {until: [\"\\n\"], max_gen_toks: 5}\n"
           "filter_list:\n- {name: word, filter: [{function: regex, regex_pattern: '([a-z\u00f6]+)'}]}\n"
           "- {name: whole, filter: [{function: take_first}]}\n");
  EXPECT_EQ(made.items[0].requests[0].until, std::vector<std::string>{"\n"});
  EXPECT_EQ(made.items[0].requests[0].max_tokens, 5);
  const auto graded = made.grade(made.items[0], {{{.text = "17 n\u00f6!"}}});
  ASSERT_EQ(graded.size(), 2u);
  EXPECT_EQ(graded[0].filter, "word");
  EXPECT_EQ(graded[0].extracted[0], "n\u00f6");
  EXPECT_EQ(graded[0].values[0].second.value, 1);
  EXPECT_EQ(graded[1].values[0].second.value, 0);
  const Task maths = task(std::string(kBase) +
                          "doc_to_text: q\ndoc_to_target: '0.5'\n"
                          "filter_list: [{name: m, filter: [{function: maths_answer}]}]\n"
                          "metric_list: [{metric: maths_equal}]\n");
  EXPECT_EQ(maths.grade(maths.items[0], {{{.text = "it is \\boxed{\\frac12}"}}})[0].values[0].second.value, 1);
  const Task sampled = task(std::string(kBase) + "doc_to_text: q\ndoc_to_target: '{{c[g]}}'\n", {.samples = 4});
  const auto four =
      sampled.grade(sampled.items[1], {{{.text = "x"}, {.text = "abcdef"}, {.text = "abcdef"}, {.text = "y"}}});
  std::string values;
  for (const auto& [name, value] : four[0].values) values += fmt::format("{} {:.4f}; ", name, value.value);
  EXPECT_EQ(values, "exact_match 0.5000; pass@1 0.5000; pass@2 0.8333; pass@4 1.0000; maj@4 1.0000; ");
}

TEST(PythonValues, AreReadAndWrittenAsPythonDoes) {
  EXPECT_EQ(python_text(parse_json<Json>(R"([1, 2.0, "it's", null, true, {"a": "b"}])", "x")),
            "[1, 2.0, \"it's\", None, True, {'a': 'b'}]");
  EXPECT_EQ(python_text("x"), "x");
  EXPECT_EQ(json_text(*python_literal("['a', \"it's\\n\", 3, -2.5, True, (1,), None]")),
            R"(["a","it's\n",3,-2.5,true,[1],null])");
  for (const char* const none : {"", "[", "a", "['a'", "[1 2]", "__import__('os')", "{1: 2}", "'a' 'b'"})
    EXPECT_FALSE(python_literal(none).has_value()) << none;
  EXPECT_FALSE(python_literal(std::string(1000, '[')).has_value());
  EXPECT_EQ(python_length("n\u00f6\U0001F600"), 3);
}

}  // namespace
}  // namespace hadal::eval
