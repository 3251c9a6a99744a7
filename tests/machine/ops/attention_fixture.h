// A random attention problem with its answer in FP64, by the formula, from the values as stored. For tests of
// ops/attention.h.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "kernels/places_fixture.h"
#include "ops/attention.h"
#include "tensor/quantised.h"

namespace hadal::attention_tests {

using kernels_test::ExecAt;
using kernels_test::Place;
using kernels_test::places;
using ops::Segment;

struct Sizes {
  int64_t heads = 1, d_nope = 1, d_rope = 1, d_v = 1;
  bool absorbed = false;  // one latent head (d_v == d_nope): keys and values are the same view
  std::vector<Segment> segments;
  int64_t q_rows = 0, k_rows = 0;
  int64_t kv_heads = 0;  // shared by groups of heads, without a rotary key; 0: every head has its own

  int64_t n_kv() const { return absorbed ? 1 : kv_heads > 0 ? kv_heads : heads; }
};

inline std::string text(const Sizes& s) {
  return fmt::format("{} heads ({}) {}+{}/{}{}", s.heads, s.n_kv(), s.d_nope, s.d_rope, s.d_v,
                     s.absorbed ? " absorbed" : "");
}

struct BitCase {
  Place place;
  DType dtype;
  Sizes sizes;
};
inline std::vector<BitCase> bit_cases() {
  std::vector<BitCase> all;
  for (const Place& place : places()) {
    for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
      if (dtype == DType::f16 && place.on_device) continue;
      if ((dtype == DType::f64) != place.has_f64()) continue;
      if (place.on_device && kernels_test::kDeviceStride > 1) continue;
      for (bool absorbed : {false, true}) {
        all.push_back({place, dtype, {3, 20, 6, absorbed ? 20 : 12, absorbed, {{0, 200, 0, 200}}, 200, 200}});
      }
      all.push_back({place, dtype, {2, 132, 10, 40, false, {{0, 200, 0, 200}}, 200, 200}});  // two chunks of a head
      if (place.on_device || place.has_f64()) continue;
      for (const auto& [heads, kv_heads] : {std::pair(6, 3), {3, 3}, {16, 2}}) {  // grouped, 1 to 8 heads to a key
        const int64_t d = heads == 6 ? 134 : 20, d_v = heads == 3 ? 28 : 41;
        all.push_back({place, dtype, {heads, d, 0, d_v, false, {{0, 200, 0, 200}}, 200, 200, kv_heads}});
      }
    }
  }
  return all;
}
inline std::string text(const BitCase& c) {
  return fmt::format("{} in {} on {}", text(c.sizes), dtype_name(c.dtype), c.place.name());
}

inline Tensor random_tensor(const Exec& exec, DType dtype, Shape shape, uint64_t stream, double size = 1) {
  Tensor tensor = Tensor::empty(exec, dtype, std::move(shape));
  for (int64_t i = 0; i < tensor.count(); ++i) set_element(tensor, i, size * random_normal(7, stream, uint64_t(i)));
  return tensor;
}

inline Tensor copy_of(const Exec& exec, const Tensor& from) {
  Tensor tensor = Tensor::empty(exec, from.dtype(), from.shape());
  std::memcpy(tensor.raw(), from.raw(), size_t(from.bytes()));
  return tensor;
}

inline Tensor filled(const Exec& exec, DType dtype, Shape shape, double value) {
  Tensor tensor = Tensor::empty(exec, dtype, std::move(shape));
  for (int64_t i = 0; i < tensor.count(); ++i) set_element(tensor, i, value);
  return tensor;
}

struct Results {
  Tensor o, lse, dq, dkv, dv_latent, dk_rope;  // dkv: dk_nope and dv per head; absorbed: dk_nope alone, dv in dv_latent
};

