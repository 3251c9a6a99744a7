// The emulated device's memory, launches and streams: what they are for works, each fault is planted once and named.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/expect_error.h"
#include "cuda_emulator/device.h"
#include "cuda_emulator/machine.h"
#include "cuda_emulator/planted.h"
#include "kernels/cuda/hopper/simt.h"

namespace hadal::kernels::cuda {
namespace {

using emulator::expect_failure;
using emulator::failure;

struct Lines {
  float* data;
  int64_t stride;
};
static_assert(sizeof(Lines) == 16);

__global__ void add_one(Lines x, const float* y, int n) {
  for (int i = thread_index(); i < n; i += block_threads()) x.data[i * x.stride] = y[i] + 1;
}

class CudaMemory : public ::testing::Test {
 protected:
  CudaMemory() {
    emulator::Device::get().begin(3);
    before = emulator::Device::get().allocations();
    stream = make_stream();
    other = make_stream();
  }
  ~CudaMemory() override {
    close_stream(stream), close_stream(other);
    for (void* p : owned) release(p);
    EXPECT_EQ(emulator::Device::get().allocations(), before);
  }
  float* floats(int64_t n) {
    owned.push_back(allocate(n * 4));
    return static_cast<float*>(owned.back());
  }
  void add(Lines x, const float* y, int n, DeviceStream where) {
    launch(add_one, {.name = "add_one", .threads = 32, .stream = where}, x, y, n);
  }
  int64_t before = 0;
  DeviceStream stream, other;
  std::vector<void*> owned;
};

TEST_F(CudaMemory, CopiesToADeviceAndBackThroughAKernel) {
  std::vector<float> x = {1, 2, 3, 4}, back(4);
  float *from = floats(4), *to = floats(4);
  copy_to_device(from, x.data(), 16, stream);
  add({to, 1}, from, 4, stream);
  copy_to_host(back.data(), to, 16, stream);
  wait_for(stream);
  EXPECT_EQ(back, (std::vector<float>{2, 3, 4, 5}));
  fill_bytes(to, 0, 8, stream);
  copy_to_host(back.data(), to, 16, stream);
  wait_for(stream);
  EXPECT_EQ(back, (std::vector<float>{0, 0, 4, 5}));
}

TEST_F(CudaMemory, DiesWhereTheHostTouchesADevicePointer) {
  volatile float* p = floats(4);
  EXPECT_DEATH_ALONE(*p = 1, "");
}

TEST_F(CudaMemory, RefusesAHostPointerInAKernelWhetherAloneOrInAStruct) {
  std::vector<float> host(4);
  float* device = floats(4);
  expect_failure([&] { add({device, 1}, host.data(), 4, stream); }, "kernel 'add_one', parameter 1: ");
  expect_failure(
      [&] {
        add({device, 1}, host.data(), 4, stream);
      },
      "is an address of the host, expected device memory");
  expect_failure([&] { add({host.data(), 1}, device, 4, stream); }, "kernel 'add_one', parameter 0: ");
  expect_failure([&] { copy_to_device(host.data(), host.data(), 16, stream); }, "is an address of the host");
  expect_failure([&] { copy_to_host(device, device, 16, stream); }, "is device memory, expected the host's");
  add({device, int64_t(1) << 40}, device, 1, stream);  // a large number is no address
  wait_for(stream);
}

// Without the address sanitizer writing past the end is found after the kernel; with it, at the instruction.
TEST_F(CudaMemory, NamesAKernelThatWritesPastItsMemory) {
  float *to = floats(5), *from = floats(8);
  const auto overrun = [&] {
    add({to, 1}, from, 6, stream);
    wait_for(stream);
  };
#if defined(__SANITIZE_ADDRESS__)
  EXPECT_DEATH_ALONE(overrun(), "AddressSanitizer");
#else
  expect_failure(overrun, "kernel 'add_one': byte 20 of 20 bytes of device memory was written to");
#endif
}

TEST_F(CudaMemory, RefusesCopiesThatAreLongerThanTheMemory) {
  std::vector<float> host(8);
  float* device = floats(4);
  expect_failure([&] { copy_to_device(device + 1, host.data(), 16, stream); },
                 "copy to the device: 16 bytes from byte 4 on, of 16 bytes of memory");
  expect_failure([&] { copy_to_host(host.data(), device + 5, 4, stream); }, "points to no memory of the device");
}

TEST_F(CudaMemory, NamesMemoryThatWasReleasedBeforeItsWorkRan) {
  bool seen = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {  // where a stream ran at once there was nothing wrong
    emulator::Device::get().begin(seed);
    auto* early = static_cast<float*>(allocate(16));
    float* to = floats(4);
    const std::string text = failure([&] {
      add({to, 1}, early, 4, stream);
      release(early);
      wait_for(stream);
    });
    seen |= text.find("kernel 'add_one', parameter 1: memory of 16 bytes that was released") != std::string::npos;
    EXPECT_TRUE(text == "no error" || text.find("that was released") != std::string::npos) << text;
    expect_failure([&] { release(early); }, "or was released before");
  }
  EXPECT_TRUE(seen);
}

// Two streams without an event between them: over the seeds both orders are seen; with one, never the wrong one.
TEST_F(CudaMemory, InterleavesStreamsAtRandomWithinTheirEvents) {
  for (const bool ordered : {true, false}) {
    int first = 0, second = 0;
    for (uint64_t seed = 0; seed < 40; ++seed) {
      emulator::Device::get().begin(seed);
      float* p = floats(1);
      fill_bytes(p, 0, 4, stream);
      wait_for(stream);
      float back = -1;
      const DeviceEvent event = make_event();
      add({p, 1}, p, 1, stream);
      if (ordered) record(event, stream), order_after(event, other);
      copy_to_host(&back, p, 4, other);
      wait_for(other);
      wait_for(stream);
      (back == 1 ? second : first)++;
      close_event(event);
    }
    EXPECT_EQ(first > 0, !ordered);
    EXPECT_GT(second, 0);
  }
}

// A copy from or to memory that is not pinned stops the host; one from or to pinned memory does not.
TEST_F(CudaMemory, WaitsInCopiesOfMemoryThatIsNotPinned) {
  auto& device = emulator::Device::get();
  std::vector<float> pageable(4);
  auto* pinned = static_cast<float*>(allocate_pinned(16));
  float* p = floats(4);
  const auto stops = [&](const std::function<void()>& copy) {
    const int64_t before = device.synchronisations();
    copy();
    return device.synchronisations() - before;
  };
  EXPECT_EQ(stops([&] { copy_to_device(p, pageable.data(), 16, stream); }), 1);
  EXPECT_EQ(stops([&] { copy_to_host(pageable.data(), p, 16, stream); }), 1);
  EXPECT_EQ(stops([&] { copy_to_device(p, pinned, 16, stream), copy_to_host(pinned, p, 16, stream); }), 0);
  EXPECT_EQ(stops([&] { copy_to_host(pinned + 1, p, 16, stream); }), 1);  // past its end
  EXPECT_EQ(stops([&] { wait_for(stream); }), 1);
  const DeviceEvent event = make_event();
  EXPECT_EQ(stops([&] { record(event, stream), wait_for_event(event); }), 1);
  EXPECT_EQ(stops([&] { release(allocate(8)); }), 1);
  close_event(event), release_pinned(pinned);
  expect_failure([&] { release_pinned(pageable.data()); }, "which is no pinned memory");
}

// What failed and was told leaves nothing behind that the next launch would be blamed for.
TEST_F(CudaMemory, ForgetsAnErrorThatWasTold) {
  emulator::Machine narrow;
  narrow.memory = emulator::Device::get().bytes() + (1 << 20);
  const emulator::OnMachine small(narrow);
  float* p = floats(4);
  EXPECT_ERROR(allocate(2 << 20), ErrorKind::out_of_memory, "device memory: out of memory (cudaErrorMemoryAllocation)");
  EXPECT_EQ(failure([&] { add({p, 1}, p, 1, stream); }), "no error");
  wait_for(stream);
  emulator::Device::get().allocate(2 << 20);  // as a call whose status nobody looks at
  expect_failure([&] { add({p, 1}, p, 1, stream); }, "add_one: out of memory");
  EXPECT_EQ(failure([&] { add({p, 1}, p, 1, stream); }), "no error");
  wait_for(stream);
}

TEST_F(CudaMemory, TellsTheTimeBetweenTwoEvents) {
  const DeviceEvent begin = make_timed_event(), end = make_timed_event();
  float* p = floats(4);
  expect_failure([&] { seconds_between(begin, end); }, "an event that has not fired");
  record(begin, stream);
  add({p, 1}, p, 1, stream);
  record(end, stream);
  wait_for(stream);
  EXPECT_GE(seconds_between(begin, end), 0);
  close_event(begin), close_event(end);
}

// What is wrong with a machine, and what would be right.
TEST_F(CudaMemory, SaysWhyAMachineHasNoDevice) {
  const auto on = [](const std::string& text, const std::function<void()>& ask) {
    const emulator::OnMachine other(emulator::parse_machine(text));
    return failure(ask);
  };
  const auto count = [] { device_count(); };
  EXPECT_EQ(on("driver=0", count),
            "there is no NVIDIA driver on this machine; CUDA 13 needs NVIDIA's driver 580 or newer");
  EXPECT_EQ(on("driver=12080", count),
            "the NVIDIA driver of this machine is too old: it offers CUDA 12.8; CUDA 13 needs NVIDIA's driver 580 or "
            "newer");
  EXPECT_EQ(on("cards=none", count),
            "the NVIDIA driver sees no card on this machine (or CUDA_VISIBLE_DEVICES hides it)");
  EXPECT_EQ(on("cards=8.0,9.0", [] { device_info(0); }),
            "cuda:0 (the emulated device) is of compute capability 8.0; the kernels are compiled for 9.0 (H100, H200) "
            "and run on no other");
  EXPECT_EQ(on("cards=8.0,9.0", [] { device_info(1); }), "no error");
  for (const char* none : {"driver=0", "driver=12080", "cards=none"}) {
    const emulator::OnMachine other(emulator::parse_machine(none));
    EXPECT_FALSE(device_is_there()) << none;
  }
  EXPECT_EQ(emulator::Device::get().take_last_error(), kFine);
}

TEST_F(CudaMemory, RefusesLaunchesThatNoDeviceTakes) {
  float* p = floats(4);
  const auto with = [&](Launch how) { return failure([&] { launch(add_one, how, {p, 1}, p, 1); }); };
  EXPECT_EQ(with({.name = "k", .threads = 48, .stream = stream}),
            "kernel 'k': blocks of 48 threads, expected whole warps up to 1024");
  EXPECT_EQ(with({.name = "k", .threads = 2048, .stream = stream}),
            "kernel 'k': blocks of 2048 threads, expected whole warps up to 1024");
  EXPECT_EQ(with({.name = "k", .shared_bytes = 300000, .stream = stream}),
            "kernel 'k': 300000 bytes of shared memory, a block has at most 232448");
  EXPECT_EQ(with({.name = "k", .blocks = int64_t(1) << 31, .stream = stream}),
            "kernel 'k': 2147483648 blocks, expected 1 to 2^31 - 1");
  EXPECT_EQ(with({.name = "k"}), "kernel 'k': no stream");
  EXPECT_EQ(with({.name = "k", .blocks = 0, .stream = stream}), "no error");
}

struct Wide {
  float values[64];
};
__global__ void takes_much(float* out) { out[0] = shared<Wide>().values[0]; }
__global__ void writes_behind(float* out) {
  shared<Wide>().values[thread_index() + 60] = 1;
  if (thread_index() == 0) out[0] = 1;
}

TEST_F(CudaMemory, NamesSharedMemoryThatIsTooSmallOrWrittenPast) {
  float* p = floats(1);
  expect_failure(
      [&] {
        launch(takes_much, {.name = "takes_much", .threads = 32, .shared_bytes = 128, .stream = stream}, p);
        wait_for(stream);
      },
      "the kernel takes 256 bytes of shared memory, its launch has 128");
  const auto behind = [&] {
    launch(writes_behind, {.name = "writes_behind", .threads = 32, .shared_bytes = 256, .stream = stream}, p);
    wait_for(stream);
  };
#if defined(__SANITIZE_ADDRESS__)
  EXPECT_DEATH_ALONE(behind(), "AddressSanitizer");
#else
  expect_failure(behind, "byte 256 of 256 bytes of shared memory was written to");
#endif
}

}  // namespace
}  // namespace hadal::kernels::cuda
