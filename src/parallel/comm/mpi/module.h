// The few calls of MPI that ranks need, as a table of functions in a module of its own (hadal_mpi.so), which is opened
// at run time: the program neither links MPI nor needs it to start. One thread alone may call them.
#pragma once

namespace hadal {

struct MpiModule {
  void (*start)();  // before anything else
  int (*rank)();
  int (*size)();
  void* (*send)(const void* data, int bytes, int to);  // begins; data must stay until sent() says so
  // Begins to receive the packet that probe() found. Its sender may stand still in the middle of it.
  void* (*receive)(void* data, int bytes, int from);
  int (*done)(void* handle);            // 1: sent or received, and the handle gone
  int (*probe)(int* from, int* bytes);  // 1: a packet waits
  void (*finish)();                     // with all other ranks
  void (*abort)(int code);              // all ranks, at once
};

using MpiModuleFunction = const MpiModule* (*)();
inline constexpr const char* kMpiModuleSymbol = "hadal_mpi_module";

}  // namespace hadal
