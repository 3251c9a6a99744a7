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

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

void* allocate(int64_t bytes) {
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, size_t(bytes > 0 ? bytes : 1)), "device memory");
  return memory;
}

void release(void* memory) { check_cuda(cudaFree(memory), "release of device memory"); }

void copy_to_device(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  check_cuda(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyHostToDevice, stream_of(stream)), "copy to the device");
}

void copy_to_host(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  check_cuda(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToHost, stream_of(stream)), "copy to the host");
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

void wait_for(DeviceEvent event, DeviceStream stream) {
  check_cuda(cudaStreamWaitEvent(stream_of(stream), event_of(event), 0), "waiting for an event");
}

}  // namespace hadal::kernels::cuda
