// What FP8 costs beside BF16, in turns in one run (BF16 = 1): the three products of a linear on codes that are there,
// and a whole linear with all quantising: forward, backward of its input and of its weight.
//   nn_fp8_bench [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S]
// A line: shape; milliseconds of BF16 and its ratio to FP8's for each product (NT, NN, TN), their sum judged against a
// floor; and the same for the whole linear. First the making of codes, of what was just written as in training (cold
// memory: kernels_pointwise_bench), in elements a second of each thread. The run fails when a floor is missed.
#include <functional>

#include "base/bf16.h"
#include "bench/harness.h"
#include "bench/linear_operands.h"
#include "ops/matmul_weight.h"
#include "ops/quantise.h"
#include "ops/weight.h"

namespace hadal {
namespace {

constexpr double kSquareFloors[] = {0.90, 0.93}, kDenseFloor = 0.93, kGroupedFloor = 0.88, kLargeGroupedFloor = 0.92;
constexpr double kLinearFloor = 0.85, kFewRowsFloor = 1.6;
constexpr double kQuantise = 3, kQuantiseE5m6 = 2, kQuantiseAvx2 = 1.2;  // G elements a second and thread

using namespace bench;

// The products of one precision: of codes that were made before, or of bf16.
struct Products {
  std::function<void()> forward, input, weight;
};

Products products(const Exec& exec, const std::shared_ptr<Operands>& o, const GemmRecipe& recipe, bool grouped) {
  const bool codes = recipe.reads_codes();
  const auto in_tiles = [&](const Tensor& t, Tile tile) {
    return codes ? Activation(ops::quantise(exec, t, tile, ScaleRule::power_of_two)) : Activation(t);
  };
  const Activation x = in_tiles(o->x, kRowTile), dy = in_tiles(o->y, kRowTile);
  const Weight& w = o->weight->value;
  if (grouped) {  // their weight gradient makes its codes itself, group by group: it is part of the whole linear alone
    return {[=, &exec, &w] { ops::grouped_linear(exec, o->y, x, w, o->offsets); },
            [=, &exec, &w] { ops::grouped_linear_backward_input(exec, o->dx, dy, w, o->offsets); }, nullptr};
  }
  const Activation xt = in_tiles(o->x, kColumnTile), dyt = in_tiles(o->y, kColumnTile);
  return {[=, &exec, &w] { ops::linear(exec, o->y, x, w); },
          [=, &exec, &w] { ops::linear_backward_input(exec, o->dx, dy, w); },
          [=, &exec] { ops::linear_backward_weight(exec, o->dw, dyt, xt, ops::Write::overwrite); }};
}

struct Bench {
  const Exec& exec;
  const bench::Options& options;
  bench::Floors& floors;

  // A few rows with weights in turn, together larger than any cache, as decoding reads them: values or codes with
  // packed codes, beside BF16 in panels; or codes with codes as training keeps them, beside tensors.
  enum class FewRows { values_packed, codes_packed, codes };
  void print_few_rows(const std::string& name, int64_t rows, FewRows form) const {
    constexpr int64_t kIn = 4096, kOut = 8192, kWeights = 6;
    const Tensor x = random_tensor(exec, DType::bf16, {rows, kIn}), y = Tensor::empty(exec, DType::bf16, {rows, kOut});
    const bool panels = form != FewRows::codes, codes = form != FewRows::values_packed;
    const auto reader = [&](bool fp8) {
      auto weights = std::make_shared<std::vector<Weight>>();
      for (int64_t i = 0; i < kWeights; ++i) {
        weights->emplace_back(random_tensor(exec, DType::bf16, {kOut, kIn}));
        if (panels) ops::pack(exec, weights->back(), fp8 ? PanelType::fp8 : PanelType::bf16);
        if (!panels && fp8) weights->back() = Weight(ops::quantise(exec, weights->back().plain, kSquareTile));
      }
      const Activation operand = codes && fp8 ? Activation(ops::quantise(exec, x, kRowTile)) : Activation(x);
      return [this, weights, operand, y] {
        for (const Weight& w : *weights) ops::linear(exec, y, operand, w);
      };
    };
    const bool memory_binds = panels && rows == 1 && exec.isa != Isa::avx2;  // else it is the widening of codes
    const double floor = memory_binds ? kFewRowsFloor : 0;
    const auto [t, f] = in_turns(reader(false), reader(true), floor);
    std::printf("%-36s  %7.3f ms %4.2f%s\n", name.c_str(), 1e3 * t, t / f,
                floors.judge(name, floor, {t / f}, "BF16").c_str());
  }

  // Best seconds of each, in turns; more of them while the floor seems missed.
  std::pair<double, double> in_turns(const std::function<void()>& high, const std::function<void()>& fp8,
                                     double floor) const {
    constexpr int kTurns = 6, kMostTurns = 24;
    double a = 1e30, b = 1e30;
    for (int turn = 0; turn < kTurns || (turn < kMostTurns && a / b < floor); ++turn) {
      a = std::min(a, bench::best_seconds(high, options.seconds / kTurns));
      b = std::min(b, bench::best_seconds(fp8, options.seconds / kTurns));
    }
    return {a, b};
  }

