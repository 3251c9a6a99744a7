// Matrix products in every instruction set that this machine runs, and on the emulated device: against FP64, and the
// bit contract of kernels/gemm.h.
#include "kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "kernels/places_fixture.h"

namespace hadal {
namespace {

using kernels::Gemm;
using kernels::GemmProduct;
using kernels_test::Place;
using kernels_test::places;

enum class Form { nn, nt, tn };
constexpr Form kForms[] = {Form::nn, Form::nt, Form::tn};

double uniform(uint64_t& state) {
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
  }
  double get(int64_t row, int64_t col) const {
    const char* p = bytes.data() + (row * stride + col) * size();
    double value;
    float narrow;
    bf16 half;
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

struct Operands {
  Matrix a, b, c;
  explicit Operands(const Problem& p)
      : a(p.a, p.form == Form::tn ? p.k : p.m, p.form == Form::tn ? p.m : p.k, p.pad, 1),
        b(p.b, p.form == Form::nt ? p.n : p.k, p.form == Form::nt ? p.k : p.n, 2 * p.pad, 2),
        c(p.c, p.m, p.n, 3 * p.pad, 3) {}
};

void run(const Place& place, int threads, Gemm args, const std::vector<GemmProduct>& products) {
  const kernels_test::ExecAt at(place, threads);
  args.products = products.data();
  args.n_products = int64_t(products.size());
  args.lane = at.exec.compute;
  kernels::gemm(at.twin(), args);
}

Gemm form_of(const Problem& p, const Operands& x) {
  Gemm args;
  args.a_type = p.a, args.b_type = p.b, args.c_type = p.c;
  args.a_row = p.form == Form::tn ? 1 : x.a.stride, args.a_col = p.form == Form::tn ? x.a.stride : 1;
  args.b_row = p.form == Form::nt ? 1 : x.b.stride, args.b_col = p.form == Form::nt ? x.b.stride : 1;
  args.c_row = x.c.stride;
  args.add = p.add;
  return args;
}

void multiply(const Place& place, int threads, const Problem& p, Operands& x) {
  run(place, threads, form_of(p, x), {{x.a.data(), x.b.data(), x.c.data(), p.m, p.n, p.k}});
}

std::string name_of(const Place& place, const Problem& p) {
  return place.name() + " m " + std::to_string(p.m) + " n " + std::to_string(p.n) + " k " + std::to_string(p.k) +
         " form " + std::to_string(int(p.form)) + " types " + std::to_string(int(p.a)) + std::to_string(int(p.b)) +
         std::to_string(int(p.c)) + (p.add ? " add" : "");
}

// The operand op(X) of a product as doubles, [rows, cols] of the product's own view.
std::vector<double> unpacked(const Matrix& x, bool transposed) {
  const int64_t rows = transposed ? x.cols : x.rows, cols = transposed ? x.rows : x.cols;
  std::vector<double> all;
  all.reserve(size_t(rows * cols));
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j) all.push_back(transposed ? x.get(j, i) : x.get(i, j));
  return all;
}

// Error of a sum of k products in a format with unit roundoff u: a few u times the sum of magnitudes, growing like
// sqrt(k).
void expect_close_to_fp64(const Place& place, const Problem& p, int threads) {
  Operands x(p);
  const Matrix before = x.c;
  multiply(place, threads, p, x);
  const std::vector<double> a = unpacked(x.a, p.form == Form::tn), b = unpacked(x.b, p.form != Form::nt);  // rows of K
  const double unit = p.c == DType::f64 ? 0x1p-53 : 0x1p-24, out = p.c == DType::bf16 ? 0x1p-8 : 0.0;
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = p.add ? before.get(i, j) : 0.0, magnitude = std::abs(sum);
      const double *row = a.data() + i * p.k, *column = b.data() + j * p.k;
      for (int64_t k = 0; k < p.k; ++k) {
        const double product = row[k] * column[k];
        sum += product, magnitude += std::abs(product);
      }
      const double bound = (4 + 2 * std::sqrt(double(p.k))) * unit * magnitude + out * std::abs(sum) + 1e-37;
      ASSERT_LE(std::abs(x.c.get(i, j) - sum), bound) << name_of(place, p) << " at " << i << "," << j;
    }
    for (int64_t j = p.n; j < x.c.stride; ++j) {  // what lies between the rows belongs to others
      ASSERT_EQ(x.c.get(i, j), before.get(i, j)) << name_of(place, p) << " wrote past row " << i;
    }
  }
}

