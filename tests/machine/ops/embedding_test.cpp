#include "ops/pointwise.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;

TEST(Embedding, CopiesTheRowsThatIdsName) {
  each_kind([](const Exec& exec, DType dtype) {
    for (DType out : {dtype, wide(dtype)}) {
      Mat w = random_mat(13, 37, 1), y(5, 37);
      View tw(exec, dtype, w), ty(exec, out, y);
      const std::vector<int32_t> ids = {12, 0, 3, 3, 7};
      ops::embedding(exec, ty.view, tw.view, i32(ids));
      for (int64_t r = 0; r < 5; ++r)
        for (int64_t c = 0; c < 37; ++c) y.at(r, c) = w.at(ids[size_t(r)], c);
      expect_close(read(ty.view), y, 0, "rows", 0);
      ty.expect_surroundings_untouched();
    }
  });
}

TEST(Embedding, GradientAddsEveryRowToItsIdRepeatedOnesToo) {
  each_kind([](const Exec& exec, DType dtype) {
    Mat dy = random_mat(40, 75, 1), dw = random_mat(6, 75, 2);
    View tdy(exec, dtype, dy), tdw(exec, wide(dtype), dw);
    std::vector<int32_t> ids;
    for (int i = 0; i < 40; ++i) ids.push_back(i % 3 == 0 ? 2 : i % 5);
    Mat want = dw;
    for (int64_t r = 0; r < 40; ++r)
      for (int64_t c = 0; c < 75; ++c) want.at(ids[size_t(r)], c) += dy.at(r, c);
    ops::embedding_backward_weight(exec, tdw.view, tdy.view, i32(ids));
    expect_close(read(tdw.view), want, tolerance(wide(dtype)), "dw", dtype == DType::f64 ? 1e-13 : 1e-5);
    for (int64_t c = 0; c < 75; ++c) EXPECT_EQ(element(tdw.view, 5 * 75 + c), dw.at(5, c));  // no token has id 5
    tdw.expect_surroundings_untouched();
  });
}

TEST(Embedding, GradientHasTheSameBitsWithAnyNumberOfThreads) {
  expect_thread_independent([](const Exec& exec) {
    Mat dy = random_mat(300, 400, 1);
    Tensor tdy = make(exec, DType::bf16, dy), dw = Tensor::zeros(exec, DType::f32, {10, 400});
    std::vector<int32_t> ids(300);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t((i * i) % 10);
    ops::embedding_backward_weight(exec, dw, tdy, i32(ids));
    return bytes_of(exec, dw);
  });
}

TEST(Embedding, AFirstGradientWritesOverWhatWasThere) {
  each_kind([](const Exec& exec, DType dtype) {
    Mat dy = random_mat(9, 20, 1), old(6, 20, 7), none(6, 20, 0);
    const Tensor tdy = make(exec, dtype, dy), dw = make(exec, wide(dtype), old), fresh = make(exec, wide(dtype), none);
    const Tensor ids = i32({1, 3, 3, 0, 1, 1, 5, 0, 3});
    ops::embedding_backward_weight(exec, dw, tdy, ids, ops::Write::overwrite);
    ops::embedding_backward_weight(exec, fresh, tdy, ids);
    EXPECT_EQ(bytes_of(exec, dw), bytes_of(exec, fresh));
  });
}

TEST(AddRows, AddsEachRowToTheOneItsIndexNames) {
  each_kind([](const Exec& exec, DType dtype) {
    Mat src = random_mat(4, 37, 1), dst = random_mat(9, 37, 2);
    View tsrc(exec, dtype, src), tdst(exec, dtype, dst);
    const std::vector<int32_t> index = {8, 0, 3, 5};
    Mat want = dst;
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t c = 0; c < 37; ++c) want.at(index[size_t(r)], c) += src.at(r, c);
    ops::add_rows(exec, tdst.view, tsrc.view, i32(index));
    expect_close(read(tdst.view), want, tolerance(dtype), "sums");
    tdst.expect_surroundings_untouched();
  });
}

TEST(PutRows, WritesEachRowWhereItsIndexSays) {
  each_kind([](const Exec& exec, DType dtype) {
    for (DType in : {dtype, wide(dtype)}) {
      Mat src = random_mat(4, 37, 1), dst = random_mat(9, 37, 2);
      View tsrc(exec, in, src), tdst(exec, dtype, dst);
      const std::vector<int32_t> index = {8, 0, 3, 5};
      Mat want = dst;
      for (int64_t r = 0; r < 4; ++r)
        for (int64_t c = 0; c < 37; ++c) want.at(index[size_t(r)], c) = src.at(r, c);
      ops::put_rows(exec, tdst.view, tsrc.view, i32(index));
      expect_close(read(tdst.view), want, in == dtype ? 0 : tolerance(dtype), "rows", 0);
      tdst.expect_surroundings_untouched();
    }
  });
  OwnedExec owned(1);
  const Tensor table = Tensor::zeros(owned.exec, DType::f32, {4, 8}),
               rows = Tensor::zeros(owned.exec, DType::f32, {2, 8});
  EXPECT_EQ(error_of([&] {
              ops::put_rows(owned.exec, table, rows, i32({3, 4}));
            }),
            "index of row 1 is 4, expected 0 to 3");
}

TEST(Embedding, NamesAnIdOutsideTheTable) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Tensor w = Tensor::zeros(exec, DType::f32, {4, 8}), y = Tensor::zeros(exec, DType::f32, {2, 8});
  const std::vector<int32_t> ids = {0, 4};
  EXPECT_EQ(error_of([&] { ops::embedding(exec, y, w, i32(ids)); }), "index of row 1 is 4, expected 0 to 3");
  EXPECT_EQ(error_of([&] { ops::embedding_backward_weight(exec, w, y, i32(ids)); }),
            "id of row 1 is 4, expected 0 to 3");
  EXPECT_EQ(error_of([&] { ops::embedding_backward_weight(exec, w.to(exec, DType::bf16), y, i32(ids)); }),
            "embedding dw is BF16, expected F32: gradients add up in FP32");
}

}  // namespace
}  // namespace hadal
