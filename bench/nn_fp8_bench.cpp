// What FP8 costs beside BF16, in turns in one run (BF16 = 1): the three products of a linear on codes that are there,
// and a whole linear with all quantising: forward, backward of its input and of its weight.
//   nn_fp8_bench [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S]
// A line: shape; milliseconds of BF16 and its ratio to FP8's for each product (NT, NN, TN), their sum judged against a
// floor; and the same for the whole linear. The run fails when a floor is missed.
#include <functional>

#include "base/bf16.h"
#include "bench/harness.h"
#include "nn/init.h"
#include "nn/linear.h"
#include "ops/matmul_weight.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

constexpr double kSquareFloors[] = {0.90, 0.93}, kDenseFloor = 0.93, kGroupedFloor = 0.88, kLargeGroupedFloor = 0.92;
constexpr double kLinearFloor = 0.85;

Tensor random_tensor(const Exec& exec, DType dtype, Shape shape) {
  const Tensor values = Tensor::empty(exec, DType::f32, shape);
  uint32_t state = 12345;
  for (float& value : std::span(values.data<float>(), size_t(values.count()))) {
    state = state * 1664525u + 1013904223u;
    value = float(int32_t(state) >> 8) * 0x1p-23f;
  }
  return values.to(exec, dtype);
}

std::unique_ptr<Parameter> random_weight(const Exec& exec, const GemmRecipe& recipe, Shape shape) {
  ParameterSpec spec;
  spec.name = "weight";
  spec.shape = shape;
  auto parameter = bare_parameter(spec);
  reads(recipe, *parameter);
  give_memory(exec, *parameter, DType::bf16, true);
  parameter->master.copy_from(exec, random_tensor(exec, DType::f32, shape));
  refresh_value(exec, *parameter);
  return parameter;
}

struct Sizes {
  std::string name;
  int64_t experts, rows, in, out;  // experts 0: a single weight
  double product_floor, linear_floor;
  double flops() const { return 6.0 * double(rows) * double(in) * double(out); }
};

Tensor even_offsets(const Exec& exec, const Sizes& s) {
  std::vector<int32_t> offsets;
  for (int64_t e = 0; e <= s.experts; ++e) offsets.push_back(int32_t(s.rows * e / std::max<int64_t>(1, s.experts)));
  return Tensor::from<int32_t>(exec, offsets, {s.experts + 1});
}

// The products of one precision: of codes that were made before, or of bf16.
struct Products {
  std::function<void()> forward, input, weight;
};

struct Operands {
  Tensor x, y, dx, dw, offsets;
  std::unique_ptr<Parameter> weight;
};

Operands operands(const Exec& exec, const Sizes& s, const GemmRecipe& recipe) {
  const Shape shape = s.experts ? Shape{s.experts, s.out, s.in} : Shape{s.out, s.in};
  return {random_tensor(exec, DType::bf16, {s.rows, s.in}),
          random_tensor(exec, DType::bf16, {s.rows, s.out}),
          Tensor::empty(exec, DType::bf16, {s.rows, s.in}),
          Tensor::zeros(exec, DType::f32, shape),
          even_offsets(exec, s),
          random_weight(exec, recipe, shape)};
}

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

std::function<void()> whole_linear(const Exec& exec, const std::shared_ptr<Operands>& o, const GemmRecipe& recipe,
                                   bool grouped) {
  return [=, &exec] {
    if (grouped) {
      const GroupedLinear linear{o->weight.get(), recipe};
      linear.forward(exec, o->y, o->x, o->offsets);
      linear.backward_input(exec, o->dx, o->y, o->offsets);
      linear.weight_product(exec, o->dw, o->y, o->x, o->offsets, ops::Write::overwrite);
    } else {
      const Linear linear{o->weight.get(), recipe};
      linear.forward(exec, o->y, o->x);
      linear.backward_input(exec, o->dx, o->y);
      linear.weight_product(exec, o->dw, o->y, o->x, ops::Write::overwrite);
    }
  };
}

struct Bench {
  const Exec& exec;
  const bench::Options& options;
  bench::Floors& floors;

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
      {"T2 dense down", 0, 2048, 1536, 512, kDenseFloor, kLinearFloor},
      {"T1 experts up", 16, 8192, 256, 128, kGroupedFloor, 0},
      {"T1 experts down", 16, 8192, 128, 256, kGroupedFloor, 0},
      {"T2 experts up", 32, 12288, 512, 256, kGroupedFloor, kLinearFloor},
      {"T2 experts down", 32, 12288, 256, 512, kGroupedFloor, kLinearFloor},
      {"3B experts up", 64, 4096, 2048, 1024, kLargeGroupedFloor, 0},
  };
  bench::Floors floors;
  const Bench bench{owned.exec, options, floors};
  floors.measure(
      options, all, [](const Sizes& s) { return s.name; }, [&](const Sizes& s) { bench.print(s); });
  return floors.exit_code();
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "What FP8 costs beside BF16: products and whole linears", hadal::run);
}
