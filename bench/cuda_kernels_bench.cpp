// Products and attention on a GPU, at DeepSeek-V3's shapes: one JSON line each with the median time of several runs,
// for bench/cuda_bench.py, which sets them beside PyTorch's on the same card. Random data: zeros run faster; operands
// take turns with copies, so that the L2 cache holds none of them. Time is that between two waits, over many launches.
//   cuda_kernels_bench [DEVICE]        default cuda:0; exit code 2 where there is none
#include <cmath>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/open_device.h"
#include "base/random.h"
#include "kernels/devices.h"
#include "ops/attention.h"
#include "ops/matmul.h"

namespace hadal {
namespace {

constexpr int kRuns = 7, kTurns = 4;  // medians of so many; copies of the operands
constexpr double kLeastSeconds = 0.02;

struct Card {
  explicit Card(const std::string& name)
      : device(std::make_shared<OpenDevice>(parse_device(name), *kernels::cuda_backend()->driver)),
        owned(0, device, *kernels::cuda_backend()->kernels) {}
  std::shared_ptr<OpenDevice> device;
  OwnedExec owned;
  const Exec& exec() const { return owned.exec; }
};

Tensor random_tensor(const Card& card, DType dtype, Shape shape, uint64_t seed) {
  std::vector<float> values(size_t(shape_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(2 * random_uniform(seed, 1, i) - 1);
  return Tensor::from(card.exec(), values, std::move(shape)).to(card.exec(), dtype);
}

// Seconds of one call; `call` is told which turn it is.
double median_seconds(const Card& card, const std::function<void(int)>& call) {
  const auto time_of = [&](int calls) {
    card.device->wait();
    const double begin = steady_seconds();
    for (int i = 0; i < calls; ++i) call(i % kTurns);
    card.device->wait();
    return (steady_seconds() - begin) / calls;
  };
  int calls = kTurns;
  time_of(calls);
  while (time_of(calls) * calls < kLeastSeconds) calls *= 2;
  std::vector<double> seconds;
  for (int run = 0; run < kRuns; ++run) seconds.push_back(time_of(calls));
  std::sort(seconds.begin(), seconds.end());
  return seconds[kRuns / 2];
}

void tell(const std::string& name, double flops, double seconds) {
  const nlohmann::ordered_json line = {{"name", name}, {"flops", flops}, {"seconds", seconds}};
  fmt::print("{}\n", json_text(line));
  std::fflush(stdout);
}

// y[M,N] = x[M,K] w[N,K]^T
void product(const Card& card, DType dtype, int64_t m, int64_t n, int64_t k) {
  std::vector<Tensor> x, w, y;
  for (int i = 0; i < kTurns; ++i) {
    x.push_back(random_tensor(card, dtype, {m, k}, 1)), w.push_back(random_tensor(card, dtype, {n, k}, 2));
    y.push_back(Tensor::empty(card.exec(), dtype, {m, n}));
  }
  const double seconds =
      median_seconds(card, [&](int i) { ops::linear(card.exec(), y[size_t(i)], x[size_t(i)], w[size_t(i)]); });
  tell(fmt::format("product {} {}x{}x{}", dtype_name(dtype), m, n, k), 2.0 * double(m) * double(n) * double(k),
       seconds);
}

// Causal, up-projected, 192/128 a head.
void attention(const Card& card, int64_t tokens, int64_t heads) {
  const int64_t nope = 128, rope = 64, v = 128;
  const std::vector<ops::Segment> segments = {{0, tokens, 0, tokens}};
  const Tensor kv = random_tensor(card, DType::bf16, {tokens, heads * (nope + v)}, 1);
  ops::AttentionInputs in;
  in.q = random_tensor(card, DType::bf16, {tokens, heads * (nope + rope)}, 2);
  in.k_nope = kv, in.v = kv.col_range(nope, kv.cols() - nope);
  in.k_rope = random_tensor(card, DType::bf16, {tokens, rope}, 3);
  in.k_head_stride = in.v_head_stride = nope + v;
  in.n_heads = heads, in.d_nope = nope, in.d_rope = rope, in.d_v = v;
  in.scale = 1 / std::sqrt(double(nope + rope)), in.segments = &segments;
  const Tensor o = Tensor::empty(card.exec(), DType::bf16, {tokens, heads * v}),
               lse = Tensor::empty(card.exec(), DType::f32, {tokens, heads});
  const double seconds = median_seconds(card, [&](int) { ops::attention_forward(card.exec(), in, o, lse); });
  tell(fmt::format("attention {} tokens, {} heads", tokens, heads),
       double(tokens) * double(tokens) * double(heads) * double(nope + rope + v), seconds);
}

int run(const std::string& name) {
  try {
    check(kernels::cuda_backend() != nullptr, ErrorKind::unsupported, "this program was built without CUDA");
    const Card card(name);
    // The products of a layer of DeepSeek-V3, over 4096 tokens.
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
             {2112, 7168}, {24576, 1536}, {32768, 512}, {7168, 16384}, {4096, 7168}, {7168, 2048}})
      product(card, DType::bf16, 4096, n, k);
    product(card, DType::f32, 2048, 2048, 2048);
    for (const int64_t tokens : {2048, 8192}) attention(card, tokens, 16);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "cuda_kernels_bench: {}\n", error.what());
    return error.kind() == ErrorKind::unsupported ? 2 : 1;
  }
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) { return hadal::run(argc > 1 ? argv[1] : "cuda:0"); }
