// Row-wise ops, routing and AdamW at the shapes of bench-t1, bench-t2 and a 3 B model, as a share of the memory
// bandwidth measured in the same run: 100 % means that the op takes as long as reading its inputs and writing its
// outputs once. Operands are spread over more memory than the caches hold, so that every pass is cold. Routing is
// counted by tokens.
//   kernels_pointwise_bench [--threads N] [--isa NAME] [--only SUBSTRING] [--seconds S]
#include <functional>
#include <memory>

#include "base/random.h"
#include "bench/harness.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"
#include "ops/routing.h"

namespace hadal {
namespace {

using bench::Options;

struct Model {
  const char* name;
  int64_t tokens, hidden, ffn, vocab, heads, d_rope, parameters;
  ops::RouteRule rule;
};

const std::vector<Model> kModels = {
    {"t1", 2048, 256, 128, 4096, 4, 16, 4 << 20, {.n_experts = 16, .n_groups = 4, .n_limited_groups = 2, .top_k = 4}},
    {"t2", 2048, 512, 256, 8192, 8, 32, 8 << 20, {.n_experts = 32, .n_groups = 8, .n_limited_groups = 4, .top_k = 6}},
    {"3b",
     2048,
     2048,
     1024,
     32768,
     16,
     64,
     16 << 20,
     {.n_experts = 64, .n_groups = 8, .n_limited_groups = 4, .top_k = 6}},
};

// Everything that one call touches, for one copy of the operands.
struct Work {
  double read_bytes = 0, written_bytes = 0;
  std::function<void()> run;
  double elements = 0;  // of codes
};

class Bench {
 public:
  Bench(const Exec& exec, const Options& options, const Model& model, bench::Bandwidth memory)
      : exec_(exec), options_(options), model_(model), memory_(memory) {}
  void run_all() {
    for (DType dtype : {DType::f32, DType::bf16}) {
      dtype_ = dtype;
      norms();
      activations();
      losses();
      experts();
    }
    dtype_ = DType::bf16;
    codes();
    optimizer();
    routing();
  }

 private:
  Tensor uniform(DType dtype, Shape shape) {
    Tensor wide = Tensor::empty(exec_, DType::f32, std::move(shape));
    float* x = wide.data<float>();
    uint32_t state = 12345;
    for (int64_t i = 0; i < wide.count(); ++i) x[i] = float(state = state * 1664525u + 1013904223u) * 0x1p-31f - 1;
    return dtype == DType::f32 ? wide : wide.to(exec_, dtype);
  }
  Tensor rows(int64_t n, int64_t cols) { return uniform(dtype_, {n, cols}); }
  Tensor wide(Shape shape) { return uniform(DType::f32, std::move(shape)); }

  // Makes copies of the operands until they fill 192 MB (the last is timed after all others have been touched).
  void measure(const std::string& op, const std::function<Work()>& make, double tokens = 0) {
    const std::string name = fmt::format("{} {} {}", model_.name, op,
                                         tokens > 0             ? "f32"
                                         : dtype_ == DType::f32 ? "f32"
                                                                : "bf16");
    if (!options_.chosen(name)) return;
    std::vector<Work> works{make()};
    const double bytes = works[0].read_bytes + works[0].written_bytes;
    while (bytes * double(works.size()) < 192e6 && works.size() < 200) works.push_back(make());
    const auto pass = [&] {
      for (Work& work : works) work.run();
    };
    pass();
    const double seconds = bench::best_seconds(pass, options_.seconds) / double(works.size());
    const double ideal = works[0].read_bytes * 1e-9 / memory_.read + works[0].written_bytes * 1e-9 / memory_.write;
    std::string line = fmt::format("{:<36} {:9.1f} us {:7.1f} GB/s {:6.1f} %", name, seconds * 1e6,
                                   bytes * 1e-9 / seconds, 100 * ideal / seconds);
    if (works[0].elements > 0)
      line +=
          fmt::format(" {:7.2f} G/s a thread", works[0].elements * 1e-9 / seconds / double(exec_.compute->n_threads()));
    if (tokens > 0) line += fmt::format(" {:7.1f} ns/token", seconds * 1e9 / tokens);
    std::puts(line.c_str());
    std::fflush(stdout);
  }

