// The few calls of MPI that ranks need, as a table of functions in a module of its own (hadal_mpi.so), which is opened
// at run time: the program neither links MPI nor needs it to start. One thread alone may call them.
#pragma once

namespace hadal {

struct MpiModule {
  void (*start)();  // before anything else
  int (*rank)();
  int (*size)();
  void* (*send)(const void* data, int bytes, int to);  // begins; data must stay until sent() says so
  int (*sent)(void* handle);                           // 1: gone, and the handle with it
  int (*probe)(int* from, int* bytes);                 // 1: a packet waits
  void (*receive)(void* data, int bytes, int from);    // the packet that probe() found
  void (*finish)();                                    // with all other ranks
  void (*abort)(int code);                             // all ranks, at once
};

using MpiModuleFunction = const MpiModule* (*)();
inline constexpr const char* kMpiModuleSymbol = "hadal_mpi_module";

}  // namespace hadal
