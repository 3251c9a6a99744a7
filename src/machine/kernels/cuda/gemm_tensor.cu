// C (+)= A B of BF16 on tensor cores (gemm_tensor.h). A block makes 128 x 128 elements of C. One thread copies chunks
// of 128 k of both operands into a ring of stages; two warpgroups multiply 64 rows each, wait for the chunk's sums and
// add them to their totals, in registers.
//
// A stage belongs to the copies until its barrier `full` ends a phase, then to the warpgroups until each of their warps
// has arrived at `empty`. What a tile reads beyond its matrix are zeros; beyond its group of rows, the neighbour's,
// whose sums are not stored; beyond its group of k, the neighbour's too, which must not be summed: the stage's rows
// behind the group's end are overwritten with zeros (`cleared`), by threads, so a fence stands between them and wgmma.
//
// compiled truth: wgmma.mma_async (HGMMA), cp.async.bulk.tensor (UTMALDG), mbarrier.try_wait (SYNCS)
// compiled truth: at most 168 registers
#include "kernels/cuda/gemm_tensor.h"

#include "kernels/cuda/hopper/asynchronous.h"
#include "kernels/cuda/hopper/launch.h"
#include "kernels/cuda/numbers.h"

namespace hadal::kernels::cuda {
namespace {

constexpr int kTileSize = 128, kStages = 3;
constexpr int kMultipliers = 2 * kWarpgroup, kThreads = kMultipliers + kWarp;  // and a warp for copies
constexpr int kHalves = kTileSize / kBox;
static_assert(kGemmChunk == 2 * kBox && kProductRows == kBox && kProductCols == kTileSize);

// An operand's chunk: boxes [half of k][half of m or n].
struct Operand {
  uint8_t boxes[2][kHalves][kBoxBytes];
};
struct Stage {
  Operand a, b;
};
struct Ring {
  Stage stages[kStages];
  PhaseBarrier full[kStages], empty[kStages], cleared;
};

enum class Grouping : int64_t { none, rows, k };
struct Product {
  void* c;
  int64_t m, n, k;
  int64_t c_row, c_matrix;  // elements
  const int32_t* offsets;   // of the groups
  int64_t n_groups;         // or of products in a batch
  Grouping grouping;
  int64_t add, bf16_out;
};

// What a block makes: where its rows begin in A and C, and where those that it may store end.
struct Tile {
  int64_t row, row_end, col;
  int64_t k_begin, k_end;
  int64_t a_matrix, b_matrix, c_matrix;
};

__host__ __device__ inline int64_t tiles_along(int64_t n) { return (n + kTileSize - 1) / kTileSize; }

// The number-th tile of rows of all groups. Each lane asks for one of 32 groups: one after the other they would take as
// long as a short product.
__device__ inline bool find_rows(const Product& p, int64_t number, Tile& tile) {
  const int lane = lane_index();
  for (int64_t first = 0; first < p.n_groups; first += kWarp) {
    const bool is_one = first + lane < p.n_groups;
    const int begin = is_one ? p.offsets[first + lane] : 0, end = is_one ? p.offsets[first + lane + 1] : 0;
    const int own = int(tiles_along(end - begin));
    int before = 0, all = own;  // tiles of the lanes below, of all lanes
    HADAL_UNROLL
    for (int bits = 1; bits < kWarp; bits *= 2) {
      const int other = shuffle_xor(all, bits);
      before += lane & bits ? other : 0, all += other;
    }
    if (const uint32_t found = votes(number >= before && number < before + own)) {
      int at = 0;
      while ((found >> at & 1) == 0) ++at;
      tile.row = broadcast(begin, at) + (number - broadcast(before, at)) * kTileSize;
      tile.row_end = broadcast(end, at), tile.b_matrix = first + at;
      return true;
    }
    number -= all;
  }
  return false;
}

// False: the block has none.
__device__ inline bool find_tile(const Product& p, Tile& tile) {
  const int64_t across = tiles_along(p.n);
  const int64_t number = block_index() / across;
  tile = {0, p.m, (block_index() - number * across) * kTileSize, 0, p.k, 0, 0, 0};
  if (p.grouping == Grouping::rows) return find_rows(p, number, tile);
  const int64_t down = tiles_along(p.m), g = number / down;
  tile.row = (number - g * down) * kTileSize, tile.c_matrix = g;
  if (p.grouping == Grouping::k) {
    tile.k_begin = p.offsets[g], tile.k_end = p.offsets[g + 1];
    return tile.k_begin < tile.k_end || !p.add;
  }
  tile.a_matrix = tile.b_matrix = g;
  return true;
}

template <Major kMajor>
__device__ void copy_operand(Operand& to, const TensorMap& map, int64_t first, int64_t k, int64_t matrix,
                             PhaseBarrier& full) {
  HADAL_UNROLL
  for (int i = 0; i < 2 * kHalves; ++i) {
    const int32_t along_k = int32_t(k) + i / kHalves * kBox, along_mn = int32_t(first) + i % kHalves * kBox;
    const BoxCorner corner = kMajor == Major::k ? BoxCorner{along_k, along_mn, int32_t(matrix)}
                                                : BoxCorner{along_mn, along_k, int32_t(matrix)};
    copy_box(to.boxes[i / kHalves][i % kHalves], map, corner, full);
  }
}

// The descriptor of step i, 16 k, of a chunk, from this half of m or n on.
template <Major kMajor>
__device__ uint64_t operand_at(const Operand& operand, int i, int half) {
  constexpr int kSteps = kBox / kProductDepth;  // of a box
  const uint32_t inside = kMajor == Major::k ? kProductDepth * 2 : kProductDepth * kBox * 2;
  return descriptor({.address = shared_address(operand.boxes[i / kSteps][half]) + uint32_t(i % kSteps) * inside,
                     .leading = kBoxBytes,
                     .stride = 8 * kBox * 2});
}

// Zeros for the rows of a chunk from `depth` on, of operands that lie along m and n.
__device__ inline void clear_behind(Stage& stage, int depth) {
  constexpr int kWords = kBox * 2 / 8;  // of a row
  const int count = (int(kGemmChunk) - depth) * kWords * kHalves * 2;
  for (int i = thread_index(); i < count; i += kMultipliers) {
    const int word = i % kWords, box = i / kWords % (kHalves * 2), k = depth + i / (kWords * kHalves * 2);
    Operand& operand = box < kHalves ? stage.a : stage.b;
    auto* row = reinterpret_cast<uint64_t*>(operand.boxes[k / kBox][box % kHalves] + k % kBox * kBox * 2);
    row[word] = 0;
  }
}

template <Major kA, Major kB>
__device__ void feed(Ring& ring, const TensorMap& a, const TensorMap& b, const Tile& tile, int64_t chunks) {
  for (int64_t i = 0; i < chunks; ++i) {
    const int s = int(i % kStages);
    PhaseBarrier& full = ring.full[s];
    wait_for_phase(ring.empty[s], uint32_t(i / kStages + 1) % 2);
    arrive_expecting(full, sizeof(Stage));
    const int64_t k = tile.k_begin + i * kGemmChunk;
    copy_operand<kA>(ring.stages[s].a, a, tile.row, k, tile.a_matrix, full);
    copy_operand<kB>(ring.stages[s].b, b, tile.col, k, tile.b_matrix, full);
  }
}

// f(i, place in C) for the elements of this thread that C has.
template <class F>
__device__ void each_own(const Product& p, const Tile& tile, F f) {
  const int t = thread_index() % kWarpgroup;
  const int64_t row = tile.row + thread_index() / kWarpgroup * kProductRows + product_row(t, 0);
  const int64_t col = tile.col + product_col(t, 0), matrix = tile.c_matrix * p.c_matrix;
  HADAL_UNROLL
  for (int i = 0; i < kOwnElements; ++i) {
    const int64_t r = row + product_row(0, i), c = col + product_col(0, i);
    if (r < tile.row_end && c < p.n) f(i, matrix + r * p.c_row + c);
  }
}

template <Major kA, Major kB>
__device__ void multiply_tile(Ring& ring, const Product& p, const Tile& tile, int64_t chunks) {
  const int group = thread_index() / kWarpgroup, last = int((tile.k_end - tile.k_begin) % kGemmChunk);
  float total[kOwnElements] = {};
  if (p.add) {
    each_own(p, tile, [&](int i, int64_t place) {
      total[i] = p.bf16_out ? value_of(static_cast<const bf16*>(p.c)[place]) : static_cast<const float*>(p.c)[place];
    });
  }
  for (int64_t i = 0; i < chunks; ++i) {
    const int s = int(i % kStages);
    Stage& stage = ring.stages[s];
    wait_for_phase(ring.full[s], uint32_t(i / kStages) % 2);
    if (p.grouping == Grouping::k && i == chunks - 1 && last > 0) {
      clear_behind(stage, last);
      fence_for_copies();
      arrive(ring.cleared);
      wait_for_phase(ring.cleared, 0);
    }
    float sum[kOwnElements] = {};
    begin_products();
    HADAL_UNROLL
    for (int step = 0; step < kGemmChunk / kProductDepth; ++step)
      multiply_async<kA, kB>(sum, operand_at<kA>(stage.a, step, group), operand_at<kB>(stage.b, step, 0), step > 0);
    end_products();
    wait_for_products<0>();
    if (lane_index() == 0) arrive(ring.empty[s]);
    const bool begins = i == 0 && !p.add;
    HADAL_UNROLL
    for (int j = 0; j < kOwnElements; ++j) total[j] = begins ? sum[j] : total[j] + sum[j];
  }
  each_own(p, tile, [&](int i, int64_t place) {
    if (p.bf16_out) {
      put(static_cast<bf16*>(p.c) + place, total[i]);
    } else {
      static_cast<float*>(p.c)[place] = total[i];
    }
  });
}

template <Major kA, Major kB>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_tensor(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, Product p) {
  Tile tile;
  if (!find_tile(p, tile)) return;
  auto& ring = shared<Ring>();
  if (thread_index() == 0) {
    for (int s = 0; s < kStages; ++s) begin(ring.full[s], 1), begin(ring.empty[s], kMultipliers / kWarp);
    begin(ring.cleared, kMultipliers);
    barriers_are_ready();
  }
  block_barrier();
  const int64_t chunks = (tile.k_end - tile.k_begin + kGemmChunk - 1) / kGemmChunk;
  if (thread_index() == kMultipliers) feed<kA, kB>(ring, a, b, tile, chunks);
  if (thread_index() < kMultipliers) multiply_tile<kA, kB>(ring, p, tile, chunks);
}

// ---- host side ------------------------------------------------------------------------------------------------------

// Where an operand's 16-bit elements lie: its stride across rows of 128 bytes, and along which dimension these go.
struct Lies {
  Major major;
  int64_t stride;
};
Lies lies(int64_t along_mn, int64_t along_k) {
  return along_k == 1 ? Lies{Major::k, along_mn} : Lies{Major::mn, along_k};
}

TensorMap map_of(const void* base, const Lies& at, int64_t mn, int64_t k, int64_t matrices, int64_t matrix_stride) {
  const bool by_k = at.major == Major::k;
  return tensor_map({base, by_k ? k : mn, by_k ? mn : k, matrices, at.stride, matrix_stride});
}

// Elements from each product's operand to the next one's, of those from `first` on that are like it; and how many are.
struct Batch {
  int64_t count = 1, a = 0, b = 0, c = 0;
};
Batch batch_from(const Gemm& call, int64_t first) {
  const GemmProduct* p = call.products + first;
  const int64_t c_bytes = dtype_bytes(call.c_type);
  const auto from_to = [](const void* from, const void* to) {
    return static_cast<const char*>(to) - static_cast<const char*>(from);
  };
  Batch batch;
  if (first + 1 == call.n_products) return batch;
  const int64_t a = from_to(p[0].a, p[1].a), b = from_to(p[0].b, p[1].b), c = from_to(p[0].c, p[1].c);
  const bool spaced = a > 0 && b > 0 && c > 0 && a % kCopyBytes == 0 && b % kCopyBytes == 0 && c % c_bytes == 0;
  for (int64_t i = 1; spaced && first + i < call.n_products; ++i) {
    const bool alike = p[i].m == p[0].m && p[i].n == p[0].n && p[i].k == p[0].k && from_to(p[i - 1].a, p[i].a) == a &&
                       from_to(p[i - 1].b, p[i].b) == b && from_to(p[i - 1].c, p[i].c) == c;
    if (!alike) break;
    batch = {i + 1, a / 2, b / 2, c / c_bytes};
  }
  return batch;
}

}  // namespace

bool fits_tensor_cores(const Gemm& call, const GemmProduct& p) {
  if (call.a_type != DType::bf16 || call.b_type != DType::bf16 || call.b_is_panels || p.k == 0) return false;
  if ((call.a_row != 1 && call.a_col != 1) || (call.b_row != 1 && call.b_col != 1)) return false;
  const Lies a = lies(call.a_row, call.a_col), b = lies(call.b_col, call.b_row);
  const GemmGroups& g = call.groups;
  if (g.offsets && g.along_k && (a.major != Major::mn || b.major != Major::mn)) return false;
  if (g.offsets && !g.along_k && g.n > 1 && !fits_copies(p.b, g.stack)) return false;
  return fits_copies(p.a, a.stride) && fits_copies(p.b, b.stride);
}

int64_t launch_on_tensor_cores(DeviceStream stream, const Gemm& call, int64_t first) {
  const GemmProduct& p = call.products[first];
  const GemmGroups& g = call.groups;
  const Lies a = lies(call.a_row, call.a_col), b = lies(call.b_col, call.b_row);
  const Grouping grouping = !g.offsets ? Grouping::none : g.along_k ? Grouping::k : Grouping::rows;
  const Batch batch = grouping == Grouping::none ? batch_from(call, first) : Batch{};
  if (p.m == 0 || p.n == 0) return batch.count;
  const TensorMap a_map = map_of(p.a, a, p.m, p.k, batch.count, batch.a);
  const bool stacked = grouping == Grouping::rows;
  const TensorMap b_map = map_of(p.b, b, p.n, p.k, stacked ? g.n : batch.count, stacked ? g.stack : batch.b);
  const Product product = {.c = p.c,
                           .m = p.m,
                           .n = p.n,
                           .k = p.k,
                           .c_row = call.c_row,
                           .c_matrix = grouping == Grouping::k ? g.stack : batch.c,
                           .offsets = g.offsets,
                           .n_groups = g.offsets ? g.n : batch.count,
                           .grouping = grouping,
                           .add = call.add,
                           .bf16_out = call.c_type == DType::bf16};
  // Groups of rows of any sizes have at most so many tiles: those blocks that find none end at once.
  const int64_t down = stacked ? p.m / kTileSize + g.n : tiles_along(p.m) * product.n_groups;
  const Launch how{.name = "gemm on tensor cores",
                   .blocks = down * tiles_along(p.n),
                   .threads = kThreads,
                   .shared_bytes = sizeof(Ring),
                   .stream = stream};
  const auto kernel = a.major == Major::k
                          ? b.major == Major::k ? gemm_tensor<Major::k, Major::k> : gemm_tensor<Major::k, Major::mn>
                      : b.major == Major::k ? gemm_tensor<Major::mn, Major::k>
                                            : gemm_tensor<Major::mn, Major::mn>;
  launch(kernel, how, a_map, b_map, product);
  return batch.count;
}

}  // namespace hadal::kernels::cuda