  void norms() {
    const int64_t t = model_.tokens, d = model_.hidden;
    measure("rms_norm", [&, t, d] {
      Tensor x = rows(t, d), y = rows(t, d), w = wide({d}), rstd = wide({t});
      return Work{double(x.bytes()), double(y.bytes()), [=, this] { ops::rms_norm(exec_, y, rstd, x, w, 1e-6); }};
    });
    measure("rms_norm backward input, add", [&, t, d] {
      Tensor x = rows(t, d), dy = rows(t, d), dx = rows(t, d), w = wide({d}), rstd = wide({t});
      return Work{3.0 * double(x.bytes()), double(dx.bytes()),
                  [=, this] { ops::rms_norm_backward_input(exec_, dx, dy, x, w, rstd, true); }};
    });
    measure("rms_norm backward weight", [&, t, d] {
      Tensor x = rows(t, d), dy = rows(t, d), dw = wide({d}), rstd = wide({t});
      return Work{2.0 * double(x.bytes()), 0, [=, this] { ops::rms_norm_backward_weight(exec_, dw, dy, x, rstd); }};
    });
  }

  void activations() {
    const int64_t t = model_.tokens, sorted = t * model_.rule.top_k, f = model_.ffn, d = model_.hidden;
    measure("swiglu", [&, sorted, f] {
      Tensor gu = rows(sorted, 2 * f), h = rows(sorted, f), g = gu.col_range(0, f), u = gu.col_range(f, f);
      return Work{double(gu.bytes()), double(h.bytes()), [=, this] { ops::swiglu(exec_, h, g, u); }};
    });
    measure("swiglu backward in place", [&, sorted, f] {
      Tensor gu = rows(sorted, 2 * f), dh = rows(sorted, f), g = gu.col_range(0, f), u = gu.col_range(f, f);
      return Work{double(gu.bytes() + dh.bytes()), double(gu.bytes()),
                  [=, this] { ops::swiglu_backward(exec_, g, u, dh, g, u); }};
    });
    const Tensor positions = Tensor::empty(exec_, DType::i32, {t});
    for (int64_t i = 0; i < t; ++i) positions.data<int32_t>()[i] = int32_t(i % 512);
    measure("rope", [&, t, positions] {
      const int64_t width = 3 * model_.d_rope, rope = model_.d_rope,
                    heads = model_.heads;  // two thirds without position
      Tensor q = rows(t, heads * width), table = wide({512, rope});
      ops::RopeArgs args{.x = q.col_range(width - rope, heads * width - width + rope),
                         .n_heads = heads,
                         .head_stride = width,
                         .d_rope = rope,
                         .table = table,
                         .positions = positions};
      const double bytes = double(t * heads * rope * dtype_bytes(dtype_));
      return Work{bytes, bytes, [=, this] { ops::rope(exec_, args); }};
    });
    measure("add", [&, t, d] {
      Tensor x = rows(t, d), y = rows(t, d);
      return Work{double(x.bytes() + y.bytes()), double(y.bytes()), [=, this] { ops::add_to(exec_, y, x); }};
    });
    measure("copy to the other format", [&, t, d] {
      Tensor x = rows(t, d), y = uniform(dtype_ == DType::f32 ? DType::bf16 : DType::f32, {t, d});
      return Work{double(x.bytes()), double(y.bytes()), [=, this] { ops::copy(exec_, y, x); }};
    });
  }

  void losses() {
    const int64_t chunk = 256, v = model_.vocab;
    const Tensor targets = Tensor::from(exec_, std::vector<int32_t>(size_t(chunk), 5), {chunk});
    measure("cross_entropy with gradient", [&, chunk, v] {
      Tensor logits = rows(chunk, v), loss = wide({chunk}), fresh = logits.clone(exec_);
      return Work{double(logits.bytes()), double(logits.bytes()),
                  [=, this] { ops::cross_entropy(exec_, logits, targets, 1e-3, loss, true); }};
    });
    measure("cross_entropy loss only", [&, chunk, v] {
      Tensor logits = rows(chunk, v), loss = wide({chunk});
      return Work{double(logits.bytes()), 0,
                  [=, this] { ops::cross_entropy(exec_, logits, targets, 1e-3, loss, false); }};
    });
    const Tensor ids = Tensor::empty(exec_, DType::i32, {model_.tokens});
    for (int64_t i = 0; i < model_.tokens; ++i) ids.data<int32_t>()[i] = int32_t((i * 7919 + i * i) % v);
    const int64_t t = model_.tokens, d = model_.hidden;
    measure("embedding", [&, t, d, v] {
      Tensor w = rows(v, d), y = rows(t, d);
      return Work{double(y.bytes()), double(y.bytes()), [=, this] { ops::embedding(exec_, y, w, ids); }};
    });
    measure("embedding backward", [&, t, d, v] {
      Tensor dw = wide({v, d}), dy = rows(t, d);
      const double touched = double(t * d * 4);
      return Work{double(dy.bytes()) + touched, touched,
                  [=, this] { ops::embedding_backward_weight(exec_, dw, dy, ids); }};
    });
  }

