// hadal_nccl.so: see module.h. Names and types of what is looked up are the headers' own (of entry points that have
// versions CUDA's header names the newest), so that a wrong one does not compile.
#include "comm/nccl/module.h"

#include <cuda.h>
#include <dlfcn.h>
#include <nccl.h>

#include <string>

namespace {

static_assert(sizeof(hadal::NcclId) == sizeof(ncclUniqueId));

#define HADAL_CUDA_ENTRIES(DO) \
  DO(cuInit)                   \
  DO(cuGetErrorString)         \
  DO(cuDeviceGetCount)         \
  DO(cuDeviceGet)              \
  DO(cuDeviceGetUuid)          \
  DO(cuDevicePrimaryCtxRetain) \
  DO(cuCtxSetCurrent)          \
  DO(cuStreamCreate)           \
  DO(cuStreamQuery)            \
  DO(cuMemAlloc)               \
  DO(cuMemHostAlloc)           \
  DO(cuMemcpyHtoDAsync)        \
  DO(cuMemcpyDtoHAsync)
#define HADAL_NCCL_ENTRIES(DO) \
  DO(ncclGetErrorString)       \
  DO(ncclGetLastError)         \
  DO(ncclGetUniqueId)          \
  DO(ncclCommInitRankConfig)   \
  DO(ncclCommGetAsyncError)    \
  DO(ncclGroupStart)           \
  DO(ncclGroupEnd)             \
  DO(ncclSend)                 \
  DO(ncclRecv)                 \
  DO(ncclCommAbort)

struct Entries {
#define HADAL_FIELD(entry) decltype(&::entry) entry;
  HADAL_CUDA_ENTRIES(HADAL_FIELD)
  HADAL_NCCL_ENTRIES(HADAL_FIELD)
} call;

ncclComm_t communicator = nullptr;
CUstream stream = nullptr;
void* host_stage = nullptr;
CUdeviceptr card_stage = 0;
thread_local std::string said;

const char* say(std::string text) {
  said = std::move(text);
  return said.c_str();
}

const char* cuda(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return nullptr;
  const char* text = nullptr;
  if (call.cuGetErrorString(result, &text) != CUDA_SUCCESS || text == nullptr) text = "an error without a name";
  return say(std::string(what) + ": " + text + " (CUDA error " + std::to_string(int(result)) + ")");
}

// What is in progress done() waits for. `what`: the call that says so, or null: what was begun before.
const char* nccl(ncclResult_t result, const char* what) {
  if (result == ncclSuccess || result == ncclInProgress) return nullptr;
  std::string text = (what ? std::string(what) + ": " : "") + call.ncclGetErrorString(result);
  const char* last = call.ncclGetLastError(communicator);
  if (last != nullptr && *last != '\0') text += std::string(" (") + last + ")";
  while (text.back() == '\n') text.pop_back();
  return say(text);
}

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) say(std::string("there is no ") + name + " in it");
  return function != nullptr;
}
// By the name that the header gives it: cuMemAlloc is cuMemAlloc_v2.
#define HADAL_NAMED(name, entry) &&find(library, name, call.entry)
#define HADAL_TEXT(entry) #entry
#define HADAL_FIND(entry) HADAL_NAMED(HADAL_TEXT(entry), entry)

bool find_cuda(void* library) { return true HADAL_CUDA_ENTRIES(HADAL_FIND); }
bool find_nccl(void* library) { return true HADAL_NCCL_ENTRIES(HADAL_FIND); }

// Null with `said` where it is not there, or not all of it.
void* open_library(const char* name, bool (*find_all)(void*)) {
  void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) say(dlerror());
  return library != nullptr && find_all(library) ? library : nullptr;
}

const char* open_both(int* cards) {
  if (open_library("libcuda.so.1", find_cuda) == nullptr)
    return say("NVIDIA's driver cannot be opened (" + said + "); install it");
  if (open_library("libnccl.so.2", find_nccl) == nullptr)
    return say("NCCL cannot be opened (" + said + "); ./setup --nccl brings it");
  if (const char* error = cuda(call.cuInit(0), "cuInit")) return error;
  return cuda(call.cuDeviceGetCount(cards), "cuDeviceGetCount");
}

