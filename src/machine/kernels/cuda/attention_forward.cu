// Attention forward, a warp per query and head: online softmax over tiles of keys, merged in order.
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/kernels.h"

namespace hadal::kernels::cuda {
namespace {

// The sum of a tile's probabilities in the order of AVX2, per lane of a vector of eight: even vectors and odd ones in
// order, then both. Right in lanes 0 to 7.
__device__ float sum_of_tile(const float (&p)[kPairs]) {
  float sum = p[0] + shuffle_xor(p[0], 16);
  sum = sum + p[1];
  sum = sum + shuffle_xor(p[1], 16);
  return sum + shuffle_xor(sum, 8);
}
__device__ float fold_eight(float sum) {
  sum += shuffle_xor(sum, 4);
  sum += shuffle_xor(sum, 2);
  return broadcast(sum + shuffle_xor(sum, 1), 0);
}

template <class T, bool kInCodes>
__global__ void __launch_bounds__(kAttentionThreads) attend(View<T> x) {
  const int64_t number = block_index() * kAttentionWarps + warp_index();
  if (number >= x.s.n_q * x.n_heads) return;
  const int64_t i = number / x.n_heads, head = number % x.n_heads, keys = x.position(i) + 1;
  const int64_t key_head = head / x.group;
  const T* q = x.query(i, head);
  const float factor = float(x.scale) * kLog2e;
  const auto score_of = [&](int64_t key) {
    if constexpr (kInCodes)
      return score(q, coded_key(x, key), x.d_nope, x.rope_of_codes.row(x.key_row(key)), x.d_rope);
    else
      return score(q, x.key(key, key_head), x.d_nope, x.key_rope(key), x.d_rope);
  };
  const auto value_at = [&](int64_t key, int64_t c) {
    if constexpr (kInCodes)
      return coded_key(x, key)[c];
    else
      return value_of(x.value(key, key_head)[c]);
  };
  auto& room = shared<Exchange>().first[warp_index()];
  float m = -infinity(), l = 0, out[kColumns] = {}, acc[kColumns];
  for (int64_t tile = 0; tile < keys; tile += kAttentionTile) {
    const int seen = int(keys - tile < kAttentionTile ? keys - tile : kAttentionTile);
    float s[kPairs], p[kPairs];
    HADAL_UNROLL
    for (int n = 0; n < kPairs; ++n) {
      const int64_t key = tile + lane_index() + kWarp * n;
      s[n] = key < keys ? score_of(key) : -infinity();
    }
    float largest = larger(s[0], s[1]);
    for (int bits = kWarp / 2; bits > 0; bits /= 2) largest = larger(largest, shuffle_xor(largest, bits));
    const float found = largest * factor, before = m;
    m = found > before ? found : before;
    const float alpha = power_of_two(before - m);
    HADAL_UNROLL
    for (int n = 0; n < kPairs; ++n)
      p[n] = lane_index() + kWarp * n < seen ? power_of_two(fused(s[n], factor, -m)) : 0.0f;
    l = fused(l, alpha, sum_of_tile(p));
    apply_tile(acc, p, room, seen, x.d_v, [&](int key, int64_t c) { return value_at(tile + key, c); });
    HADAL_UNROLL
    for (int n = 0; n < kColumns; ++n) out[n] = fused(out[n], alpha, acc[n]);
  }
  const float sum = fold_eight(l), inverse = 1.0f / sum;
  T* o = x.o.row(x.s.q_begin + i) + head * x.d_v;
  HADAL_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    const int64_t c = lane_index() + kWarp * n;
    if (c < x.d_v) put(o + c, out[n] * inverse);
  }
  if (lane_index() == 0) x.lse.row(x.s.q_begin + i)[head] = m * kLn2 + logarithm(sum);
}

}  // namespace

void check_attention(const char* kernel, const Attention& a) {
  check(a.d_qk() <= kMostColumns && a.d_v <= kMostColumns, ErrorKind::unsupported,
        "kernel '{}': heads of {} and {} elements; on a GPU at most {}", kernel, a.d_qk(), a.d_v, kMostColumns);
}

void attention_forward(DeviceStream stream, const Attention& a) {
  check_attention("attention_forward", a);
  visit(
      "attention_forward",
      [&](auto type) {
        using T = element<decltype(type)>;
        for (int64_t s = 0; s < a.n_segments; ++s) {
          launch(a.in_codes() ? attend<T, true> : attend<T, false>,
                 over_warps("attention_forward", a.segments[s].n_q * a.n_heads, sizeof(Exchange), stream),
                 view_of<T>(a, a.segments[s]));
        }
      },
      a.q.dtype);
}

}  // namespace hadal::kernels::cuda