  void codes() {
    const int64_t t = model_.tokens, d = model_.hidden;
    const auto quantise = [&](const char* name, Tile tile, ScaleRule rule) {
      measure(name, [&, t, d, tile, rule] {
        Tensor x = rows(t, d);
        const Quantised q = Quantised::empty(exec_, {t, d}, tile, dtype_, rule);
        return Work{double(x.bytes()), double(q.bytes()), [=, this] { hadal::quantise(exec_, q, x, AmaxFloor::none); },
                    double(t * d)};
      });
    };
    quantise("quantise 1 x 128, exact,", kRowTile, ScaleRule::exact);
    quantise("quantise 1 x 128, powers of two,", kRowTile, ScaleRule::power_of_two);
    quantise("quantise 128 x 1, exact,", kColumnTile, ScaleRule::exact);
    quantise("quantise 128 x 1, powers of two,", kColumnTile, ScaleRule::power_of_two);
    dtype_ = DType::f32;
    quantise("quantise 128 x 128, exact,", kSquareTile, ScaleRule::exact);
    dtype_ = DType::bf16;
    const auto back = [&](const char* name, const std::function<Quantised(const Tensor&)>& make) {
      measure(name, [&, t, d, make] {
        Tensor x = rows(t, d);
        const Quantised q = make(x);
        return Work{double(q.bytes()), double(x.bytes()), [=, this] { dequantise(exec_, x, q); }, double(t * d)};
      });
    };
    back("dequantise 1 x 128", [&](const Tensor& x) { return ops::quantise(exec_, x, kRowTile); });
    back("dequantise E5M6", [&](const Tensor& x) { return ops::quantise_e5m6(exec_, x); });
    measure("quantise E5M6", [&, t, d] {
      Tensor x = rows(t, d);
      const Quantised q = Quantised::empty_e5m6(exec_, {t, d}, dtype_);
      return Work{double(x.bytes()), double(q.bytes()), [=, this] { hadal::quantise(exec_, q, x, AmaxFloor::none); },
                  double(t * d)};
    });
  }

  Tensor some_experts() const {
    const int64_t k = model_.rule.top_k, n = model_.rule.n_experts;
    std::vector<int32_t> experts;
    for (int64_t t = 0; t < model_.tokens; ++t) {
      const int64_t first = (t * t * 5 + t) % (n - k + 1);
      for (int64_t s = 0; s < k; ++s) experts.push_back(int32_t(first + s));
    }
    return Tensor::from(exec_, experts, {model_.tokens, k});
  }

  void experts() {
    const int64_t t = model_.tokens, d = model_.hidden, k = model_.rule.top_k;
    const Tensor ids = some_experts();
    auto plan = std::make_shared<ops::DispatchPlan>(ops::make_plan(exec_, ids, model_.rule.n_experts));
    const int64_t group = model_.rule.n_experts / model_.rule.n_groups;
    measure("gather_rows", [&, t, d, k, plan] {
      Tensor x = rows(t, d), sorted = rows(t * k, d);
      return Work{double(x.bytes()), double(sorted.bytes()),
                  [=, this] { ops::gather_rows(exec_, sorted, x, plan->token); }};
    });
    measure("combine", [&, t, d, k, plan, ids, group] {
      Tensor sorted = rows(t * k, d), y = rows(t, d), weights = wide({t, k});
      return Work{double(sorted.bytes()), double(y.bytes()), [=, this] {
                    ops::combine(exec_, y, sorted, *plan, weights, {ids, group, dtype_}, ops::Write::overwrite);
                  }};
    });
    measure("gather backward, add", [&, t, d, k, plan, ids, group] {
      Tensor sorted = rows(t * k, d), dx = rows(t, d);
      return Work{double(sorted.bytes() + dx.bytes()), double(dx.bytes()), [=, this] {
                    ops::gather_backward(exec_, dx, sorted, *plan, {ids, group, dtype_}, ops::Write::add);
                  }};
    });
  }

