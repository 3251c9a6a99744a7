// Memory, streams and events through the CUDA runtime. Streams do not synchronise with the default stream.
#include "kernels/cuda/hopper/runtime.h"

#include <cuda_runtime.h>

#include "base/error.h"

namespace hadal::kernels::cuda {
namespace {

cudaStream_t stream_of(DeviceStream stream) { return static_cast<cudaStream_t>(stream.handle); }
cudaEvent_t event_of(DeviceEvent event) { return static_cast<cudaEvent_t>(event.handle); }

}  // namespace

static_assert(kFine == cudaSuccess && kNoMemory == cudaErrorMemoryAllocation &&
              kDriverTooOld == cudaErrorInsufficientDriver && kNoCard == cudaErrorNoDevice);

std::string status_text(int status) {
  const auto error = cudaError_t(status);
  return fmt::format("{} ({})", cudaGetErrorString(error), cudaGetErrorName(error));
}

int take_last_error() { return cudaGetLastError(); }

int count_cards(int& count) { return cudaGetDeviceCount(&count); }

int driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

void use_device(int index) { check_cuda(cudaSetDevice(index), "choosing a device"); }

Card card_of(int index) {
  cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, index), "properties of a device");
  Card card{properties.name, properties.major, properties.minor, 0, int64_t(properties.totalGlobalMem)};
  if (!runs_on(card)) return card;  // to ask for what is free begins work with it
  use_device(index);
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "memory of a device");
  card.free_bytes = int64_t(free), card.total_bytes = int64_t(total);
  return card;
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

DeviceEvent make_timed_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreate(&event), "a new event");
  return {event};
}

double seconds_between(DeviceEvent begin, DeviceEvent end) {
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, event_of(begin), event_of(end)), "time between events");
  return double(milliseconds) / 1000;
}

}  // namespace hadal::kernels::cuda
