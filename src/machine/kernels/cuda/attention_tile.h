// What attention's forward and backward on the device share. A warp meets tiles of 64 keys (or queries), aligned to the
// position inside the document; a lane holds the scores of two of them, its number and that plus 32. Sums have the
// order of the vector kernels on AVX2 (cpu/attention_*.cpp): scores over d ascending in chunks of 128, products with
// probabilities over a tile ascending from zero.
#pragma once
#include "kernels/attention.h"
#include "kernels/cuda/e4m3.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {

inline constexpr int kPairs = 2;                                   // keys of a lane
inline constexpr int kColumns = 20, kMostColumns = 32 * kColumns;  // of a row of results: per lane, and in all
inline constexpr int kAttentionWarps = 4, kAttentionThreads = 32 * kAttentionWarps;
static_assert(kAttentionTile == kPairs * 32);

inline constexpr float kLog2e = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

inline Launch over_warps(const char* name, int64_t warps, int64_t shared_bytes, DeviceStream stream) {
  return {.name = name,
          .blocks = (warps + kAttentionWarps - 1) / kAttentionWarps,
          .threads = kAttentionThreads,
          .shared_bytes = shared_bytes,
          .stream = stream};
}

// One segment of a call, and what its heads share. Pointers to row 0, column 0.
template <class T>
struct View {
  Lines<T> q, k_nope, k_rope, v, o;
  Lines<float> lse;
  int64_t k_head_stride, v_head_stride, n_heads, group, d_nope, d_rope, d_v;
  const int32_t* blocks;
  Segment s;
  double scale;
  Lines<uint8_t> codes;  // of keys in FP8, as the next two (Attention::k_scales)
  Lines<float> scales;
  Lines<bf16> rope_of_codes;

  __device__ int64_t d_qk() const { return d_nope + d_rope; }
  __device__ int64_t position(int64_t query) const { return s.n_k - s.n_q + query; }
  __device__ int64_t key_row(int64_t j) const {  // Attention::key_row
    return blocks ? blocks[s.k_begin + j / kAttentionTile] * kAttentionTile + j % kAttentionTile : s.k_begin + j;
  }
  __device__ const T* query(int64_t i, int64_t head) const { return q.row(s.q_begin + i) + head * d_qk(); }
  // head: of the keys.
  __device__ const T* key(int64_t j, int64_t head) const { return k_nope.row(key_row(j)) + head * k_head_stride; }
  __device__ const T* key_rope(int64_t j) const { return k_rope.row(key_row(j)); }
  __device__ const T* value(int64_t j, int64_t head) const { return v.row(key_row(j)) + head * v_head_stride; }
  // Element c of a whole key.
  __device__ float key_at(int64_t j, int64_t head, int64_t c) const {
    return c < d_nope ? value_of(key(j, head)[c]) : value_of(key_rope(j)[c - d_nope]);
  }
};
template <class T>
View<T> view_of(const Attention& a, const Segment& s) {
  return {lines<T>(a.q),
          lines<T>(a.k_nope),
          lines<T>(a.k_rope),
          lines<T>(a.v),
          lines<T>(a.o),
          lines<float>(a.lse),
          a.k_head_stride,
          a.v_head_stride,
          a.n_heads,
          a.group,
          a.d_nope,
          a.d_rope,
          a.d_v,
          a.blocks,
          s,
          a.scale,
          lines<uint8_t>(a.k_nope),
          lines<float>(a.k_scales),
          lines<bf16>(a.k_rope)};
}

// A key in FP8: codes times the scales of their chunks.
struct CodedKey {
  const uint8_t* codes;
  const float* scales;

  __device__ float operator[](int64_t c) const { return e4m3_value(codes[c]) * scales[c / kAttentionChunk]; }
};
template <class T>
__device__ CodedKey coded_key(const View<T>& x, int64_t j) {
  const int64_t row = x.key_row(j);
  return {x.codes.row(row), x.scales.row(row)};
}

// A sum over d as it grows: chunks of kAttentionChunk from zero, added in order.
struct ChunkedSum {
  float total = 0, chunk = 0;
  int in_chunk = 0;
  bool first = true;

  __device__ void add(float a, float b) {
    if (in_chunk == int(kAttentionChunk)) close();
    chunk = fused(a, b, chunk);
    ++in_chunk;
  }
  __device__ void close() {
    total = first ? chunk : total + chunk;
    first = false;
    chunk = 0, in_chunk = 0;
  }
  __device__ float value() {
    close();
    return total;
  }
};

// q . [k_nope | k_rope], by this lane alone.
template <class T, class Key, class Rope>
__device__ float score(const T* q, const Key& key, int64_t d_nope, const Rope& rope, int64_t d_rope) {
  ChunkedSum sum;
  for (int64_t c = 0; c < d_nope; ++c) sum.add(value_of(q[c]), value_of(key[c]));
  for (int64_t c = 0; c < d_rope; ++c) sum.add(value_of(q[d_nope + c]), value_of(rope[c]));
  return sum.value();
}
template <class T>
__device__ float dot(const T* x, const T* y, int64_t n) {
  return score(x, y, n, y, 0);
}

// do . o by this lane alone, in eight sums that are folded (as one AVX2 accumulator is).
template <class T>
__device__ float pull_of(const T* d_o, const T* o, int64_t n) {
  float sum[8] = {};
  int64_t c = 0;
  for (; c + 8 <= n; c += 8) {
    HADAL_UNROLL
    for (int i = 0; i < 8; ++i) sum[i] = fused(value_of(d_o[c + i]), value_of(o[c + i]), sum[i]);
  }
  HADAL_UNROLL
  for (int i = 0; i < 8; ++i)
    if (c + i < n) sum[i] = fused(value_of(d_o[c + i]), value_of(o[c + i]), sum[i]);
  const float a = sum[0] + sum[4], b = sum[1] + sum[5], d = sum[2] + sum[6], e = sum[3] + sum[7];
  return (a + d) + (b + e);
}

// What the lanes of each warp of a block tell each other: two numbers for every key (query) of a tile.
struct Exchange {
  float first[kAttentionWarps][kAttentionTile], second[kAttentionWarps][kAttentionTile];
};
__device__ inline void tell(float (&to)[kAttentionTile], const float (&own)[kPairs]) {
  HADAL_UNROLL
  for (int n = 0; n < kPairs; ++n) to[lane_index() + kWarp * n] = own[n];
}

// acc[i] = sum over the first `seen` keys of a tile, ascending, of weight(key) * element(key, column lane + 32 i).
// A lane's weights are those of its keys; `all` is room for those of the warp.
template <class Element>
__device__ void apply_tile(float (&acc)[kColumns], const float (&weight)[kPairs], float (&all)[kAttentionTile],
                           int seen, int64_t n_columns, Element element) {
  tell(all, weight);
  warp_barrier();
  HADAL_UNROLL
  for (int i = 0; i < kColumns; ++i) acc[i] = 0;
  for (int key = 0; key < seen; ++key) {
    const float w = all[key];
    HADAL_UNROLL
    for (int i = 0; i < kColumns; ++i) {
      const int64_t c = lane_index() + kWarp * i;
      if (c < n_columns) acc[i] = fused(w, element(key, c), acc[i]);
    }
  }
  warp_barrier();  // before the next tile's
}

void check_attention(const char* kernel, const Attention& a);  // what these kernels can take; throws unsupported

}  // namespace hadal::kernels::cuda