  // BF16 into codes of E4M3 or E5M6, as few rows as stay in the cache.
  void print_quantise(const std::string& name) const {
    const Tensor x = random_tensor(exec, DType::bf16, {512, 512});
    const bool kept = name.ends_with("E5M6"), columns = name.find("128 x 1,") != std::string::npos;
    const auto rule = name.ends_with("powers of two") ? ScaleRule::power_of_two : ScaleRule::exact;
    const Quantised q = kept ? Quantised::empty_e5m6(exec, {512, 512}, DType::bf16)
                             : Quantised::empty(exec, {512, 512}, columns ? kColumnTile : kRowTile, DType::bf16, rule);
    const double seconds = bench::best_seconds([&] { quantise(exec, q, x, AmaxFloor::none); }, options.seconds);
    const double rate = double(x.count()) / seconds * 1e-9 / exec.compute->n_threads();
    const double wanted = exec.isa == Isa::avx2 ? kQuantiseAvx2 : kept ? kQuantiseE5m6 : kQuantise;
    std::printf("%-32s  %5.2f G elements/s a thread%s\n", name.c_str(), rate,
                floors.judge(name, 1.0, {rate / wanted}, fmt::format("{} G/s", wanted).c_str()).c_str());
  }

  void print(const Sizes& s) const {
    const GemmRecipe high, codes = Recipe::fp8().ffn_gate_up;
    const bool grouped = s.experts > 0;
    const auto a = std::make_shared<Operands>(operands(exec, s, high));
    const auto b = std::make_shared<Operands>(operands(exec, s, codes));
    const Products pa = products(exec, a, high, grouped), pb = products(exec, b, codes, grouped);
    std::string line;
    double sum_a = 0, sum_b = 0;
    const std::pair<const char*, std::function<void()> Products::*> forms[] = {
        {"NT", &Products::forward}, {"NN", &Products::input}, {"TN", &Products::weight}};
    for (const auto& [name, form] : forms) {
      if (!(pa.*form)) continue;
      const auto [t, f] = in_turns(pa.*form, pb.*form, s.product_floor);
      line += fmt::format("  {} {:7.3f} ms {:4.2f}", name, 1e3 * t, t / f);
      sum_a += t, sum_b += f;
    }
    line += fmt::format("  products {:4.2f}", sum_a / sum_b);
    line += floors.judge(s.name, s.product_floor, {sum_a / sum_b}, "BF16");
    const auto [t, f] =
        in_turns(whole_linear(exec, a, high, grouped), whole_linear(exec, b, codes, grouped), s.linear_floor);
    line += fmt::format("  | linear {:7.3f} ms, {:6.1f} GF/s, {:4.2f}", 1e3 * t, s.flops() / t * 1e-9, t / f);
    line += floors.judge(s.name, s.linear_floor, {t / f}, "BF16's linear");
    std::printf("%-32s%s\n", s.name.c_str(), line.c_str());
    std::fflush(stdout);
  }
};

int run(const bench::Options& options) {
  OwnedExec owned(options.threads, options.exact_isa());
  std::printf("isa %s, %d threads; ratios are BF16's seconds by FP8's\n", isa_name(options.exact_isa()),
              owned.compute->n_threads());
  const std::vector<Sizes> all = {
      {"square 512", 0, 512, 512, 512, kSquareFloors[0], 0},
      {"square 1024", 0, 1024, 1024, 1024, kSquareFloors[1], 0},
      {"T2 dense", 0, 2048, 512, 1536, kDenseFloor, kLinearFloor},
      {"T2 dense, 16 binades", 0, 2048, 512, 1536, kDenseFloor, kLinearFloor, 16},
      {"T2 dense down", 0, 2048, 1536, 512, kDenseFloor, kLinearFloor},
      {"T1 experts up", 16, 8192, 256, 128, kGroupedFloor, 0},
      {"T1 experts down", 16, 8192, 128, 256, kGroupedFloor, 0},
      {"T2 experts up", 32, 12288, 512, 256, kGroupedFloor, kLinearFloor},
      {"T2 experts down", 32, 12288, 256, 512, kGroupedFloor, kLinearFloor},
      {"3B experts up", 64, 4096, 2048, 1024, kLargeGroupedFloor, 0},
  };
  bench::Floors floors;
  const Bench bench{owned.exec, options, floors};
  std::vector<std::pair<std::string, std::function<void()>>> lines;
  for (const char* name : {"quantise 1 x 128, exact", "quantise 1 x 128, powers of two", "quantise 128 x 1, exact",
                           "quantise 128 x 1, powers of two", "quantise E5M6"})
    lines.push_back({name, [&bench, name] { bench.print_quantise(name); }});
  using enum Bench::FewRows;
  for (const auto& [words, form] :
       {std::pair{"values, packed", values_packed}, {"codes, packed", codes_packed}, {"codes", codes}})
    for (const int64_t rows : {1, 4}) {
      const std::string name = fmt::format("few rows {} [{}x4096]x[8192x4096]", words, rows);
      lines.push_back({name, [&bench, name, rows, form] { bench.print_few_rows(name, rows, form); }});
    }
  for (const Sizes& s : all) lines.push_back({s.name, [&bench, &s] { bench.print(s); }});
  floors.measure(
      options, lines, [](const auto& line) { return line.first; }, [](const auto& line) { line.second(); });
  return floors.exit_code();
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "What FP8 costs beside BF16: products and whole linears", hadal::run);
}
