#include "cuda_staged/staged.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>

#include "base/hash.h"
#include "cuda_staged/operands.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/convert.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda/hopper/runtime.h"
#include "kernels/cuda/kernels.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/fp8_tiles.h"
#include "kernels/gemm.h"
#include "kernels/gemm_panels.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/routing.h"
#include "kernels/row_sums.h"
#include "kernels/scaled_gemm.h"
#include "kernels/softmax_part.h"
#include "kernels/swiglu.h"
#include "kernels/swiglu_weighted.h"

namespace hadal::staged {
namespace {

using namespace hadal::kernels;

void operands_of(AdamW& k, Operands& o) {
  const int64_t moment = dtype_bytes(k.moment);
  o.writes(k.w, k.count, 4), o.reads(k.grad, k.count, 4);
  o.writes(k.m, k.count, moment), o.writes(k.v, k.count, moment);
  o.writes(k.value, k.count, 2), o.writes(k.ema, k.count, 4);
}
void operands_of(AddRows& k, Operands& o) {
  o.writes(k.y, k.rows, k.cols), o.reads(k.a, k.rows, k.cols), o.reads(k.b, k.rows, k.cols);
}
void operands_of(AllFinite& k, Operands& o) { o.reads(k.x, k.rows, k.cols), o.writes(k.result, 1, 1); }
void operands_of(SlotGroups& k, Operands& o, int64_t slots) { o.reads(k.experts, slots, 4); }
void operands_of(Combine& k, Operands& o) {
  const int64_t slots = k.tokens * k.top_k;
  o.writes(k.y, k.tokens, k.cols), o.reads(k.x, beyond(k.position, slots), k.cols);
  o.reads(k.weights, k.tokens, k.top_k), o.reads(k.position, slots, 4), operands_of(k.groups, o, slots);
}
void operands_of(GatherBackward& k, Operands& o) {
  const int64_t slots = k.tokens * k.top_k;
  o.writes(k.dx, k.tokens, k.cols), o.reads(k.d_sorted, beyond(k.position, slots), k.cols);
  o.reads(k.position, slots, 4), operands_of(k.groups, o, slots);
}
void operands_of(Convert& k, Operands& o) { o.writes(k.y, k.rows, k.cols), o.reads(k.x, k.rows, k.cols); }
void operands_of(ZeroRows& k, Operands& o) { o.writes(k.y, k.rows, k.cols); }
void operands_of(CrossEntropy& k, Operands& o) {
  o.writes(k.logits, k.rows, k.vocab), o.reads(k.targets, k.rows, 4), o.writes(k.loss, k.rows, 4);
}
void operands_of(GatherRows& k, Operands& o) {
  const int64_t named = beyond(k.ids, k.rows);
  o.writes(k.y, k.scatter ? named : k.rows, k.cols), o.reads(k.w, k.scatter ? k.rows : named, k.cols);
  o.reads(k.ids, k.rows, 4);
}
void operands_of(ScatterAddRows& k, Operands& o) {
  o.writes(k.dw, beyond(k.ids, k.rows), k.cols), o.reads(k.dy, k.rows, k.cols), o.reads(k.ids, k.rows, 4);
}
void sources_of(RowSources& x, const int32_t* index, int64_t n, int64_t cols, Operands& o) {
  Rows* sources = o.keep(x.of, x.n_sources);
  x.of = sources;
  std::vector<int64_t> beyond(size_t(x.n_sources), 0);  // one past the last row that is named
  for (int64_t j = 0; j < n; ++j) {
    int64_t& of = beyond[size_t(index[2 * j])];
    of = std::max(of, int64_t(index[2 * j + 1]) + 1);
  }
  for (int64_t i = 0; i < x.n_sources; ++i) o.reads(sources[i], beyond[size_t(i)], cols);
}
void operands_of(GroupSums& k, Operands& o) {
  const int64_t n = k.n > 0 ? k.begin[k.n] : 0;
  o.writes(k.y, k.n, k.cols), sources_of(k.x, k.index, n, k.cols, o), o.reads(k.weights, n, 4);
  o.reads(k.begin, k.n + 1, 4), o.reads(k.index, 2 * n, 4);
}
void operands_of(GroupTotals& k, Operands& o) {
  const int64_t n = k.n > 0 ? k.begin[k.n] : 0;
  o.writes(k.y, k.n, k.cols), sources_of(k.x, k.index, n, k.cols, o);
  o.reads(k.begin, k.n + 1, 4), o.reads(k.index, 2 * n, 4);
}
void operands_of(RmsNorm& k, Operands& o) {
  o.writes(k.y, k.rows, k.cols), o.reads(k.x, k.rows, k.cols);
  o.reads(k.w, k.cols, 4), o.writes(k.rstd, k.rows, 4);
}
void operands_of(RmsNormBackwardInput& k, Operands& o) {
  o.writes(k.dx, k.rows, k.cols), o.reads(k.dy, k.rows, k.cols), o.reads(k.x, k.rows, k.cols);
  o.reads(k.w, k.cols, 4), o.reads(k.rstd, k.rows, 4);
}
void operands_of(RmsNormBackwardWeight& k, Operands& o) {
  o.writes(k.dw, k.cols, 4), o.reads(k.dy, k.rows, k.cols), o.reads(k.x, k.rows, k.cols), o.reads(k.rstd, k.rows, 4);
}
void operands_of(Rope& k, Operands& o) {
  const int64_t positions = beyond(k.positions, k.rows);
  o.writes(k.x, k.rows, (k.n_heads - 1) * k.head_stride + k.d_rope), o.reads(k.positions, k.rows, 4);
  o.reads(k.table, positions > 0 ? (positions - 1) * k.table_stride + k.d_rope : 0, 4);
}
void operands_of(ScaleRows& k, Operands& o) { o.writes(k.y, k.rows, k.cols), o.reads(k.x, k.rows, k.cols); }
void operands_of(Shift& k, Operands& o) { o.writes(k.y, k.count, dtype_bytes(k.dtype)), o.reads(k.by, k.count, 8); }
void operands_of(SoftmaxGradient& k, Operands& o) {
  o.writes(k.logits, k.rows, k.cols), o.reads(k.targets, k.rows, 4), o.reads(k.factors, 2 * k.rows, 4);
}
void operands_of(SoftmaxStatistics& k, Operands& o) {
  o.writes(k.logits, k.rows, k.cols), o.reads(k.targets, k.rows, 4), o.writes(k.statistics, 4 * k.rows, 4);
}
void operands_of(SumOfSquares& k, Operands& o) {
  k.workers = nullptr;
  o.reads(k.x, k.rows, k.cols), o.writes(k.result, 1, sizeof(ExactSum));
}
void operands_of(Swiglu& k, Operands& o) {
  o.writes(k.h, k.rows, k.cols), o.reads(k.g, k.rows, k.cols), o.reads(k.u, k.rows, k.cols);
}
void operands_of(SwigluBackward& k, Operands& o) {
  o.writes(k.dg, k.rows, k.cols), o.writes(k.du, k.rows, k.cols), o.reads(k.dh, k.rows, k.cols);
  o.reads(k.g, k.rows, k.cols), o.reads(k.u, k.rows, k.cols);
}
void operands_of(SwigluWeighted& k, Operands& o) {
  o.writes(k.dh, k.rows, k.cols), o.writes(k.g, k.rows, k.cols), o.writes(k.u, k.rows, k.cols);
  o.reads(k.weight, k.rows, 4), o.writes(k.dweight, k.rows, 4);
}
void operands_of(Gemm& k, Operands& o) {
  auto* products = o.keep(k.products, k.n_products);
  k.products = products;
  const auto extent = [](int64_t rows, int64_t cols, int64_t row, int64_t col) {
    return rows > 0 && cols > 0 ? (rows - 1) * row + (cols - 1) * col + 1 : 0;
  };
  o.reads(k.groups.offsets, k.groups.offsets ? k.groups.n + 1 : 0, 4);
  const int64_t behind = k.groups.offsets ? (k.groups.n - 1) * k.groups.stack : 0;  // the first matrix of a stack
  for (int64_t i = 0; i < k.n_products; ++i) {
    GemmProduct& p = products[i];
    o.reads(p.a, extent(p.m, p.k, k.a_row, k.a_col), dtype_bytes(k.a_type));
    o.reads(p.b,
            k.b_is_panels ? gemm_panel_bytes(panel_type_of(k.b_type), p.k, p.n, gemm_panel_cols(Isa::avx2)) /
                                dtype_bytes(k.b_type)
                          : extent(p.k, p.n, k.b_row, k.b_col) + (k.groups.along_k ? 0 : behind),
            dtype_bytes(k.b_type));
    o.writes(p.c, extent(p.m, p.n, k.c_row, 1) + (k.groups.along_k ? behind : 0), dtype_bytes(k.c_type));
  }
}

void operands_of(Fp8Tiles& k, Operands& o) {
  const int64_t rows = k.matrices * k.rows;
  if (rows == 0 || k.cols == 0) return;
  const int64_t bands = k.matrices * ((k.rows + k.tile_rows - 1) / k.tile_rows);
  o.writes(k.values, rows, k.cols), o.writes(k.codes, (rows - 1) * k.codes_stride + k.cols, 1);
  o.writes(k.scales, (bands - 1) * k.scales_stride + (k.cols + k.tile_cols - 1) / k.tile_cols, 4);
}
void operands_of(ScaledOperand& x, Operands& o, int64_t count, const ScaledGemm& k) {
  if (count == 0 || k.k == 0) return;
  o.reads(x.codes, (count - 1) * x.row + (k.k - 1) * x.col + 1, 1);
  o.reads(x.scales, (count - 1) / x.tile * x.scale_row + (k.k - 1) / k.chunk * x.scale_col + 1, 4);
}
void operands_of(ScaledGemm& k, Operands& o) {
  operands_of(k.a, o, k.m, k), operands_of(k.b, o, k.n, k);
  o.writes(k.c, k.m > 0 && k.n > 0 ? (k.m - 1) * k.c_row + k.n : 0, dtype_bytes(k.c_type));
}

void operands_of(PlanRows& k, Operands& o) {
  o.reads(k.experts, k.n_rows, 4), o.writes(k.offsets, k.n_experts + 1, 4);
  o.writes(k.token, k.n_rows, 4), o.writes(k.pair, k.n_rows, 4), o.writes(k.position, k.n_rows, 4);
}
void operands_of(Route& k, Operands& o) {
  o.writes(k.scores, k.tokens, k.n_experts), o.reads(k.logits, k.tokens, k.n_experts);
  o.writes(k.weights, k.tokens, k.top_k), o.reads(k.bias, k.n_experts, 4);
  o.writes(k.experts, k.tokens * k.top_k, 4), o.writes(k.found, 1, sizeof(RouteFindings));
}
void operands_of(RouteBackward& k, Operands& o) {
  o.writes(k.dlogits, k.tokens, k.n_experts), o.reads(k.dweights, k.tokens, k.top_k);
  o.reads(k.scores, k.tokens, k.n_experts), o.reads(k.dscores, k.tokens, k.n_experts);
  o.reads(k.experts, k.tokens * k.top_k, 4);
}
// The rows of sequences end with the one that ends last.
int64_t rows_of(const int64_t* begins, const int64_t* counts, int64_t n) {
  int64_t rows = 0;
  for (int64_t q = 0; q < n; ++q) rows = std::max(rows, begins[q] + counts[q]);
  return rows;
}
void operands_of(BalanceCounts& k, Operands& o) {
  o.reads(k.scores, rows_of(k.begins, k.counts, k.n_sequences), k.n_experts);
  o.reads(k.begins, k.n_sequences, 8), o.reads(k.counts, k.n_sequences, 8);
  o.writes(k.chosen, k.n_sequences * k.n_experts, 8);
}
void operands_of(BalanceLoss& k, Operands& o) {
  const int64_t rows = rows_of(k.begins, k.counts, k.n_sequences), counts = k.n_sequences * k.n_experts;
  o.reads(k.scores, rows, k.n_experts), o.writes(k.dscores, rows, k.n_experts);
  o.reads(k.begins, k.n_sequences, 8), o.reads(k.counts, k.n_sequences, 8), o.reads(k.lengths, k.n_sequences, 8);
  o.reads(k.chosen, counts, 8), o.writes(k.workspace, 2 * counts, 8), o.writes(k.losses, k.n_sequences, 8);
}

// Rows of queries and of keys that segments reach, entries of the table of blocks, and elements of a row of n heads.
struct Reach {
  int64_t q = 0, k = 0, blocks = 0;
};
Reach reach_of(const Attention& a) {
  Reach reach;
  for (int64_t i = 0; i < a.n_segments; ++i) {
    const Segment& s = a.segments[i];
    if (s.n_q > 0) reach.q = std::max(reach.q, s.q_begin + s.n_q);
    for (int64_t tile = 0; tile < s.n_k; tile += kAttentionTile)
      reach.k = std::max(reach.k, a.key_row(s, std::min(tile + kAttentionTile, s.n_k) - 1) + 1);
    if (a.blocks) reach.blocks = std::max(reach.blocks, s.k_begin + (s.n_k + kAttentionTile - 1) / kAttentionTile);
  }
  return reach;
}
int64_t heads_of(const Attention& a, int64_t stride, int64_t d) { return d > 0 ? (a.n_heads - 1) * stride + d : 0; }
void inputs_of(Attention& a, Operands& o, const Reach& reach) {
  o.reads(a.q, reach.q, a.n_heads * a.d_qk()), o.reads(a.k_nope, reach.k, heads_of(a, a.k_head_stride, a.d_nope));
  o.reads(a.k_rope, reach.k, a.d_rope), o.reads(a.v, reach.k, heads_of(a, a.v_head_stride, a.d_v));
  o.reads(a.k_scales, reach.k, (a.d_nope + kAttentionChunk - 1) / kAttentionChunk);
  o.reads(a.blocks, reach.blocks, 4);
}
void operands_of(Attention& a, Operands& o) {
  const Reach reach = reach_of(a);
  inputs_of(a, o, reach);
  o.writes(a.o, reach.q, a.n_heads * a.d_v), o.writes(a.lse, reach.q, a.n_heads);
}
void operands_of(AttentionBackward& b, Operands& o) {
  Attention& a = b.forward;
  const Reach reach = reach_of(a);
  a.lane = nullptr;
  inputs_of(a, o, reach);
  o.reads(a.o, reach.q, a.n_heads * a.d_v), o.reads(a.lse, reach.q, a.n_heads);
  o.reads(b.d_o, reach.q, a.n_heads * a.d_v), o.writes(b.dq, reach.q, a.n_heads * a.d_qk());
  o.writes(b.dk_nope, reach.k, heads_of(a, a.k_head_stride, a.d_nope)), o.writes(b.dk_rope, reach.k, a.d_rope);
  o.writes(b.dv, reach.k, heads_of(a, a.v_head_stride, a.d_v));
}

// Stretches of host memory and their copies on the device: operands that overlap share one.
class Copies {
 public:
  Copies(const Operands& operands, DeviceStream stream) : stream_(stream) {
    for (const Operand& x : operands.all()) {
      add(x);
      if (x.written) written_.emplace_back(static_cast<const char*>(*x.where), size_t(x.bytes));
    }
    for (auto& [begin, copy] : copies_) {
      copy.device = static_cast<char*>(cuda::allocate(copy.bytes));
      cuda::copy_to_device(copy.device, begin, copy.bytes, stream_);
    }
    for (const Operand& x : operands.all()) {
      const auto& [begin, copy] = *std::prev(copies_.upper_bound(static_cast<char*>(*x.where)));
      *x.where = copy.device + (static_cast<char*>(*x.where) - begin);
    }
  }
  ~Copies() {
    for (auto& [begin, copy] : copies_) cuda::release(copy.device);
  }
  void bring_back() {
    for (auto& [begin, copy] : copies_)
      if (copy.written) cuda::copy_to_host(begin, copy.device, copy.bytes, stream_);
    cuda::wait_for(stream_);
  }
  // Of what was written, after it was brought back, in the order of the arguments.
  uint64_t hash(uint64_t seed) const {
    for (const std::string_view bytes : written_) seed = hash64(bytes, seed);
    return seed;
  }

