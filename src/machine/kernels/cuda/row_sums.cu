// Sums of rows that lists name, a thread per element.
#include "kernels/row_sums.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

// As an argument of a kernel: 2 of the 4 KB that these may take.
constexpr int64_t kMostSources = 128;
template <class T>
struct SourceLines {
  Lines<T> of[kMostSources];

  __device__ const T* row(const int32_t* place) const { return of[place[0]].row(place[1]); }
};
template <class T>
SourceLines<T> source_lines(const RowSources& sources) {
  check(sources.n_sources <= kMostSources, ErrorKind::unsupported, "a GPU sums rows of at most {} tensors, not of {}",
        kMostSources, sources.n_sources);
  SourceLines<T> result = {};
  for (int64_t i = 0; i < sources.n_sources; ++i) result.of[i] = lines<T>(sources.of[i]);
  return result;
}

template <class X, class Y>
__global__ void __launch_bounds__(kBlock)
    sum_groups(Lines<Y> y, SourceLines<X> x, const float* weights, const int32_t* begin, const int32_t* index,
               int64_t n, int64_t cols) {
  each_element(n, cols, [&](int64_t i, int64_t c) {
    float sum = 0;
    for (int32_t j = begin[i]; j < begin[i + 1]; ++j) {
      const float v = value_of(x.row(index + 2 * j)[c]);
      sum = weights ? fused(weights[j], v, sum) : sum + v;
    }
    put(y.row(i) + c, sum);
  });
}

template <class X, class Y>
__global__ void __launch_bounds__(kBlock) sum_totals(Lines<Y> y, SourceLines<X> x, const int32_t* begin,
                                                     const int32_t* index, int64_t n, int64_t cols, bool add) {
  each_element(n, cols, [&](int64_t i, int64_t c) {
    const int32_t first = begin[i], behind = begin[i + 1];
    float total = value_of(x.row(index + 2 * first)[c]);
    for (int32_t j = first + 1; j < behind; ++j) total += value_of(x.row(index + 2 * j)[c]);
    Y* to = y.row(i) + c;
    put(to, add ? value_of(*to) + total : total);
  });
}

}  // namespace

void group_sums(DeviceStream stream, const GroupSums& k) {
  visit(
      "group_sums",
      [&](auto x, auto y) {
        using X = element<decltype(x)>;
        using Y = element<decltype(y)>;
        launch(sum_groups<X, Y>, over_elements("group_sums", k.n, k.cols, stream), lines<Y>(k.y), source_lines<X>(k.x),
               static_cast<const float*>(k.weights), k.begin, k.index, k.n, k.cols);
      },
      k.x.of->dtype, k.y.dtype);
}

void group_totals(DeviceStream stream, const GroupTotals& k) {
  visit(
      "group_totals",
      [&](auto x, auto y) {
        using X = element<decltype(x)>;
        using Y = element<decltype(y)>;
        launch(sum_totals<X, Y>, over_elements("group_totals", k.n, k.cols, stream), lines<Y>(k.y),
               source_lines<X>(k.x), k.begin, k.index, k.n, k.cols, k.add);
      },
      k.x.of->dtype, k.y.dtype);
}

}  // namespace hadal::kernels::cuda
