// A box of a parameter is read as the bits that it cuts out of the whole, and of the files' bytes its own alone,
// whatever they are stored in: experts one by one or fused, FP8 blocks that the box cuts, heads in Llama's order.
#include "exchange/hf_directory.h"
#include "nn/box_view.h"
#include "nn/init.h"

namespace hadal {
namespace {

using Range = std::pair<int64_t, int64_t>;  // begin, size

class HfBoxes : public testing::HfDirectory {
 protected:
  // Bytes that the files have of the box: its own elements, and of heads in Llama's order all that it touches.
  static uint64_t stored_bytes(const ModelDirectory& from, const ParameterSpec& spec, const Box& box) {
    const int64_t head = std::max<int64_t>(1, from.weights->stored(spec).front().half_split),
                  end = box.begin[0] + box.size[0];
    const int64_t rows = (end + head - 1) / head * head - box.begin[0] / head * head;
    const DType dtype = from.files->entry(from.weights->stored(spec).front().name).dtype;
    return uint64_t(box.count() / box.size[0] * rows * dtype_bytes(dtype));
  }
  void expect_cut(const ModelDirectory& from, const ParameterSpec& spec, const Tensor& whole, const Box& box) const {
    const Tensor part = Tensor::zeros(owned_.exec, whole.dtype(), box.size);
    const uint64_t before = from.files->bytes_read();
    from.weights->read(owned_.exec, spec, box, part);
    EXPECT_EQ(from.files->bytes_read() - before, stored_bytes(from, spec, box));
    const Tensor wanted = part_of(whole, box).clone(owned_.exec);
    EXPECT_EQ(std::memcmp(part.raw(), wanted.raw(), size_t(part.bytes())), 0) << fmt::format(
        "{} from {} size {} as {}", spec.name, shape_text(box.begin), shape_text(box.size), dtype_name(part.dtype()));
  }
  static std::vector<Range> ranges(int64_t n) {
    const int64_t third = n / 3;
    return {{0, n}, {n / 2, n - n / 2}, {third, 1}, {third, n - third - (n > 3 ? 1 : 0)}};
  }
  // Of every parameter boxes cut along the first dimension, the last, and both.
  void expect_cuts() {
    const auto from = open_model(root_);
    for (const ParameterSpec& spec : from.parameters) {
      for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
        const Tensor whole = read(from, spec.name, dtype);
        for (const Range& first : ranges(spec.shape[0])) {
          Box box = Box::whole(spec.shape);
          box.begin[0] = first.first, box.size[0] = first.second;
          if (spec.shape.size() == 1) expect_cut(from, spec, whole, box);
          if (spec.shape.size() == 1) continue;
          for (const Range& last : ranges(spec.shape.back())) {
            box.begin.back() = last.first, box.size.back() = last.second;
            expect_cut(from, spec, whole, box);
          }
        }
      }
    }
  }
};

TEST_F(HfBoxes, AreTheCutsOfTheWholeInEveryType) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    store(dtype);
    write();
    expect_cuts();
  }
}

TEST_F(HfBoxes, AreTheCutsOfTheWholeWhereTheyCutBlocks) {
  config_.model.hidden_size = 140;  // with 150: two blocks each way, the second partial
  fill();
  store_fp8();
  write();
  expect_cuts();
}

TEST_F(HfBoxes, AreTheCutsOfTheWholeAcrossChunks) {
  config_.model.hidden_size = 140;
  config_.model.dense_ffn_size = 2000;
  fill();
  store_fp8();
  write();
  const auto from = open_model(root_);
  for (const ParameterSpec& spec : from.parameters) {
    if (spec.kind != ParameterKind::dense_ffn) continue;
    const Tensor whole = read(from, spec.name);
    Box box{{70, 5}, {1920, 134}};
    if (spec.shape[0] == 140) std::swap(box.begin[0], box.begin[1]), std::swap(box.size[0], box.size[1]);
    expect_cut(from, spec, whole, box);
  }
}

