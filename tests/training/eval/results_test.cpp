// What an evaluation leaves: aggregates with their errors, files in lm-eval's shape, pages without code of strangers,
// comparisons, and grids of needles.
#include "base/files.h"
#include "base/json.h"
#include "checkpoint/phase_record.h"
#include "eval/compare.h"
#include "eval/eval_testing.h"
#include "eval/item_page.h"
#include "eval/needle.h"
#include "eval/positions_task.h"
#include "eval/result_files.h"
#include "eval/task_list.h"
#include "eval/training_overlap.h"

namespace hadal::eval {
namespace {

std::string small_words(int n) {
  std::string text;
  for (int i = 0; i < n; ++i)
    text += std::string(1, char('a' + i * 7 % 26)) + std::string(1, char('a' + i * i % 25)) + " ";
  return text;
}

// Four items; reply i is right where `right` has it.
TaskResult small_result(const std::vector<double>& right, const std::string& text = "<script>alert(1)</script>") {
  Task task{.name = "small", .metrics = {{"acc"}}, .n_items = 4, .output_type = "generate_until"};
  TaskResult result;
  for (size_t i = 0; i < right.size(); ++i) {
    Item item{.id = int64_t(i), .doc = {{"q", text}}, .target = "<b>"};
    item.requests = {{.kind = RequestKind::generate, .context = text, .until = {"\n"}, .max_tokens = 3}};
    task.items.push_back(item);
    result.replies.push_back({{{.text = text + "&\"'"}}});
    Graded graded{.extracted = {text}, .why = {text}};
    graded.values = {{"acc", {right[i]}}};
    result.grades.push_back({graded});
  }
  result.task = std::move(task);
  result.metrics = metrics_of(result.task, result.grades);
  return result;
}

TEST(Results, AreMeansAndRatiosWithTheirErrors) {
  const TaskResult result = small_result({1, 0, 0, 1});
  EXPECT_EQ(result.metrics[0].value, 0.5);
  EXPECT_NEAR(*result.metrics[0].error, 0.288675135, 1e-9);
  Task task{.name = "t", .metrics = {{"p", Aggregate::exp_minus_mean}, {"b", Aggregate::minus_ratio_bits}}};
  std::vector<std::vector<Graded>> grades(2, {Graded{}});
  grades[0][0].values = {{"p", {-2}}, {"b", {-8, 4}}};
  grades[1][0].values = {{"p", {-4}}, {"b", {-4, 2}}};
  const auto metrics = metrics_of(task, grades);
  EXPECT_NEAR(metrics[0].value, std::exp(3), 1e-12);
  EXPECT_NEAR(*metrics[0].error, std::exp(3), 1e-12);
  EXPECT_NEAR(metrics[1].value, 2 / std::log(2), 1e-12);
  EXPECT_NEAR(*metrics[1].error, 0, 1e-12);
  EXPECT_FALSE(small_result({1}).metrics[0].error.has_value());
}

TEST(Results, PagesEscapeWhatTasksAndModelsSay) {
  const std::string page = item_page(small_result({1, 0, 0, 1}));
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("<b>"), std::string::npos);
  EXPECT_TRUE(testing::has(page, "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;'"));
  EXPECT_TRUE(testing::has(page, "2 right"));
  EXPECT_TRUE(testing::has(item_page(small_result({1, 1, 1, 0}), 2), "the first 2 of them"));
}

TEST(Results, FilesHaveTheShapeOfLmEvals) {
  const testing::TempDir folder;
  write_results(folder / "out", {small_result({1, 0, 0, 1})}, {{"model", "m"}});
  const Json results = read_json<Json>(folder / "out/results.json");
  EXPECT_EQ(results["results"]["small"]["acc,none"], 0.5);
  EXPECT_EQ(results["n-samples"]["small"]["effective"], 4);
  const std::string lines = read_file(folder / "out/samples_small.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 4);
  const Json line = parse_json<Json>(lines.substr(0, lines.find('\n')), "line");
  EXPECT_EQ(line["arguments"]["gen_args_0"]["arg_1"]["max_gen_toks"], 3);
  EXPECT_EQ(line["metrics"], Json::array({"acc"}));
  EXPECT_EQ(line["acc"], 1.0);
  EXPECT_TRUE(std::filesystem::exists(folder / "out/small.html"));
}

TEST(Compare, TestsPairsAndShowsWhatChanged) {
  const testing::TempDir folder;
  write_results(folder / "a", {small_result({1, 0, 0, 1}, "q")}, {});
  write_results(folder / "b", {small_result({1, 1, 1, 0}, "q")}, {});
  const auto compared = compare_evaluations(folder / "a", folder / "b");
  ASSERT_EQ(compared.size(), 1u);
  EXPECT_EQ(compared[0].test.gained, 2);
  EXPECT_EQ(compared[0].test.lost, 1);
  EXPECT_EQ(compared[0].test.p, 1);  // 2 of 3: nothing
  ASSERT_EQ(compared[0].flipped.size(), 3u);
  EXPECT_EQ(compared[0].flipped[0].id, 1);
  const std::string text = comparison_text(compared, 1);
  EXPECT_TRUE(testing::has(text, "3 items changed"));
  EXPECT_TRUE(testing::has(text, "--items shows more"));
  write_results(folder / "c", {small_result({1, 1, 1, 0}, "r")}, {});
  EXPECT_ERROR(compare_evaluations(folder / "a", folder / "c"), ErrorKind::invalid, "not the same in both");
  write_results(folder / "d", {small_result({1}, "q")}, {});
  EXPECT_ERROR(compare_evaluations(folder / "a", folder / "d"), ErrorKind::invalid, "4 lines", "1 of the other");
  EXPECT_ERROR(compare_evaluations(folder / "a", folder.path()), ErrorKind::not_found, "no samples_TASK.jsonl");
  atomic_write(folder / "a/samples_small.jsonl", "{\"x\": 1}\n");
  EXPECT_ERROR(compare_evaluations(folder / "a", folder / "b"), ErrorKind::corrupt, "line 1");
}

TEST(Needles, LieAtTheirDepthInTextsOfTheirLength) {
  const auto n_words = [](const std::string& text) { return 1 + int64_t(std::count(text.begin(), text.end(), ' ')); };
  NeedleOptions needle{
      .lengths = {60, 200}, .depths = {0, 50, 100}, .per_cell = 2, .positions = 256, .n_tokens = n_words};
  const Task task = needle_task(needle, {});
  ASSERT_EQ(task.items.size(), 12u);
  for (const Item& item : task.items) {
    EXPECT_EQ(item.requests.size(), 16u);
    const std::string whole = item.requests[0].context + item.requests[0].continuation;
    const int64_t length = item.doc["length"].get<int64_t>();
    EXPECT_LE(n_words(whole), length);
    EXPECT_GE(n_words(whole), length - 12);
    const size_t at =
        whole.find("The secret number of the " + item.doc["key"].get<std::string>() + " is " + item.target);
    ASSERT_NE(at, std::string::npos);
    const int64_t depth = item.doc["depth"].get<int64_t>();
    EXPECT_EQ(at == 0, depth == 0);
    EXPECT_EQ(double(at) > 0.6 * double(whole.size()), depth == 100);
    EXPECT_EQ(item.choices[size_t(item.gold[0])], item.target);
  }
  EXPECT_ERROR(needle_task({.lengths = {300}, .positions = 256, .n_tokens = n_words}, {}), ErrorKind::invalid,
               "length of 300");
  EXPECT_ERROR(needle_task({.lengths = {10}, .positions = 256, .n_tokens = n_words}, {}), ErrorKind::invalid,
               "no room");
}

TEST(Needles, OfTrainingHaveOtherKeysAndValues) {
  std::set<std::string> train, test;
  for (int64_t i = 0; i < 800; ++i) {
    for (const Split split : {Split::train, Split::test}) {
      const std::string text = needle_text(split, uint64_t(i % 4), i, 300);
      EXPECT_GE(text.size(), 290u);
      const size_t key = text.rfind("number of the ") + 14, is = text.rfind(" is ");
      std::set<std::string>& known = split == Split::train ? train : test;
      known.insert(text.substr(key, is - key));
      known.insert(text.substr(is + 4));
    }
  }
  for (const std::string& one : test) EXPECT_FALSE(train.contains(one)) << one;
}

TEST(Needles, MakeAGridForTerminalsAndPages) {
  const AskedTiny tiny;
  NeedleOptions needle{.lengths = {100, 200}, .depths = {0, 100}, .per_cell = 1, .positions = 256};
  needle.n_tokens = [&](const std::string& text) { return int64_t(tiny.asked().tokenizer.encode(text).size()); };
  const TaskResult result = evaluate(tiny.asked(), needle_task(needle, {}), {});
  const NeedleGrid grid = needle_grid(result);
  EXPECT_EQ(grid.lengths, (std::vector<int64_t>{100, 200}));
  EXPECT_EQ(grid.first.size(), 4u);
  EXPECT_EQ(needle_table(grid, false).find('\x1b'), std::string::npos);
  EXPECT_NE(needle_table(grid, true).find('\x1b'), std::string::npos);
  const std::string svg = needle_svg(grid, "a <title>");
  EXPECT_TRUE(svg.starts_with("<svg"));
  EXPECT_EQ(svg.find("<title>"), std::string::npos);
  EXPECT_TRUE(testing::has(svg, "a &lt;title&gt;"));
  EXPECT_GT(result.asked.cached_tokens, 0);
}

TEST(Positions, CountBitsByWhereATokenStands) {
  const AskedTiny tiny;
  const testing::TempDir folder;
  atomic_write(folder / "long.jsonl",
               json_text(Json{{"text", small_words(900)}}) + "\n" + json_text(Json{{"text", "ab"}}) + "\n");
  TaskResult result = evaluate(tiny.asked(), positions_task(folder / "long.jsonl", 256, {}), {});
  ASSERT_EQ(result.metrics.size(), 2u);
  EXPECT_EQ(result.metrics[0].name, "bits_64_127");
  EXPECT_EQ(result.metrics[1].name, "bits_128_255");
  const Reply& reply = result.replies[0][0][0];
  ASSERT_EQ(reply.token_log_probs.size(), 256u);
  double sum = 0;
  for (size_t i = 128; i < 256; ++i) sum += reply.token_log_probs[i];
  EXPECT_NEAR(result.metrics[1].value, -sum / 128 / std::log(2), 1e-12);
  atomic_write(folder / "plain.txt", small_words(3000));
  EXPECT_GT(positions_task(folder / "plain.txt", 256, {}).items.size(), 2u);
  atomic_write(folder / "short.txt", "ab");
  EXPECT_TRUE(evaluate(tiny.asked(), positions_task(folder / "short.txt", 256, {}), {}).metrics.empty());
  EXPECT_ERROR(positions_task("", 256, {}), ErrorKind::invalid, "--text FILE");
  EXPECT_ERROR(positions_task(folder / "plain.txt", 100, {}), ErrorKind::invalid, "100 positions");
}

TEST(TrainingOverlap, FindsItemsThatTheRunHasRead) {
  const testing::TempDir folder;
  const std::string shown =
      "How many legs does a grey cat have when it sleeps under the old wooden table? It has four.";
  atomic_write(folder / "a.txt",
               "Other words. HOW many legs does a grey cat have -- when it sleeps under\nthe old, wooden table?");
  atomic_write(folder / "b.jsonl", "{\"text\": \"x\\nThe s\\u00e9a is\\u0020deep and very cold\\n\"}\n");
  std::vector<Task> tasks(2);
  for (const char* const text :
       {shown.c_str(), "the s\u00e9a is deep and very cold", "the sea is deep and very warm", "too short",
        "How many legs does a brown dog have when it runs around the old wooden table"}) {
    tasks[0].items.push_back({.id = int64_t(tasks[0].items.size()), .text = text});
  }
  tasks[1].items = {{.id = 0, .text = "none of this stands in any file at all"}};
  note_training_overlap({{folder / "a.txt", folder / "b.jsonl"}, {}, 200}, tasks, true);
  ASSERT_EQ(tasks[0].notes.size(), 1u);
  EXPECT_TRUE(testing::has(tasks[0].notes[0], "2 of 4 items")) << tasks[0].notes[0];
  EXPECT_TRUE(testing::has(tasks[0].notes[0], "(items 0, 1)")) << tasks[0].notes[0];
  EXPECT_TRUE(tasks[1].notes.empty());
  EXPECT_TRUE(training_text_of(folder.path()).files.empty());
  atomic_write(folder / "config.toml",
               "[[data.sources]]\npaths = [\"" + (folder / "a.txt") + "\", \"" + (folder / "gone.txt") + "\"]\n");
  const TrainingText text = training_text_of(folder.path());
  EXPECT_EQ(text.files.size(), 1u);
  EXPECT_EQ(text.missing.size(), 1u);
}

// A phase remembers what the phases before it were trained on, and a fine-tuned run what the run was that it came from.
TEST(TrainingOverlap, LooksIntoTheTextOfAllThatARunCameFrom) {
  const testing::TempDir folder;
  const auto run = [&](const std::string& name, const std::string& start) {
    std::filesystem::create_directories(folder / name);
    atomic_write(folder / (name + ".txt"), "text of " + name);
    atomic_write(folder / (name + "/config.toml"),
                 "[[data.sources]]\npaths = [\"" + (folder / (name + ".txt")) + "\"]\n" +
                     (start.empty() ? "" : "[train]\nstart_model = \"" + (folder / start) + "\"\n"));
  };
  const auto texts = [&](const std::string& model) {
    std::string names;
    for (const auto& file : training_text_of(folder / model).files) names += file.stem().string() + " ";
    return names;
  };
  run("old", "");
  std::filesystem::create_directories(folder / "life");
  run("life/base", "old");
  run("life/longer", "life/base");
  run("life/chat", "life/longer");
  atomic_write(folder / "life/phases.toml", "");
  write_phase_records(folder / "life", {{.name = "base"}, {.name = "longer", .from = "base"}});
  EXPECT_EQ(texts("life"), "longer base old ") << "the last phase that has ended";
  EXPECT_EQ(texts("life:chat"), "chat longer base old ");
  EXPECT_EQ(texts("life:base"), "base old ");
  run("tuned", "life");
  EXPECT_EQ(texts("tuned"), "tuned longer base old ");
  run("old", "tuned");  // a circle, as links may make one
  EXPECT_EQ(texts("old"), "old tuned longer base ");
  EXPECT_ERROR(training_text_of(folder / "life:nothing"), ErrorKind::not_found, "nothing");
  std::filesystem::remove_all(folder / "old");
  EXPECT_EQ(texts("life:base"), "base ");
}

TEST(Tasks, AreFoundByNameAndElseTheNearestIsNamed) {
  EXPECT_EQ(make_task("arithmetic", {.limit = 3}, {}).items.size(), 3u);
  EXPECT_ERROR(make_task("aritmetic", {}, {}), ErrorKind::invalid, "did you mean arithmetic?");
  EXPECT_ERROR(make_task("gsm8k", {}, {}), ErrorKind::invalid, "--gsm8k FILE");
  const testing::TempDir folder;
  atomic_write(folder / "test.jsonl", "{\"question\": \"1+1?\", \"answer\": \"It is <<1+1=2>>2.\\n#### 1,002\"}\n");
  atomic_write(folder / "examples.jsonl", "{\"question\": \"a\", \"answer\": \"b #### 1\"}\n");
  const Task task = make_task("gsm8k", {.few_shot = 1},
                              {.gsm8k = folder / "test.jsonl", .gsm8k_examples = folder / "examples.jsonl"});
  EXPECT_EQ(task.items[0].requests[0].context, "Question: a\nAnswer: b #### 1\n\nQuestion: 1+1?\nAnswer:");
  const auto graded = task.grade(task.items[0], {{{.text = " so 7 #### 1002"}}});
  EXPECT_EQ(graded[0].values[0].second.value, 1);
  EXPECT_EQ(graded[1].values[0].second.value, 1);
  EXPECT_EQ(task.grade(task.items[0], {{{.text = "1002, or 3"}}})[1].values[0].second.value, 0);
  EXPECT_ERROR(make_task("gsm8k", {.few_shot = 1}, {.gsm8k = folder / "test.jsonl"}), ErrorKind::invalid,
               "--gsm8k-examples");
}

}  // namespace
}  // namespace hadal::eval
