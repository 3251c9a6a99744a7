// Products on the device, to the bit: FP32 has AVX2's, BF16 whose rows are 16-byte aligned has those of tensor cores
// (kernels/tensor_core.h), for every form, any number of rows, any groups, under every schedule.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/gemm_fixture.h"
#include "kernels/tensor_core.h"

namespace hadal {
namespace {

using namespace gemm_tests;
using kernels::kGemmChunk;
using kernels::tensor_core::Bf16;

Place device() { return {Isa::reference, true}; }
bool device_is_there() { return places().back().on_device; }

// What makes a product fit for tensor cores, told once more.
bool on_tensor_cores(const Gemm& args, const GemmProduct& p) {
  const auto aligned = [](const void* base, int64_t row, int64_t col) {
    return reinterpret_cast<uintptr_t>(base) % 16 == 0 && (col == 1 ? row : col) % 8 == 0;
  };
  return args.a_type == DType::bf16 && args.b_type == DType::bf16 && p.k > 0 && aligned(p.a, args.a_row, args.a_col) &&
         aligned(p.b, args.b_col, args.b_row);
}

using Rows = std::vector<kernels::tensor_core::Row<Bf16>>;
Rows take_all_apart(const void* x, int64_t n, int64_t k, int64_t along_n, int64_t along_k) {
  const int64_t steps = (k + Bf16::kDepth - 1) / Bf16::kDepth;
  Rows rows(static_cast<size_t>(n * steps));
  for (int64_t i = 0; i < n * steps; ++i) {
    uint16_t values[Bf16::kDepth] = {};
    const int64_t first = i % steps * Bf16::kDepth;
    for (int64_t j = first; j < std::min(k, first + Bf16::kDepth); ++j)
      values[j - first] = static_cast<const uint16_t*>(x)[i / steps * along_n + j * along_k];
    kernels::tensor_core::take_apart(rows[static_cast<size_t>(i)], values, 1);
  }
  return rows;
}

// C as tensor cores leave it, in place.
void multiply_as_tensor_cores(const Gemm& args, const GemmProduct& p) {
  const int64_t steps = (p.k + Bf16::kDepth - 1) / Bf16::kDepth, of_chunk = kGemmChunk / Bf16::kDepth;
  const Rows a = take_all_apart(p.a, p.m, p.k, args.a_row, args.a_col);
  const Rows b = take_all_apart(p.b, p.n, p.k, args.b_col, args.b_row);
  for (int64_t i = 0; i < p.m * p.n; ++i) {
    const int64_t row = i / p.n, col = i % p.n, at = row * args.c_row + col;
    auto* wide = static_cast<float*>(p.c) + at;
    auto* narrow = static_cast<bf16*>(p.c) + at;
    const bool is_wide = args.c_type == DType::f32;
    float total = args.add ? is_wide ? *wide : float(*narrow) : 0.0f;
    for (int64_t chunk = 0; chunk < steps; chunk += of_chunk) {
      float sum = 0;
      for (int64_t s = chunk; s < std::min(steps, chunk + of_chunk); ++s)
        sum = kernels::tensor_core::multiply_add(sum, a[size_t(row * steps + s)], b[size_t(col * steps + s)]);
      total = chunk == 0 && !args.add ? sum : total + sum;
    }
    is_wide ? void(*wide = total) : void(*narrow = bf16(total));
  }
}

// Operands whose rows begin at multiples of 16 bytes.
struct Aligned : Operands {
  explicit Aligned(const Problem& p) : Operands(p) {
    for (Matrix* x : {&a, &b}) *x = Matrix(x->type, x->rows, x->cols, 8 + (-x->cols & 7), uint64_t(x == &b));
  }
};

void expect_bits(const Problem& p, Operands& x, int schedule) {
  Operands want = x;
  const Gemm args = form_of(p, want);
  const GemmProduct product{want.a.data(), want.b.data(), want.c.data(), p.m, p.n, p.k};
  if (on_tensor_cores(args, product)) {
    multiply_as_tensor_cores(args, product);
  } else {
    if (!isa_available(Isa::avx2)) return;
    multiply(Place{Isa::avx2}, 1, p, want);
  }
  multiply(device(), schedule, p, x);
  EXPECT_TRUE(want.c.bytes == x.c.bytes) << name_of(device(), p);
}

const std::vector<Problem>& tensor_problems() {
  static const std::vector<Problem> problems = [] {
    std::vector<Problem> all;
    const int64_t sizes[][3] = {{1, 1, 1},      {3, 5, 17},     {64, 128, 128}, {65, 130, 129},
                                {130, 70, 301}, {129, 20, 256}, {20, 40, 700}};
    for (const auto& s : sizes) {
      for (const DType c : {DType::f32, DType::bf16}) {
        for (const Form form : kForms) {
          for (const bool add : {false, true})
            all.push_back({s[0], s[1], s[2], form, DType::bf16, DType::bf16, c, add, add ? 3 : 0});
        }
      }
    }
    return all;
  }();
  return problems;
}

class CudaGemm : public ::testing::Test {
  void SetUp() override {
    if (!device_is_there()) GTEST_SKIP() << "there is no device";
  }
};

TEST_F(CudaGemm, HasTheBitsOfAvx2OrOfTensorCoresWhateverTheStrides) {
  for (size_t i = 0; i < odd_problems().size(); i += size_t(kernels_test::kDeviceStride)) {
    if (has_f16(odd_problems()[i])) continue;  // a device has no kernels for it
    Operands x(odd_problems()[i]);
    expect_bits(odd_problems()[i], x, 1);
  }
}

TEST_F(CudaGemm, RefusesFp16ByName) {
  for (const Problem& p : {Problem{3, 4, 5, Form::nn, DType::f16, DType::f16, DType::f32},
                           Problem{16, 16, 16, Form::nn, DType::bf16, DType::bf16, DType::f16}}) {
    Operands x(p);
    EXPECT_ERROR(multiply(device(), 1, p, x), ErrorKind::unsupported,
                 "kernel 'gemm' takes F32 and BF16 on a GPU, not F16");
  }
}

TEST_F(CudaGemm, HasTheBitsOfTensorCoresInEveryForm) {
  for (size_t i = 0; i < tensor_problems().size(); i += size_t(kernels_test::kDeviceStride)) {
    Aligned x(tensor_problems()[i]);
    expect_bits(tensor_problems()[i], x, int(i % 5) + 1);
  }
}

TEST_F(CudaGemm, MultipliesTwoTransposedOperands) {
  const Problem p{70, 140, 200, Form::nn, DType::bf16, DType::bf16, DType::f32};
  Problem stored = p;
  stored.form = Form::tn;
  Aligned x(stored);
  x.b = Matrix(DType::bf16, p.n, p.k, 8, 5);
  Gemm args = form_of(stored, x);
  args.b_row = 1, args.b_col = x.b.stride;
  Matrix want = x.c;
  multiply_as_tensor_cores(args, {x.a.data(), x.b.data(), want.data(), p.m, p.n, p.k});
  run(device(), 1, args, {{x.a.data(), x.b.data(), x.c.data(), p.m, p.n, p.k}});
  EXPECT_TRUE(want.bytes == x.c.bytes);
}

// m = 1 .. 300, each under another schedule.
TEST_F(CudaGemm, GivesARowTheSameBitsForAnyNumberOfRowsUnderEverySchedule) {
  for (const Form form : kForms) {
    const Problem whole{300, 40, 150, form, DType::bf16, DType::bf16, DType::f32};
    Aligned x(whole);
    const Aligned fresh = x;
    multiply(device(), 1, whole, x);
    for (const int64_t m : {1, 2, 8, 17, 63, 64, 65, 100, 127, 128, 129, 192, 255, 256, 257, 300}) {
      Problem part = whole;
      part.m = m;
      Aligned y = fresh;
      multiply(device(), int(m), part, y);
      for (int64_t i = 0; i < m; ++i)
        ASSERT_EQ(x.c.row_bits(i), y.c.row_bits(i)) << name_of(device(), part) << " row " << i;
      if (kernels_test::kDeviceStride > 1 && m > 2) break;
    }
  }
}

// The bit tests above can fail: sums in another order, or added without chunks, differ.
TEST_F(CudaGemm, SumsInAnotherOrderAreSeen) {
  const Problem p{4, 40, 256, Form::nt, DType::bf16, DType::bf16, DType::f32};
  Aligned x(p), swapped(p);
  multiply(device(), 1, p, x);
  for (Matrix* operand : {&swapped.a, &swapped.b}) {
    const Matrix source = *operand;
    for (int64_t i = 0; i < source.rows * p.k; ++i)
      operand->set(i / p.k * source.stride + i % p.k, source.get(i / p.k, (i + 128) % p.k));
  }
  multiply(device(), 1, p, swapped);
  EXPECT_TRUE(x.c.bytes == swapped.c.bytes);  // two chunks exchanged: a sum of two knows no order
  for (Matrix* operand : {&swapped.a, &swapped.b}) {
    const Matrix source = *operand;
    for (int64_t i = 0; i < source.rows * p.k; ++i)
      operand->set(i / p.k * source.stride + i % p.k, source.get(i / p.k, (i + 64) % p.k));
  }
  multiply(device(), 1, p, swapped);
  EXPECT_FALSE(x.c.bytes == swapped.c.bytes);
}

TEST_F(CudaGemm, CarriesNanAndInfinityToTheirRowsOnly) {
  const Problem p{140, 40, 130, Form::nt, DType::bf16, DType::bf16, DType::f32};
  Aligned x(p);
  x.a.set(3 * x.a.stride + 129, std::nan(""));
  x.a.set(137 * x.a.stride + 1, INFINITY);
  multiply(device(), 1, p, x);
  for (int64_t i = 0; i < p.m; ++i) {
    for (int64_t j = 0; j < p.n; ++j) {
      ASSERT_EQ(std::isnan(x.c.get(i, j)), i == 3) << "row " << i;
      ASSERT_EQ(std::isinf(x.c.get(i, j)), i == 137) << "row " << i;
    }
  }
}

// ---- many products, and groups --------------------------------------------------------------------------------------

char* element(Matrix& x, int64_t row, int64_t col) { return x.bytes.data() + (row * x.stride + col) * x.size(); }

// Heads of an attention, equally spaced; then some that are not, and one whose address is odd.
TEST_F(CudaGemm, TakesManyProductsAtOnceAsIfEachWereAlone) {
  if (!isa_available(Isa::avx2)) GTEST_SKIP() << "this machine does not run AVX2";
  const Problem all{48, 160, 600, Form::nt, DType::bf16, DType::bf16, DType::f32};
  Aligned x(all);
  Matrix together = x.c, alone = x.c;
  const Gemm args = form_of(all, x);
  const int64_t firsts[] = {0, 64, 128, 192, 256, 384, 392, 501};
  std::vector<GemmProduct> products;
  for (int64_t i = 0; i < 8; ++i) {
    const int64_t k = i < 5 ? 60 : 20 + i;
    void *a = element(x.a, 0, firsts[i]), *b = element(x.b, 0, firsts[i]);
    products.push_back({a, b, element(together, 0, i * 20), all.m, i == 6 ? 0 : 20, k});
    GemmProduct one = products.back();
    one.c = element(alone, 0, i * 20);
    if (i == 7) {
      EXPECT_FALSE(on_tensor_cores(args, one));
      run(Place{Isa::avx2}, 1, args, {one});
    } else {
      multiply_as_tensor_cores(args, one);
    }
  }
  run(device(), 3, args, products);
  EXPECT_TRUE(together.bytes == alone.bytes);
}

struct Groups {
  std::vector<int32_t> offsets;
  explicit Groups(const std::vector<int64_t>& sizes) : offsets(1, 0) {
    for (const int64_t size : sizes) offsets.push_back(offsets.back() + int32_t(size));
  }
  int64_t n() const { return int64_t(offsets.size()) - 1; }
  int64_t all() const { return offsets.back(); }
};

// Each expert's rows with its own matrix of a stack, whatever the others hold; rows of no expert stay.
TEST_F(CudaGemm, GivesGroupsOfRowsTheBitsOfEachAlone) {
  std::vector<int64_t> sizes = {0, 5, 130, 0, 1, 64, 0};
  sizes.resize(33), sizes.push_back(3), sizes.push_back(129);  // more groups than a warp has lanes
  const Groups groups(sizes);
  const int64_t m = groups.all() + 3, n = 72, k = 140;
  for (const Form form : {Form::nt, Form::nn}) {
    for (const bool add : {false, true}) {
      const Problem all{m, n, k, form, DType::bf16, DType::bf16, DType::bf16, add};
      Aligned x(all);
      const int64_t matrix_rows = form == Form::nt ? n : k;
      x.b = Matrix(DType::bf16, groups.n() * matrix_rows, form == Form::nt ? k : n, form == Form::nt ? 4 : 8, 9);
      for (int64_t i = 0; i < k; ++i) x.a.set(4 * x.a.stride + i, std::nan(""));  // the last row of group 1
      Gemm args = form_of(all, x);
      Matrix want = x.c;
      for (int64_t g = 0; g < groups.n(); ++g) {
        const int64_t first = groups.offsets[size_t(g)], rows = groups.offsets[size_t(g) + 1] - first;
        multiply_as_tensor_cores(
            args, {element(x.a, first, 0), element(x.b, g * matrix_rows, 0), element(want, first, 0), rows, n, k});
      }
      args.groups = {.offsets = groups.offsets.data(), .n = groups.n(), .stack = matrix_rows * x.b.stride};
      run(device(), 2, args, {{x.a.data(), x.b.data(), x.c.data(), m, n, k}});
      for (int64_t i = 0; i < m; ++i) {
        if (i == 4) continue;
        ASSERT_EQ(want.row_bits(i), x.c.row_bits(i)) << "row " << i;
      }
      EXPECT_TRUE(std::isnan(x.c.get(4, 0)));
    }
  }
}

// Each expert's own tokens alone: those of its neighbours, though they are read, are not summed.
TEST_F(CudaGemm, GivesGroupsAlongKTheBitsOfEachAlone) {
  const Groups groups({0, 5, 130, 1, 128, 0, 200});
  const int64_t m = 136, n = 72;
  for (const bool add : {false, true}) {
    const Problem all{m, n, groups.all() + 2, Form::tn, DType::bf16, DType::bf16, DType::f32, add};
    Aligned x(all);
    x.c = Matrix(DType::f32, groups.n() * m, n, 0, 9);
    for (int64_t i = 0; i < m; ++i) x.a.set(5 * x.a.stride + i, std::nan(""));  // the first token of group 2
    for (int64_t i = 0; i < n; ++i) x.b.set((5 + 130 + 1 + 127) * x.b.stride + i, INFINITY);  // the last one of group 4
    Gemm args = form_of(all, x);
    Matrix want = x.c;
    for (int64_t g = 0; g < groups.n(); ++g) {
      const int64_t first = groups.offsets[size_t(g)], depth = groups.offsets[size_t(g) + 1] - first;
      multiply_as_tensor_cores(args,
                               {element(x.a, first, 0), element(x.b, first, 0), element(want, g * m, 0), m, n, depth});
    }
    args.groups = {.offsets = groups.offsets.data(), .n = groups.n(), .stack = m * n, .along_k = true};
    run(device(), 2, args, {{x.a.data(), x.b.data(), x.c.data(), m, n, all.k}});
    for (int64_t i = 0; i < groups.n() * m; ++i) {
      if (i / m == 2) continue;
      ASSERT_EQ(want.row_bits(i), x.c.row_bits(i)) << "group " << i / m << " row " << i % m;
    }
    EXPECT_TRUE(std::isnan(x.c.get(2 * m, 0)) && std::isinf(x.c.get(4 * m, 0)));
  }
}

// Groups whose strides no tensor copy takes have the bits of products on CUDA cores.
TEST_F(CudaGemm, TakesGroupsWithOddStrides) {
  const Groups groups({3, 0, 70});
  for (const Form form : {Form::nt, Form::tn}) {
    const Problem all{form == Form::tn ? 21 : groups.all(),
                      35,
                      form == Form::tn ? groups.all() : 33,
                      form,
                      DType::bf16,
                      DType::bf16,
                      DType::f32};
    Operands x(all);
    Gemm args = form_of(all, x);
    const bool along_k = form == Form::tn;
    if (along_k) x.c = Matrix(DType::f32, groups.n() * all.m, all.n, 0, 9);
    if (!along_k) x.b = Matrix(DType::bf16, groups.n() * all.n, all.k, 0, 9);
    Matrix want = x.c;
    for (int64_t g = 0; g < groups.n(); ++g) {
      const int64_t first = groups.offsets[size_t(g)], size = groups.offsets[size_t(g) + 1] - first;
      const GemmProduct one =
          along_k
              ? GemmProduct{element(x.a, first, 0),
                            element(x.b, first, 0),
                            element(want, g * all.m, 0),
                            all.m,
                            all.n,
                            size}
              : GemmProduct{
                    element(x.a, first, 0), element(x.b, g * all.n, 0), element(want, first, 0), size, all.n, all.k};
      run(device(), 1, args, {one});
    }
    args.groups = {.offsets = groups.offsets.data(),
                   .n = groups.n(),
                   .stack = along_k ? all.m * all.n : all.n * all.k,
                   .along_k = along_k};
    run(device(), 2, args, {{x.a.data(), x.b.data(), x.c.data(), all.m, all.n, all.k}});
    EXPECT_TRUE(want.bytes == x.c.bytes);
  }
}

}  // namespace
}  // namespace hadal
