// Matrix products as training and decoding use them, as a share of the multiply-add peak measured in the same moments.
//   kernels_gemm_bench [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S] [--peak-candidate GFLOPS]
// Each line: shape, then per type time, GFLOP/s and % of the FP32 peak (the better of an FMA loop and the candidate);
// bf16 also, in brackets, % of the peak of bf16 pairs where there are such. Decoding lines are bound by memory: GB/s of
// weights read, and % of the read bandwidth measured in the same moments, with weights as they lie and packed once
// ("packed"). Floors: 75 % where m, n and k are 512 or more, 50 % for grouped experts, for both types against the FP32
// peak; 75 % of the read bandwidth for one row of bf16 with packed weights; the run fails when one is missed.
#include <functional>

#include "base/bf16.h"
#include "bench/harness.h"
#include "ops/matmul.h"
#include "ops/matmul_weight.h"
#include "ops/weight.h"

namespace hadal {
namespace {

constexpr double kProductFloor = 0.75, kGroupedFloor = 0.5, kDecodeFloor = 0.75;

Tensor random_tensor(const Exec& exec, DType dtype, Shape shape) {
  Tensor tensor = Tensor::empty(exec, dtype, std::move(shape));
  uint32_t state = 12345;
  for (int64_t i = 0; i < tensor.count(); ++i) {
    state = state * 1664525u + 1013904223u;
    const float value = float(int32_t(state) >> 8) * 0x1p-23f;
    if (dtype == DType::bf16) {
      tensor.data<bf16>()[i] = bf16(value);
    } else {
      tensor.data<float>()[i] = value;
    }
  }
  return tensor;
}

struct Case {
  double flops;
  double weight_bytes;  // > 0: a memory-bound line
  double floor;         // share of the FP32 peak, or of memory (bf16); 0: none
  std::function<void()> run;
};

enum class Form { forward, input, weight };
constexpr const char* kFormNames[] = {"NT", "NN", "TN"};

std::string linear_name(const std::string& what, Form form, int64_t tokens, int64_t in, int64_t out) {
  return fmt::format("{} {} [{}x{}]x[{}x{}]", what, kFormNames[int(form)], tokens, in, out, in);
}

// out/in are the weight's sizes; tokens rows.
Case linear_case(const Exec& exec, DType dtype, Form form, int64_t tokens, int64_t in, int64_t out) {
  const Tensor x = random_tensor(exec, dtype, {tokens, in}), w = random_tensor(exec, dtype, {out, in});
  const Tensor y = random_tensor(exec, dtype, {tokens, out}), dw = Tensor::zeros(exec, DType::f32, {out, in});
  const double floor = std::min({tokens, in, out}) >= 512 ? kProductFloor : 0;
  return {2.0 * double(tokens) * double(in) * double(out), 0.0, floor, [=] {
            if (form == Form::forward) ops::linear(exec, y, x, w);
            if (form == Form::input) ops::linear_backward_input(exec, x, y, w);
            if (form == Form::weight) ops::linear_backward_weight(exec, dw, y, x);
          }};
}

// A few rows with one weight after another, as layers follow each other: together they are larger than any cache.
Case decode_case(const Exec& exec, DType dtype, bool packed, int64_t tokens, int64_t in, int64_t out) {
  const Tensor x = random_tensor(exec, dtype, {tokens, in}), y = Tensor::empty(exec, dtype, {tokens, out});
  const double bytes = double(in * out * dtype_bytes(dtype));
  auto weights = std::make_shared<std::vector<Weight>>();
  while (double(weights->size()) * bytes < double(ReadProbe::kBytes)) {
    weights->emplace_back(random_tensor(exec, dtype, {out, in}));
    if (packed) ops::keep_only(exec, weights->back(), WeightForm::panels);
  }
  return {2.0 * double(tokens) * double(in) * double(out), bytes, packed && tokens == 1 ? kDecodeFloor : 0,
          [=, next = size_t(0)]() mutable { ops::linear(exec, y, x, (*weights)[next++ % weights->size()]); }};
}

// Uneven groups, as a router makes them: expert e gets a share between 0.5 and 1.5 of the mean.
Tensor uneven_offsets(const Exec& exec, int64_t experts, int64_t rows) {
  std::vector<int32_t> offsets{0};
  for (int64_t e = 0; e < experts; ++e) {
    const double share = (double(e) + 1) / double(experts), bend = 0.25 * share * (1 - share);
    offsets.push_back(int32_t(e + 1 == experts ? rows : int64_t(double(rows) * (share - bend))));
  }
  return Tensor::from<int32_t>(exec, offsets, {experts + 1});
}

Case grouped_case(const Exec& exec, DType dtype, Form form, int64_t experts, int64_t rows, int64_t in, int64_t out) {
  const Tensor x = random_tensor(exec, dtype, {rows, in}), w = random_tensor(exec, dtype, {experts, out, in});
  const Tensor y = random_tensor(exec, dtype, {rows, out});
  const Tensor dw = form == Form::weight ? Tensor::zeros(exec, DType::f32, {experts, out, in}) : Tensor();
  const Tensor offsets = uneven_offsets(exec, experts, rows);
  return {2.0 * double(rows) * double(in) * double(out), 0.0, kGroupedFloor, [=] {
            if (form == Form::forward) ops::grouped_linear(exec, y, x, w, offsets);
            if (form == Form::input) ops::grouped_linear_backward_input(exec, x, y, w, offsets);
            if (form == Form::weight) ops::grouped_linear_backward_weight(exec, dw, y, x, offsets);
          }};
}

using Maker = std::function<Case(DType)>;

std::vector<std::pair<std::string, Maker>> all_cases(const Exec& exec) {
  std::vector<std::pair<std::string, Maker>> makers;
  auto linear = [&](std::string what, int64_t tokens, int64_t in, int64_t out) {
    for (Form form : {Form::forward, Form::input, Form::weight}) {
      makers.push_back({linear_name(what, form, tokens, in, out),
                        [=, &exec](DType d) { return linear_case(exec, d, form, tokens, in, out); }});
    }
  };
  auto grouped = [&](std::string what, int64_t experts, int64_t rows, int64_t in, int64_t out) {
    for (Form form : {Form::forward, Form::input, Form::weight}) {
      makers.push_back(
          {fmt::format("{} grouped {} {}x[{}x{}] rows {}", what, kFormNames[int(form)], experts, out, in, rows),
           [=, &exec](DType d) { return grouped_case(exec, d, form, experts, rows, in, out); }});
    }
  };
  for (int64_t size : {256, 512, 1024, 2048}) linear("square", size, size, size);
  linear("T1 q_down", 2048, 256, 96), linear("T1 q_up", 2048, 96, 192), linear("T1 kv_down", 2048, 256, 80);
  linear("T1 kv_up", 2048, 64, 192), linear("T1 out", 2048, 64, 256), linear("T1 dense", 2048, 256, 768);
  linear("T1 dense down", 2048, 768, 256), linear("T1 router", 2048, 256, 16), linear("T1 head", 512, 256, 4096);
  grouped("T1 up", 16, 8192, 256, 128), grouped("T1 down", 16, 8192, 128, 256);
  linear("T2 q_down", 2048, 512, 192), linear("T2 q_up", 2048, 192, 768), linear("T2 kv_up", 2048, 128, 1024);
  linear("T2 dense", 2048, 512, 1536), linear("T2 head", 512, 512, 8192);
  grouped("T2 up", 32, 12288, 512, 256), grouped("T2 down", 32, 12288, 256, 512);
  linear("3B dense", 512, 2048, 6144);
  grouped("3B up", 64, 4096, 2048, 1024), grouped("3B down", 64, 4096, 1024, 2048);
  for (int64_t rows : {1, 4, 8}) {
    for (bool packed : {false, true})
      makers.push_back({linear_name(packed ? "decode packed" : "decode", Form::forward, rows, 4096, 8192),
                        [=, &exec](DType d) { return decode_case(exec, d, packed, rows, 4096, 8192); }});
  }
  return makers;
}

struct Bench {
  const Exec& exec;
  const bench::Options& options;
  const bench::Meter& meter;
  ReadProbe& read_probe;
  bench::Floors& floors;