  void optimizer() {
    const int64_t n = model_.parameters;
    for (DType moments : {DType::f32, DType::bf16}) {
      dtype_ = moments;
      measure(moments == DType::f32 ? "adamw, moments" : "adamw with compute copy, moments", [&, n, moments] {
        ops::AdamWArgs a{.w = wide({n}),
                         .grad = wide({n}),
                         .m = uniform(moments, {n}),
                         .v = uniform(moments, {n}),
                         .lr = 1e-9,
                         .beta1 = 0.9,
                         .beta2 = 0.95,
                         .eps = 1e-8,
                         .weight_decay = 0.1,
                         .grad_scale = 1,
                         .ema_decay = 0,
                         .step = 9};
        if (moments == DType::bf16) a.value = uniform(DType::bf16, {n});
        const double state = double(a.w.bytes() + a.m.bytes() + a.v.bytes());
        return Work{state + double(a.grad.bytes()), state + (a.value ? double(a.value.bytes()) : 0),
                    [=, this] { ops::adamw(exec_, a); }};
      });
    }
    dtype_ = DType::f32;
    measure("sum_of_squares", [&, n] {
      Tensor x = wide({n});
      return Work{double(x.bytes()), 0, [=, this] { sink_ += ops::sum_of_squares(exec_, x); }};
    });
    measure("all_finite", [&, n] {
      Tensor x = wide({n});
      return Work{double(x.bytes()), 0, [=, this] { sink_ += ops::all_finite(exec_, x); }};
    });
  }

  void routing() {
    const int64_t t = model_.tokens, n = model_.rule.n_experts, k = model_.rule.top_k;
    const double score_bytes = double(t * n * 4);
    measure(
        "route",
        [&, t, n, k, score_bytes] {
          Tensor logits = wide({t, n}), bias = wide({n});
          const ops::Routes memory{{}, wide({t, n}), wide({t, k})};
          return Work{score_bytes, score_bytes, [=, this] {
                        ops::Routes routes = memory;
                        ops::route(exec_, model_.rule, logits, bias, routes);
                      }};
        },
        double(t));
    measure(
        "balance_loss, 8 sequences",
        [&, t, n, score_bytes] {
          Tensor scores = wide({t, n}), dscores = wide({t, n});
          for (int64_t i = 0; i < scores.count(); ++i) scores.data<float>()[i] = 0.5f + 0.49f * scores.data<float>()[i];
          std::vector<ops::RowRange> sequences;
          for (int64_t i = 0; i < 8; ++i) sequences.push_back({i * t / 8, t / 8});
          return Work{score_bytes, score_bytes,
                      [=, this] { ops::balance_losses(exec_, model_.rule, scores, sequences, 1e-4, dscores); }};
        },
        double(t));
    const Tensor experts = some_experts();
    measure(
        "route_backward",
        [&, t, n, k, score_bytes] {
          Tensor dscores = wide({t, n}), dlogits = wide({t, n}), dweights = wide({t, k});
          const ops::Routes routes{experts, wide({t, n}), {}};
          return Work{2 * score_bytes, score_bytes,
                      [=, this] { ops::route_backward(exec_, model_.rule, dlogits, dweights, routes, dscores); }};
        },
        double(t));
    measure(
        "make_plan",
        [&, t, n, k] {
          return Work{double(t * k * 4), double(t * k * 12),
                      [=, this] { sink_ += element(ops::make_plan(exec_, experts, n).offsets, 1); }};
        },
        double(t));
  }

  const Exec& exec_;
  const Options& options_;
  const Model& model_;
  bench::Bandwidth memory_;
  DType dtype_ = DType::f32;
  double sink_ = 0;
};

int run(const Options& options) {
  const Isa isa = options.exact_isa();
  OwnedExec owned(options.threads, isa);
  bench::Bandwidth memory;
  for (const Model& model : kModels) {
    // other users of the machine's memory only ever slow a measurement: the best one seen so far counts
    const bench::Bandwidth now = bench::memory_bandwidth(owned.compute->pool());
    memory = {std::max(memory.read, now.read), std::max(memory.write, now.write)};
    std::printf(
        "isa %s, %d threads: memory read %.1f GB/s, written %.1f GB/s; time, bytes moved, %% of that bandwidth\n",
        isa_name(isa), owned.compute->n_threads(), memory.read, memory.write);
    Bench(owned.exec, options, model, memory).run_all();
  }
  return 0;
}

}  // namespace
}  // namespace hadal

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "Row-wise ops as a share of this machine's measured memory bandwidth",
                               hadal::run);
}