// Inputs live in buffers with spare columns, so that strides are not sizes.
struct Problem {
  Problem(const Exec& exec, Sizes sizes, DType dtype, double size = 1) : s(std::move(sizes)), dtype(dtype) {
    q = random_tensor(exec, dtype, {s.q_rows, s.heads * d_qk() + 3}, 1, size);
    kv = random_tensor(exec, dtype, {s.k_rows, kv_cols() + 2}, 2, size);
    k_rope = random_tensor(exec, dtype, {s.k_rows, s.d_rope + 1}, 3, size);
    d_o = random_tensor(exec, dtype, {s.q_rows, s.heads * s.d_v}, 4, size);
  }
  int64_t d_qk() const { return s.d_nope + s.d_rope; }
  int64_t kv_cols() const { return s.absorbed ? s.d_nope : s.n_kv() * (s.d_nope + s.d_v); }
  int64_t head_stride() const { return s.absorbed ? 0 : s.d_nope + s.d_v; }

  ops::AttentionInputs inputs() const {
    ops::AttentionInputs in;
    in.q = q.col_range(0, s.heads * d_qk());
    in.k_nope = kv.col_range(0, s.d_nope);
    in.k_rope = k_rope.col_range(0, s.d_rope);
    if (codes.codes) in.k_nope = codes.codes, in.k_scales = codes.scales;
    in.v = s.absorbed ? in.k_nope : kv.col_range(s.d_nope, s.d_v);
    in.k_head_stride = in.v_head_stride = head_stride();
    in.n_heads = s.heads, in.d_nope = s.d_nope, in.d_rope = s.d_rope, in.d_v = s.d_v;
    in.scale = 1 / std::sqrt(double(d_qk()));
    in.values_are_keys = s.absorbed;
    if (s.kv_heads > 0) {
      in.n_kv_heads = s.kv_heads, in.k_rope = Tensor();
      in.k_nope = all_heads(kv), in.v = all_heads(kv, s.d_nope);
    }
    in.blocks = blocks;
    in.segments = &s.segments;
    return in;
  }

  // From that column of the first head to the end of the last.
  Tensor all_heads(const Tensor& x, int64_t first = 0) const { return x.col_range(first, kv_cols() - first); }

  void forward(const Exec& exec, Results& r) const {
    r.o = filled(exec, dtype, {s.q_rows, s.heads * s.d_v}, -77);
    r.lse = filled(exec, dtype == DType::f64 ? DType::f64 : DType::f32, {s.q_rows, s.heads}, -77);
    ops::attention_forward(exec, inputs(), r.o, r.lse);
  }
  void backward(const Exec& exec, Results& r) const {
    r.dq = filled(exec, dtype, {s.q_rows, s.heads * d_qk()}, -77);
    r.dkv = filled(exec, dtype, {s.k_rows, kv_cols() + 2}, -77);
    r.dv_latent = filled(exec, dtype, {s.k_rows, s.d_v + 2}, -77);
    r.dk_rope = filled(exec, dtype, {s.k_rows, s.d_rope}, -77);
    ops::AttentionGradients out;
    out.dq = r.dq;
    out.dk_nope = r.dkv.col_range(0, s.d_nope);
    out.dv = s.absorbed ? r.dv_latent.col_range(0, s.d_v) : r.dkv.col_range(s.d_nope, s.d_v);
    out.dk_rope = r.dk_rope;
    if (s.kv_heads > 0) out.dk_nope = all_heads(r.dkv), out.dv = all_heads(r.dkv, s.d_nope), out.dk_rope = Tensor();
    ops::attention_backward(exec, inputs(), r.o, r.lse, d_o, out);
  }
  Results run(const Exec& exec) const {
    Results r;
    forward(exec, r), backward(exec, r);
    return r;
  }

  Sizes s;
  DType dtype;
  Tensor q, kv, k_rope, d_o;
  Quantised codes;  // where keys are those of a cache in FP8 (absorbed): of kv
  Tensor blocks;    // where keys lie in blocks
};

