// Whole training steps on the device that the program is linked with, emulated or not: tensors lie in its memory, every
// kernel of forward, backward and update is its own, and the host waits for it once per micro-batch and once per step.
#include <gtest/gtest.h>

#include <cmath>

#include "cuda_staged/device_rig.h"
#include "kernels/adamw.h"
#include "train/resources.h"
#include "train/small_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;
using staged::DeviceRig;

struct Trained {
  std::vector<double> losses, norms;
  std::vector<double> weights;  // after the last step
  std::vector<int64_t> waits;   // of the host for the device, by step: as the program counts them
  std::vector<int64_t> stops;   // and as the device does, where it does
};

// Three steps of batches of several micro-batches, one with masks between passages.
Trained three_steps(const Config& config, const Exec& exec) {
  Transformer model(config.model, model_options(config, true), exec);
  model.initialize(exec, 3);
  Optimizer optimizer(model.parameters(), config.optim, exec);
  Trained run;
  const OpenDevice* device = exec.memory->device();
  for (int step = 1; step <= 3; ++step) {
    const int64_t before = device ? device->waits() : 0, stops = staged::synchronisations().value_or(0);
    const StepResult result = train_step(exec, model, optimizer, config, batch_of({14, 9, 11 + step}, step == 2), step);
    EXPECT_EQ(result.skipped, "");
    run.waits.push_back(device ? device->waits() - before : 0);
    if (device && staged::synchronisations()) run.stops.push_back(*staged::synchronisations() - stops);
    run.losses.push_back(result.loss), run.norms.push_back(result.norms.global);
  }
  for (const Parameter* p : model.parameters()) {
    const Tensor master = host_copy(p->master);
    for (int64_t i = 0; i < master.count(); ++i) run.weights.push_back(element(master, i));
  }
  return run;
}

Config config_of(Precision precision) {
  Config config = small_config(precision);
  config.train.micro_batch_sequences = 1;
  config.model.n_shared_experts = 1;
  return config;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < b.size(); ++i) difference += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(difference / size);
}

// Every kernel has AVX2's bits in FP32, so has training: losses, gradient norms and weights after three steps.
TEST(CudaStep, TrainsToTheBitsOfAvx2InFp32) {
  if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
  if (!isa_available(Isa::avx2)) GTEST_SKIP() << "no AVX2";
  OwnedExec host(2, Isa::avx2);
  DeviceRig device(7);
  const Config config = config_of(Precision::fp32);
  const Trained on_cpu = three_steps(config, host.exec), on_device = three_steps(config, device.exec);
  EXPECT_EQ(on_device.losses, on_cpu.losses);
  EXPECT_EQ(on_device.norms, on_cpu.norms);
  EXPECT_TRUE(on_device.weights == on_cpu.weights) << "apart by " << distance(on_device.weights, on_cpu.weights);
}

// The formulas are the judge.
TEST(CudaStep, TrainsAsTheFormulasDo) {
  if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
  for (const auto& [precision, limit] : {std::pair{Precision::fp32, 1e-5}, {Precision::bf16, 2e-2}}) {
    SCOPED_TRACE(precision == Precision::fp32 ? "fp32" : "bf16");
    const Config config = config_of(precision);
    OwnedExec host(1, Isa::reference);
    DeviceRig device(7);
    const Trained on_cpu = three_steps(config, host.exec), on_device = three_steps(config, device.exec);
    EXPECT_LT(distance(on_device.losses, on_cpu.losses), limit);
    EXPECT_LT(distance(on_device.norms, on_cpu.norms), 10 * limit);
    EXPECT_LT(distance(on_device.weights, on_cpu.weights), limit);
  }
}

TEST(CudaStep, HasTheSameBitsUnderEverySchedule) {
  if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    SCOPED_TRACE(precision == Precision::fp32 ? "fp32" : "bf16");
    Trained first;
    for (const uint64_t seed : {1, 2, 3}) {
      DeviceRig device(seed);
      const Trained run = three_steps(config_of(precision), device.exec);
      if (first.weights.empty()) first = run;
      EXPECT_EQ(run.losses, first.losses) << "schedule " << seed;
      EXPECT_EQ(run.norms, first.norms);
      EXPECT_TRUE(run.weights == first.weights);
    }
  }
}

