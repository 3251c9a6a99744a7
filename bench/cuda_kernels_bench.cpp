// Products and attention on a GPU, at DeepSeek-V3's shapes: one JSON line each with the median time of several runs,
// for bench/cuda_bench.py, which sets them beside PyTorch's on the same card. Random data: zeros run faster. Operands
// take turns with copies, as many as are several times the L2 cache together, so that it holds none of them when its
// turn comes. Time is that between two events on the stream, over many launches.
//   cuda_kernels_bench [DEVICE [SMALL]]   default cuda:0; exit code 2 where there is none; SMALL: sizes divided by
//                                         about so much, to see that it runs where nothing is fast
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/open_device.h"
#include "base/random.h"
#include "kernels/cuda/hopper/runtime.h"
#include "kernels/devices.h"
#include "ops/attention.h"
#include "ops/matmul.h"

namespace hadal {
namespace {

constexpr int kRuns = 7;  // the median of so many
constexpr double kLeastSeconds = 0.02;
constexpr int64_t kBeyondL2 = int64_t(160) << 20;  // bytes of all turns; Hopper's L2 has 50 MiB

struct Card {
  Card(const std::string& name, int64_t small)
      : device(std::make_shared<OpenDevice>(parse_device(name), *kernels::cuda_backend()->driver)),
        owned(0, device, *kernels::cuda_backend()->kernels),
        small(small) {}
  std::shared_ptr<OpenDevice> device;
  OwnedExec owned;
  int64_t small;  // sizes are divided by it
  const Exec& exec() const { return owned.exec; }
  int64_t size(int64_t n) const { return std::max<int64_t>(n / small / 16 * 16, 16); }
  // How many copies of operands of so many bytes take turns: at least two, and more than the L2 cache holds.
  int turns(int64_t bytes) const { return small > 1 ? 2 : int(std::max<int64_t>(2, kBeyondL2 / bytes + 1)); }
};

Tensor random_tensor(const Card& card, DType dtype, Shape shape, uint64_t seed) {
  std::vector<float> values(size_t(shape_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(2 * random_uniform(seed, 1, i) - 1);
  return Tensor::from(card.exec(), values, std::move(shape)).to(card.exec(), dtype);
}

// Seconds of one call by events of the device; `call` is told which turn it is.
double median_seconds(const Card& card, int turns, const std::function<void(int)>& call) {
  const DeviceEvent begin = kernels::cuda::make_timed_event(), end = kernels::cuda::make_timed_event();
  const auto time_of = [&](int calls) {
    kernels::cuda::record(begin, card.device->stream());
    for (int i = 0; i < calls; ++i) call(i % turns);
    kernels::cuda::record(end, card.device->stream());
    card.device->wait();
    return kernels::cuda::seconds_between(begin, end) / calls;
  };
  int calls = turns;
  time_of(calls);
  while (card.small == 1 && time_of(calls) * calls < kLeastSeconds) calls *= 2;
  std::vector<double> seconds;
  for (int run = 0; run < (card.small == 1 ? kRuns : 1); ++run) seconds.push_back(time_of(calls));
  std::sort(seconds.begin(), seconds.end());
  kernels::cuda::close_event(begin), kernels::cuda::close_event(end);
  return seconds[seconds.size() / 2];
}

void tell(const std::string& name, double flops, double seconds) {
  const nlohmann::ordered_json line = {{"name", name}, {"flops", flops}, {"seconds", seconds}};
  fmt::print("{}\n", json_text(line));
  std::fflush(stdout);
}

struct Sizes {
  int64_t m, n, k;
};

// y[M,N] = x[M,K] w[N,K]^T
void product(const Card& card, DType dtype, const Sizes& whole) {
  const int64_t m = card.size(whole.m), n = card.size(whole.n), k = card.size(whole.k);
  const int turns = card.turns((m * k + n * k + m * n) * dtype_bytes(dtype));
  std::vector<Tensor> x, w, y;
  for (int i = 0; i < turns; ++i) {
    x.push_back(random_tensor(card, dtype, {m, k}, 1)), w.push_back(random_tensor(card, dtype, {n, k}, 2));
    y.push_back(Tensor::empty(card.exec(), dtype, {m, n}));
  }
  const double seconds =
      median_seconds(card, turns, [&](int i) { ops::linear(card.exec(), y[size_t(i)], x[size_t(i)], w[size_t(i)]); });
  tell(fmt::format("product {} {}x{}x{}", dtype_name(dtype), m, n, k), 2.0 * double(m) * double(n) * double(k),
       seconds);
}

// Causal, up-projected, 192/128 a head.
void attention(const Card& card, int64_t whole, int64_t heads) {
  const int64_t nope = 128, rope = 64, v = 128, tokens = card.size(whole);
  const std::vector<ops::Segment> segments = {{0, tokens, 0, tokens}};
  struct Turn {
    ops::AttentionInputs in;
    Tensor o, lse;
  };
  std::vector<Turn> all(size_t(card.turns(2 * tokens * (heads * (2 * nope + rope + 2 * v) + rope))));
  for (Turn& turn : all) {
    ops::AttentionInputs& in = turn.in;
    const Tensor kv = random_tensor(card, DType::bf16, {tokens, heads * (nope + v)}, 1);
    in.q = random_tensor(card, DType::bf16, {tokens, heads * (nope + rope)}, 2);
    in.k_nope = kv, in.v = kv.col_range(nope, kv.cols() - nope);
    in.k_rope = random_tensor(card, DType::bf16, {tokens, rope}, 3);
    in.k_head_stride = in.v_head_stride = nope + v;
    in.n_heads = heads, in.d_nope = nope, in.d_rope = rope, in.d_v = v;
    in.scale = 1 / std::sqrt(double(nope + rope)), in.segments = &segments;
    turn.o = Tensor::empty(card.exec(), DType::bf16, {tokens, heads * v});
    turn.lse = Tensor::empty(card.exec(), DType::f32, {tokens, heads});
  }
  const double seconds = median_seconds(card, int(all.size()), [&](int i) {
    const Turn& turn = all[size_t(i)];
    ops::attention_forward(card.exec(), turn.in, turn.o, turn.lse);
  });
  tell(fmt::format("attention {} tokens, {} heads", tokens, heads),
       double(tokens) * double(tokens) * double(heads) * double(nope + rope + v), seconds);
}

int run(const std::string& name, int64_t small) {
  try {
    check(kernels::cuda_backend() != nullptr, ErrorKind::unsupported, "this program was built without CUDA");
    check(small >= 1, ErrorKind::invalid, "sizes are divided by a number from 1 on");
    const Card card(name, small);
    // The products of a layer of DeepSeek-V3, over 4096 tokens.
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
             {2112, 7168}, {24576, 1536}, {32768, 512}, {7168, 16384}, {4096, 7168}, {7168, 2048}})
      product(card, DType::bf16, {4096, n, k});
    product(card, DType::f32, {2048, 2048, 2048});
    for (const int64_t tokens : {2048, 8192}) attention(card, tokens, small > 1 ? 2 : 16);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "cuda_kernels_bench: {}\n", error.what());
    return error.kind() == ErrorKind::unsupported ? 2 : 1;
  }
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  return hadal::run(argc > 1 ? argv[1] : "cuda:0", argc > 2 ? std::atoll(argv[2]) : 1);
}
