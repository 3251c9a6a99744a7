// Blocks of weights of which ranks hold parts: data ranks that share an update and tensor ranks that cut a matrix find
// the codes of whole blocks, and of activations the scales of whole tiles.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>

#include "base/expect_error.h"
#include "base/random.h"
#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "model/attention_parts.h"
#include "model/stage.h"
#include "nn/head_linear.h"
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

std::vector<uint8_t> elements_of(const Tensor& tensor) {  // their bytes; rows may lie apart
  std::vector<uint8_t> bytes;
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    const auto row = bytes_of<uint8_t>(
        Tensor::wrap(tensor.row_range(r, 1).raw(), DType::u8, {tensor.cols() * dtype_bytes(tensor.dtype())}));
    bytes.insert(bytes.end(), row.begin(), row.end());
  }
  return bytes;
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

// What a rank holds of a weight after some steps, to be put together.
struct HeldCodes {
  Box box;
  Tensor values;
  Quantised codes, turned;
};

Tensor box_of(const Tensor& whole, const Box& box) {
  return whole.row_range(box.begin[0], box.size[0]).col_range(box.begin[1], box.size[1]);
}

// Codes and scales of this rank's part are those that all of the matrix has there.
void expect_part(const Quantised& part, const Quantised& whole, const Box& box, const std::string& name) {
  const Tile tile = whole.tile;
  const auto first = [](int64_t begin, int64_t size) { return begin / size; };
  const auto count = [](int64_t begin, int64_t n, int64_t size) {
    return (begin + n + size - 1) / size - begin / size;
  };
  const Box tiles{{first(box.begin[0], tile.rows), first(box.begin[1], tile.cols)},
                  {count(box.begin[0], box.size[0], tile.rows), count(box.begin[1], box.size[1], tile.cols)}};
  EXPECT_EQ(elements_of(part.codes), elements_of(box_of(whole.codes, box))) << name;
  EXPECT_EQ(elements_of(part.scales), elements_of(box_of(whole.scales, tiles))) << name;
}

// Tensor ranks cut heads of 12 and 8 columns and an FFN of 140: no tile but the first ones begins with a part.
TEST(Fp8Shards, TensorRanksHaveTheCodesOfWholeBlocks) {
  for (const Precision precision : {Precision::fp8, Precision::mxfp8}) {
    for (const char* layout : {"tp=3", "dp=2,tp=2"}) {
      Config config = fp8_config(layout);
      config.train.precision = precision;
      config.model.n_heads = 5;
      config.model.qk_nope_head_dim = 8;
      if (precision == Precision::fp8) config.fp8.high = {"ffn_down"};  // codes of some linears alone
      const int n = int(config.parallel.ranks());
      std::vector<std::map<std::string, HeldCodes>> held{size_t(n)};
      std::vector<std::unique_ptr<OwnedExec>> places;
      for (int r = 0; r < n; ++r) places.push_back(std::make_unique<OwnedExec>(1));
      run_rank_threads(n, [&](std::shared_ptr<Transport> transport) {
        const Exec& exec = places[size_t(transport->rank())]->exec;
        RankPlace place(config.model, config.parallel, transport);
        Transformer model(config.model, model_options(config, true), exec, place.share());
        model.initialize(exec, 1);
        Sharding sharding(exec, place.placement(), model.parameters(), transport);
        Optimizer optimizer(sharding, config.optim, exec);
        for (int64_t step = 1; step <= 2; ++step)
          train_step(exec, model, optimizer, config, batch_of({9, 4, 12}), step, {.place = &place});
        sharding.await_values(exec);
        for (const Parameter* p : model.parameters())
          if (p->cut && p->codes)
            held[size_t(transport->rank())][p->spec.name] = {p->box, p->value.plain.clone(exec), p->value.codes,
                                                             p->value.turned};
      });
      int64_t cut = 0;
      for (const auto& [name, first] : held[0]) {
        ASSERT_EQ(first.values.dtype(), DType::f32) << name;
        Shape shape = first.values.shape();
        for (const auto& of_rank : held)
          for (size_t d = 0; d < 2; ++d)
            shape[d] = std::max(shape[d], of_rank.at(name).box.begin[d] + of_rank.at(name).box.size[d]);
        const Exec& exec = places[0]->exec;
        const Tensor whole = Tensor::zeros(exec, DType::f32, shape);
        for (const auto& of_rank : held) box_of(whole, of_rank.at(name).box).copy_from(of_rank.at(name).values);
        for (const Quantised HeldCodes::*set : {&HeldCodes::codes, &HeldCodes::turned}) {
          if (!(first.*set).codes) continue;
          const Tile tile = (first.*set).tile;
          const Quantised fresh = ops::quantise(exec, whole, tile, (first.*set).rule, AmaxFloor::released);
          for (const auto& of_rank : held) {
            const HeldCodes& part = of_rank.at(name);
            expect_part(part.*set, fresh, part.box, name + " " + layout);
            cut += part.box.begin[0] % tile.rows != 0 || part.box.begin[1] % tile.cols != 0;
          }
        }
      }
      EXPECT_GT(cut, 10) << "no block is cut";
    }
  }
}

