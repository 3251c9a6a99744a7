// hadal_mpi.so: see module.h.
#include "comm/mpi/module.h"

#include <mpi.h>

namespace {

constexpr int kTag = 1;  // packets between two ranks stay in order

void start() {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
}

int rank() {
  int value = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &value);
  return value;
}

int size() {
  int value = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &value);
  return value;
}

void* send(const void* data, int bytes, int to) {
  auto* request = new MPI_Request;
  MPI_Isend(data, bytes, MPI_BYTE, to, kTag, MPI_COMM_WORLD, request);
  return request;
}

void* receive(void* data, int bytes, int from) {
  auto* request = new MPI_Request;
  MPI_Irecv(data, bytes, MPI_BYTE, from, kTag, MPI_COMM_WORLD, request);
  return request;
}

int done(void* handle) {
  auto* request = static_cast<MPI_Request*>(handle);
  int over = 0;
  MPI_Test(request, &over, MPI_STATUS_IGNORE);
  if (over) delete request;
  return over;
}

int probe(int* from, int* bytes) {
  int found = 0;
  MPI_Status status;
  MPI_Iprobe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, &found, &status);
  if (!found) return 0;
  *from = status.MPI_SOURCE;
  MPI_Get_count(&status, MPI_BYTE, bytes);
  return 1;
}

void finish() { MPI_Finalize(); }
void abort_all(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

const hadal::MpiModule table = {start, rank, size, send, receive, done, probe, finish, abort_all};

}  // namespace

extern "C" const hadal::MpiModule* hadal_mpi_module() { return &table; }
