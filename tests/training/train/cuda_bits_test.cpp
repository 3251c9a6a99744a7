// The bits of a device, in few words: everything that each kernel writes in three training steps, and in calls of those
// that training does not make, as one hash per kernel. tests/cuda/bits.json was made by the emulated device; a GPU must
// have the same.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "cuda_staged/device_rig.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"
#include "ops/row_sums.h"
#include "ops/softmax_part.h"
#include "train/small_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;
using nlohmann::ordered_json;
using Bits = std::map<std::string, uint64_t>;

Tensor random_tensor(const Exec& exec, DType dtype, Shape shape, uint64_t seed) {
  std::vector<float> values(size_t(shape_count(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(random_normal(seed, 9, i));
  return Tensor::from(exec, values, std::move(shape)).to(exec, dtype);
}

void train_a_little(const Exec& exec, Precision precision) {
  Config config = small_config(precision);
  config.train.micro_batch_sequences = 1;
  config.model.n_shared_experts = 1;
  Transformer model(config.model, model_options(config, true), exec);
  model.initialize(exec, 3);
  Optimizer optimizer(model.parameters(), config.optim, exec);
  for (int step = 1; step <= 3; ++step)
    EXPECT_EQ(train_step(exec, model, optimizer, config, batch_of({14, 9, 11 + step}, step == 2), step).skipped, "");
}

// Ragged and large enough for several tiles of each.
void multiply(const Exec& exec, DType dtype) {
  const Tensor x = random_tensor(exec, dtype, {150, 200}, 1), w = random_tensor(exec, dtype, {136, 200}, 2),
               dy = random_tensor(exec, dtype, {150, 136}, 3);
  const Tensor y = Tensor::zeros(exec, dtype, {150, 136}), dx = Tensor::zeros(exec, dtype, {150, 200}),
               dw = Tensor::zeros(exec, DType::f32, {136, 200});
  ops::linear(exec, y, x, w);
  ops::linear_backward_input(exec, dx, dy, w);
  ops::linear_backward_weight(exec, dw, dy, x, ops::Write::add);
}

void quantise_and_multiply(const Exec& exec) {
  const auto codes = [&](int64_t rows, uint64_t seed) {
    return ops::quantise(exec, random_tensor(exec, DType::bf16, {rows, 200}, seed), {1, 128}, ScaleRule::exact);
  };
  const Tensor y = Tensor::zeros(exec, DType::f32, {70, 40});
  ops::linear(exec, y, Activation(codes(70, 4)), Activation(codes(40, 5)), ops::Write::overwrite);
  ops::dequantise(exec, Activation(codes(30, 6)));
}

// What ranks that share work call.
void sum_and_share(const Exec& exec) {
  const Tensor x = random_tensor(exec, DType::f32, {6, 33}, 7), y = Tensor::zeros(exec, DType::f32, {2, 33});
  const ops::RowLists lists{Tensor::from(exec, std::vector<int32_t>{0, 4, 6}, {3}),
                            Tensor::from(exec, std::vector<int32_t>{0, 3, 0, 1, 0, 0, 1, 1, 0, 2, 1, 0}, {6, 2})};
  const std::vector<Tensor> in_two = {x.row_range(0, 4), x.row_range(4, 2)};
  ops::group_sums(exec, y, in_two, lists, random_tensor(exec, DType::f32, {6}, 8));
  ops::group_totals(exec, y, in_two, lists, ops::Write::add);
  const Tensor logits = random_tensor(exec, DType::f32, {6, 50}, 9), of = Tensor::zeros(exec, DType::f32, {6, 4});
  const Tensor targets = Tensor::from(exec, std::vector<int32_t>{1, -1, 49, 0, 7, -1}, {6});
  ops::softmax_statistics(exec, logits, targets, of, true);
  ops::softmax_gradient(exec, logits, targets, random_tensor(exec, DType::f32, {6, 2}, 10));
  ops::all_finite(exec, x);
}

// A SwiGLU whose rows have no weights backwards in two outputs, and a sum.
void gate_and_add(const Exec& exec) {
  const auto random = [&](uint64_t seed) { return random_tensor(exec, DType::bf16, {5, 70}, seed); };
  const Tensor dg = Tensor::zeros(exec, DType::bf16, {5, 70}), du = Tensor::zeros(exec, DType::bf16, {5, 70});
  ops::swiglu_backward(exec, dg, du, random(11), random(12), random(13));
  ops::add(exec, dg, dg, du);
}

// Beside the sources that this was built of; on another machine below the folder that it runs in.
std::string file_of_bits() {
  const std::string here = HADAL_SOURCE_DIR "/tests/cuda/bits.json";
  return std::filesystem::exists(here) ? here : "tests/cuda/bits.json";
}

ordered_json json_of(const Bits& bits) {
  ordered_json json = ordered_json::object();
  for (const auto& [name, hash] : bits) json[name] = fmt::format("{:016x}", hash);
  return json;
}

ordered_json all_bits(uint64_t schedule) {
  ordered_json json;
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const staged::StagedExec device(schedule);
    train_a_little(device.exec, precision);
    multiply(device.exec, activation_dtype(precision));
    json[enum_name(precision)] = json_of(device.bits());
  }
  const staged::StagedExec device(schedule);
  quantise_and_multiply(device.exec);
  sum_and_share(device.exec);
  gate_and_add(device.exec);
  json["alone"] = json_of(device.bits());
  return json;
}

TEST(CudaBits, AreThoseOfTheFile) {
  if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
  const std::string file = file_of_bits();
  const ordered_json wanted = parse_json<ordered_json>(read_file(file), file), found = all_bits(5);
  EXPECT_EQ(found.size(), wanted.size());
  for (const auto& [part, kernels] : found.items())
    for (const auto& [kernel, hash] : kernels.items())
      EXPECT_EQ(hash, wanted.value(part, ordered_json::object()).value(kernel, ordered_json()))
          << part << ": " << kernel << " on " << staged::device_title();
  if (::testing::Test::HasFailure()) std::printf("the bits found:\n%s\n", json_text(found, {.indent = 1}).c_str());
}

// Every kernel of the device is in the file.
TEST(CudaBits, CoverEveryKernel) {
  const std::string file = file_of_bits();
  const ordered_json wanted = parse_json<ordered_json>(read_file(file), file);
#define HADAL_IN_FILE(name, Args)                                                                                  \
  EXPECT_TRUE(wanted["fp32"].contains(#name) || wanted["bf16"].contains(#name) || wanted["alone"].contains(#name)) \
      << #name;
  HADAL_EACH_DEVICE_KERNEL(HADAL_IN_FILE)
#undef HADAL_IN_FILE
}

}  // namespace
}  // namespace hadal