// Activations and gradients of `rows` tokens, this rank's columns of them, as products and backward read them.
class Operands {
 public:
  struct Part {
    int64_t begin;  // of its columns in the whole
    Tensor values;
  };
  std::map<std::string, Part> parts;

  Operands(const Exec& exec, Transformer& model) : exec_(exec), recipe_(model.options().recipe) {
    const ModelConfig& m = model.config();
    const auto linear = [&](const char* name, const GemmRecipe& recipe) {
      return Linear{&model.parameter("layers.0." + std::string(name)), recipe};
    };
    of_ffn(model.stage().layers().blocks[0].dense);
    const Linear q_b = linear("attention.q_b", recipe_.q_b), kv_b = linear("attention.kv_b", recipe_.kv_b),
                 o = linear("attention.o", recipe_.o);
    const int64_t qk = m.qk_head_dim(), v = m.v_head_dim, rank = m.kv_lora_rank, rope = m.qk_rope_head_dim;
    heads_ = o.weight->box.size[1] / v, first_head_ = o.weight->box.begin[1] / v;
    note("o's input", v, o.fprop_operand(exec_, columns(v, 1)));
    note("kept output", v, kept_output(exec_, o, columns(v, 1), recipe_.attention_output));
    note("q_b's gradient", qk, q_b.dgrad_operand(exec_, columns(qk, 2)));
    note("kv_b's gradient", m.qk_nope_head_dim + v, kv_b.dgrad_operand(exec_, columns(m.qk_nope_head_dim + v, 3)));
    const HeadLinear by_head{kv_b, heads_, m.qk_nope_head_dim, rope, v, rank};
    const auto result = [&](const char* name, int64_t size, auto make) {
      const Tensor to = columns(size, 0);
      make(to);
      note(name, size, to);
    };
    result("absorbed", rank + rope, [&](const Tensor& to) { by_head.absorb(exec_, to, columns(qk, 4)); });
    result("values", v, [&](const Tensor& to) { by_head.values(exec_, to, columns(rank, 5)); });
    result("dq", qk, [&](const Tensor& to) { by_head.absorb_backward(exec_, to, columns(rank + rope, 6)); });
    result("dz", rank, [&](const Tensor& to) { by_head.values_backward(exec_, to, columns(v, 7)); });
  }