// The answer in FP64, rows as in the tensors; NaN where no segment writes.
struct Answer {
  std::vector<double> o, lse, dq, dk, dv, dk_rope;  // dk, dv: [Tk, heads or 1, d]
};

inline std::vector<double> values(const Tensor& tensor, int64_t cols) {
  std::vector<double> out;
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    for (int64_t c = 0; c < cols; ++c) out.push_back(element(tensor, r * tensor.cols() + c));
  }
  return out;
}

class Naive {
 public:
  explicit Naive(const Problem& p)
      : p_(p),
        s_(p.s),
        q_(values(p.q, p.q.cols())),
        kv_(values(p.kv, p.kv.cols())),
        kr_(values(p.k_rope, p.k_rope.cols())),
        do_(values(p.d_o, p.d_o.cols())) {}

  Answer solve() {
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    const int64_t kv_heads = s_.n_kv();
    a_.o.assign(size_t(s_.q_rows * s_.heads * s_.d_v), nothing);
    a_.lse.assign(size_t(s_.q_rows * s_.heads), nothing);
    a_.dq.assign(size_t(s_.q_rows * s_.heads * p_.d_qk()), nothing);
    a_.dk.assign(size_t(s_.k_rows * kv_heads * s_.d_nope), nothing);
    a_.dv.assign(size_t(s_.k_rows * kv_heads * s_.d_v), nothing);
    a_.dk_rope.assign(size_t(s_.k_rows * s_.d_rope), nothing);
    for (const Segment& g : s_.segments) {
      clear(a_.dk, g.k_begin, g.n_k, kv_heads * s_.d_nope);
      clear(a_.dv, g.k_begin, g.n_k, kv_heads * s_.d_v);
      clear(a_.dk_rope, g.k_begin, g.n_k, s_.d_rope);
      for (int64_t i = 0; i < g.n_q; ++i) {
        for (int64_t h = 0; h < s_.heads; ++h) row(g, i, h);
      }
    }
    return a_;
  }

 private:
  static void clear(std::vector<double>& x, int64_t first, int64_t n, int64_t cols) {
    for (int64_t i = first * cols; i < (first + n) * cols; ++i) x[size_t(i)] = 0;
  }
  const double* k(int64_t row, int64_t h) const {
    return &kv_[size_t(row * p_.kv.cols() + h / (s_.heads / s_.n_kv()) * p_.head_stride())];
  }
  const double* v(int64_t row, int64_t h) const { return k(row, h) + (s_.absorbed ? 0 : s_.d_nope); }

