// Weights in several forms: products read the one that suits them, with the same numbers; refreshing renews all.
#include "ops/weight.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "ops/matmul_weight.h"
#include "ops/quantise.h"

namespace hadal {
namespace {

Tensor random_tensor(const Exec& exec, DType dtype, Shape shape, uint64_t stream) {
  const Tensor tensor = Tensor::empty(exec, dtype, shape);
  for (int64_t i = 0; i < tensor.count(); ++i) set_element(tensor, i, random_normal(7, stream, uint64_t(i)));
  return tensor;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

std::string refusal(ErrorKind kind, const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(Weight, GivesTheSameProductPlainAndAsPanels) {
  for (Isa isa : available_isas()) {
    OwnedExec owned(2, isa);
    const Exec& exec = owned.exec;
    for (DType dtype : {DType::f32, DType::bf16}) {
      for (int64_t rows : {1, 3, 64}) {
        const Tensor x = random_tensor(exec, dtype, {rows, 300}, 1), w = random_tensor(exec, dtype, {70, 300}, 2);
        const Tensor y = Tensor::empty(exec, dtype, {rows, 70}), expected = Tensor::empty(exec, dtype, {rows, 70});
        ops::linear(exec, expected, x, w);
        Weight weight(w);
        ops::linear(exec, y, x, weight);
        EXPECT_TRUE(same_bits(y, expected));
        ops::keep_only(exec, weight, WeightForm::panels);
        y.zero();
        ops::linear(exec, y, x, weight);
        EXPECT_TRUE(same_bits(y, expected)) << isa_name(isa) << " " << rows << " rows";
        EXPECT_FALSE(weight.has(WeightForm::plain));
      }
    }
  }
}

TEST(Weight, GivesExpertsTheSameProductStackedApartAndAsPanels) {
  for (Isa isa : available_isas()) {
    OwnedExec owned(2, isa);
    const Exec& exec = owned.exec;
    const Tensor offsets = Tensor::from<int32_t>(exec, {0, 3, 3, 20, 21}, {5});
    const Tensor x = random_tensor(exec, DType::bf16, {21, 200}, 1),
                 w = random_tensor(exec, DType::bf16, {4, 40, 200}, 2);
    const Tensor y = Tensor::empty(exec, DType::bf16, {21, 40}), dx = Tensor::empty(exec, DType::bf16, {21, 200});
    ops::grouped_linear(exec, y, x, w, offsets);
    ops::grouped_linear_backward_input(exec, dx, y, w, offsets);
    const Tensor y2 = Tensor::zeros(exec, DType::bf16, {21, 40}), dx2 = Tensor::zeros(exec, DType::bf16, {21, 200});
    std::vector<Tensor> apart;  // in the other order, each its own memory
    for (int64_t e = 3; e >= 0; --e) apart.insert(apart.begin(), w.slice(e).clone(exec));
    Weight experts = Weight::of_experts(apart);
    ops::grouped_linear(exec, y2, x, experts, offsets);
    ops::grouped_linear_backward_input(exec, dx2, y, experts, offsets);
    EXPECT_TRUE(same_bits(y, y2) && same_bits(dx, dx2)) << isa_name(isa);
    ops::keep(exec, experts, WeightForm::panels);
    y2.zero();
    ops::grouped_linear(exec, y2, x, experts, offsets);
    EXPECT_TRUE(same_bits(y, y2)) << isa_name(isa);
  }
}

TEST(Weight, GivesHeadsTheSameProductsAsRowsAndAsPanels) {
  const Heads heads{3, 20, 37};
  constexpr int64_t kRank = 150, kRows = 4;
  for (Isa isa : available_isas()) {
    OwnedExec owned(2, isa);
    const Exec& exec = owned.exec;
    for (DType dtype : {DType::f32, DType::bf16}) {
      const int64_t head = heads.nope + heads.v;
      Weight weight(random_tensor(exec, dtype, {heads.count * head, kRank}, 1));
      const Tensor q = random_tensor(exec, dtype, {kRows, heads.count * heads.nope}, 2),
                   z = random_tensor(exec, dtype, {kRows, heads.count * kRank}, 3);
      const auto products = [&](const Tensor& w, const HeadPanels& panels) {
        const Tensor latent = Tensor::zeros(exec, dtype, {kRows, heads.count * kRank}),
                     o = Tensor::zeros(exec, dtype, {kRows, heads.count * heads.v});
        ops::head_matmul(exec, {.c = latent.col_range(0, kRank),
                                .a = q.col_range(0, heads.nope),
                                .b = w ? w.row_range(0, heads.nope) : w,
                                .panels = w ? nullptr : &panels.keys,
                                .n_heads = heads.count,
                                .c_head_stride = kRank,
                                .a_head_stride = heads.nope,
                                .b_head_stride = head * kRank});
        ops::head_matmul(exec, {.c = o.col_range(0, heads.v),
                                .a = z.col_range(0, kRank),
                                .b = w ? w.row_range(heads.nope, heads.v) : w,
                                .panels = w ? nullptr : &panels.values,
                                .n_heads = heads.count,
                                .c_head_stride = heads.v,
                                .a_head_stride = kRank,
                                .b_head_stride = head * kRank,
                                .transpose_b = true});
        return std::pair(latent, o);
      };
      const auto expected = products(weight.plain, {});
      const int64_t bytes = ops::head_panel_bytes(exec, weight, heads);
      ops::pack_heads(exec, weight, heads);
      EXPECT_TRUE(weight.has(WeightForm::heads) && !weight.has(WeightForm::plain));
      EXPECT_EQ(weight.bytes(), bytes);
      const auto packed = products({}, weight.heads);
      EXPECT_TRUE(same_bits(packed.first, expected.first) && same_bits(packed.second, expected.second))
          << isa_name(isa) << " " << dtype_name(dtype);
      EXPECT_NE(refusal(ErrorKind::internal,
                        [&] {
                          products({}, {{}, weight.heads.values, weight.heads.keys});
                        }),
                "accepted");
    }
  }
  OwnedExec owned(1);
  Weight odd(random_tensor(owned.exec, DType::f32, {10, 4}, 1));
  EXPECT_EQ(refusal(ErrorKind::internal,
                    [&] {
                      ops::pack_heads(owned.exec, odd, {2, 3, 3});
                    }),
            "a weight [10, 4] is cut into 2 heads of 3 + 3 rows");
}

TEST(Weight, KeepsCodesThatAreThoseMadeForEveryProduct) {
  for (Isa isa : available_isas()) {
    OwnedExec owned(2, isa);
    const Exec& exec = owned.exec;
    const Tensor x = random_tensor(exec, DType::f32, {5, 260}, 1), w = random_tensor(exec, DType::f32, {130, 260}, 2);
    const Tensor y = Tensor::empty(exec, DType::f32, {5, 130}), expected = Tensor::empty(exec, DType::f32, {5, 130});
    const Quantised codes = ops::quantise(exec, x, kRowTile);
    ops::linear(exec, expected, codes, ops::quantise(exec, w, kSquareTile));
    Weight weight(w);
    ops::keep(exec, weight, WeightForm::codes);
    ops::linear(exec, y, codes, weight);
    EXPECT_TRUE(same_bits(y, expected)) << isa_name(isa);
    ops::linear(exec, expected, x, w);  // a plain operand meets the plain form, which codes have not replaced
    ops::linear(exec, y, x, weight);
    EXPECT_TRUE(same_bits(y, expected)) << isa_name(isa);
  }
}

TEST(Weight, RefreshesEveryFormAndCounts) {
  OwnedExec owned(2);
  const Exec& exec = owned.exec;
  const Tensor master = random_tensor(exec, DType::f32, {40, 200}, 1),
               x = random_tensor(exec, DType::bf16, {2, 200}, 2);
  Weight weight(master.to(exec, DType::bf16));
  ops::keep(exec, weight, WeightForm::codes);
  ops::keep(exec, weight, WeightForm::panels);
  const Tensor old_panels = weight.panels.elements.clone(exec), old_codes = weight.codes.codes.clone(exec);
  const void* memory = weight.panels.elements.raw();
  for (int64_t i = 0; i < master.count(); ++i) set_element(master, i, -2 * element(master, i));
  EXPECT_EQ(weight.version, 0);
  ops::refresh(exec, weight, master);
  EXPECT_EQ(weight.version, 1);
  EXPECT_EQ(weight.panels.elements.raw(), memory);  // where products may still look for it
  EXPECT_FALSE(same_bits(weight.panels.elements, old_panels));
  EXPECT_FALSE(same_bits(weight.codes.codes, old_codes));
  const Tensor y = Tensor::empty(exec, DType::bf16, {2, 40}), expected = Tensor::empty(exec, DType::bf16, {2, 40});
  ops::linear(exec, expected, x, master.to(exec, DType::bf16));
  ops::linear(exec, y, x, weight);
  EXPECT_TRUE(same_bits(y, expected));
}

TEST(Weight, SaysWhichFormIsMissing) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Weight weight(random_tensor(exec, DType::f32, {40, 20}, 1));
  Weight wide(random_tensor(exec, DType::f64, {4, 4}, 1));
  EXPECT_EQ(refusal(ErrorKind::unsupported, [&] { ops::keep(exec, wide, WeightForm::panels); }),
            "a weight of F64 is not packed in panels; in fp32 and bf16 weights are");
  ops::keep_only(exec, weight, WeightForm::panels);
  const Tensor y = random_tensor(exec, DType::f32, {3, 40}, 2), x = random_tensor(exec, DType::f32, {3, 20}, 3);
  EXPECT_EQ(refusal(ErrorKind::unsupported, [&] { ops::linear_backward_input(exec, x, y, weight); }),
            "a weight [40, 20] that keeps only panels or experts apart has no tensor; keep its plain form");
  weight.panels.panel_cols = 48;
  const std::string wrong = refusal(ErrorKind::unsupported, [&] { ops::linear(exec, y, x, weight); });
  EXPECT_TRUE(wrong.starts_with("a weight is packed in panels of 48 columns, but ")) << wrong;
}

}  // namespace
}  // namespace hadal
