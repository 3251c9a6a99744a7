// libcuda.so.1 of the tests: see stand_in.h.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "stand_in.h"

struct CUctx_st {
  int card;
};

struct CUstream_st {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> work;
  bool running = false;
};

namespace {

struct Memory {
  char* seen_by_host;
  size_t bytes;
};
std::mutex memory_mutex;
std::map<char*, Memory> of_cards;  // by the address that programs are given
std::map<char*, size_t> of_host;   // pinned
std::atomic<unsigned> draws = 1;
thread_local CUcontext current = nullptr;

bool is_pinned(const void* memory, size_t bytes) {
  const std::lock_guard lock(memory_mutex);
  const auto* at = static_cast<const char*>(memory);
  for (const auto& [begin, size] : of_host)
    if (at >= begin && at + bytes <= begin + size) return true;
  return false;
}

void run(CUstream stream) {
  std::unique_lock lock(stream->mutex);
  while (true) {
    stream->changed.wait(lock, [&] { return !stream->work.empty(); });
    const std::function<void()> next = std::move(stream->work.front());
    stream->work.pop_front();
    stream->running = true;
    lock.unlock();
    stand_in::sleep_a_moment(400);
    next();
    lock.lock();
    stream->running = false;
  }
}

}  // namespace

namespace stand_in {

void enqueue(CUstream stream, std::function<void()> work) {
  const std::lock_guard lock(stream->mutex);
  stream->work.push_back(std::move(work));
  stream->changed.notify_all();
}

char* card_memory(const void* memory, size_t bytes) {
  const std::lock_guard lock(memory_mutex);
  const auto* at = static_cast<const char*>(memory);
  for (const auto& [begin, whole] : of_cards)
    if (at >= begin && at + bytes <= begin + whole.bytes) return whole.seen_by_host + (at - begin);
  return nullptr;
}

int current_card() { return current ? current->card : -1; }

void sleep_a_moment(unsigned most_microseconds) {
  unsigned drawn = draws++ * 2654435761u;
  drawn ^= drawn >> 15;
  std::this_thread::sleep_for(std::chrono::microseconds(drawn % (most_microseconds + 1)));
}

}  // namespace stand_in

extern "C" {

CUresult cuInit(unsigned) { return CUresult(stand_in::number_of("HADAL_STAND_IN_CUDA_ERROR", 0)); }

CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = error == CUDA_ERROR_NO_DEVICE ? "no CUDA-capable device is detected" : "an error of the stand-in";
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  *count = stand_in::number_of("HADAL_STAND_IN_CARDS", 8);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < stand_in::number_of("HADAL_STAND_IN_CARDS", 8) ? CUDA_SUCCESS
                                                                                  : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  std::memset(uuid->bytes, 'a' + device, sizeof uuid->bytes);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  *context = new CUctx_st{device};
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  current = context;
  return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream* stream, unsigned) {
  if (!current) return CUDA_ERROR_INVALID_CONTEXT;
  *stream = new CUstream_st;
  std::thread(run, *stream).detach();
  return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream stream) {
  const std::lock_guard lock(stream->mutex);
  return stream->running || !stream->work.empty() ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr* memory, size_t bytes) {
  if (!current) return CUDA_ERROR_INVALID_CONTEXT;
  const int file = memfd_create("card", 0);
  if (file < 0 || ftruncate(file, off_t(bytes)) != 0) return CUDA_ERROR_INVALID_VALUE;
  void* given = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, file, 0);
  void* seen = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (given == MAP_FAILED || seen == MAP_FAILED) return CUDA_ERROR_INVALID_VALUE;
  std::memset(seen, 0xa5, bytes);
  const std::lock_guard lock(memory_mutex);
  of_cards[static_cast<char*>(given)] = {static_cast<char*>(seen), bytes};
  *memory = reinterpret_cast<CUdeviceptr>(given);
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  if (!current) return CUDA_ERROR_INVALID_CONTEXT;
  *memory = std::malloc(bytes);
  const std::lock_guard lock(memory_mutex);
  of_host[static_cast<char*>(*memory)] = bytes;
  return CUDA_SUCCESS;
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  if (!current) return CUDA_ERROR_INVALID_CONTEXT;
  char* target = stand_in::card_memory(reinterpret_cast<void*>(to), bytes);
  if (!target || !is_pinned(from, bytes)) return CUDA_ERROR_INVALID_VALUE;
  stand_in::enqueue(stream, [=] { std::memcpy(target, from, bytes); });
  return CUDA_SUCCESS;
}

CUresult cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (!current) return CUDA_ERROR_INVALID_CONTEXT;
  const char* source = stand_in::card_memory(reinterpret_cast<void*>(from), bytes);
  if (!source || !is_pinned(to, bytes)) return CUDA_ERROR_INVALID_VALUE;
  stand_in::enqueue(stream, [=] {
    std::this_thread::sleep_for(std::chrono::milliseconds(stand_in::number_of("HADAL_STAND_IN_SLOW_DOWNLOAD", 0)));
    std::memcpy(to, source, bytes);
  });
  return CUDA_SUCCESS;
}
}
