// Matrix products in every instruction set that this machine runs, and on the emulated device: against FP64, and the
// bit contract of kernels/gemm.h.
#include "kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/gemm_fixture.h"

namespace hadal {
namespace {

using namespace gemm_tests;

// Error of a sum of k products in a format with unit roundoff u: a few u times the sum of magnitudes, growing like
// sqrt(k).
void expect_close_to_fp64(const Place& place, const Problem& p, int threads) {
  Operands x(p);
  const Matrix before = x.c;
  multiply(place, threads, p, x);
  const std::vector<double> a = unpacked(x.a, p.form == Form::tn), b = unpacked(x.b, p.form != Form::nt);  // rows of K
  const double unit = p.c == DType::f64 ? 0x1p-53 : 0x1p-24, out = p.c == DType::bf16  ? 0x1p-8
                                                                   : p.c == DType::f16 ? 0x1p-11
                                                                                       : 0.0;
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      double sum = p.add ? before.get(i, j) : 0.0, magnitude = std::abs(sum);
      const double *row = a.data() + i * p.k, *column = b.data() + j * p.k;
      for (int64_t k = 0; k < p.k; ++k) {
        const double product = row[k] * column[k];
        sum += product, magnitude += std::abs(product);
      }
      const double bound = (4 + 2 * std::sqrt(double(p.k))) * unit * magnitude + out * std::abs(sum) +
                           (p.c == DType::f16 ? 0x1p-25 : 1e-37);
      ASSERT_LE(std::abs(x.c.get(i, j) - sum), bound) << name_of(place, p) << " at " << i << "," << j;
    }
    for (int64_t j = p.n; j < x.c.stride; ++j) {  // what lies between the rows belongs to others
      ASSERT_EQ(x.c.get(i, j), before.get(i, j)) << name_of(place, p) << " wrote past row " << i;
    }
  }
}

TEST(Gemm, AgreesWithFp64InEveryFormTypeAndInstructionSet) {
  for (const Place& place : places()) {
    const size_t stride = place.on_device ? size_t(kernels_test::kDeviceStride) : 1;
    for (size_t i = 0; i < odd_problems().size(); i += stride)
      if (!place.on_device || !has_f16(odd_problems()[i])) expect_close_to_fp64(place, odd_problems()[i], 2);
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
    for (DType type : {DType::f32, DType::bf16, DType::f16}) {
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

}  // namespace
}  // namespace hadal
