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

TEST(TensorCut, RefusesMoreRanksThanHeads) {
  const ModelConfig config = released("deepseek-v3-671b");
  for (const ParameterSpec& spec : parameter_list(config))
    if (spec.name == "layers.0.attention.o") {
      EXPECT_ERROR(tensor_box(spec, config, 0, 129), ErrorKind::invalid, "129 tensor ranks", "128 heads");
    }
}

}  // namespace
}  // namespace hadal