// Losses, loads and findings of a micro-batch come home together, so do the squares of all gradients. Nothing else
// makes the host stand still: no copy of memory that is not pinned, no memory that goes back to the device.
TEST(CudaStep, WaitsForTheDeviceOncePerMicroBatchAndOncePerStep) {
  if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
  DeviceRig device(7);
  const Trained run = three_steps(config_of(Precision::bf16), device.exec);
  EXPECT_EQ(run.waits, std::vector<int64_t>(3, 3 + 1));
  if (staged::synchronisations()) {
    EXPECT_EQ(run.stops, std::vector<int64_t>(3, 3 + 1));
  }
}

int64_t waits_at_update = -1;
const OpenDevice* watched = nullptr;

// The update is queued before the host has heard of the norm: its factor comes from the device.
TEST(CudaStep, QueuesTheUpdateBeforeItWaitsForTheNorm) {
  if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
  const auto device = staged::open_device();
  kernels::DeviceKernels table = *kernels::cuda_backend()->kernels;
  table.adamw = [](DeviceStream stream, const kernels::AdamW& args) {
    waits_at_update = watched->waits();
    kernels::cuda_backend()->kernels->adamw(stream, args);
  };
  const OwnedExec owned(1, device, table);
  const Config config = config_of(Precision::bf16);
  Transformer model(config.model, model_options(config, true), owned.exec);
  model.initialize(owned.exec, 3);
  Optimizer optimizer(model.parameters(), config.optim, owned.exec);
  watched = device.get();
  const int64_t before = device->waits();
  train_step(owned.exec, model, optimizer, config, batch_of({14, 9, 11}, false), 1);
  EXPECT_EQ(waits_at_update - before, 3);  // of its micro-batches
  EXPECT_EQ(device->waits() - before, 3 + 1);
}

// What the device finds not to be finite changes no weight and no moment, and no step is counted.
TEST(CudaStep, UpdatesNothingWhereGradientsAreNotFinite) {
  if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
  const DeviceRig device(7);
  const Config config = config_of(Precision::fp32);
  Transformer model(config.model, model_options(config, true), device.exec);
  model.initialize(device.exec, 3);
  Optimizer optimizer(model.parameters(), config.optim, device.exec);
  train_step(device.exec, model, optimizer, config, batch_of({14, 9}, false), 1);
  const auto state = [&] {
    std::vector<double> all;
    for (const Parameter* p : model.parameters()) all.push_back(element(p->master, p->master.count() - 1));
    for (const StateTensor& s : optimizer.state()) all.push_back(element(s.tensor, s.tensor.count() - 1));
    return all;
  };
  const auto before = state();
  Parameter* last = nullptr;
  for (Parameter* p : model.parameters())
    if (p->spec.trained) last = p;
  set_element(last->grad, 0, std::nan(""));
  const GradientNorms norms = optimizer.update_behind_norms(device.exec, 0.1);
  EXPECT_EQ(norms.not_finite.parameter, last->spec.name);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(optimizer.steps_done(), 1);
  set_element(last->grad, 0, 0.5);
  EXPECT_TRUE(std::isfinite(optimizer.update_behind_norms(device.exec, 0.1).global));
  EXPECT_NE(state(), before);
  EXPECT_EQ(optimizer.steps_done(), 2);
}

// The peak that a run is measured against: with little memory of the smaller products, with none at all unknown.
TEST(CudaStep, MeasuresItsPeakInWhatMemoryThereIs) {
  if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
  const DeviceRig device(7, 256 << 10), full(7, 16 << 10);
  EXPECT_GT(measure_product_flops(device.exec, Precision::bf16), 0);
  EXPECT_EQ(measure_product_flops(full.exec, Precision::bf16), 0);
}

}  // namespace
}  // namespace hadal
