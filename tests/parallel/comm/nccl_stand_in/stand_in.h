// A stand-in for NVIDIA's driver and NCCL, for tests on machines without a card: libcuda.so.1 and libnccl.so.2 with the
// entry points that hadal_nccl.so uses, over processes of one machine. What a test asks of it comes in environment
// variables:
//   HADAL_STAND_IN_CARDS=N            so many cards (8 without)
//   HADAL_STAND_IN_CUDA_ERROR=N       cuInit() fails with this error
//   HADAL_STAND_IN_SLOW_DOWNLOAD=MS   a copy back from the card takes so long
//   HADAL_STAND_IN_FAULT=R,N          on rank R operation N (1, 2, ...; the greetings are one) fails on the card
//   HADAL_STAND_IN_LOG=FILE           at its end each rank writes "rank R sent N messages of B bytes"
// (greetings are not counted). Work on a stream runs in its thread, after a moment that is drawn anew each time; memory
// of a card dies where the host touches it; NCCL puts operations on the stream some time after it was asked to.
#pragma once
#include <cuda.h>

#include <cstdlib>
#include <functional>

namespace stand_in {

// What the stand-in for NCCL asks of the one for CUDA.
void enqueue(CUstream stream, std::function<void()> work);
char* card_memory(const void* memory, size_t bytes);  // where the host may touch it; null: no memory of a card
int current_card();                                   // of this thread; -1: none
void sleep_a_moment(unsigned most_microseconds);      // as long as is drawn

inline int number_of(const char* variable, int otherwise) {
  const char* value = std::getenv(variable);
  return value ? std::atoi(value) : otherwise;
}

}  // namespace stand_in
