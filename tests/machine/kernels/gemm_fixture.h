// Problems for tests of matrix products: operands with values that are exact in their types, and how they are run.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "base/float_formats.h"
#include "kernels/gemm.h"
#include "kernels/places_fixture.h"

namespace hadal::gemm_tests {

using kernels::Gemm;
using kernels::GemmProduct;
using kernels_test::Place;
using kernels_test::places;

enum class Form { nn, nt, tn };
inline constexpr Form kForms[] = {Form::nn, Form::nt, Form::tn};

inline double uniform(uint64_t& state) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return double(int64_t(state) >> 11) * 0x1p-52;
}

// A matrix stored with a row stride; values are exact in its type.
struct Matrix {
  DType type;
  int64_t rows, cols, stride;
  std::vector<char> bytes;

  Matrix(DType t, int64_t r, int64_t c, int64_t pad, uint64_t seed) : type(t), rows(r), cols(c), stride(c + pad) {
    bytes.resize(size_t(rows * stride * size() + 8));
    for (int64_t i = 0; i < rows * stride; ++i) set(i, uniform(seed));
  }
  int64_t size() const { return type == DType::f64 ? 8 : type == DType::f32 ? 4 : 2; }
  void* data() { return bytes.data(); }
  void set(int64_t i, double value) {
    char* p = bytes.data() + i * size();
    if (type == DType::f64) std::memcpy(p, &value, 8);
    const float narrow = float(value);
    if (type == DType::f32) std::memcpy(p, &narrow, 4);
    const bf16 half(narrow);
    if (type == DType::bf16) std::memcpy(p, &half, 2);
    const f16 other_half(narrow);
    if (type == DType::f16) std::memcpy(p, &other_half, 2);
  }
  double get(int64_t row, int64_t col) const {
    const char* p = bytes.data() + (row * stride + col) * size();
    double value;
    float narrow;
    bf16 half;
    f16 other_half;
    if (type == DType::f16) return std::memcpy(&other_half, p, 2), double(float(other_half));
    if (type == DType::f64) return std::memcpy(&value, p, 8), value;
    if (type == DType::f32) return std::memcpy(&narrow, p, 4), double(narrow);
    return std::memcpy(&half, p, 2), double(float(half));
  }
  std::string row_bits(int64_t row) const { return {bytes.data() + row * stride * size(), size_t(cols * size())}; }
};

struct Problem {
  int64_t m, n, k;
  Form form = Form::nn;
  DType a = DType::f32, b = DType::f32, c = DType::f32;
  bool add = false;
  int64_t pad = 0;
};

inline bool has_f16(const Problem& p) { return p.a == DType::f16 || p.b == DType::f16 || p.c == DType::f16; }

struct Operands {
  Matrix a, b, c;
  explicit Operands(const Problem& p)
      : a(p.a, p.form == Form::tn ? p.k : p.m, p.form == Form::tn ? p.m : p.k, p.pad, 1),
        b(p.b, p.form == Form::nt ? p.n : p.k, p.form == Form::nt ? p.k : p.n, 2 * p.pad, 2),
        c(p.c, p.m, p.n, 3 * p.pad, 3) {}
};

inline void run(const Place& place, int threads, Gemm args, const std::vector<GemmProduct>& products) {
  const kernels_test::ExecAt at(place, threads);
  args.products = products.data();
  args.n_products = int64_t(products.size());
  args.lane = at.exec.compute;
  kernels::gemm(at.twin(), args);
}

inline Gemm form_of(const Problem& p, const Operands& x) {
  Gemm args;
  args.a_type = p.a, args.b_type = p.b, args.c_type = p.c;
  args.a_row = p.form == Form::tn ? 1 : x.a.stride, args.a_col = p.form == Form::tn ? x.a.stride : 1;
  args.b_row = p.form == Form::nt ? 1 : x.b.stride, args.b_col = p.form == Form::nt ? x.b.stride : 1;
  args.c_row = x.c.stride;
  args.add = p.add;
  return args;
}

inline void multiply(const Place& place, int threads, const Problem& p, Operands& x) {
  run(place, threads, form_of(p, x), {{x.a.data(), x.b.data(), x.c.data(), p.m, p.n, p.k}});
}

inline std::string name_of(const Place& place, const Problem& p) {
  return place.name() + " m " + std::to_string(p.m) + " n " + std::to_string(p.n) + " k " + std::to_string(p.k) +
         " form " + std::to_string(int(p.form)) + " types " + std::to_string(int(p.a)) + std::to_string(int(p.b)) +
         std::to_string(int(p.c)) + (p.add ? " add" : "");
}

// The operand op(X) of a product as doubles, [rows, cols] of the product's own view.
inline std::vector<double> unpacked(const Matrix& x, bool transposed) {
  const int64_t rows = transposed ? x.cols : x.rows, cols = transposed ? x.rows : x.cols;
  std::vector<double> all;
  all.reserve(size_t(rows * cols));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) all.push_back(transposed ? x.get(j, i) : x.get(i, j));
  return all;
}

inline const std::vector<Problem>& odd_problems() {
  static const std::vector<Problem> problems = [] {
    std::vector<Problem> all;
    const int64_t sizes[][3] = {{1, 1, 1},     {2, 3, 5},      {7, 33, 129},   {13, 17, 128},
                                {12, 32, 127}, {29, 31, 257},  {1, 70, 300},   {5, 16, 2},
                                {64, 48, 64},  {101, 96, 131}, {40, 100, 256}, {3, 1, 1000},
                                {97, 65, 33},  {400, 40, 20},  {20, 530, 130}, {6, 15, 0}};
    const DType types[][3] = {{DType::f32, DType::f32, DType::f32},   {DType::bf16, DType::bf16, DType::bf16},
                              {DType::bf16, DType::bf16, DType::f32}, {DType::f32, DType::bf16, DType::bf16},
                              {DType::bf16, DType::f32, DType::f32},  {DType::f16, DType::f16, DType::f16},
                              {DType::f16, DType::f16, DType::f32},   {DType::f32, DType::f16, DType::f16},
                              {DType::f16, DType::f32, DType::f32}};
    for (const auto& s : sizes) {
      for (const auto& t : types) {
        for (Form form : kForms) {
          for (bool add : {false, true}) all.push_back({s[0], s[1], s[2], form, t[0], t[1], t[2], add, add ? 3 : 0});
        }
      }
    }
    return all;
  }();
  return problems;
}

}  // namespace hadal::gemm_tests
