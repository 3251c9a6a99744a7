// hadal precision: what FP8 does to numbers, to a model's gradients, and to training. Each verb prints a table and
// writes a page.
//   products   what single choices of the recipe are worth, by products of synthetic operands
//   outliers   one outlier in synthetic data, and a model's own activations and gradients, under five ways to scale
//   errors     a model's gradients of one batch under each variant of the recipe, against FP64 (precision_errors.cpp)
//   ablate     trains the variants from the same start on the same batches (precision_ablate.cpp)
#include "apps/precision.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/progress.h"
#include "base/table.h"
#include "base/text_format.h"
#include "study/gradient_errors.h"
#include "study/pages.h"

namespace hadal {
namespace {

struct OutliersOptions {
  ModelChoice model;
  std::string text, html;
  int64_t tokens = 512;
  CommonOptions common;
};

std::vector<std::string> scheme_cells(std::vector<std::string> cells, const SchemeErrors& errors) {
  for (const SchemeError& e : errors)
    cells.push_back(fmt::format("{:.1f}/{:.1f}/{:.1f}", 100 * e.error, 100 * e.small_rows, 100 * e.flushed));
  return cells;
}

std::vector<std::string> scheme_head(std::vector<std::string> head) {
  for (const Scheme& scheme : schemes()) head.push_back(scheme.name);
  return head;
}

// The tensors whose small rows suffer most from one scale: all are on the page.
std::string tensors_table(std::vector<TensorRow> rows) {
  constexpr size_t kShown = 12;
  std::stable_sort(rows.begin(), rows.end(), [](const TensorRow& a, const TensorRow& b) {
    return a.errors[0].small_rows > b.errors[0].small_rows;
  });
  if (rows.size() > kShown) rows.resize(kShown);
  Table table(scheme_head({"tensor", "largest/rms"}));
  for (const TensorRow& row : rows)
    table.add(scheme_cells({row.linear + (row.gradient ? " dy" : " x"), fmt::format("{:.1f}", row.largest_over_rms)},
                           row.errors));
  return table.text();
}

int run_outliers(OutliersOptions o) {
  check(o.model.directory.empty() == o.text.empty(), ErrorKind::invalid,
        "--model needs a text to run it on, and --text a model: give both, or neither for synthetic data alone");
  const OwnedExec owned = o.common.exec();
  const std::vector<OutlierRow> synthetic = synthetic_outliers(owned.exec);
  Table table(scheme_head({"one element"}));
  for (const OutlierRow& row : synthetic) table.add(scheme_cells({fmt::format("{:g}", row.ratio)}, row.errors));
  fmt::print(
      "256 x 1024 Gaussian values and one outlier; of the others error / error of small rows / flushed, in %\n{}",
      table.text());
  std::vector<TensorRow> tensors;
  if (!o.model.directory.empty()) {
    o.model.load.training = true;
    o.model.load.precision = Precision::bf16;  // in FP8 some tensors are codes already
    o.model.load.attention_form = AttentionForm::up_projected;
    TextModel loaded = o.model.open(owned.exec, o.common.quiet);
    const MicroBatch batch = batch_of_file(loaded, o.text, o.tokens);
    Transformer& model = *loaded.model.transformer;
    Progress progress("looking", count_tensors(model), {.unit = "tensors", .quiet = o.common.quiet});
    tensors = tensor_outliers(owned.exec, model, batch, mean_weights(batch, model.config().n_mtp, 0.3),
                              [&] { progress.add(1); });
    loaded.model.check_intact();
    fmt::print("\n{} tensors of {}, those whose small rows suffer most from one scale\n{}", tensors.size(),
               o.model.directory, tensors_table(tensors));
  }
  if (!o.html.empty()) write_page(o.html, outliers_page(synthetic, tensors, o.model.directory));
  return kExitFine;
}

void add_outliers(Verb verb, Cli& cli) {
  auto o = std::make_shared<OutliersOptions>();
  Verb sub = verb.add_verb("outliers",
                           "One outlier of 1 to 10^7 in synthetic data, and a model's own activations and gradients "
                           "in BF16, under one scale per tensor, per row, 128 x 128, 1 x 128 and 1 x 32");
  sub.add_option("--model", o->model.directory, "a run directory, an exported model or a Hugging Face directory");
  sub.add_option("--text", o->text, "a file whose first tokens the model reads");
  sub.add_option("--tokens", o->tokens, "as many of them").positive().show_default();
  sub.add_option("--html", o->html, "write a page here");
  add_threads_option(sub, o->common);
  add_isa_option(sub, o->common);
  add_quiet_option(sub, o->common);
  sub.add_examples({"hadal precision outliers --html outliers.html",
                    "hadal precision outliers --model runs/shakespeare --text more.txt --html outliers.html"});
  cli.on(sub, [o] { return run_outliers(*o); });
}

int run_products(const CommonOptions& common) {
  const OwnedExec owned = common.exec();
  Table table({"product", "as the report has it", "error", "instead", "error", "ratio", "at least"});
  std::vector<std::string> missing;
  for (const ProductRow& row : product_errors(owned.exec)) {
    if (!row.missing.empty()) {
      missing.push_back(fmt::format("{} is left out: {}", row.what, row.missing));
      continue;
    }
    table.add({row.what, row.ours, fmt::format("{:.3f} %", 100 * row.our_error), row.theirs,
               fmt::format("{:.3f} %", 100 * row.their_error), fmt::format("{:.2f}", row.ratio()),
               row.least > 0 ? fmt::format("{}", row.least) : ""});
  }
  print_notes(missing, common.quiet);
  fmt::print("{}", table.text());
  return kExitFine;
}

void add_products(Verb verb, Cli& cli) {
  auto o = std::make_shared<CommonOptions>();
  Verb sub = verb.add_verb("products",
                           "What single choices of the recipe are worth, shown by products of synthetic operands: "
                           "tiles, scales, a floor, promotion, what is kept of attention");
  add_threads_option(sub, *o);
  add_isa_option(sub, *o);
  add_quiet_option(sub, *o);
  sub.add_examples({"hadal precision products"});
  cli.on(sub, [o] { return run_products(*o); });
}

}  // namespace

MicroBatch batch_of_file(const TextModel& loaded, const std::string& text, int64_t n_tokens) {
  constexpr size_t kBytesOfAToken = 64;  // more than a token has, so that the rest of a long file is not encoded
  std::string content = read_file(text);
  if (content.size() > size_t(n_tokens) * kBytesOfAToken) content.resize(size_t(n_tokens) * kBytesOfAToken);
  while (!content.empty() && (content.back() & 0x80) != 0) content.pop_back();  // a character may have been cut
  std::vector<int32_t> tokens = text_start(loaded);
  const std::vector<int32_t> words = loaded.text().encode(content);
  tokens.insert(tokens.end(), words.begin(), words.end());
  const int64_t positions = loaded.model.transformer->config().max_positions;
  tokens.resize(size_t(std::min({int64_t(tokens.size()), n_tokens + 1, positions + 1})));
  check(tokens.size() >= 2, ErrorKind::invalid, "{}: no text in it to take a gradient of", text);
  return batch_of_tokens(tokens);
}

void write_page(const std::string& file, const std::string& page) {
  atomic_write(file, page);
  fmt::print("{}\n", file);
}

void add_precision(Verb root, Cli& cli) {
  Verb verb = root.add_verb("precision", "See what FP8 does to numbers, to a model's gradients and to its training");
  verb.require_verb();
  add_products(verb, cli);
  add_outliers(verb, cli);
  add_precision_errors(verb, cli);
  add_precision_ablate(verb, cli);
}

}  // namespace hadal
