// Backward-input and backward-weight of every layer of nn against central differences in FP64, and the contract between
// them: B leaves gradients alone, W may run later.
#include "nn/embedding.h"
#include "nn/head_loss.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "nn/numeric.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

using namespace hadal::testing;

class Layers : public ::testing::Test {
 protected:
  OwnedExec owned{2};
  const Exec& exec = owned.exec;
};

TEST_F(Layers, LinearHasTheDerivativesOfItsForward) {
  auto weight = random_parameter(exec, {5, 131}, 1);
  const Linear linear{weight.get()};
  const Tensor x = random_tensor(exec, {9, 131}, 2), y = Tensor::empty(exec, DType::f64, {9, 5});
  const Tensor c = loss_weights(exec, y), dx = Tensor::empty(exec, DType::f64, {9, 131});
  auto loss = [&] { return linear.forward(exec, y, x), weighted_sum(y, c); };
  loss();
  linear.backward_input(exec, dx, c);
  EXPECT_EQ(values_of(weight->grad), std::vector<double>(5 * 131, 0.0));
  linear.backward_weight(exec, c, x);
  expect_gradient(x, dx, loss, "x");
  expect_gradient(weight->value.plain, weight->grad, loss, "weight");
}

TEST_F(Layers, NormHasTheDerivativesOfItsForward) {
  auto weight = random_parameter(exec, {12}, 3, 1.0);
  const Norm norm{weight.get(), 1e-6};
  const Tensor x = random_tensor(exec, {6, 12}, 4);
  Norm::Saved saved;
  Tensor y = norm.forward(exec, x, saved);
  const Tensor c = loss_weights(exec, y), dx = Tensor::empty(exec, DType::f64, {6, 12});
  auto loss = [&] {
    Norm::Saved other;
    return weighted_sum(norm.forward(exec, x, other), c);
  };
  norm.backward_input(exec, dx, c, saved, false);
  EXPECT_EQ(values_of(weight->grad), std::vector<double>(12, 0.0));
  norm.backward_weight(exec, saved);
  EXPECT_FALSE(saved.x || saved.rstd || saved.dy);
  expect_gradient(x, dx, loss, "x");
  expect_gradient(weight->value.plain, weight->grad, loss, "weight");
}

TEST_F(Layers, NormAddsToTheResidualGradient) {
  auto weight = random_parameter(exec, {12}, 3, 1.0);
  const Norm norm{weight.get(), 1e-6};
  const Tensor x = random_tensor(exec, {6, 12}, 4), dy = random_tensor(exec, {6, 12}, 5);
  Norm::Saved saved;
  norm.forward(exec, x, saved);
  const Tensor alone = Tensor::empty(exec, DType::f64, {6, 12}), sum = random_tensor(exec, {6, 12}, 6),
               before = sum.clone(exec);
  norm.backward_input(exec, alone, dy, saved, false);
  norm.backward_input(exec, sum, dy, saved, true);
  for (int64_t i = 0; i < sum.count(); ++i) EXPECT_NEAR(element(sum, i), element(before, i) + element(alone, i), 1e-14);
}

TEST_F(Layers, EmbeddingGivesRowsAndAddsTheirGradients) {
  auto weight = random_parameter(exec, {7, 4}, 8);
  const Embedding embedding{weight.get()};
  const Tensor ids = i32(exec, {3, 0, 3, 6});
  const Tensor y = embedding.forward(exec, ids, DType::f64), c = loss_weights(exec, y);
  embedding.backward_weight(exec, c, ids);
  expect_gradient(
      weight->value.plain, weight->grad, [&] { return weighted_sum(embedding.forward(exec, ids, DType::f64), c); },
      "weight");
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(element(weight->grad, 3 * 4 + i), element(c, i) + element(c, 8 + i));
}

TEST_F(Layers, AddRowsIsTheTransposeOfAGather) {
  const Tensor index = i32(exec, {4, 1});
  const Tensor dst = random_tensor(exec, {5, 3}, 9), before = dst.clone(exec), src = random_tensor(exec, {2, 3}, 10);
  ops::add_rows(exec, dst, src, index);
  for (int64_t r = 0; r < 5; ++r) {
    for (int64_t i = 0; i < 3; ++i) {
      const double added = r == 4 ? element(src, i) : r == 1 ? element(src, 3 + i) : 0.0;
      EXPECT_EQ(element(dst, 3 * r + i), element(before, 3 * r + i) + added);
    }
  }
}

