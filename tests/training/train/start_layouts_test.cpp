// A run of any layout starts from a Hugging Face directory: right after loading every rank holds the bits that its
// boxes cut out of what one rank holds, and has read no more of the files than these boxes.
#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "exchange/hf_directory.h"
#include "nn/box_view.h"
#include "train/rank_place.h"
#include "train/resources.h"
#include "train/start_model.h"

namespace hadal {
namespace {

constexpr const char* kLayouts[] = {
    "dp=2,ep=2", "cp=2,ep=2", "tp=2", "pp=2", "dp=4,ep=4", "tp=2,ep=2,pp=2,schedule=dualpipe", "dp=2,cp=2,tp=2,ep=4"};

class StartLayouts : public testing::HfDirectory {
 protected:
  Config config() const {
    Config config;
    config.model = config_.model;
    config.train.precision = Precision::bf16;  // masters apart from values
    config.train.start_model = root_.string();
    return config;
  }
  static void expect_same(const Tensor& part, const Tensor& whole, const Box& box, const std::string& what) {
    const OwnedExec owned(1);
    const Tensor wanted = part_of(whole, box).clone(owned.exec);
    ASSERT_EQ(part.dtype(), wanted.dtype()) << what;
    ASSERT_EQ(part.count(), wanted.count()) << what;
    EXPECT_EQ(std::memcmp(part.raw(), wanted.raw(), size_t(part.bytes())), 0) << what;
  }
  // The bytes of a box as they are stored.
  static uint64_t stored_bytes(const ModelDirectory& from, const Parameter& parameter) {
    const DType dtype = from.files->entry(from.weights->stored(parameter.spec).front().name).dtype;
    return uint64_t(parameter.box.count() * dtype_bytes(dtype));
  }
  void expect_boxes(const std::string& layout, const Transformer& whole) const {
    const ParallelConfig parallel = parse_layout(layout);
    run_rank_threads(int(parallel.ranks()), [&](std::shared_ptr<Transport> transport) {
      const OwnedExec owned(1);
      const RankPlace place(config_.model, parallel, transport);
      Transformer model(config_.model, model_options(config(), true), owned.exec, place.share());
      const auto start = open_start_model(config(), transport->rank() == 0 ? FileCheck::contents : FileCheck::sizes);
      load_start_masters(config(), *start, owned.exec, model.parameters());
      model.refresh_values(owned.exec);
      uint64_t boxes = 0, experts = 0, all_experts = 0;
      for (const Parameter* parameter : model.parameters()) {
        const std::string what = fmt::format("{}: {} on rank {}", layout, parameter->spec.name, transport->rank());
        const Parameter& one = whole.parameter(parameter->spec.name);
        expect_same(parameter->master, one.master, parameter->box, what);
        expect_same(parameter->value.plain, one.value.plain, parameter->box, what);
        const uint64_t bytes = stored_bytes(*start, *parameter);
        boxes += bytes;
        if (parameter->spec.kind != ParameterKind::routed_expert) continue;
        experts += bytes, all_experts += stored_bytes(*start, one);
      }
      EXPECT_EQ(start->files->bytes_read(), boxes) << layout;
      EXPECT_EQ(experts, all_experts / uint64_t(parallel.ep)) << layout;
    });
  }
  void expect_boxes() {
    write(3);
    const RankPlace alone(config_.model, {}, std::make_shared<SelfTransport>());
    Transformer whole(config_.model, model_options(config(), true), owned_.exec, alone.share());
    load_start_masters(config(), *open_start_model(config(), FileCheck::contents), owned_.exec, whole.parameters());
    whole.refresh_values(owned_.exec);
    for (const char* layout : kLayouts) expect_boxes(layout, whole);
  }
};

TEST_F(StartLayouts, ReadTheirBoxesOfABf16Directory) {
  store(DType::bf16);
  expect_boxes();
}

TEST_F(StartLayouts, ReadTheirBoxesOfAnFp8Directory) {
  store_fp8();  // tensor ranks cut the FFN's 150 rows and columns at 75, inside of a block
  expect_boxes();
}

}  // namespace
}  // namespace hadal