 private:
  struct Copy {
    int64_t bytes = 0;
    bool written = false;
    char* device = nullptr;
  };
  void add(const Operand& x) {
    char* begin = static_cast<char*>(*x.where);
    char* end = begin + x.bytes;
    bool written = x.written;
    auto next = copies_.upper_bound(begin);
    if (next != copies_.begin() && std::prev(next)->first + std::prev(next)->second.bytes >= begin) --next;
    while (next != copies_.end() && next->first <= end) {
      begin = std::min(begin, next->first), end = std::max(end, next->first + next->second.bytes);
      written |= next->second.written;
      next = copies_.erase(next);
    }
    copies_[begin] = {end - begin, written, nullptr};
  }

  DeviceStream stream_;
  std::map<char*, Copy> copies_;
  std::vector<std::string_view> written_;
};

// Of the Exec that runs: one at a time, as tests are.
std::map<std::string, uint64_t>* recording = nullptr;

template <class Args>
void run_staged(const char* name, void (*twin)(DeviceStream, const Args&), DeviceStream stream, const Args& args) {
  Args on_device = args;
  if constexpr (requires { on_device.lane; }) on_device.lane = nullptr;
  Operands operands;
  operands_of(on_device, operands);
  Copies copies(operands, stream);
  try {
    twin(stream, on_device);
    copies.bring_back();
    if (recording) (*recording)[name] = copies.hash((*recording)[name]);
  } catch (...) {
    cuda::wait_for(stream);  // what was queued before the fault still names the copies
    throw;
  }
}

const DeviceKernels& staged_table() {
  static const DeviceKernels all = [] {
    DeviceKernels table;
#define HADAL_STAGED_ENTRY(name, Args) \
  table.name = [](DeviceStream stream, const Args& args) { run_staged<Args>(#name, &cuda::name, stream, args); };
    HADAL_EACH_DEVICE_KERNEL(HADAL_STAGED_ENTRY)
#undef HADAL_STAGED_ENTRY
    table.rope_table = [](DeviceStream, const RopeTable& args) { reference::rope_table(args); };  // made on the host
    return table;
  }();
  return all;
}

}  // namespace

namespace {

class Zeros : public MemorySource {
 public:
  void* allocate(size_t bytes) override {
    void* memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory) std::memset(memory, 0, bytes);
    return memory;
  }
  void release(void* block, size_t) override { std::free(block); }
};

}  // namespace

StagedExec::StagedExec(uint64_t seed) : host_(1, Isa::reference) {
  begin_schedule(seed);
  exec = host_.exec;
  exec.device = {DeviceKind::cuda, 0};
  exec.kernels = &staged_table();
  exec.stream = kernels::cuda::make_stream();
  exec.memory = MemoryPool::create(std::make_unique<Zeros>(), 0);
  recording = &bits_;
}

StagedExec::~StagedExec() {
  recording = nullptr;
  kernels::cuda::close_stream(exec.stream);
}

}  // namespace hadal::staged
