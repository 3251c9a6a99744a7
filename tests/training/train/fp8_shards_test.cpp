// Blocks of weights of which ranks hold parts: data ranks that share an update find the codes of whole blocks, and
// tensor ranks, which could not, cut none.
#include <gtest/gtest.h>

#include "base/expect_error.h"
#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "ops/quantise.h"
#include "train/rank_place.h"
#include "train/resources.h"
#include "train/small_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;

Config fp8_config(const std::string& layout) {
  Config config = small_config(Precision::fp8);
  config.model.hidden_size = 160;
  config.model.dense_ffn_size = config.model.expert_ffn_size = 140;
  config.train.micro_batch_sequences = 1;
  config.optim.clip = 0;
  config.parallel = parse_layout(layout);
  return config;
}

template <class T>
std::vector<T> bytes_of(const Tensor& tensor) {
  const auto* begin = static_cast<const T*>(tensor.raw());
  return {begin, begin + tensor.count()};
}

TEST(Fp8Shards, HaveTheCodesOfWholeBlocksAfterAStep) {
  const Config config = fp8_config("dp=3");
  run_rank_threads(3, [&](std::shared_ptr<Transport> transport) {
    OwnedExec owned(1);
    RankPlace place(config.model, config.parallel, transport);
    Transformer model(config.model, model_options(config, true), owned.exec, place.share());
    model.initialize(owned.exec, 1);
    Sharding sharding(owned.exec, place.placement(), model.parameters(), transport);
    Optimizer optimizer(sharding, config.optim, owned.exec);
    train_step(owned.exec, model, optimizer, config, batch_of({9, 4, 12}), 1, {.place = &place});
    sharding.await_values(owned.exec);
    int64_t of_codes = 0, cut = 0;
    for (const OwnedRange& own : sharding.owned()) {
      const Parameter& p = *own.parameter;
      if (!p.codes) continue;
      ASSERT_EQ(p.value.plain.dtype(), DType::f32) << p.spec.name;
      const Quantised fresh =
          ops::quantise(owned.exec, p.value.plain, p.codes->tile, p.codes->rule, AmaxFloor::released);
      EXPECT_EQ(bytes_of<uint8_t>(p.value.codes.codes), bytes_of<uint8_t>(fresh.codes)) << p.spec.name;
      EXPECT_EQ(bytes_of<float>(p.value.codes.scales), bytes_of<float>(fresh.scales)) << p.spec.name;
      ++of_codes, cut += own.begin % (p.codes->tile.rows * p.value.plain.cols()) != 0;
    }
    EXPECT_GT(of_codes, 5);
    EXPECT_TRUE(cut > 0 || transport->rank() == 0) << "no block is cut";
  });
}

TEST(Fp8Shards, TensorRanksCutNoTile) {
  Config config = fp8_config("tp=2");
  const auto build = [&] {
    run_rank_threads(2, [&](std::shared_ptr<Transport> transport) {
      OwnedExec owned(1);
      RankPlace place(config.model, config.parallel, transport);
      Transformer(config.model, model_options(config, true), owned.exec, place.share());
    });
  };
  EXPECT_ERROR(build(), ErrorKind::invalid, "layers.0.attention.q_b is cut at ", "where 128 share a scale",
               "choose fewer tensor ranks");
  config.fp8.tile = 32;
  ModelConfig& m = config.model;
  m.qk_nope_head_dim = m.qk_rope_head_dim = m.v_head_dim = 32, m.dense_ffn_size = 128;
  EXPECT_NO_THROW(build());
}

}  // namespace
}  // namespace hadal
