// What tensor ranks hold: boxes tile what is cut, at the borders of heads, and are all of what is not.
#include "arch/tensor_cut.h"

#include <gtest/gtest.h>

#include <map>

#include "base/expect_error.h"
#include "config/config_io.h"

namespace hadal {
namespace {

ModelConfig released(const std::string& name) {
  return load_config(std::string(HADAL_SOURCE_DIR) + "/configs/" + name + ".toml").model;
}

TEST(TensorCut, BoxesOfAllRanksTileEveryParameterThatIsCut) {
  const ModelConfig config = released("deepseek-v3-671b");
  std::map<ParameterKind, int> cut;
  for (const int64_t size : {1, 2, 3, 8, 128}) {
    for (const ParameterSpec& spec : parameter_list(config)) {
      int64_t end = 0, count = 0;
      const TensorCut how = tensor_cut(spec, config);
      for (int64_t rank = 0; rank < size; ++rank) {
        const Box box = tensor_box(spec, config, rank, size);
        count += box.count();
        if (!how) {
          EXPECT_EQ(box, Box::whole(spec.shape)) << spec.name;
          continue;
        }
        const size_t d = size_t(how.dimension);
        EXPECT_EQ(box.begin[d], end) << spec.name;
        EXPECT_EQ(box.begin[d] % how.unit, 0) << spec.name;
        end += box.size[d];
      }
      EXPECT_EQ(count, how ? spec.count() : size * spec.count()) << spec.name;
      cut[spec.kind] += bool(how) && size == 1;
    }
  }
  EXPECT_EQ(cut[ParameterKind::attention], 3 * 62);  // q_b, kv_b, o
  EXPECT_EQ(cut[ParameterKind::dense_ffn], 3 * 3);
  EXPECT_EQ(cut[ParameterKind::embedding] + cut[ParameterKind::head], 2);
  for (const ParameterKind kind : {ParameterKind::norm, ParameterKind::router, ParameterKind::router_bias,
                                   ParameterKind::routed_expert, ParameterKind::shared_expert})
    EXPECT_EQ(cut[kind], 0) << kind_name(kind);
}

// Whatever the number of ranks: each has the query heads of its key/value heads, and no others.
TEST(TensorCut, QueryHeadsStayWithTheKeysThatTheyShare) {
  ModelConfig config;
  config.vocab_size = 100, config.attention = AttentionKind::gqa;
  config.n_heads = 15, config.n_kv_heads = 5, config.head_dim = 6;
  std::map<std::string, ParameterSpec> specs;
  for (const ParameterSpec& spec : parameter_list(config)) specs[spec.name] = spec;
  for (const int64_t size : {1, 2, 3, 5}) {
    int64_t end = 0;
    for (int64_t rank = 0; rank < size; ++rank) {
      const auto box = [&](const char* name) { return tensor_box(specs.at(name), config, rank, size); };
      const Box q = box("layers.0.attention.q"), k = box("layers.0.attention.k"), o = box("layers.0.attention.o");
      EXPECT_EQ(k, box("layers.0.attention.v"));
      EXPECT_EQ(k.begin[0], end);
      EXPECT_EQ(k.size[0] % 6, 0);
      EXPECT_EQ(q.begin[0], 3 * k.begin[0]);
      EXPECT_EQ(q.size[0], 3 * k.size[0]);
      EXPECT_EQ(o.begin[1], q.begin[0]);
      EXPECT_EQ(o.size[1], q.size[0]);
      end += k.size[0];
    }
    EXPECT_EQ(end, 5 * 6);
  }
  for (const char* name : {"layers.0.attention.q", "layers.0.attention.k", "layers.0.attention.o"})
    EXPECT_ERROR(tensor_box(specs.at(name), config, 0, 6), ErrorKind::invalid, "6 tensor ranks", name,
                 "5 key/value heads (model.n_kv_heads)", "tp = 5 is the most");
}

TEST(TensorCut, RefusesMoreRanksThanHeads) {
  const ModelConfig config = released("deepseek-v3-671b");
  for (const ParameterSpec& spec : parameter_list(config))
    if (spec.name == "layers.0.attention.o") {
      EXPECT_ERROR(tensor_box(spec, config, 0, 129), ErrorKind::invalid, "129 tensor ranks", "128 heads");
    }
}

}  // namespace
}  // namespace hadal