TEST_F(HfBoxes, AreTheCutsOfTheWholeInLlamasOrder) {
  ModelConfig m;
  m.vocab_size = 50, m.hidden_size = 24, m.n_layers = 2, m.dense_ffn_size = 150, m.max_positions = 64;
  m.attention = AttentionKind::gqa;
  m.n_heads = 8, m.n_kv_heads = 4, m.head_dim = 24;  // 192 rows of queries, whose heads FP8 blocks cut
  m.n_dense_layers = 2, m.n_routed_experts = m.n_shared_experts = m.n_mtp = 0;
  config_.model = m;
  fill();
  write();
  ASSERT_TRUE(open_model(root_).config.half_split);
  expect_cuts();
  store_fp8();
  write();
  expect_cuts();
}

TEST_F(HfBoxes, AreTheCutsOfFusedExperts) {
  const std::string experts = "model.layers.1.mlp.experts.";
  for (auto it = tensors_.begin(); it != tensors_.end();)
    it = it->first.rfind(experts, 0) == 0 ? tensors_.erase(it) : std::next(it);
  tensors_[experts + "gate_up_proj"] = random({4, 20, 24}, 91);
  tensors_[experts + "down_proj"] = random({4, 24, 10}, 92);
  write();
  expect_cuts();
}

TEST_F(HfBoxes, OfMovingAveragesAreTheirCuts) {
  write();
  const std::filesystem::path averages = root_ / "optimizer.safetensors";
  std::vector<NamedTensor> kept;
  for (const ParameterSpec& spec : parameter_list(config_.model))
    if (spec.trained) kept.push_back({average_name(spec), random(spec.shape, uint64_t(spec.number) + 500)});
  save_safetensors(averages, kept);
  const ModelDirectory from = averages_of(open_model(root_));
  for (const ParameterSpec& spec : from.parameters) {
    if (spec.kind != ParameterKind::routed_expert) continue;
    Box box = Box::whole(spec.shape);
    box.begin = {1, 0, 2}, box.size[0] = 2, box.size[2] -= 3;
    expect_cut(from, spec, read(from, spec.name), box);
  }
}

// What several ranks load between them, they read once; and nothing has memory but what they hold.
TEST_F(HfBoxes, FourExpertRanksReadAQuarterOfTheExpertsEach) {
  store(DType::bf16);
  write(2);
  uint64_t all = 0;
  for (const auto& [name, tensor] : tensors_)
    if (name.find(".mlp.experts.") != std::string::npos) all += uint64_t(tensor.bytes());
  ASSERT_GT(all, 10'000u);
  for (int64_t rank = 0; rank < 4; ++rank) {
    const auto from = open_model(root_);
    Exec exec = owned_.exec;
    exec.memory = MemoryPool::create();
    std::vector<std::unique_ptr<Parameter>> held;
    Parameters parameters;
    for (const ParameterSpec& spec : from.parameters) {
      if (spec.kind != ParameterKind::routed_expert) continue;
      Box box = Box::whole(spec.shape);
      box.begin[0] = rank, box.size[0] = 1;
      held.push_back(make_parameter(exec, spec, DType::bf16, true, box));
      parameters.push_back(held.back().get());
    }
    const uint64_t in_use = exec.memory->bytes_in_use();
    load_masters(from, exec, parameters);
    EXPECT_EQ(from.files->bytes_read(), all / 4);
    EXPECT_EQ(exec.memory->peak_bytes(), in_use);
    for (const Parameter* parameter : parameters)
      EXPECT_TRUE(same(parameter->master, tensors_[parameter->spec.hf_name_of(rank)])) << parameter->spec.name;
  }
}

TEST_F(HfBoxes, RanksBehindTheFirstReadNoContents) {
  tensors_["model.layers.2.shared_head.head.weight"] = random({50, 24}, 7);
  write();
  refused(ErrorKind::corrupt, {"must equal 'lm_head.weight'"});
  EXPECT_EQ(open_model(root_, FileCheck::sizes).weights->copies().size(), 1u);
  tensors_["model.layers.2.shared_head.head.weight"] = random({49, 24}, 7);
  write();
  EXPECT_THROW(open_model(root_, FileCheck::sizes), Error);
}

}  // namespace
}  // namespace hadal
