// What reading memory once instead of twice would gain where codes are made: as training does it, codes are made of a
// whole tensor that a kernel has written; beside it the same kernels take 128 rows at a time, so that codes are made of
// what is still in the cache, and what only they read is never written. A kernel that does both at once moves the same
// bytes. Operands are spread over more memory than the caches hold: the most that there is to gain.
//   nn_code_passes_bench [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S]
// A line: what is made; milliseconds of both ways and of the FP8 linear that reads the codes (forward and both
// backwards, all quantising included), medians of turns; and what is saved, as a share of that linear: the median of
// the turns' shares. A kernel of its own pays from 5 % on. Times are the process's processor time by its threads, so
// that what other programs take is not counted.
#include <time.h>

#include <algorithm>
#include <vector>

#include "bench/harness.h"
#include "bench/linear_operands.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

using namespace bench;

constexpr int kTurns = 9;
constexpr int64_t kBand = 128;
constexpr double kSpread = 192e6;  // bytes
constexpr double kPays = 0.05;

struct Ways {
  std::function<void()> apart, once;
  double bytes = 0;  // that one call touches
};

// Seconds that a call takes each thread, the mean of at least `budget` seconds.
template <class F>
double processor_seconds(F&& body, double budget, int threads) {
  const auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
  };
  const double begin = now();
  int64_t calls = 0;
  do body(), ++calls;
  while (now() - begin < budget * threads);
  return (now() - begin) / double(calls) / threads;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + kTurns / 2, values.end());
  return values[kTurns / 2];
}

class Bench {
 public:
  Bench(const Exec& exec, const Options& options) : exec_(exec), serial_(exec), options_(options) {
    serial_.compute = nullptr;
  }

  // What the gradient of an output becomes: codes for dx and codes for dW.
  void gradient(const Sizes& s) {
    measure("dy in both tilings, " + s.name, s, [&] {
      const Tensor dy = random_tensor(exec_, DType::bf16, {s.rows, s.out});
      const Quantised along = codes({s.rows, s.out}, kRowTile), across = codes({s.rows, s.out}, kColumnTile);
      return Ways{[=, this] { whole(along, dy), whole(across, dy); },
                  [=, this] {
                    each_band(s.rows, [&](int64_t first, int64_t n, int) {
                      const Tensor rows = dy.row_range(first, n);
                      band(along, first, rows), band(across, first, rows);
                    });
                  },
                  bytes_of({dy}, {along, across})};
    });
  }

  // h = silu(g) u and its codes, for the linear behind it.
  void swiglu(const Sizes& s) {
    measure("SwiGLU and its codes, " + s.name, s, [&] {
      const Tensor g = half(s.rows, s.in), u = half(s.rows, s.in), h = half(s.rows, s.in);
      const Quantised along = codes({s.rows, s.in}, kRowTile);
      const auto scratch = scratches(s.in);
      return Ways{[=, this] { ops::swiglu(exec_, h, g, u), whole(along, h); },
                  [=, this] {
                    each_band(s.rows, [&](int64_t first, int64_t n, int worker) {
                      const Tensor here = scratch[size_t(worker)].row_range(0, n);
                      ops::swiglu(serial_, here, g.row_range(first, n), u.row_range(first, n));
                      band(along, first, here);
                    });
                  },
                  bytes_of({g, u, h}, {along})};
    });
  }

  // The gradients of g and u, side by side, in both tilings, for the linears before it.
  void swiglu_backward(const Sizes& s) {
    measure("SwiGLU backward in both tilings, " + s.name, s, [&] {
      const int64_t width = s.out / 2;
      const Tensor g = half(s.rows, width), u = half(s.rows, width), dh = half(s.rows, width), d = half(s.rows, s.out);
      const Quantised along = codes({s.rows, s.out}, kRowTile), across = codes({s.rows, s.out}, kColumnTile);
      const auto scratch = scratches(s.out);
      const auto backward = [=](const Exec& exec, const Tensor& to, int64_t first, int64_t n) {
        ops::swiglu_backward(exec, to.col_range(0, width), to.col_range(width, width), dh.row_range(first, n),
                             g.row_range(first, n), u.row_range(first, n));
      };
      return Ways{[=, this] { backward(exec_, d, 0, s.rows), whole(along, d), whole(across, d); },
                  [=, this] {
                    each_band(s.rows, [&](int64_t first, int64_t n, int worker) {
                      const Tensor here = scratch[size_t(worker)].row_range(0, n);
                      backward(serial_, here, first, n);
                      band(along, first, here), band(across, first, here);
                    });
                  },
                  bytes_of({g, u, dh, d}, {along, across})};
    });
  }

  // What experts received as codes is made again in tiles of tokens for dW of gate and for dW of up.
  void received(const Sizes& s) {
    measure("x in token tiles for gate and up, " + s.name, s, [&] {
      const Quantised x = ops::quantise(exec_, half(s.rows, s.in), kRowTile, ScaleRule::power_of_two);
      const auto again = [=, this] { ops::quantise(exec_, Activation(x), kColumnTile, ScaleRule::power_of_two); };
      return Ways{[=] { again(), again(); }, again, 4.0 * double(x.bytes())};
    });
  }