const std::vector<Problem>& odd_problems() {
  static const std::vector<Problem> problems = [] {
    std::vector<Problem> all;
    const int64_t sizes[][3] = {{1, 1, 1},     {2, 3, 5},      {7, 33, 129},   {13, 17, 128},
                                {12, 32, 127}, {29, 31, 257},  {1, 70, 300},   {5, 16, 2},
                                {64, 48, 64},  {101, 96, 131}, {40, 100, 256}, {3, 1, 1000},
                                {97, 65, 33},  {400, 40, 20},  {20, 530, 130}, {6, 15, 0}};
    const DType types[][3] = {{DType::f32, DType::f32, DType::f32},
                              {DType::bf16, DType::bf16, DType::bf16},
                              {DType::bf16, DType::bf16, DType::f32},
                              {DType::f32, DType::bf16, DType::bf16},
                              {DType::bf16, DType::f32, DType::f32}};
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

TEST(Gemm, AgreesWithFp64InEveryFormTypeAndInstructionSet) {
  for (const Place& place : places()) {
    const size_t stride = place.on_device ? size_t(kernels_test::kDeviceStride) : 1;
    for (size_t i = 0; i < odd_problems().size(); i += stride) expect_close_to_fp64(place, odd_problems()[i], 2);
  }
}

TEST(Gemm, MultipliesDoublesByTheReference) {
  for (Form form : kForms) {
    for (bool add : {false, true}) {
      expect_close_to_fp64(Place{Isa::reference}, {37, 41, 263, form, DType::f64, DType::f64, DType::f64, add, 2}, 2);
    }
  }
}

// Rows of a product with 130 rows on one thread, compared bit by bit with the same rows among m = 1 .. 130 on 1 .. 4
// threads.
TEST(Gemm, GivesARowTheSameBitsForAnyNumberOfRowsAndThreads) {
  for (const Place& place : places()) {
    for (DType type : {DType::f32, DType::bf16}) {
      for (Form form : kForms) {
        const Problem whole{130, 70, 301, form, type, type, form == Form::tn ? DType::f32 : type, form == Form::tn};
        Operands x(whole);
        const Operands fresh = x;
        multiply(place, 1, whole, x);
        for (int64_t m = 1; m <= 130; m += place.one_way() ? 13 : 1) {
          Problem part = whole;
          part.m = m;
          Operands y = fresh;
          multiply(place, int(m % 4) + 1, part, y);
          for (int64_t i = 0; i < m; ++i)
            ASSERT_EQ(x.c.row_bits(i), y.c.row_bits(i)) << name_of(place, part) << " row " << i;
        }
      }
    }
  }
}

TEST(Gemm, CutsLargeProductsWithoutChangingABit) {  // many blocks of rows and of columns
  for (const Place& place : places()) {
    const Problem whole{900, 600, 140, Form::nt};
    Operands one(whole), four(whole);
    multiply(place, 1, whole, one);
    multiply(place, 4, whole, four);
    EXPECT_EQ(one.c.bytes, four.c.bytes) << place.name();
    Problem few = whole;
    few.m = 5;
    Operands y(whole);
    multiply(place, 3, few, y);
    for (int64_t i = 0; i < few.m; ++i) ASSERT_EQ(one.c.row_bits(i), y.c.row_bits(i)) << place.name();
  }
}

// The bit tests above can fail: the same numbers summed in another order differ in bits.
TEST(Gemm, SumsInAnotherOrderAreSeenByTheBitTests) {
  for (const Place& place : places()) {
    const Problem p{4, 70, 301, Form::nn};
    Operands x(p), swapped(p);
    multiply(place, 1, p, x);
    const Operands source(p);
    for (int64_t k = 0; k < p.k; ++k) {  // reverse K in both operands
      for (int64_t i = 0; i < p.m; ++i) swapped.a.set(i * swapped.a.stride + k, source.a.get(i, p.k - 1 - k));
      for (int64_t j = 0; j < p.n; ++j) swapped.b.set(k * swapped.b.stride + j, source.b.get(p.k - 1 - k, j));
    }
    multiply(place, 1, p, swapped);
    EXPECT_NE(x.c.bytes, swapped.c.bytes) << place.name();
  }
}

// add goes chunk by chunk: K cut at a multiple of the chunk equals K in one piece, K cut elsewhere does not.
TEST(Gemm, AddsChunkByChunk) {
  for (const Place& place : places()) {
    Problem p{33, 45, 640, Form::tn};
    p.add = true;
    for (int64_t cut : {int64_t(256), int64_t(200)}) {
      Operands whole(p), parts(p);
      multiply(place, 2, p, whole);
      const Gemm args = form_of(p, parts);
      run(place, 2, args, {{parts.a.data(), parts.b.data(), parts.c.data(), p.m, p.n, cut}});
      run(place, 2, args,
          {{static_cast<float*>(parts.a.data()) + cut * parts.a.stride,
            static_cast<float*>(parts.b.data()) + cut * parts.b.stride, parts.c.data(), p.m, p.n, p.k - cut}});
      EXPECT_EQ(whole.c.bytes == parts.c.bytes, cut == 256) << place.name();
    }
  }
}

TEST(Gemm, TakesManyProductsAtOnceAsIfEachWereAlone) {
  const int64_t sizes[] = {0, 5, 130, 0, 1, 64, 0};
  for (const Place& place : places()) {
    for (Form form : kForms) {  // tn: groups along K, as weight gradients are; else along M
      const Problem all{200, 48, 200, form, DType::f32, DType::f32, DType::f32, form == Form::tn};
      Operands x(all);
      std::vector<Matrix> grouped, alone;
      for (int64_t i = 0; i < 7; ++i)
        grouped.emplace_back(DType::f32, 200, 48, 0, uint64_t(i)), alone.push_back(grouped.back());
      std::vector<GemmProduct> products;
      int64_t first = 0;
      for (int64_t i = 0; i < 7; ++i) {
        auto* a = static_cast<float*>(x.a.data()) + first * x.a.stride;
        auto* b = static_cast<float*>(x.b.data()) + (form == Form::tn ? first * x.b.stride : 0);
        const int64_t m = form == Form::tn ? 200 : sizes[i], k = form == Form::tn ? sizes[i] : 200;
        products.push_back({a, b, grouped[size_t(i)].data(), m, 48, k});
        run(place, 1, form_of(all, x), {{a, b, alone[size_t(i)].data(), m, 48, k}});
        first += sizes[i];
      }
      run(place, 3, form_of(all, x), products);
      for (size_t i = 0; i < 7; ++i) EXPECT_EQ(grouped[i].bytes, alone[i].bytes) << place.name() << " product " << i;
    }
  }
}

// Weight gradients far larger than the caches are swept in another order (cpu/gemm_stream.h): a few of their rows, done
// alone, take the ordinary way and must have the same bits. K inside, at and past a chunk; ragged rows and columns.
TEST(Gemm, SweepsALargeGradientWithTheBitsOfAFewRowsAlone) {
  const int64_t m = 1001, n = 530, ks[] = {0, 1, 70, 128, 253, 390};
  for (const Place& place : places()) {
    if (place.one_way()) continue;  // the reference and the device know one way
    for (DType type : {DType::f32, DType::bf16}) {
      for (bool add : {false, true}) {
        const Problem all{m, n, 842, Form::tn, type, type, DType::f32, add, 3};
        Operands x(all);
        std::vector<Matrix> swept;
        std::vector<GemmProduct> products;
        for (int64_t i = 0; i < 6; ++i) swept.push_back(x.c);
        auto operand = [](Matrix& from, int64_t row, int64_t col) {
          return from.bytes.data() + (row * from.stride + col) * from.size();
        };
        int64_t first = 0;
        for (int64_t i = 0; i < 6; first += ks[i++])
          products.push_back({operand(x.a, first, 0), operand(x.b, first, 0), swept[size_t(i)].data(), m, n, ks[i]});
        run(place, 3, form_of(all, x), products);
        first = 0;
        for (int64_t i = 0; i < 6; first += ks[i++]) {
          for (int64_t row : {int64_t(0), int64_t(500), m - 30}) {
            Matrix alone = x.c;
            const GemmProduct few{
                operand(x.a, first, row), operand(x.b, first, 0), operand(alone, row, 0), 30, n, ks[i]};
            run(place, 1, form_of(all, x), {few});
            for (int64_t r = row; r < row + 30; ++r)
              ASSERT_EQ(swept[size_t(i)].row_bits(r), alone.row_bits(r))
                  << place.name() << " k " << ks[i] << " row " << r;
          }
        }
      }
    }
  }
}

TEST(Gemm, CarriesNanAndInfinityToTheirRowsOnly) {
  for (const Place& place : places()) {
    const Problem p{14, 40, 130, Form::nt};
    Operands x(p);
    x.a.set(3 * x.a.stride + 129, std::nan(""));
    x.a.set(7 * x.a.stride + 1, INFINITY);
    multiply(place, 1, p, x);
    for (int64_t i = 0; i < p.m; ++i) {
      for (int64_t j = 0; j < p.n; ++j) {
        EXPECT_EQ(std::isnan(x.c.get(i, j)), i == 3) << place.name() << " row " << i;
        EXPECT_EQ(std::isinf(x.c.get(i, j)), i == 7) << place.name() << " row " << i;
      }
    }
  }
}

// The contract that engine and trainer on a GPU stand on: FP32 sums there are AVX2's, for every shape, form and type.
TEST(Gemm, HasTheBitsOfAvx2OnTheDevice) {
  if (!isa_available(Isa::avx2)) GTEST_SKIP() << "this machine does not run AVX2";
  for (const Place& place : places()) {
    if (!place.on_device) continue;
    for (size_t i = 0; i < odd_problems().size(); i += size_t(kernels_test::kDeviceStride)) {
      const Problem& p = odd_problems()[i];
      Operands here(p), there(p);
      multiply(Place{Isa::avx2}, 1, p, here);
      multiply(place, 1, p, there);
      ASSERT_EQ(here.c.bytes, there.c.bytes) << name_of(place, p);
    }
  }
}

}  // namespace
}  // namespace hadal
