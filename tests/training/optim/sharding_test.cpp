// Who owns what of a parameter, and how whole tensors come back together.
#include "optim/sharding.h"

#include <gtest/gtest.h>

#include "comm/rank_threads.h"
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
        const OwnedRange range = owned_range(*parameter, r, n);
        EXPECT_EQ(range.begin, at);
        EXPECT_EQ(range.begin % cols % 128, 0);
        least = std::min(least, range.count()), most = std::max(most, range.count());
        at = range.end;
      }
      EXPECT_EQ(at, parameter->box.count());
      EXPECT_LE(most - least, 2 * std::min<int64_t>(128, cols)) << "uneven over " << n;
    }
  }
}

TEST(Sharding, MastersOfTheirOwnShrinkToWhatIsOwnedAndComeBackWhole) {
  for (const DType compute : {DType::f32, DType::bf16}) {
    OwnedExec alone(1);
    const Tensor wanted = parameter_of(alone.exec, {9, 200}, compute)->master;
    run_rank_threads(3, [&](std::shared_ptr<Transport> transport) {
      OwnedExec owned(1);
      Group group(transport, "data");
      const auto parameter = parameter_of(owned.exec, {9, 200}, compute);
      Sharding sharding(owned.exec, {parameter.get()}, group);
      OptimConfig config;
      config.ema_decay = 0.5;
      const Optimizer optimizer(sharding, config, owned.exec);
      EXPECT_EQ(parameter->master.count(),
                compute == DType::f32 ? 1800 : owned_range(*parameter, group.rank(), 3).count());
      const auto masters = optimizer.whole_masters(owned.exec, {parameter.get()});
      const auto state = optimizer.whole_state(owned.exec);
      if (!group.leads()) {
        EXPECT_TRUE(state.empty());
        return;
      }
      ASSERT_EQ(state.size(), 3u);
      EXPECT_EQ(state[2].name, "ema.w");
      for (int64_t i = 0; i < 1800; ++i) {
        ASSERT_EQ(element(masters[0], i), element(wanted, i)) << i;
        ASSERT_EQ(element(state[2].tensor, i), element(wanted, i)) << i;
      }
    });
  }
}

TEST(Sharding, BucketsStartBeforeTheLastGradientIsComplete) {
  run_rank_threads(2, [&](std::shared_ptr<Transport> transport) {
    OwnedExec owned(1);
    Group group(transport, "data");
    std::vector<std::unique_ptr<Parameter>> all;
    Parameters pointers;
    for (int i = 0; i < 3; ++i) {  // each fills a bucket
      all.push_back(parameter_of(owned.exec, {1200, 1000}, DType::f32));
      all.back()->spec.name = fmt::format("w{}", i);
      pointers.push_back(all.back().get());
    }
    Sharding sharding(owned.exec, pointers, group);
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
