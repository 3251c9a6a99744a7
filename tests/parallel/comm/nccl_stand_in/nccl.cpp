// libnccl.so.2 of the tests: see stand_in.h. The ranks of a communicator share a piece of memory with a mailbox for
// every ordered pair; a message goes through it in parts, and a send ends when the last part has been taken. What a
// real library would wait for without end or answer with wrong bytes, two ranks on one card and counts that differ,
// is an error here.
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "stand_in.h"

namespace {

struct Mailbox {
  std::atomic<int64_t> full;  // bytes of the part that lies in it, plus one; 0: it is empty
  int64_t whole;              // bytes of the message
  char part[64 << 10];
};

struct Shared {
  std::atomic<int> joined;
  std::atomic<int> cards[64];                                                                 // of each rank, plus one
  Mailbox* mailbox(int64_t number) { return reinterpret_cast<Mailbox*>(this + 1) + number; }  // from * size + to
};

struct Operation {
  bool sends = false;
  int peer = 0;
  char* memory = nullptr;
  int64_t bytes = 0, done = 0;
};

}  // namespace

struct ncclComm {
  int rank = 0, size = 0;
  Shared* shared = nullptr;
  std::atomic<int> state = ncclInProgress, operations = 0;
  std::atomic<int64_t> messages = 0, bytes = 0;
  std::atomic<bool> aborted = false;
  std::string error;  // written before the state
  bool failed() const { return state != ncclSuccess && state != ncclInProgress; }
  void fail(ncclResult_t result, std::string why) {
    error = std::move(why);
    state = result;
  }
};

namespace {

thread_local bool grouped = false;
thread_local std::vector<Operation> group;
thread_local ncclComm_t group_communicator = nullptr;
thread_local CUstream group_stream = nullptr;

// One step of an operation; whether anything moved.
bool advance(ncclComm& c, Operation& o) {
  const int from = o.sends ? c.rank : o.peer, to = o.sends ? o.peer : c.rank;
  Mailbox& box = *c.shared->mailbox(from * c.size + to);
  if ((box.full == 0) != o.sends) return false;
  if (o.sends) {
    const int64_t n = std::min<int64_t>(o.bytes - o.done, sizeof box.part);
    std::memcpy(box.part, o.memory + o.done, size_t(n));
    box.whole = o.bytes;
    box.full = n + 1;
    o.done += n;
    return true;
  }
  const int64_t n = box.full - 1;
  if (box.whole != o.bytes) {
    c.fail(ncclInternalError,
           "a message of " + std::to_string(box.whole) + " bytes meets a receive of " + std::to_string(o.bytes));
    return false;
  }
  std::memcpy(o.memory + o.done, box.part, size_t(n));
  o.done += n;
  box.full = 0;
  return true;
}

bool over(const ncclComm& c, const Operation& o) {
  return o.done == o.bytes && (!o.sends || c.shared->mailbox(c.rank * c.size + o.peer)->full == 0);
}

// On the stream: all of them side by side.
void perform(ncclComm& c, std::vector<Operation> operations) {
  const int number = ++c.operations;
  if (const char* fault = std::getenv("HADAL_STAND_IN_FAULT")) {
    if (std::to_string(c.rank) + "," + std::to_string(number) == fault)
      return c.fail(ncclRemoteError, "the stand-in was asked to fail");
  }
  while (!c.aborted && !c.failed()) {
    bool moved = false, all = true;
    for (Operation& o : operations) {
      moved |= o.done < o.bytes && advance(c, o);
      all &= over(c, o);
    }
    if (all) break;
    if (!moved) stand_in::sleep_a_moment(100);
  }
  for (const Operation& o : operations)
    if (o.sends && number > 1) ++c.messages, c.bytes += o.bytes;
}

// In a thread of its own, as NCCL does where it was asked not to block.
void join(ncclComm_t c, std::string name, int card) {
  const size_t bytes = sizeof(Shared) + size_t(c->size) * size_t(c->size) * sizeof(Mailbox);
  const int file = shm_open(name.c_str(), O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, off_t(bytes)) != 0) return c->fail(ncclSystemError, "no shared memory");
  c->shared = static_cast<Shared*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
  close(file);
  if (c->shared == MAP_FAILED) return c->fail(ncclSystemError, "no shared memory");
  c->shared->cards[c->rank] = card + 1;
  ++c->shared->joined;
  while (c->shared->joined < c->size && !c->aborted) stand_in::sleep_a_moment(1000);
  if (c->rank == 0) shm_unlink(name.c_str());
  for (int r = 0; r < c->size; ++r)
    if (r != c->rank && c->shared->cards[r] == card + 1)
      return c->fail(ncclInvalidUsage,
                     "Duplicate GPU detected : rank " + std::to_string(c->rank) + " and rank " + std::to_string(r));
  c->state = ncclSuccess;
}

// The stream gets it a moment later.
ncclResult_t launch(ncclComm_t c, std::vector<Operation> operations, CUstream stream) {
  if (c->state != ncclSuccess) return ncclInvalidUsage;
  c->state = ncclInProgress;
  std::thread([c, operations = std::move(operations), stream] {
    stand_in::sleep_a_moment(300);
    stand_in::enqueue(stream, [c, operations] { perform(*c, operations); });
    int before = ncclInProgress;
    c->state.compare_exchange_strong(before, ncclSuccess);
  }).detach();
  return ncclInProgress;
}

ncclResult_t add(bool sends, const void* memory, size_t bytes, int peer, ncclComm_t c, CUstream stream) {
  char* seen = stand_in::card_memory(memory, bytes);
  if (!seen || peer < 0 || peer >= c->size || peer == c->rank) return ncclInvalidArgument;
  Operation operation{sends, peer, seen, int64_t(bytes), 0};
  if (!grouped) return launch(c, {operation}, stream);
  group.push_back(operation);
  group_communicator = c, group_stream = stream;
  return ncclSuccess;
}

}  // namespace

extern "C" {

const char* ncclGetErrorString(ncclResult_t result) {
  if (result == ncclRemoteError) return "remote process exited or there was a network error";
  if (result == ncclInvalidUsage) return "invalid usage (run with NCCL_DEBUG=WARN for details)";
  return "an error of the stand-in";
}

const char* ncclGetLastError(ncclComm_t c) { return c && c->failed() ? c->error.c_str() : ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::snprintf(id->internal, sizeof id->internal, "/hadal_stand_in_%d_%lld", int(getpid()),
                static_cast<long long>(now));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int n_ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  const int card = stand_in::current_card();
  if (card < 0 || config->blocking != 0 || config->magic != 0xcafebeef || n_ranks > 64) return ncclInvalidUsage;
  auto* c = new ncclComm;
  c->rank = rank, c->size = n_ranks;
  *communicator = c;
  std::thread(join, c, std::string(id.internal), card).detach();
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* state) {
  *state = ncclResult_t(communicator->state.load());
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  grouped = true;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  grouped = false;
  return launch(group_communicator, std::move(group), group_stream);
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  return type != ncclUint8 ? ncclInvalidArgument : add(true, from, count, peer, communicator, stream);
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  return type != ncclUint8 ? ncclInvalidArgument : add(false, to, count, peer, communicator, stream);
}

ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  communicator->aborted = true;
  if (const char* path = std::getenv("HADAL_STAND_IN_LOG")) {
    if (std::FILE* log = std::fopen(path, "a")) {
      std::fprintf(log, "rank %d sent %lld messages of %lld bytes\n", communicator->rank,
                   static_cast<long long>(communicator->messages), static_cast<long long>(communicator->bytes));
      std::fclose(log);
    }
  }
  return ncclSuccess;
}
}
