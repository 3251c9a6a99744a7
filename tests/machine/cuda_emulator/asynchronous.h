// What runs beside the threads of an emulated block: copies of boxes to shared memory and products of warpgroups, each
// at a moment drawn from the seed between its issue and whatever waits for it; and the barriers that count their bytes.
//
// Shared memory has two views, that of threads and that of copies and products. A copy that ends writes both; what
// threads wrote comes into the other view by join_views() alone, so a product behind a forgotten fence reads what was
// there before. Sums of a product are a NaN of our own from its issue until they were waited for.
//
// A launch ends with an Error when
//   a barrier is used that was never begun, or was overwritten; it gets more arrivals than a phase has, or 2^20 bytes
//   a box does not begin at 1024 bytes of shared memory, an operand of a product lies outside
//   threads of a warpgroup issue different products, or products without begin_products()
//   a thread wrote to sums of a product that it had not waited for
//   the block ends while a copy or product is under way, or was not waited for
// and, as every deadlock, when a phase or product never comes: the message says what it lacks.
//
// Not found are: a fence that some threads run and others forget (whoever runs one joins all that is written), and a
// forgotten barriers_are_ready().
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <source_location>
#include <vector>

#include "kernels/cuda/hopper/tensor_map.h"

namespace hadal::emulator {

// One multiplication of a warpgroup, as its threads issue it.
struct ProductIssue {
  uint64_t a = 0, b = 0;  // descriptors
  bool a_by_mn = false, b_by_mn = false, add = false;
  bool operator==(const ProductIssue&) const = default;
};

class Asynchronous {
 public:
  using Where = std::source_location;

  Asynchronous(uint8_t* shared, int64_t bytes, int threads);
  ~Asynchronous();
  // Runs one piece of what is under way, drawn among those that can run; half of all wait until threads are idle.
  // False: there is none.
  bool run_one(bool idle);
  void check_ended() const;

  void begin_barrier(void* at, uint32_t arrivals);
  void arrive(void* at, int64_t bytes);  // and announces so many
  void wait_for_phase(void* at, uint32_t parity, const Where& where);

  struct Corner {
    int64_t col, row, matrix;
  };
  void copy_box(void* to, const kernels::cuda::TensorMap& map, const Corner& from, void* barrier);
  void join_views();
  uint32_t address_of(const void* in_shared) const;

  void begin_products();
  void issue(const ProductIssue& product, float* sums);
  void end_products();
  void wait_for_products(size_t groups_left, const Where& where);

 private:
  struct Barrier;
  struct Copy;
  struct Sums;
  struct Product;
  struct Member;
  struct Warpgroup;
  struct PhaseEnded;
  struct ProductsDone;

  Barrier& barrier_at(void* at);
  void end_phase_if_complete(Barrier& barrier);
  void run(const Copy& copy);
  void run_first_product(Warpgroup& group);
  Warpgroup& own_group();
  void take_sums_back(Warpgroup& group, int thread, uint64_t done);

  uint8_t* shared_;
  int64_t bytes_;
  std::vector<uint8_t> view_;  // of copies and products
  std::vector<std::unique_ptr<Barrier>> barriers_;
  std::vector<Copy> copies_;
  std::vector<std::unique_ptr<Warpgroup>> groups_;
};

}  // namespace hadal::emulator