  void norm(const Sizes& s) {
    measure("RMSNorm and its codes, " + s.name, s, [&] {
      const Tensor x = half(s.rows, s.in), y = half(s.rows, s.in);
      const Tensor w = random_tensor(exec_, DType::f32, {s.in}), rstd = Tensor::empty(exec_, DType::f32, {s.rows, 1});
      const Quantised along = codes({s.rows, s.in}, kRowTile);
      const auto scratch = scratches(s.in);
      return Ways{[=, this] { ops::rms_norm(exec_, y, rstd, x, w, 1e-6), whole(along, y); },
                  [=, this] {
                    each_band(s.rows, [&](int64_t first, int64_t n, int worker) {
                      const Tensor here = scratch[size_t(worker)].row_range(0, n);
                      ops::rms_norm(serial_, here, rstd.row_range(first, n), x.row_range(first, n), w, 1e-6);
                      band(along, first, here);
                    });
                  },
                  bytes_of({x, y}, {along})};
    });
  }

  // Codes of tokens, then copies of them for experts. No kernel that makes both is faster than the copies alone.
  void gather(const Sizes& s, int64_t copies) {
    measure("gathered codes, " + s.name, s, [&] {
      const int64_t tokens = s.rows / copies;
      std::vector<int32_t> of;
      for (int64_t i = 0; i < s.rows; ++i) of.push_back(int32_t(i * 7919 % tokens));
      const Tensor x = half(tokens, s.in), index = Tensor::from(exec_, of, {s.rows});
      const Quantised along = codes({tokens, s.in}, kRowTile);
      whole(along, x);
      const auto copy = [=, this] { ops::gather_rows(exec_, Activation(along), index); };
      return Ways{[=, this] { whole(along, x), copy(); }, copy, bytes_of({x}, {along}) + double(s.rows * s.in)};
    });
  }

 private:
  Tensor half(int64_t rows, int64_t cols) const { return random_tensor(exec_, DType::bf16, {rows, cols}); }
  Quantised codes(const Shape& shape, Tile tile) const {
    return Quantised::empty(exec_, shape, tile, DType::bf16, ScaleRule::exact);
  }
  std::vector<Tensor> scratches(int64_t cols) const {
    std::vector<Tensor> result;
    for (int i = 0; i < exec_.compute->n_threads(); ++i) result.push_back(half(kBand, cols));
    return result;
  }
  static double bytes_of(const std::vector<Tensor>& tensors, const std::vector<Quantised>& codes) {
    double sum = 0;
    for (const Tensor& t : tensors) sum += double(t.bytes());
    for (const Quantised& q : codes) sum += double(q.bytes());
    return sum;
  }
  void whole(const Quantised& to, const Tensor& from) const { quantise(exec_, to, from, AmaxFloor::none); }
  void band(const Quantised& to, int64_t first, const Tensor& rows) const {
    quantise(serial_, to.row_range(first, rows.rows()), rows, AmaxFloor::none);
  }
  template <class F>
  void each_band(int64_t rows, F f) const {
    exec_.compute->parallel_for((rows + kBand - 1) / kBand, [&](int64_t i, int worker) {
      f(i * kBand, std::min(kBand, rows - i * kBand), worker);
    });
  }

  void measure(const std::string& name, const Sizes& s, const std::function<Ways()>& make) {
    if (!options_.chosen(name)) return;
    std::vector<Ways> ways{make()};
    while (ways[0].bytes * double(ways.size()) < kSpread) ways.push_back(make());
    const int threads = exec_.compute->n_threads();
    const GemmRecipe recipe = Recipe::fp8().ffn_gate_up;
    const auto linear =
        whole_linear(exec_, std::make_shared<Operands>(operands(exec_, s, recipe)), recipe, s.experts > 0);
    const auto seconds_of = [&](std::function<void()> Ways::*way) {
      const auto pass = [&] {
        for (const Ways& one : ways) (one.*way)();
      };
      return processor_seconds(pass, options_.seconds / kTurns, threads) / double(ways.size());
    };
    linear(), seconds_of(&Ways::apart), seconds_of(&Ways::once);
    std::vector<double> apart, once, reader, share;
    for (int turn = 0; turn < kTurns; ++turn) {
      apart.push_back(seconds_of(&Ways::apart)), once.push_back(seconds_of(&Ways::once));
      reader.push_back(processor_seconds(linear, options_.seconds / kTurns, threads));
      share.push_back((apart.back() - once.back()) / reader.back());
    }
    std::printf("%-52s apart %8.3f ms  once %8.3f ms  linear %8.3f ms  saved %5.1f %% of it%s\n", name.c_str(),
                1e3 * median(apart), 1e3 * median(once), 1e3 * median(reader), 100 * median(share),
                median(share) >= kPays ? ": pays" : "");
    std::fflush(stdout);
  }

  const Exec& exec_;
  Exec serial_;
  const Options& options_;
};

int run(const Options& options) {
  OwnedExec owned(options.threads, options.exact_isa());
  std::printf("isa %s, %d threads\n", isa_name(options.exact_isa()), owned.compute->n_threads());
  Bench bench(owned.exec, options);
  for (const Sizes& s : {Sizes{"T1 dense", 0, 2048, 256, 1536}, Sizes{"T1 experts", 16, 8192, 256, 256},
                         Sizes{"T2 dense", 0, 2048, 512, 3072}, Sizes{"T2 experts", 32, 12288, 512, 512}}) {
    const Sizes down{s.name, s.experts, s.rows, s.out / 2, s.in};  // s: gate and up together
    bench.gradient(down);
    bench.swiglu(down);
    bench.swiglu_backward(s);
    if (s.experts == 0) bench.norm(s);
    if (s.experts == 0) continue;
    bench.received(s);
    bench.gather(s, s.name.starts_with("T1") ? 4 : 6);
  }
  bench.norm({"T1 attention", 0, 2048, 256, 176});  // q_a and kv_a together
  bench.norm({"T2 attention", 0, 2048, 512, 352});
  return 0;
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "What making codes of what is still in the cache would gain", hadal::run);
}
