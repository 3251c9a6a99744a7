// Sums of rows that lists name: combine and gather_backward (routing.h) in two halves, for experts on other ranks. What
// a token's experts inside one routing group add up to, on the rank where the sum is made; and what the groups of a
// token add up to, at its owner. One after the other they have the bits of the whole, for every instruction set.
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

// Rows as they came, from several places: all of one format, those of an empty place are not touched.
struct RowSources {
  const Rows* of = nullptr;  // [n_sources]
  int64_t n_sources = 0;
  template <class T>
  [[gnu::always_inline]] const T* row(const int32_t* place) const {
    return of[place[0]].row<T>(place[1]);
  }
};

// y[i] = round(sum over begin[i] <= j < begin[i+1] of weights[j] * x[index[j]]); y has the type that travels.
struct GroupSums {
  Rows y;  // f32, bf16 or f16 (f64 with f64), as x
  RowSources x;
  const void* weights = nullptr;  // [begin[n]] f32 (f64), by place in the lists; null: the rows themselves are added
  const int32_t *begin = nullptr, *index = nullptr;  // index[j]: two numbers, which source and which of its rows
  int64_t n = 0, cols = 0;
  Lane* lane = nullptr;
};

// y[i] (+)= sum over begin[i] <= j < begin[i+1] of x[index[j]]; no list is empty.
struct GroupTotals {
  Rows y;
  RowSources x;
  const int32_t *begin = nullptr, *index = nullptr;
  int64_t n = 0, cols = 0;
  bool add = false;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(group_sums, GroupSums)
HADAL_DECLARE_KERNEL(group_totals, GroupTotals)

}  // namespace hadal::kernels