TEST_F(Layers, MlpHasTheDerivativesOfItsForward) {
  auto gate = random_parameter(exec, {10, 6}, 11), up = random_parameter(exec, {10, 6}, 12),
       down = random_parameter(exec, {6, 10}, 13);
  const Mlp mlp{{gate.get()}, {up.get()}, {down.get()}};
  const Tensor x = random_tensor(exec, {5, 6}, 14), y = Tensor::zeros(exec, DType::f64, {5, 6}),
               c = loss_weights(exec, y);
  auto loss = [&] {
    Mlp::Saved other;
    mlp.forward(exec, y, x, ops::Write::overwrite, other);
    return weighted_sum(y, c);
  };
  for (const bool recomputed : {false, true}) {
    for (Parameter* p : {gate.get(), up.get(), down.get()}) p->grad.zero(), p->expect(1);
    Mlp::Saved saved;
    mlp.forward(exec, y, x, ops::Write::overwrite, saved);
    if (recomputed) saved = {}, mlp.restore(exec, x, saved);
    const Tensor dx = Tensor::empty(exec, DType::f64, {5, 6});
    mlp.backward_input(exec, dx, c, ops::Write::overwrite, saved);
    for (Parameter* p : {gate.get(), up.get(), down.get()}) EXPECT_EQ(values_of(p->grad), std::vector<double>(60, 0.0));
    mlp.backward_weight(exec, x, saved);
    EXPECT_FALSE(saved.gate_up || saved.d_gate_up || saved.inner || saved.dy);
    EXPECT_TRUE(gate->complete() && up->complete() && down->complete());
    expect_gradient(x, dx, loss, "x");
    expect_gradient(gate->value.plain, gate->grad, loss, "gate");
    expect_gradient(up->value.plain, up->grad, loss, "up");
    expect_gradient(down->value.plain, down->grad, loss, "down");
  }
}

TEST_F(Layers, HeadLossHasTheDerivativesOfItsForwardNowAndLater) {
  auto weight = random_parameter(exec, {11, 6}, 15);
  HeadLoss head;
  head.head = {weight.get()};
  head.chunk_tokens = 128;
  const int64_t rows = 300;  // three chunks
  const Tensor h = random_tensor(exec, {rows, 6}, 16);
  std::vector<int32_t> targets(rows);
  for (int64_t r = 0; r < rows; ++r)
    targets[size_t(r)] = r % 5 == 0 ? -1 : int32_t(random_below(1, 2, uint64_t(r), 11));
  const HeadLoss::Rows of{h, i32(exec, targets), Tensor::empty(exec, DType::f64, {rows})};
  auto loss = [&] { return head.forward(exec, of), 0.25 * sum_of_losses(of.losses); };
  const Tensor dh = Tensor::empty(exec, DType::f64, {rows, 6});
  weight->expect(1);
  head.forward_backward(exec, of, 0.25, dh, WeightGradient::now);
  EXPECT_TRUE(weight->complete());  // three chunks, one contribution
  EXPECT_EQ(0.25 * sum_of_losses(of.losses), loss());
  expect_gradient(h, dh, loss, "h");
  expect_gradient(weight->value.plain, weight->grad, loss, "head");

  const std::vector<double> at_once = values_of(weight->grad);
  weight->grad.zero();
  weight->expect(1);
  head.forward_backward(exec, of, 0.25, dh, WeightGradient::later);
  EXPECT_EQ(values_of(weight->grad), std::vector<double>(66, 0.0));
  head.backward_weight(exec, of, 0.25);
  EXPECT_EQ(values_of(weight->grad), at_once);
  EXPECT_TRUE(weight->complete());
}

// Of listed rows alone, what comes out is what all rows with their targets give, but for the order of W's sums.
TEST_F(Layers, HeadLossLeavesOutRowsWithoutTargetsAndComputesTheSame) {
  auto weight = random_parameter(exec, {11, 6}, 15);
  HeadLoss head;
  head.head = {weight.get()};
  head.chunk_tokens = 128;
  const int64_t rows = 400;
  const Tensor h = random_tensor(exec, {rows, 6}, 16);
  std::vector<int32_t> targets(rows, -1), scored, of_scored;
  std::vector<float> weights(rows, 9), of_weights;
  for (int64_t r = 0; r < rows; ++r) {
    if (random_below(1, 3, uint64_t(r), 5) < 2) continue;
    targets[size_t(r)] = int32_t(random_below(1, 2, uint64_t(r), 11)), weights[size_t(r)] = r < 200 ? 0.5f : 2.0f;
    scored.push_back(int32_t(r)), of_scored.push_back(targets[size_t(r)]), of_weights.push_back(weights[size_t(r)]);
  }
  ASSERT_GT(scored.size(), 128u);  // two chunks
  const HeadLoss::Rows all{h, i32(exec, targets), Tensor::empty(exec, DType::f64, {rows}), weights};
  const HeadLoss::Rows some{h, i32(exec, of_scored), Tensor::empty(exec, DType::f64, {rows}), of_weights,
                            i32(exec, scored)};
  const auto computed = [&](const HeadLoss::Rows& of) {
    const Tensor dh = random_tensor(exec, {rows, 6}, 17);  // all of it is written
    weight->expect(1);
    head.forward_backward(exec, of, 0.25, dh, WeightGradient::now);
    const std::vector<double> grad = values_of(weight->grad), losses = values_of(of.losses);
    weight->expect(1);
    head.backward_weight(exec, of, 0.25);
    EXPECT_EQ(values_of(weight->grad), grad);
    head.forward(exec, of);
    EXPECT_EQ(values_of(of.losses), losses);
    return std::tuple(losses, values_of(dh), grad);
  };
  const auto [losses, dh, grad] = computed(all);
  const auto [some_losses, some_dh, some_grad] = computed(some);
  EXPECT_EQ(some_losses, losses);
  EXPECT_EQ(some_dh, dh);
  for (size_t i = 0; i < grad.size(); ++i) EXPECT_NEAR(some_grad[i], grad[i], 1e-12);
}

