// The whole model's gradients against central differences in FP64, over its variants. Routes are replayed, so that a
// difference step cannot flip one.
#include "model/small_model.h"

namespace hadal {
namespace {

using namespace hadal::testing;

void expect_gradients(const ModelConfig& config, AttentionForm form, bool masked) {
  ModelOptions options = training_options(Precision::fp64);
  options.attention_form = form;
  SmallModel small(config, options);
  Transformer& model = small.model;
  const MicroBatch batch = make_batch({{9, 4}, {1, 7}}, masked);
  const LossWeights weights = loss_weights(config);
  RouteReplay routes;
  small.forward(batch, nullptr, &routes);
  routes.replay = true;
  auto loss = [&] { return small.forward_backward(batch, weights, &routes).total(weights); };
  model.begin_step();
  loss();
  std::vector<Tensor> ours;
  for (Parameter* p : model.parameters()) ours.push_back(p->grad ? p->grad.clone(small.owned.exec) : Tensor());
  for (size_t i = 0; i < ours.size(); ++i) {
    Parameter& p = *model.parameters()[i];
    if (!p.grad) continue;
    double largest = 0;
    for (int64_t k = 0; k < ours[i].count(); ++k) largest = std::max(largest, std::abs(element(ours[i], k)));
    EXPECT_GT(largest, 0) << p.spec.name << ": no gradient at all";
    // Along a random direction through all elements, then along one element.
    for (const bool single : {false, true}) {
      const int64_t one = int64_t(random_below(8, stream_id(p.spec.name), 0, uint64_t(p.value.plain.count())));
      const Tensor value = p.value.plain.clone(small.owned.exec);
      double expected = 0, norm = 0;
      auto at = [&](double delta) {
        expected = norm = 0;
        for (int64_t k = 0; k < value.count(); ++k) {
          const double step = single ? double(k == one) : random_normal(9, stream_id(p.spec.name), uint64_t(k));
          set_element(p.value.plain, k, element(value, k) + delta * step);
          expected += step * element(ours[i], k);
          norm += step * step;
        }
        return loss();
      };
      const double delta = single ? 2e-6 : 1e-6;
      const double numeric = (at(delta) - at(-delta)) / (2 * delta);
      p.value.plain.copy_from(value);
      EXPECT_NEAR(expected, numeric, 2e-7 * largest * std::sqrt(norm) + 4e-9)
          << p.spec.name << (single ? " element" : " direction");
    }
  }
}

TEST(ModelGradient, IsTheDerivativeOfTheLoss) { expect_gradients(small_config(), AttentionForm::up_projected, false); }
TEST(ModelGradient, IsTheDerivativeInAbsorbedForm) { expect_gradients(small_config(), AttentionForm::absorbed, false); }
TEST(ModelGradient, IsTheDerivativeUnderDocumentMasks) {
  expect_gradients(small_config(), AttentionForm::up_projected, true);
}

TEST(ModelGradient, IsTheDerivativeWithDirectQueriesAndSoftmaxRouting) {
  ModelConfig config = small_config();
  config.q_lora_rank = 0;
  config.score_function = ScoreFunction::softmax;
  config.group_score = GroupScore::max;
  config.selection_bias = false;
  config.normalize_top_k = false;
  config.n_shared_experts = 0;
  config.n_mtp = 1;
  expect_gradients(config, AttentionForm::up_projected, true);
  expect_gradients(config, AttentionForm::absorbed, false);
}

TEST(ModelGradient, IsTheDerivativeWithLlamasAttention) {
  for (const auto& [kv_heads, shared] : {std::pair(3, 1), {2, 3}, {1, 4}})
    for (const bool masked : {false, true})
      expect_gradients(with_heads(small_config(), kv_heads, shared), AttentionForm::up_projected, masked);
}

TEST(ModelGradient, IsTheDerivativeWithTiedEmbeddingsAndNoExperts) {
  ModelConfig config = small_config();
  config.tie_embeddings = true;
  config.n_routed_experts = 0;
  expect_gradients(config, AttentionForm::up_projected, false);
}

TEST(ModelGradient, AbsorbedAndUpProjectedFormsAgree) {
  std::vector<double> gradients[2];
  double loss[2];
  for (int absorbed = 0; absorbed < 2; ++absorbed) {
    ModelOptions options = training_options(Precision::fp64);
    options.attention_form = absorbed ? AttentionForm::absorbed : AttentionForm::up_projected;
    SmallModel small(small_config(), options);
    const LossWeights weights = loss_weights(small_config());
    loss[absorbed] = small.forward_backward(make_batch({{40, 30}, {65}}, true), weights).total(weights);
    gradients[absorbed] = all_gradients(small.model);
  }
  EXPECT_NEAR(loss[0], loss[1], 1e-12 * std::abs(loss[0]));
  double difference = 0, size = 0;
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    difference += std::pow(gradients[0][i] - gradients[1][i], 2);
    size += std::pow(gradients[0][i], 2);
  }
  EXPECT_LT(std::sqrt(difference), 1e-12 * std::sqrt(size));
}

TEST(ModelGradient, AccumulatesToThatOfOneBigBatch) {
  SmallModel whole(small_config(), training_options(Precision::fp64)),
      parts(small_config(), training_options(Precision::fp64));
  const MicroBatch batch = make_batch({{9, 4}, {1, 7}}, true);
  MicroBatch halves[2];
  for (int half = 0; half < 2; ++half) {
    const ops::RowRange range = batch.sequences[size_t(half)];
    auto part = [&](const std::vector<int32_t>& all) {
      return std::vector<int32_t>(all.begin() + range.begin, all.begin() + range.begin + range.count);
    };
    halves[half].tokens = part(batch.tokens), halves[half].positions = part(batch.positions),
    halves[half].targets = part(batch.targets);
    halves[half].sequences = {{0, range.count}};
    for (ops::Segment s : batch.segments) {
      if (s.q_begin < range.begin || s.q_begin >= range.begin + range.count) continue;
      s.q_begin -= range.begin, s.k_begin -= range.begin;
      halves[half].segments.push_back(s);
    }
  }
  const LossWeights weights = loss_weights(small_config());
  const LossSums at_once = whole.forward_backward(batch, weights);
  LossSums sums = parts.forward_backward(halves[0], weights);
  sums.merge(parts.forward_backward(halves[1], weights));
  EXPECT_NEAR(sums.total(weights), at_once.total(weights), 1e-12);
  EXPECT_EQ(sums.main_count, at_once.main_count);
  EXPECT_EQ(sums.mtp_count, at_once.mtp_count);
  EXPECT_EQ(sums.expert_load, at_once.expert_load);
  const std::vector<double> a = all_gradients(whole.model), b = all_gradients(parts.model);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-12 * (1 + std::abs(a[i])));
}

}  // namespace
}  // namespace hadal
