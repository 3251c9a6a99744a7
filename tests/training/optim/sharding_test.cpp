// Who owns what of a parameter, and what is kept of it.
#include "optim/sharding.h"

#include <gtest/gtest.h>

#include <atomic>

#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "nn/init.h"
#include "optim/optimizer.h"

namespace hadal {
namespace {

std::unique_ptr<Parameter> parameter_of(const Exec& exec, const Shape& shape, DType compute) {
  ParameterSpec spec;
  spec.name = "w", spec.shape = shape, spec.init_std = 1;
  auto parameter = make_parameter(exec, spec, compute, true);
  initialize_parameter(exec, *parameter, 3);
  return parameter;
}

TEST(Sharding, RangesCoverEveryElementOnceAndBeginAtLines) {
  OwnedExec owned(1);
  for (const Shape& shape : std::vector<Shape>{{1}, {7}, {128}, {129}, {5, 300}, {3, 4, 128}, {64, 10}, {1000}}) {
    const auto parameter = parameter_of(owned.exec, shape, DType::f32);
    const int64_t cols = shape.back();
    for (int n : {1, 2, 3, 8, 64}) {
      int64_t at = 0, least = INT64_MAX, most = 0;
      for (int r = 0; r < n; ++r) {
        const auto [begin, end] = owned_elements(parameter->box, r, n);
        EXPECT_EQ(begin, at);
        EXPECT_EQ(begin % cols % 128, 0);
        least = std::min(least, end - begin), most = std::max(most, end - begin);
        at = end;
      }
      EXPECT_EQ(at, parameter->box.count());
      EXPECT_LE(most - least, 2 * std::min<int64_t>(128, cols)) << "uneven over " << n;
    }
  }
}

ModelConfig small_model() {
  ModelConfig m;
  m.vocab_size = 9, m.hidden_size = 200, m.n_layers = 2, m.n_heads = 1, m.q_lora_rank = 8, m.kv_lora_rank = 8;
  m.qk_nope_head_dim = m.qk_rope_head_dim = m.v_head_dim = 4, m.n_dense_layers = 1, m.dense_ffn_size = 16;
  m.n_routed_experts = 4, m.n_experts_per_token = 2, m.expert_ffn_size = 8, m.n_mtp = 1;
  return m;
}

// What a rank of a layout holds of the model.
struct Held {
  Held(const Exec& exec, const Placement& placement, int rank, DType compute) {
    for (const ParameterSpec& spec : placement.specs()) {
      const auto holding = placement.holding_of(spec, rank);
      if (!holding) continue;
      all.push_back(make_parameter(exec, spec, compute, true, holding->box));
      initialize_parameter(exec, *all.back(), 3);
      pointers.push_back(all.back().get());
    }
  }
  std::vector<std::unique_ptr<Parameter>> all;
  Parameters pointers;
};

// Layouts in which parameters have other holders: data ranks, ends of a pipeline, replicas of experts.
TEST(Sharding, MastersOfTheirOwnShrinkToWhatIsOwnedByOneRankAlone) {
  for (const char* layout : {"dp=3", "pp=2", "dp=4,ep=2", "dp=2,ep=2,pp=2,schedule=dualpipe"}) {
    for (const DType compute : {DType::f32, DType::bf16}) {
      const ParallelConfig parallel = parse_layout(layout);
      const Placement placement(small_model(), parallel);
      std::atomic<int64_t> n_owned = 0, n_in_all = 0;
      for (const ParameterSpec& spec : placement.specs()) n_in_all += spec.count();
      run_rank_threads(int(parallel.ranks()), [&](std::shared_ptr<Transport> transport) {
        OwnedExec owned(1);
        const Held held(owned.exec, placement, transport->rank(), compute),
            whole(owned.exec, placement, transport->rank(), compute);
        Sharding sharding(owned.exec, placement, held.pointers, transport);
        for (size_t i = 0; i < held.all.size(); ++i) {
          Parameter& p = *held.all[i];
          const OwnedRange own = sharding.owned(p);
          n_owned += own.count();
          if (p.spec.trained && p.value.plain.raw() != p.master.raw()) {
            EXPECT_EQ(p.master ? p.master.count() : 0, own.count()) << p.spec.name;
          }
          for (int64_t k = 0; k < own.count(); k += 7)
            ASSERT_EQ(element(own.master(), k), element(whole.all[i]->master, own.begin + k)) << p.spec.name;
        }
      });
      EXPECT_EQ(n_owned, n_in_all) << layout;
    }
  }
}

TEST(Sharding, BucketsStartBeforeTheLastGradientIsComplete) {
  run_rank_threads(2, [&](std::shared_ptr<Transport> transport) {
    OwnedExec owned(1);
    const Placement placement(small_model(), {.dp = 2});
    std::vector<std::unique_ptr<Parameter>> all;
    Parameters pointers;
    for (int i = 0; i < 3; ++i) {  // each fills a bucket
      all.push_back(parameter_of(owned.exec, {1200, 1000}, DType::f32));
      all.back()->spec.name = fmt::format("w{}", i);
      pointers.push_back(all.back().get());
    }
    Sharding sharding(owned.exec, placement, pointers, transport);
    const Group& group = sharding.group_of(*pointers[0]);
    sharding.begin_step();
    for (Parameter* p : pointers) p->expect(1);
    const auto contribute = [&](int i) {
      all[size_t(i)]->contribute([&](const Tensor& grad, ops::Write) {
        for (int64_t k = 0; k < 1200; k += 100) set_element(grad, k * 1000, group.rank() + 1 + i);
      });
    };
    const int64_t half = 600 * 1000 * 4;
    contribute(1);
    EXPECT_EQ(group.traffic().bytes, 0);  // the order is that of the list backwards, on every rank
    contribute(2);
    EXPECT_EQ(group.traffic().bytes, 2 * half);
    contribute(0);
    EXPECT_EQ(group.traffic().bytes, 3 * half);
    sharding.finish_gradients();
    EXPECT_EQ(group.traffic().bytes, 3 * half);
    for (int i = 0; i < 3; ++i) {
      const int64_t row = group.rank() == 0 ? 0 : 600;
      EXPECT_EQ(element(all[size_t(i)]->grad, row * 1000), 3 + 2 * i);
    }
  });
}

}  // namespace
}  // namespace hadal