const char* identify(int card, char* id) {
  CUdevice device = 0;
  if (const char* error = cuda(call.cuDeviceGet(&device, card), "cuDeviceGet")) return error;
  return cuda(call.cuDeviceGetUuid(reinterpret_cast<CUuuid*>(id), device), "cuDeviceGetUuid");
}

const char* make_id(hadal::NcclId* id) {
  return nccl(call.ncclGetUniqueId(reinterpret_cast<ncclUniqueId*>(id)), "ncclGetUniqueId");
}

const char* use(int card, int64_t stage_bytes, void** stage) {
  CUdevice device = 0;
  CUcontext context = nullptr;
  const char* error = cuda(call.cuDeviceGet(&device, card), "cuDeviceGet");
  if (!error) error = cuda(call.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  if (!error) error = cuda(call.cuCtxSetCurrent(context), "cuCtxSetCurrent");
  if (!error) error = cuda(call.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  if (!error) error = cuda(call.cuMemHostAlloc(&host_stage, size_t(stage_bytes), 0), "cuMemHostAlloc");
  if (!error) error = cuda(call.cuMemAlloc(&card_stage, size_t(stage_bytes)), "cuMemAlloc");
  *stage = host_stage;
  return error;
}

const char* join(const hadal::NcclId* id, int rank, int size) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // a rank that never comes must not hold this one
  const ncclUniqueId& unique = *reinterpret_cast<const ncclUniqueId*>(id);
  return nccl(call.ncclCommInitRankConfig(&communicator, size, unique, rank, &config), "ncclCommInitRankConfig");
}

const char* upload(int64_t bytes) {
  return cuda(call.cuMemcpyHtoDAsync(card_stage, host_stage, size_t(bytes), stream), "cuMemcpyHtoDAsync");
}

const char* download(int64_t bytes) {
  return cuda(call.cuMemcpyDtoHAsync(host_stage, card_stage, size_t(bytes), stream), "cuMemcpyDtoHAsync");
}

const char* together(int begins) {
  return begins ? nccl(call.ncclGroupStart(), "ncclGroupStart") : nccl(call.ncclGroupEnd(), "ncclGroupEnd");
}

const char* send(int to, int64_t at, int64_t bytes) {
  const void* from = reinterpret_cast<const void*>(card_stage + CUdeviceptr(at));
  return nccl(call.ncclSend(from, size_t(bytes), ncclUint8, to, communicator, stream), "ncclSend");
}

const char* receive(int from, int64_t at, int64_t bytes) {
  void* to = reinterpret_cast<void*>(card_stage + CUdeviceptr(at));
  return nccl(call.ncclRecv(to, size_t(bytes), ncclUint8, from, communicator, stream), "ncclRecv");
}

// The stream knows of an operation only when NCCL has put it there.
const char* done(int* is) {
  *is = 0;
  ncclResult_t state = ncclSuccess;
  if (communicator != nullptr) {
    const ncclResult_t asked = call.ncclCommGetAsyncError(communicator, &state);
    if (const char* error = nccl(asked == ncclSuccess ? state : asked, nullptr)) return error;
    if (state == ncclInProgress) return nullptr;
  }
  const CUresult result = call.cuStreamQuery(stream);
  if (result == CUDA_ERROR_NOT_READY) return nullptr;
  *is = 1;
  return cuda(result, "the card");
}

void close_all() {
  if (communicator != nullptr) call.ncclCommAbort(communicator);
  communicator = nullptr;
}

const hadal::NcclModule table = {open_both, identify, make_id, use,     join, upload,
                                 download,  together, send,    receive, done, close_all};

}  // namespace

extern "C" const hadal::NcclModule* hadal_nccl_module() { return &table; }
