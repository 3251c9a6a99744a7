// Attention forward and backward at the shapes of bench-t1, bench-t2 and a 3 B model, as a share of the multiply-add
// peak measured in the same moments. FLOPs are the causal ones: each query meets half of the keys, forward d_qk + d_v,
// backward 3 d_qk + 2 d_v multiply-adds per pair. All against the FP32 peak (the better of an FMA loop and the
// candidate); bf16 also, in brackets, against that of bf16 pairs. Floor: 50 % of the FP32 peak for every figure, 60 %
// for decoding behind 8192 tokens; the run fails when one is missed. Decoding reads each key once for 16 heads, 17
// multiply-adds per byte: it is not the memory that bounds it either. With four heads to a key that is two (BF16) or
// one, and memory does: no floor, but what is read in GB/s.
//   kernels_attention_bench [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S] [--peak-candidate GFLOPS]
#include <cmath>

#include "base/random.h"
#include "bench/harness.h"
#include "ops/attention.h"

namespace hadal {
namespace {

struct Case {
  const char* name;
  int64_t n_segments, n_q, n_k, heads, d_nope, d_rope, d_v;
  bool absorbed = false, backward = true;
  double floor = 0.5;
  int64_t kv_heads = 0;  // of Llama's attention, which has no rotary key; 0: the latent one's
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
    {"3b absorbed decode 1x1 of 8192 16h 512+64/512", 1, 1, 8192, 16, 512, 64, 512, true, false, 0.6},
    {"3b absorbed decode 16x1 of 8192 16h 512+64/512", 16, 1, 8192, 16, 512, 64, 512, true, false, 0.6},
    {"mha 4x512 16h 128", 4, 512, 512, 16, 128, 0, 128, false, true, 0.5, 16},
    {"gqa 4x512 16h on 4 128", 4, 512, 512, 16, 128, 0, 128, false, true, 0.5, 4},
    {"gqa decode 16x1 of 8192 16h on 4 128", 16, 1, 8192, 16, 128, 0, 128, false, false, 0.0, 4},
};

int64_t kv_heads(const Case& c) { return c.kv_heads > 0 ? c.kv_heads : c.heads; }

Tensor random_tensor(const Exec& exec, DType dtype, Shape shape, uint64_t stream) {
  Tensor wide = Tensor::empty(exec, DType::f32, std::move(shape));
  float* x = wide.data<float>();
  for (int64_t i = 0; i < wide.count(); ++i) x[i] = float(2 * random_uniform(1, stream, uint64_t(i)) - 1);
  return dtype == DType::f32 ? wide : wide.to(exec, dtype);
}

struct Problem {
  Problem(const Exec& exec, const Case& c, DType dtype) {
    const int64_t tq = c.n_segments * c.n_q, tk = c.n_segments * c.n_k, d_qk = c.d_nope + c.d_rope;
    const int64_t kv_cols = c.absorbed ? c.d_nope : kv_heads(c) * (c.d_nope + c.d_v);
    for (int64_t s = 0; s < c.n_segments; ++s) segments.push_back({s * c.n_q, c.n_q, s * c.n_k, c.n_k});
    kv = random_tensor(exec, dtype, {tk, kv_cols}, 2);
    dkv = random_tensor(exec, dtype, {tk, kv_cols}, 2);
    in.q = random_tensor(exec, dtype, {tq, c.heads * d_qk}, 1);
    in.k_nope = kv;
    in.v = c.absorbed ? kv : kv.col_range(c.d_nope, kv_cols - c.d_nope);
    if (c.d_rope > 0) in.k_rope = random_tensor(exec, dtype, {tk, c.d_rope}, 3);
    in.k_head_stride = in.v_head_stride = c.absorbed ? 0 : c.d_nope + c.d_v;
    in.values_are_keys = c.absorbed;
    in.n_heads = c.heads, in.d_nope = c.d_nope, in.d_rope = c.d_rope, in.d_v = c.d_v;
    in.n_kv_heads = c.kv_heads;
    in.scale = 1 / std::sqrt(double(d_qk));
    in.segments = &segments;
    o = random_tensor(exec, dtype, {tq, c.heads * c.d_v}, 4);
    d_o = random_tensor(exec, dtype, {tq, c.heads * c.d_v}, 5);
    lse = random_tensor(exec, DType::f32, {tq, c.heads}, 6);
    out.dq = random_tensor(exec, dtype, in.q.shape(), 7);
    out.dk_nope = dkv;
    out.dv = c.absorbed ? random_tensor(exec, dtype, {tk, c.d_v}, 8) : dkv.col_range(c.d_nope, kv_cols - c.d_nope);
    if (c.d_rope > 0) out.dk_rope = random_tensor(exec, dtype, {tk, c.d_rope}, 9);
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

double key_bytes(const Case& c, DType dtype) {
  return double(c.n_segments * c.n_k * kv_heads(c) * (c.d_nope + c.d_v) * dtype_bytes(dtype));
}

void print_case(const Exec& exec, const bench::Options& options, const Case& c, const bench::Meter& meter,
                bench::Floors& floors) {
  std::string line;
  std::vector<double> shares;
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
      auto share = [&](const bench::Meter::Result& r) { return flops(c, backward) * 1e-9 / r.seconds / r.f32; };
      const auto r = meter.measure(body, options.seconds, [&](const auto& now) { return share(now) >= c.floor; });
      shares.push_back(share(r));
      line +=
          fmt::format("  {} {:5.1f} {:5.1f}%", backward ? "bwd" : "fwd", shares.back() * r.f32, 100 * shares.back());
      if (c.floor == 0) line += fmt::format(" {:4.1f} GB/s", key_bytes(c, dtype) * 1e-9 / r.seconds);
      if (dtype == DType::bf16 && meter.has_pairs())
        line += fmt::format(" ({:4.1f}%)", 100 * shares.back() * r.f32 / r.pairs);
    }
    if (dtype == DType::f32) line += "  | bf16";
  }
  std::printf("%-48s%s%s\n", c.name, line.c_str(), floors.judge(c.name, c.floor, shares).c_str());
  std::fflush(stdout);
}

int run(const bench::Options& options) {
  const Isa isa = options.exact_isa();
  OwnedExec owned(options.threads, isa);
  const bench::Meter meter(owned.compute->pool(), isa, options.sgemm);
  std::printf(
      "isa %s, %d threads: peak %.1f GFLOP/s f32, %.1f bf16 pairs; GFLOP/s and %% of the f32 peak (of the pairs')\n",
      isa_name(isa), owned.compute->n_threads(), meter.f32(), meter.pairs());
  bench::Floors floors;
  floors.measure(
      options, kCases, [](const Case& c) { return c.name; },
      [&](const Case& c) { print_case(owned.exec, options, c, meter, floors); });
  return floors.exit_code();
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "Attention as a share of this machine's measured peak", hadal::run);
}
