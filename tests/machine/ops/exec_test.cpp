// Exec is a place, passed with each call: two of them work with one set of weights at once, and an op inside a task of
// its own lane finds workspace of its own.
#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/random.h"
#include "ops/matmul.h"

namespace hadal {
namespace {

Tensor random_tensor(const Exec& exec, Shape shape, uint64_t stream) {
  const Tensor tensor = Tensor::empty(exec, DType::f32, std::move(shape));
  for (int64_t i = 0; i < tensor.count(); ++i) set_element(tensor, i, random_normal(7, stream, uint64_t(i)));
  return tensor;
}

bool same_bits(const Tensor& a, const Tensor& b) { return std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0; }

TEST(Exec, TwoOfThemComputeWithOneSetOfWeightsAtOnce) {
  OwnedExec maker(1);
  const Tensor w = random_tensor(maker.exec, {200, 300}, 1), x = random_tensor(maker.exec, {50, 300}, 2);
  const Tensor expected = Tensor::empty(maker.exec, DType::f32, {50, 200});
  ops::linear(maker.exec, expected, x, w);
  OwnedExec trainer(2), engine(1);
  const auto work = [&](const Exec& exec, bool& right) {
    right = true;
    for (int i = 0; i < 100; ++i) {
      const Tensor y = Tensor::empty(exec, DType::f32, {50, 200});
      ops::linear(exec, y, x, w);
      right = right && same_bits(y, expected);
    }
  };
  bool right[2] = {};
  std::thread other([&] { work(engine.exec, right[1]); });
  work(trainer.exec, right[0]);
  other.join();
  EXPECT_TRUE(right[0] && right[1]);
}

TEST(Exec, ServesOpsInsideTasksOfItsOwnLane) {
  OwnedExec owned(4);
  const Exec& exec = owned.exec;
  const Tensor w = random_tensor(exec, {100, 200}, 1), x = random_tensor(exec, {40, 200}, 2);
  const Tensor expected = Tensor::empty(exec, DType::f32, {40, 100});
  ops::linear(exec, expected, x, w);
  std::vector<char> right(64);
  exec.compute->parallel_for(64, [&](int64_t i, int) {
    const Tensor y = Tensor::empty(exec, DType::f32, {40, 100});
    ops::linear(exec, y, x, w);
    right[size_t(i)] = same_bits(y, expected);
  });
  for (char one : right) EXPECT_TRUE(one);
}

TEST(Exec, CostsNoMemoryAfterTheFirstCall) {
  OwnedExec owned(2);
  const Tensor w = random_tensor(owned.exec, {100, 200}, 1), x = random_tensor(owned.exec, {40, 200}, 2);
  const Tensor y = Tensor::empty(owned.exec, DType::f32, {40, 100});
  ops::linear(owned.exec, y, x, w);
  const size_t used = owned.exec.memory->bytes_in_use();
  owned.exec.memory->reset_peak();
  for (int i = 0; i < 3; ++i) ops::linear(owned.exec, y, x, w);
  EXPECT_EQ(owned.exec.memory->peak_bytes(), used);
}

}  // namespace
}  // namespace hadal