  void row(const Segment& g, int64_t i, int64_t h) {
    const int64_t n = g.n_k - g.n_q + i + 1, r = g.q_begin + i, kv_heads = s_.n_kv();
    const int64_t kv_h = h / (s_.heads / kv_heads);
    const double* q = &q_[size_t(r * p_.q.cols() + h * p_.d_qk())];
    const double* d_o = &do_[size_t((r * s_.heads + h) * s_.d_v)];
    const double scale = 1 / std::sqrt(double(p_.d_qk()));
    std::vector<double> p(static_cast<size_t>(n));
    double largest = -1e300, sum = 0, delta = 0;
    for (int64_t j = 0; j < n; ++j) {
      double score = 0;
      for (int64_t c = 0; c < s_.d_nope; ++c) score += q[c] * k(g.k_begin + j, h)[c];
      for (int64_t c = 0; c < s_.d_rope; ++c)
        score += q[s_.d_nope + c] * kr_[size_t((g.k_begin + j) * p_.k_rope.cols() + c)];
      p[size_t(j)] = score * scale, largest = std::max(largest, score * scale);
    }
    for (double& x : p) sum += x = std::exp(x - largest);
    for (double& x : p) x /= sum;
    a_.lse[size_t(r * s_.heads + h)] = largest + std::log(sum);
    for (int64_t c = 0; c < s_.d_v; ++c) {
      double o = 0;
      for (int64_t j = 0; j < n; ++j) o += p[size_t(j)] * v(g.k_begin + j, h)[c];
      a_.o[size_t((r * s_.heads + h) * s_.d_v + c)] = o, delta += o * d_o[c];
    }
    double* dq = &a_.dq[size_t((r * s_.heads + h) * p_.d_qk())];
    for (int64_t c = 0; c < p_.d_qk(); ++c) dq[c] = 0;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t key = g.k_begin + j;
      double dp = 0;
      for (int64_t c = 0; c < s_.d_v; ++c) {
        dp += d_o[c] * v(key, h)[c];
        a_.dv[size_t((key * kv_heads + kv_h) * s_.d_v + c)] += p[size_t(j)] * d_o[c];
      }
      const double ds = p[size_t(j)] * (dp - delta) * scale;
      for (int64_t c = 0; c < s_.d_nope; ++c) {
        dq[c] += ds * k(key, h)[c];
        a_.dk[size_t((key * kv_heads + kv_h) * s_.d_nope + c)] += ds * q[c];
      }
      for (int64_t c = 0; c < s_.d_rope; ++c) {
        dq[s_.d_nope + c] += ds * kr_[size_t(key * p_.k_rope.cols() + c)];
        a_.dk_rope[size_t(key * s_.d_rope + c)] += ds * q[s_.d_nope + c];
      }
    }
  }

  const Problem& p_;
  const Sizes& s_;
  std::vector<double> q_, kv_, kr_, do_;
  Answer a_;
};

// ||got - want|| / ||want|| over what some segment writes; infinity when a row of no segment was touched (they hold
// -77).
inline double distance(const std::vector<double>& got, const std::vector<double>& want) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(want[i])) {
      if (std::abs(got[i] + 77) > 0.5) return std::numeric_limits<double>::infinity();
      continue;
    }
    difference += (got[i] - want[i]) * (got[i] - want[i]), size += want[i] * want[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / (size > 0 ? size : 1));
}

// The worst distance of all results, and which one it is.
struct Worst {
  double distance = 0;
  const char* of = "";
};

inline Worst compare(const Problem& p, const Results& r, const Answer& want) {
  Worst worst;
  auto take = [&](const char* name, const std::vector<double>& got, const std::vector<double>& good) {
    const double d = distance(got, good);
    if (!(d <= worst.distance)) worst = {d, name};
  };
  take("o", values(r.o, r.o.cols()), want.o);
  take("lse", values(r.lse, r.lse.cols()), want.lse);
  if (!r.dq) return worst;
  take("dq", values(r.dq, r.dq.cols()), want.dq);
  take("dk_rope", values(r.dk_rope, r.dk_rope.cols()), want.dk_rope);
  std::vector<double> dk, dv;
  for (int64_t row = 0; row < p.s.k_rows; ++row) {
    for (int64_t h = 0; h < p.s.n_kv(); ++h) {
      const int64_t first = row * r.dkv.cols() + h * p.head_stride();
      for (int64_t c = 0; c < p.s.d_nope; ++c) dk.push_back(element(r.dkv, first + c));
      for (int64_t c = 0; c < p.s.d_v; ++c) {
        dv.push_back(p.s.absorbed ? element(r.dv_latent, row * r.dv_latent.cols() + c)
                                  : element(r.dkv, first + p.s.d_nope + c));
      }
    }
  }
  take("dk_nope", dk, want.dk);
  take("dv", dv, want.dv);
  return worst;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}
inline bool same_bits(const Results& a, const Results& b) {
  return same_bits(a.o, b.o) && same_bits(a.lse, b.lse) && same_bits(a.dq, b.dq) && same_bits(a.dkv, b.dkv) &&
         same_bits(a.dv_latent, b.dv_latent) && same_bits(a.dk_rope, b.dk_rope);
}

}  // namespace hadal::attention_tests
