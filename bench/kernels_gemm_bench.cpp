// Matrix products as training and decoding use them, as a share of the multiply-add peak measured in the same run.
//   kernels_gemm_bench [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S]
// Each line: shape, then per type GFLOP/s and % of peak (FP32 products against the FP32 peak, bf16 against the peak of
// bf16 pairs where there is one), the peak taken just before and after the case, since cores come and go on shared
// machines. Decoding lines are bound by memory: GB/s of weights read beside the measured read bandwidth.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "base/random.h"
#include "bench/peak.h"
#include "ops/matmul.h"

namespace hadal {
namespace {

struct Options {
  int threads = 0;
  std::string isa = "best", only;
  double seconds = 0.25;
};

struct Peaks {
  double f32 = 0, bf16 = 0;
  bench::Bandwidth memory;
};

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
  std::string name;
  double flops;
  double weight_bytes;  // > 0: a memory-bound line
  std::function<void()> run;
};

enum class Form { forward, input, weight };
constexpr const char* kFormNames[] = {"NT", "NN", "TN"};

// out/in are the weight's sizes; tokens rows.
Case linear_case(const Exec& exec, DType dtype, Form form, std::string what, int64_t tokens, int64_t in, int64_t out) {
  const Tensor x = random_tensor(exec, dtype, {tokens, in}), w = random_tensor(exec, dtype, {out, in});
  const Tensor y = random_tensor(exec, dtype, {tokens, out}), dw = Tensor::zeros(exec, DType::f32, {out, in});
  const std::string name = fmt::format("{} {} [{}x{}]x[{}x{}]", what, kFormNames[int(form)], tokens, in, out, in);
  return {name, 2.0 * double(tokens) * double(in) * double(out), tokens <= 8 ? double(w.bytes()) : 0.0, [=] {
            if (form == Form::forward) ops::linear(exec, y, x, w);
            if (form == Form::input) ops::linear_backward_input(exec, x, y, w);
            if (form == Form::weight) ops::linear_backward_weight(exec, dw, y, x);
          }};
}

// Uneven groups, as a router makes them: expert e gets a share between 0.5 and 1.5 of the mean.
std::vector<int64_t> uneven_offsets(int64_t experts, int64_t rows) {
  std::vector<int64_t> offsets{0};
  for (int64_t e = 0; e < experts; ++e) {
    const double share = (double(e) + 1) / double(experts), bend = 0.25 * share * (1 - share);
    offsets.push_back(e + 1 == experts ? rows : int64_t(double(rows) * (share - bend)));
  }
  return offsets;
}

Case grouped_case(const Exec& exec, DType dtype, Form form, std::string what, int64_t experts, int64_t rows, int64_t in,
                  int64_t out) {
  const Tensor x = random_tensor(exec, dtype, {rows, in}), w = random_tensor(exec, dtype, {experts, out, in});
  const Tensor y = random_tensor(exec, dtype, {rows, out});
  const Tensor dw = form == Form::weight ? Tensor::zeros(exec, DType::f32, {experts, out, in}) : Tensor();
  const std::vector<int64_t> offsets = uneven_offsets(experts, rows);
  const std::string name =
      fmt::format("{} grouped {} {}x[{}x{}] rows {}", what, kFormNames[int(form)], experts, out, in, rows);
  return {name, 2.0 * double(rows) * double(in) * double(out), 0.0, [=] {
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
      makers.push_back({what + " " + kFormNames[int(form)],
                        [=, &exec](DType d) { return linear_case(exec, d, form, what, tokens, in, out); }});
    }
  };
  auto grouped = [&](std::string what, int64_t experts, int64_t rows, int64_t in, int64_t out) {
    for (Form form : {Form::forward, Form::input, Form::weight}) {
      makers.push_back({what + " grouped " + kFormNames[int(form)],
                        [=, &exec](DType d) { return grouped_case(exec, d, form, what, experts, rows, in, out); }});
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
  for (int64_t rows : {1, 4, 8})
    makers.push_back(
        {"decode", [=, &exec](DType d) { return linear_case(exec, d, Form::forward, "decode", rows, 4096, 8192); }});
  return makers;
}

void print_case(const Exec& exec, const Maker& maker, const Peaks& peaks, double seconds) {
  std::string line, name;
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Case test = maker(dtype);
    name = test.name;
    test.run();
    auto peak_now = [&] { return bench::peak_gflops(*exec.pool, exec.isa, dtype == DType::bf16, 0.01); };
    const double before = peak_now(), best = bench::best_seconds(test.run, seconds);
    const double gflops = test.flops / best * 1e-9, peak = std::max(before, peak_now());
    line += fmt::format("  {:>7.1f} us {:>7.1f} GF/s", best * 1e6, gflops);
    if (test.weight_bytes > 0) {
      const double rate = test.weight_bytes / best * 1e-9;
      line += fmt::format(" {:>5.1f} GB/s {:>3.0f}%", rate, 100 * rate / peaks.memory.read);
    } else {
      line += fmt::format(" {:>4.0f}%", 100 * gflops / peak);
    }
  }
  std::printf("%-52s%s\n", name.c_str(), line.c_str());
  std::fflush(stdout);
}

int run(const Options& options) {
  Isa isa = parse_isa(options.isa);
  for (Isa exact : available_isas()) {  // "avx512" here means exactly that
    if (options.isa == isa_name(exact)) isa = exact;
  }
  OwnedExec owned(options.threads, isa);
  const Peaks peaks{bench::peak_gflops(*owned.pool, isa, false), bench::peak_gflops(*owned.pool, isa, true),
                    bench::memory_bandwidth(*owned.pool)};
  std::printf("isa %s, %d threads: peak %.1f GFLOP/s f32, %.1f bf16; memory %.1f GB/s read, %.1f write\n",
              isa_name(isa), owned.pool->n_threads(), peaks.f32, peaks.bf16, peaks.memory.read, peaks.memory.write);
  std::printf("%-52s  %29s  %29s\n", "", "f32", "bf16");
  for (const auto& [name, maker] : all_cases(owned.exec)) {
    if (name.find(options.only) != std::string::npos) print_case(owned.exec, maker, peaks, options.seconds);
  }
  return 0;
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  hadal::Options options;
  CLI::App app{"Matrix products as a share of this machine's measured peak"};
  app.add_option("--threads", options.threads, "threads; 0 = all granted");
  app.add_option("--isa", options.isa, "avx2, avx512, avx512_bf16, reference or best");
  app.add_option("--only", options.only, "only cases whose name holds this");
  app.add_option("--seconds", options.seconds, "time spent per case and type");
  CLI11_PARSE(app, argc, argv);
  return hadal::run(options);
}