TEST_F(Layers, HeadLossDoesNotDependOnItsChunks) {
  auto weight = random_parameter(exec, {11, 6}, 15);
  const HeadLoss::Rows rows{random_tensor(exec, {300, 6}, 16), i32(exec, std::vector<int32_t>(300, 4)),
                            Tensor::empty(exec, DType::f64, {300})};
  std::vector<double> first_grad, first_losses;
  for (int64_t chunk : {128, 256, 512}) {
    HeadLoss head;
    head.head = {weight.get()};
    head.chunk_tokens = chunk;
    weight->expect(1);
    head.forward(exec, rows);
    const std::vector<double> losses = values_of(rows.losses);
    const Tensor dh = Tensor::empty(exec, DType::f64, {300, 6});
    head.forward_backward(exec, rows, 1.0, dh, WeightGradient::now);
    if (chunk == 128) first_grad = values_of(weight->grad), first_losses = losses;
    EXPECT_EQ(values_of(weight->grad), first_grad);
    EXPECT_EQ(losses, first_losses);
    EXPECT_EQ(values_of(rows.losses), first_losses);
  }
}

TEST_F(Layers, HeadLossHoldsNoLogitsOfAllTokens) {
  auto weight = random_parameter(exec, {512, 4}, 17);
  HeadLoss head;
  head.head = {weight.get()};
  head.chunk_tokens = 128;
  auto peak = [&](int64_t rows) {
    const Tensor h = random_tensor(exec, {rows, 4}, 18), dh = Tensor::empty(exec, DType::f64, {rows, 4});
    const HeadLoss::Rows of{h, i32(exec, std::vector<int32_t>(size_t(rows), 1)),
                            Tensor::empty(exec, DType::f64, {rows})};
    const size_t before = exec.memory->bytes_in_use();
    exec.memory->reset_peak();
    head.forward_backward(exec, of, 1.0, dh, WeightGradient::now);
    return exec.memory->peak_bytes() - before;
  };
  peak(128);  // the lane's workspace is taken once, and kept
  EXPECT_EQ(peak(1024), peak(256));
}

TEST_F(Layers, InitialValuesAreAFunctionOfSeedNameAndElement) {
  ParameterSpec spec;
  spec.name = "layers.0.ffn.gate";
  spec.shape = {300, 200};
  spec.init_std = 0.02;
  auto a = make_parameter(exec, spec, DType::f32, false);
  initialize_parameter(exec, *a, 5);
  OwnedExec one(1);
  auto b = make_parameter(one.exec, spec, DType::bf16, true);
  initialize_parameter(one.exec, *b, 5);
  EXPECT_EQ(values_of(a->master), values_of(b->master));
  EXPECT_EQ(b->value.plain.dtype(), DType::bf16);
  EXPECT_EQ(element(b->value.plain, 17), double(float(bf16(float(element(b->master, 17))))));
  double sum = 0, squares = 0;
  for (double v : values_of(a->master)) sum += v, squares += v * v;
  EXPECT_NEAR(sum / 60000, 0, 4 * 0.02 / std::sqrt(60000));
  EXPECT_NEAR(std::sqrt(squares / 60000), 0.02, 0.0003);
  spec.name = "layers.1.ffn.gate";
  auto c = make_parameter(exec, spec, DType::f32, false);
  initialize_parameter(exec, *c, 5);
  EXPECT_NE(values_of(a->master), values_of(c->master));
  spec.kind = ParameterKind::norm;
  auto ones = make_parameter(exec, spec, DType::f32, false);
  initialize_parameter(exec, *ones, 5);
  EXPECT_EQ(element(ones->value.plain, 3), 1.0);
}

}  // namespace
}  // namespace hadal