  // Kernel and memory take turns; more of them while the floor seems missed.
  void measure_memory(const Case& test, DType dtype, std::string& line, std::vector<double>& shares) const {
    constexpr int kTurns = 6, kMostTurns = 30;
    double seconds = 1e30, read = 0;
    const auto share = [&] { return test.weight_bytes / seconds * 1e-9 / read; };
    for (int turn = 0; turn < kTurns || (turn < kMostTurns && share() < test.floor); ++turn) {
      read = std::max(read, read_probe.rate());
      seconds = std::min(seconds, bench::best_seconds(test.run, options.seconds / kTurns));
    }
    line +=
        fmt::format("  {}{:>8.1f} us {:>6.1f} GF/s {:>5.1f} GB/s {:>3.0f}% of DRAM", dtype == DType::bf16 ? "| " : "",
                    seconds * 1e6, test.flops / seconds * 1e-9, test.weight_bytes / seconds * 1e-9, 100 * share());
    if (dtype == DType::bf16) shares.push_back(share());
  }

  void print(const std::string& name, const Maker& maker) const {
    std::string line;
    std::vector<double> shares;
    const char* of = "the peak";
    double floor = 0;
    for (DType dtype : {DType::f32, DType::bf16}) {
      const Case test = maker(dtype);
      floor = test.floor;
      if (test.weight_bytes > 0) {
        of = "DRAM";
        measure_memory(test, dtype, line, shares);
        continue;
      }
      auto share = [&](const bench::Meter::Result& r) { return test.flops / r.seconds * 1e-9 / r.f32; };
      const auto result =
          meter.measure(test.run, options.seconds, [&](const auto& r) { return share(r) >= test.floor; });
      const double gflops = test.flops / result.seconds * 1e-9;
      line +=
          fmt::format("  {}{:>8.1f} us {:>6.1f} GF/s", dtype == DType::bf16 ? "| " : "", result.seconds * 1e6, gflops);
      shares.push_back(share(result));
      line += fmt::format(" {:>3.0f}%", 100 * shares.back());
      if (dtype == DType::bf16 && meter.has_pairs()) line += fmt::format(" ({:>2.0f}%)", 100 * gflops / result.pairs);
    }
    line += floors.judge(name, floor, shares, of);
    std::printf("%-46s%s\n", name.c_str(), line.c_str());
    std::fflush(stdout);
  }
};

int run(const bench::Options& options) {
  const Isa isa = options.exact_isa();
  OwnedExec owned(options.threads, isa);
  const bench::Meter meter(owned.compute->pool(), isa, options.sgemm);
  const bench::Bandwidth memory = bench::memory_bandwidth(owned.compute->pool());
  std::printf("isa %s, %d threads: peak %.1f GFLOP/s f32, %.1f bf16 pairs; memory %.1f GB/s read, %.1f write\n",
              isa_name(isa), owned.compute->n_threads(), meter.f32(), meter.pairs(), memory.read, memory.write);
  std::printf("%-46s  f32, of its peak%15s| bf16, of the f32 peak (of the pairs')\n", "", "");
  bench::Floors floors;
  ReadProbe read_probe(owned.compute->pool());
  const Bench bench{owned.exec, options, meter, read_probe, floors};
  floors.measure(
      options, all_cases(owned.exec), [](const auto& row) { return row.first; },
      [&](const auto& row) { bench.print(row.first, row.second); });
  return floors.exit_code();
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "Matrix products as a share of this machine's measured peak", hadal::run);
}
