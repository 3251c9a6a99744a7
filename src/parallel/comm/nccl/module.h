// What a rank needs of its card and of NCCL, as a table of functions in a module of its own (hadal_nccl.so), which is
// opened at run time and itself opens libcuda.so.1 and libnccl.so.2: neither the program nor the module links them.
//
// A process is one rank, has one card, one communicator with all ranks, one stream, and one stage: host memory that
// copies read and write (pinned), and as much of the card's. What is begun on the stream runs in its order, later:
// done() tells when all of it has. One thread alone may call what comes after make_id().
#pragma once
#include <cstdint>

namespace hadal {

struct NcclId {  // what the ranks of a communicator find each other by
  char bytes[128];
};

struct NcclModule {
  // Each returns what failed, with the words of CUDA or NCCL, which stand until this thread's next call; null: nothing.
  const char* (*open)(int* cards);              // before all others; how many cards this process sees
  const char* (*identify)(int card, char* id);  // 16 bytes that no other card has
  const char* (*make_id)(NcclId* id);           // by one rank, which tells the others
  const char* (*use)(int card, int64_t stage_bytes, void** stage);  // the host's side of it
  const char* (*join)(const NcclId* id, int rank, int size);        // begins
  const char* (*upload)(int64_t bytes);                             // begins to copy the stage to the card
  const char* (*download)(int64_t bytes);                           // and back
  const char* (*together)(int begins);                              // what lies between together(1) and (0) is one step
  const char* (*send)(int to, int64_t at, int64_t bytes);  // begins; of the card's side of the stage, from `at`
  const char* (*receive)(int from, int64_t at, int64_t bytes);
  const char* (*done)(int* is);
  void (*close)();  // what is under way ends at once, here; the stage stays as long as the process
};

using NcclModuleFunction = const NcclModule* (*)();
inline constexpr const char* kNcclModuleSymbol = "hadal_nccl_module";

}  // namespace hadal
