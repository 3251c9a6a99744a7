// Tensors: shapes, views, strides, conversions, and what is refused.
#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

struct TensorTest : testing::Test {
  OwnedExec owned{1, Isa::reference};
  const Exec& exec = owned.exec;
  Tensor counting(Shape shape) {
    std::vector<float> values(size_t(shape_count(shape)));
    for (size_t i = 0; i < values.size(); ++i) values[i] = float(i);
    return Tensor::from(exec, values, shape);
  }
};

TEST_F(TensorTest, KnowsItsRowsColumnsAndBytes) {
  const Tensor t = Tensor::zeros(exec, DType::bf16, {2, 3, 5});
  EXPECT_EQ(t.rows(), 6);
  EXPECT_EQ(t.cols(), 5);
  EXPECT_EQ(t.dim(-1), 5);
  EXPECT_EQ(t.dim(1), 3);
  EXPECT_EQ(t.bytes(), 60);
  EXPECT_EQ(exec.memory->bytes_in_use(), 60u);
  EXPECT_EQ(std::string(shape_text(t.shape())), "[2, 3, 5]");
  EXPECT_EQ(Tensor::zeros(exec, DType::f32, {}).count(), 1);
  EXPECT_EQ(Tensor::zeros(exec, DType::f32, {0, 4}).count(), 0);
  EXPECT_FALSE(Tensor());
}

TEST_F(TensorTest, ViewsShareElementsAndKeepThemAlive) {
  Tensor t = counting({4, 6});
  const Tensor middle = t.col_range(2, 3).row_range(1, 2);
  EXPECT_FALSE(middle.contiguous());
  EXPECT_EQ(middle.row_stride(), 6);
  EXPECT_EQ(element(middle, 0), 8);
  EXPECT_EQ(element(middle, 5), 16);
  middle.zero();
  EXPECT_EQ(element(t, 8), 0);
  EXPECT_EQ(element(t, 11), 11);
  EXPECT_EQ(element(t, 13), 13);
  EXPECT_EQ(element(t.slice(3), 1), 19);
  EXPECT_EQ(element(t.view({2, 2, 6}).slice(1).slice(0), 5), 17);
  t.reset();
  EXPECT_GT(exec.memory->bytes_in_use(), 0u);
  EXPECT_ERROR(middle.view({6}), ErrorKind::internal, "a view needs a contiguous tensor; [2, 3] has row stride 6");
}

TEST_F(TensorTest, ClonesAndConvertsThroughStrides) {
  const Tensor part = counting({3, 4}).col_range(1, 2);
  const Tensor copy = part.clone(exec);
  EXPECT_TRUE(copy.contiguous());
  for (DType dtype :
       {DType::f64, DType::f32, DType::bf16, DType::f16, DType::f8_e4m3, DType::i64, DType::i32, DType::u8}) {
    const Tensor back = part.to(exec, dtype).to(exec, DType::f64);
    for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(element(back, i), element(part, i)) << dtype_name(dtype);
  }
  const Tensor target = Tensor::zeros(exec, DType::f64, {3, 4});
  target.col_range(2, 2).copy_from(part);
  EXPECT_EQ(element(target, 1), 0);
  EXPECT_EQ(element(target, 2), 1);
  EXPECT_EQ(element(target, 11), 10);
}

TEST_F(TensorTest, RoundsWhenNarrowingAndKeepsDoubles) {
  const Tensor wide = Tensor::from(exec, std::vector<double>{1.0 + 1e-12, 1.005859375}, {2});
  EXPECT_EQ(element(wide.clone(exec), 0), 1.0 + 1e-12);
  EXPECT_EQ(element(wide.to(exec, DType::f32), 0), 1.0);
  EXPECT_EQ(element(wide.to(exec, DType::bf16), 1), 1.0078125);
}

TEST_F(TensorTest, RefusesWrongShapesAndTypes) {
  EXPECT_ERROR(Tensor::empty(exec, DType::f32, {-1}), ErrorKind::invalid, "shape [-1] has a negative size");
  const int64_t large = std::numeric_limits<int64_t>::max();
  EXPECT_ERROR(Tensor::empty(exec, DType::f32, {large, 2}), ErrorKind::invalid,
               "shape [9223372036854775807, 2] has more than 2^63 elements");
  EXPECT_ERROR(Tensor::empty(exec, DType::f32, {large / 2}), ErrorKind::invalid,
               "a tensor of shape [4611686018427387903] has more than 2^63 bytes");
  EXPECT_EQ(shape_count({large, 4, 0}), 0);
  const Tensor t = counting({2, 3});
  EXPECT_ERROR(t.data<double>(), ErrorKind::internal, "a tensor of F32 is read as F64");
  EXPECT_ERROR(t.view({7}), ErrorKind::internal, "a view of [2, 3] cannot have shape [7]");
  EXPECT_ERROR(t.row_range(1, 2), ErrorKind::internal, "rows 1..3 are not in [2, 3]");
  EXPECT_ERROR(t.col_range(0, 4), ErrorKind::internal, "columns 0..4 are not in [2, 3]");
  EXPECT_ERROR(element(t, 6), ErrorKind::internal, "element 6 is not in [2, 3]");
  EXPECT_ERROR(t.copy_from(counting({5})), ErrorKind::internal, "cannot copy [5] into [2, 3]");
  EXPECT_ERROR(Tensor::from(exec, std::vector<float>{1, 2}, {3}), ErrorKind::invalid, "2 values do not fill shape [3]");
}

TEST_F(TensorTest, SetsSingleElementsInEveryType) {
  for (DType dtype :
       {DType::f64, DType::f32, DType::bf16, DType::f16, DType::f8_e4m3, DType::i64, DType::i32, DType::u8}) {
    const Tensor t = Tensor::zeros(exec, dtype, {2, 2});
    set_element(t, 3, 6);
    EXPECT_EQ(element(t, 3), 6) << dtype_name(dtype);
    EXPECT_EQ(element(t, 2), 0);
  }
}

}  // namespace
}  // namespace hadal