 private:
  void of_ffn(const Mlp& mlp) {
    const Box& box = mlp.gate.weight->box;
    heads_ = box.size[0], first_head_ = box.begin[0];
    Mlp::Saved saved;
    saved.gate_up = Tensor::empty(exec_, DType::bf16, {kRows, 2 * heads_});
    saved.gate_up.col_range(0, heads_).copy_from(columns(1, 8));
    saved.gate_up.col_range(heads_, heads_).copy_from(columns(1, 9));
    saved.d_gate_up = saved.gate_up.clone(exec_);
    note("inner", 1, mlp.inner(exec_, {0, saved.gate_up.rows()}, saved));
    const Mlp::Gradients gradients = mlp.gradients(exec_, saved);
    note("gate's gradient", 1, gradients.gate), note("up's gradient", 1, gradients.up);
    mlp.round(exec_, saved);
    note("kept gate", 1, saved.gate_up.col_range(0, heads_));
    note("kept up", 1, saved.gate_up.col_range(heads_, heads_));
  }
  // The same numbers wherever a column lies; sizes differ by binades from column to column.
  Tensor columns(int64_t size, uint64_t stream) const {
    const Tensor t = Tensor::empty(exec_, DType::bf16, {kRows, heads_ * size});
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t c = 0; c < t.cols(); ++c) {
        const auto index = uint64_t(r * 100000 + first_head_ * size + c);
        const double binade = double(random_below(7, stream, index, 9)) - 6;
        set_element(t, r * t.cols() + c, std::exp2(binade) * random_normal(3, stream, index));
      }
    }
    return t;
  }
  void note(const char* name, int64_t size, const Activation& x) {
    const Tensor values = ops::dequantise(exec_, x);
    parts[name] = {first_head_ * size, values.to(exec_, DType::f32)};
    // Another power of two changes the codes of E5M6, and hardly a value.
    if (x.is_quantised()) parts[name + std::string(", codes")] = {first_head_ * size, x.quantised().codes};
  }

  static constexpr int64_t kRows = 5;
  const Exec& exec_;
  const Recipe& recipe_;
  int64_t heads_ = 0, first_head_ = 0;
};

// What heads and FFNs of several ranks make of a token has the scales that one rank finds, of which tiles lie on
// several of them: to the bit.
TEST(Fp8Shards, ActivationsHaveTheScalesOfWholeTiles) {
  for (const Precision precision : {Precision::fp8, Precision::mxfp8}) {
    Config config = fp8_config("tp=3");
    config.train.precision = precision;
    config.model.n_heads = 7;
    config.model.n_dense_layers = config.model.n_layers;
    config.model.qk_nope_head_dim = 8;
    const auto on = [&](int tp) {
      config.parallel.tp = tp;
      std::vector<std::map<std::string, Operands::Part>> of_ranks{size_t(tp)};
      run_rank_threads(tp, [&](std::shared_ptr<Transport> transport) {
        OwnedExec owned(1);
        RankPlace place(config.model, config.parallel, transport);
        Transformer model(config.model, model_options(config, true), owned.exec, place.share());
        model.initialize(owned.exec, 1);
        of_ranks[size_t(transport->rank())] = Operands(owned.exec, model).parts;
      });
      return of_ranks;
    };
    const auto whole = on(1)[0];
    for (const auto& parts : on(3)) {
      ASSERT_EQ(parts.size(), whole.size());
      for (const auto& [name, part] : parts)
        EXPECT_EQ(elements_of(part.values),
                  elements_of(whole.at(name).values.col_range(part.begin, part.values.cols())))
            << name << " from column " << part.begin << " on, " << enum_name(precision);
    }
  }
}

TEST(Fp8Shards, AnOddCutOfE5m6IsRefused) {
  Config config = fp8_config("tp=2");
  config.model.v_head_dim = 5;
  const auto build = [&] {
    run_rank_threads(2, [&](std::shared_ptr<Transport> transport) {
      OwnedExec owned(1);
      RankPlace place(config.model, config.parallel, transport);
      Transformer(config.model, model_options(config, true), owned.exec, place.share());
    });
  };
  EXPECT_ERROR(build(), ErrorKind::invalid, "layers.0.attention.o is cut at column 5", "over 2 tensor ranks",
               "E5M6 codes", "fp8.attention_output = \"e4m3\"");
  config.fp8.attention_output = Fp8Kept::e4m3;
  EXPECT_NO_THROW(build());
}

}  // namespace
}  // namespace hadal
