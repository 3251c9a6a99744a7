// The probes' kernels: one layer, compiled by nvcc for a GPU and as C++ for the emulated device.
// compiled truth: at most 168 registers
#include "cuda_staged/probes.h"

#include "kernels/cuda/hopper/asynchronous.h"
#include "kernels/cuda/hopper/launch.h"

namespace hadal::staged {
namespace {

using namespace kernels::cuda;

// A stream and copies on the device, both for one probe.
class Bench {
 public:
  Bench() : stream(make_stream()) {}
  ~Bench() {
    close_stream(stream);
    for (void* p : owned_) release(p);
  }
  template <class T>
  T* upload(const std::vector<T>& values) {
    auto* p = static_cast<T*>(allocate(bytes_of(values)));
    owned_.push_back(p);
    copy_to_device(p, values.data(), bytes_of(values), stream);
    wait_for(stream);  // the values may go
    return p;
  }
  template <class T>
  std::vector<T> download(const T* p, int64_t n) {
    std::vector<T> values(static_cast<size_t>(n));
    copy_to_host(values.data(), p, bytes_of(values), stream);
    wait_for(stream);
    return values;
  }
  DeviceStream stream;

 private:
  template <class T>
  static int64_t bytes_of(const std::vector<T>& values) {
    return int64_t(values.size() * sizeof(T));
  }
  std::vector<void*> owned_;
};

struct BoxShared {
  uint16_t box[kBox * kBox];
  PhaseBarrier come;
};

__global__ void copy_one_box(const __grid_constant__ TensorMap map, BoxCorner from, uint16_t* out) {
  auto& s = shared<BoxShared>();
  if (thread_index() == 0) {
    begin(s.come, 1);
    barriers_are_ready();
    arrive_expecting(s.come, kBoxBytes);
    copy_box(s.box, map, from, s.come);
  }
  block_barrier();
  wait_for_phase(s.come, 0);
  for (int i = thread_index(); i < kBox * kBox; i += block_threads()) out[i] = s.box[i];
}

struct ProductShared {
  uint8_t a[kBoxBytes], b[2][kBoxBytes];
  PhaseBarrier come;
};

struct Given {
  const uint16_t *a, *b;
  float* sums;
  int64_t by_threads, in_two;
};

// As a copy would, but for the swizzle's author: element (row, col) of the box lies at its swizzled address.
__device__ void put_box(uint8_t* to, const uint16_t* box) {
  for (int i = thread_index(); i < kBox * kBox; i += block_threads())
    *reinterpret_cast<uint16_t*>(to + swizzled(uint32_t(i) * 2)) = box[i];
}

template <Major kMajor>
__device__ uint64_t step_of(const uint8_t* operand, int step) {
  const uint32_t inside = kMajor == Major::k ? kProductDepth * 2 : kProductDepth * kBox * 2;
  return descriptor(
      {.address = shared_address(operand) + uint32_t(step) * inside, .leading = kBoxBytes, .stride = 8 * kBox * 2});
}

template <Major kA, Major kB, int kFrom, int kTo>
__device__ void multiply_steps(float (&sum)[kOwnElements], const ProductShared& s) {
  HADAL_UNROLL
  for (int step = kFrom; step < kTo; ++step)
    multiply_async<kA, kB>(sum, step_of<kA>(s.a, step), step_of<kB>(s.b[0], step), true);
}

template <Major kA, Major kB>
__global__ void __launch_bounds__(kWarpgroup)
    multiply_boxes(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, Given given) {
  auto& s = shared<ProductShared>();
  if (thread_index() == 0) {
    begin(s.come, 1);
    barriers_are_ready();
  }
  block_barrier();
  if (given.by_threads) {
    put_box(s.a, given.a), put_box(s.b[0], given.b), put_box(s.b[1], given.b + kBox * kBox);
    fence_for_copies();
    block_barrier();
  } else {
    if (thread_index() == 0) {
      arrive_expecting(s.come, 3 * kBoxBytes);
      copy_box(s.a, a, {0, 0, 0}, s.come);
      copy_box(s.b[0], b, {0, 0, 0}, s.come), copy_box(s.b[1], b, {0, 0, 1}, s.come);
    }
    wait_for_phase(s.come, 0);
  }
  float first[kOwnElements], second[kOwnElements];
  const auto place = [](int i) {
    return product_row(thread_index(), i) * kProductCols + product_col(thread_index(), i);
  };
  HADAL_UNROLL
  for (int i = 0; i < kOwnElements; ++i) first[i] = given.sums[place(i)];
  if (given.in_two) {
    HADAL_UNROLL
    for (int i = 0; i < kOwnElements; ++i) second[i] = given.sums[kProductRows * kProductCols + place(i)];
    begin_products();
    multiply_steps<kA, kB, 0, 2>(first, s);
    end_products();
    begin_products();
    multiply_steps<kA, kB, 2, 4>(second, s);
    end_products();
    wait_for_products<1>();
    HADAL_UNROLL
    for (int i = 0; i < kOwnElements; ++i) given.sums[place(i)] = first[i];
    wait_for_products<0>();
    HADAL_UNROLL
    for (int i = 0; i < kOwnElements; ++i) given.sums[kProductRows * kProductCols + place(i)] = second[i];
    return;
  }
  begin_products();
  multiply_steps<kA, kB, 0, 4>(first, s);
  end_products();
  wait_for_products<0>();
  HADAL_UNROLL
  for (int i = 0; i < kOwnElements; ++i) given.sums[place(i)] = first[i];
}

struct HandShared {
  int64_t told[kWarp];
  PhaseBarrier full, empty;
};

__global__ void hand_over(int64_t* sums, int phases) {
  auto& s = shared<HandShared>();
  if (thread_index() == 0) {
    begin(s.full, kWarp), begin(s.empty, kWarp);
    barriers_are_ready();
  }
  block_barrier();
  const int lane = lane_index();
  int64_t sum = 0;
  for (int i = 0; i < phases; ++i) {
    if (warp_index() == 0) {
      wait_for_phase(s.empty, uint32_t(i + 1) % 2);  // a fresh barrier lets the first one pass
      s.told[lane] = int64_t(i) * 100 + lane;
      arrive(s.full);
    } else {
      wait_for_phase(s.full, uint32_t(i) % 2);
      sum += s.told[kWarp - 1 - lane];
      arrive(s.empty);
    }
  }
  if (warp_index() == 1) sums[lane] = sum;
}

}  // namespace

std::vector<uint16_t> copied_box(const std::vector<uint16_t>& matrices, const BoxProbe& p) {
  Bench bench;
  const TensorMap map = tensor_map({bench.upload(matrices), p.cols, p.rows, p.matrices, p.row_stride, p.matrix_stride});
  auto* out = bench.upload(std::vector<uint16_t>(kBox * kBox));
  launch(copy_one_box,
         {.name = "copy_one_box", .threads = 64, .shared_bytes = sizeof(BoxShared), .stream = bench.stream}, map,
         {p.col, p.row, p.matrix}, out);
  return bench.download(out, kBox * kBox);
}

std::vector<float> multiplied(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b,
                              const std::vector<float>& sums, const ProductProbe& probe) {
  Bench bench;
  std::vector<float> both = sums;
  both.insert(both.end(), sums.begin(), sums.end());
  const Given given{bench.upload(a), bench.upload(b), bench.upload(both), probe.by_threads, probe.in_two};
  const TensorMap a_map = tensor_map({given.a, kBox, kBox, 1, kBox, 0});
  const TensorMap b_map = tensor_map({given.b, kBox, kBox, 2, kBox, kBox * kBox});
  const auto kernel = probe.a_by_k
                          ? probe.b_by_k ? multiply_boxes<Major::k, Major::k> : multiply_boxes<Major::k, Major::mn>
                      : probe.b_by_k ? multiply_boxes<Major::mn, Major::k>
                                     : multiply_boxes<Major::mn, Major::mn>;
  launch(
      kernel,
      {.name = "multiply_boxes", .threads = kWarpgroup, .shared_bytes = sizeof(ProductShared), .stream = bench.stream},
      a_map, b_map, given);
  return bench.download(given.sums, (probe.in_two ? 2 : 1) * kProductRows * kProductCols);
}

std::vector<int64_t> handed_over(int phases) {
  Bench bench;
  auto* sums = bench.upload(std::vector<int64_t>(kWarp));
  launch(hand_over, {.name = "hand_over", .threads = 64, .shared_bytes = sizeof(HandShared), .stream = bench.stream},
         sums, phases);
  return bench.download(sums, kWarp);
}

}  // namespace hadal::staged
