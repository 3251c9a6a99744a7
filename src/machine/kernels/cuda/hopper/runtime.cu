// Memory, streams and events through the CUDA runtime. Streams do not synchronise with the default stream.
#include "kernels/cuda/hopper/runtime.h"

#include <cuda_runtime.h>

#include "base/error.h"

namespace hadal::kernels::cuda {
namespace {

cudaStream_t stream_of(DeviceStream stream) { return static_cast<cudaStream_t>(stream.handle); }
cudaEvent_t event_of(DeviceEvent event) { return static_cast<cudaEvent_t>(event.handle); }

}  // namespace

void check_cuda(int status, const char* what) {
  if (status == cudaSuccess) return;
  const auto error = cudaError_t(status);
  const ErrorKind kind = error == cudaErrorMemoryAllocation ? ErrorKind::out_of_memory : ErrorKind::internal;
  fail(kind, "{}: {} ({})", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

namespace {

constexpr int kMajor = 9, kMinor = 0;  // sm_90a: what the kernels are compiled for
constexpr const char* kDriverNeeded = "CUDA 13 needs NVIDIA's driver 580 or newer";

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

int driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

}  // namespace

bool device_is_there() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  cudaGetLastError();  // or the next call would report it
  const int version = driver_version();
  check(version > 0, ErrorKind::unsupported, "there is no NVIDIA driver on this machine; {}", kDriverNeeded);
  check(status != cudaErrorInsufficientDriver, ErrorKind::unsupported,
        "the NVIDIA driver of this machine is too old: it offers CUDA {}; {}", version_text(version), kDriverNeeded);
  check(status == cudaSuccess || status == cudaErrorNoDevice, ErrorKind::unsupported, "CUDA does not start: {} ({})",
        cudaGetErrorString(status), cudaGetErrorName(status));
  fail(ErrorKind::unsupported, "the NVIDIA driver sees no card on this machine (or CUDA_VISIBLE_DEVICES hides it)");
}

void use_device(int index) { check_cuda(cudaSetDevice(index), "choosing a device"); }

DeviceInfo device_info(int index) {
  cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, index), "properties of a device");
  check(properties.major == kMajor && properties.minor == kMinor, ErrorKind::unsupported,
        "cuda:{} is a {} of compute capability {}.{}; the kernels are compiled for {}.{} (H100, H200) and run on no "
        "other",
        index, properties.name, properties.major, properties.minor, kMajor, kMinor);
  use_device(index);
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "memory of a device");
  return {properties.name, version_text(driver_version()), int64_t(free), int64_t(total)};
}

void* allocate(int64_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, size_t(bytes > 0 ? bytes : 1)), "device memory");
  return memory;
}

void release(void* memory) { check_cuda(cudaFree(memory), "release of device memory"); }

void* allocate_pinned(int64_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMallocHost(&memory, size_t(bytes)), "pinned memory of the host");
  return memory;
}

void release_pinned(void* memory) { check_cuda(cudaFreeHost(memory), "release of pinned memory"); }

void copy_to_device(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  check_cuda(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyHostToDevice, stream_of(stream)), "copy to the device");
}

void copy_to_host(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  check_cuda(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToHost, stream_of(stream)), "copy to the host");
}

void copy_on_device(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  check_cuda(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, stream_of(stream)),
             "copy on the device");
}

void fill_bytes(void* to, uint8_t value, int64_t bytes, DeviceStream stream) {
  check_cuda(cudaMemsetAsync(to, value, size_t(bytes), stream_of(stream)), "filling device memory");
}

DeviceStream make_stream() {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a new stream");
  return {stream};
}

void close_stream(DeviceStream stream) {
  wait_for(stream);
  check_cuda(cudaStreamDestroy(stream_of(stream)), "closing a stream");
}

void wait_for(DeviceStream stream) { check_cuda(cudaStreamSynchronize(stream_of(stream)), "work of a stream"); }

DeviceEvent make_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "a new event");
  return {event};
}

void close_event(DeviceEvent event) { check_cuda(cudaEventDestroy(event_of(event)), "closing an event"); }

void record(DeviceEvent event, DeviceStream stream) {
  check_cuda(cudaEventRecord(event_of(event), stream_of(stream)), "recording an event");
}

void wait_for_event(DeviceEvent event) { check_cuda(cudaEventSynchronize(event_of(event)), "waiting for an event"); }

void order_after(DeviceEvent event, DeviceStream stream) {
  check_cuda(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0), "waiting for an event");
}

}  // namespace hadal::kernels::cuda
