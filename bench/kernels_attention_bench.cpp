// Attention forward and backward at the shapes of bench-t1, bench-t2 and a 3 B model, as a share of the multiply-add
// peak measured in the same run. FLOPs are the causal ones: each query meets half of the keys, forward d_qk + d_v,
// backward 3 d_qk + 2 d_v multiply-adds per pair. All against the FP32 peak; bf16 also, in brackets, against that of
// bf16 pairs.
//   kernels_attention_bench [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S]
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/random.h"
#include "bench/peak.h"
#include "ops/attention.h"

namespace hadal {
namespace {

struct Options {
  int threads = 0;
  std::string isa = "best", only;
  double seconds = 0.25;
};

struct Case {
  const char* name;
  int64_t n_segments, n_q, n_k, heads, d_nope, d_rope, d_v;
  bool absorbed = false, backward = true;
};

const std::vector<Case> kCases = {
    {"t1 8x256 4h 32+16/32", 8, 256, 256, 4, 32, 16, 32},
    {"t2 4x512 8h 64+32/64", 4, 512, 512, 8, 64, 32, 64},
    {"3b 4x512 16h 128+64/128", 4, 512, 512, 16, 128, 64, 128},
    {"3b 1x2048 16h 128+64/128", 1, 2048, 2048, 16, 128, 64, 128},
    {"t1 absorbed 8x256 4h 64+16/64", 8, 256, 256, 4, 64, 16, 64, true},
    {"t2 absorbed 4x512 8h 128+32/128", 4, 512, 512, 8, 128, 32, 128, true},
    {"3b absorbed 1x512 16h 512+64/512", 1, 512, 512, 16, 512, 64, 512, true},
    {"3b absorbed decode 8x1 of 2048 16h 512+64/512", 8, 1, 2048, 16, 512, 64, 512, true, false},
};

Tensor random_tensor(const Exec& exec, DType dtype, Shape shape, uint64_t stream) {
  Tensor wide = Tensor::empty(exec, DType::f32, std::move(shape));
  float* x = wide.data<float>();
  for (int64_t i = 0; i < wide.count(); ++i) x[i] = float(2 * random_uniform(1, stream, uint64_t(i)) - 1);
  return dtype == DType::f32 ? wide : wide.to(exec, dtype);
}

struct Problem {
  Problem(const Exec& exec, const Case& c, DType dtype) {
    const int64_t tq = c.n_segments * c.n_q, tk = c.n_segments * c.n_k, d_qk = c.d_nope + c.d_rope;
    const int64_t kv_cols = c.absorbed ? c.d_nope : c.heads * (c.d_nope + c.d_v);
    for (int64_t s = 0; s < c.n_segments; ++s) segments.push_back({s * c.n_q, c.n_q, s * c.n_k, c.n_k});
    kv = random_tensor(exec, dtype, {tk, kv_cols}, 2);
    dkv = random_tensor(exec, dtype, {tk, kv_cols}, 2);
    in.q = random_tensor(exec, dtype, {tq, c.heads * d_qk}, 1);
    in.k_nope = kv;
    in.v = c.absorbed ? kv : kv.col_range(c.d_nope, kv_cols - c.d_nope);
    in.k_rope = random_tensor(exec, dtype, {tk, c.d_rope}, 3);
    in.k_head_stride = in.v_head_stride = c.absorbed ? 0 : c.d_nope + c.d_v;
    in.n_heads = c.heads, in.d_nope = c.d_nope, in.d_rope = c.d_rope, in.d_v = c.d_v;
    in.scale = 1 / std::sqrt(double(d_qk));
    in.segments = &segments;
    o = random_tensor(exec, dtype, {tq, c.heads * c.d_v}, 4);
    d_o = random_tensor(exec, dtype, {tq, c.heads * c.d_v}, 5);
    lse = random_tensor(exec, DType::f32, {tq, c.heads}, 6);
    out.dq = random_tensor(exec, dtype, in.q.shape(), 7);
    out.dk_nope = dkv;
    out.dv = c.absorbed ? random_tensor(exec, dtype, {tk, c.d_v}, 8) : dkv.col_range(c.d_nope, kv_cols - c.d_nope);
    out.dk_rope = random_tensor(exec, dtype, {tk, c.d_rope}, 9);
  }
  ops::AttentionInputs in;
  ops::AttentionGradients out;
  Tensor kv, dkv, o, lse, d_o;
  std::vector<ops::Segment> segments;
};

// Multiply-adds count twice; pairs of (query, key) that causality allows, the diagonal as half.
double flops(const Case& c, bool backward) {
  const double pairs = double(c.n_segments * c.heads) * double(c.n_q) * (double(c.n_k) - double(c.n_q) / 2);
  const double d_qk = double(c.d_nope + c.d_rope), d_v = double(c.d_v);
  return 2 * pairs * (backward ? 3 * d_qk + 2 * d_v : d_qk + d_v);
}

struct Peaks {
  double f32 = 0, pairs = 0;
};

void print_case(const Exec& exec, const Options& options, const Case& c, const Peaks& peaks) {
  std::string line = fmt::format("{:<47}", c.name);
  for (DType dtype : {DType::f32, DType::bf16}) {
    Problem p(exec, c, dtype);
    for (bool backward : {false, true}) {
      if (backward && !c.backward) continue;
      auto body = [&] {
        if (backward)
          ops::attention_backward(exec, p.in, p.o, p.lse, p.d_o, p.out);
        else
          ops::attention_forward(exec, p.in, p.o, p.lse);
      };
      body();
      const double rate = flops(c, backward) * 1e-9 / bench::best_seconds(body, options.seconds);
      line += fmt::format("  {} {:6.1f} {:5.1f}%", backward ? "bwd" : "fwd", rate, 100 * rate / peaks.f32);
      if (dtype == DType::bf16 && peaks.pairs > 1.1 * peaks.f32)
        line += fmt::format(" ({:4.1f}%)", 100 * rate / peaks.pairs);
    }
    if (dtype == DType::f32) line += "  | bf16";
  }
  std::puts(line.c_str());
  std::fflush(stdout);
}

int run(const Options& options) {
  const Isa isa = options.isa == "best" ? best_isa() : parse_isa(options.isa);
  OwnedExec owned(options.threads, isa);
  const Peaks peaks{bench::peak_gflops(*owned.pool, isa, false), bench::peak_gflops(*owned.pool, isa, true)};
  std::printf(
      "isa %s, %d threads: peak %.1f GFLOP/s f32, %.1f bf16 pairs; GFLOP/s and %% of the f32 peak (of the pairs')\n",
      isa_name(isa), owned.pool->n_threads(), peaks.f32, peaks.pairs);
  for (const Case& c : kCases) {
    if (std::string(c.name).find(options.only) != std::string::npos) print_case(owned.exec, options, c, peaks);
  }
  return 0;
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  hadal::Options options;
  CLI::App app{"Attention as a share of this machine's measured peak"};
  app.add_option("--threads", options.threads, "threads; 0 = all granted");
  app.add_option("--isa", options.isa, "avx2, avx512, avx512_bf16, reference or best");
  app.add_option("--only", options.only, "only cases whose name holds this");
  app.add_option("--seconds", options.seconds, "time spent per case, type and direction");
  CLI11_PARSE(app, argc, argv);
  return hadal::run(options);
}
