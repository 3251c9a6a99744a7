// Copies between any two number formats, exactly as the host converts: through float (double where one side is double),
// to nearest even, saturating where the format saturates (base/float_formats.h).
#pragma once
#include "kernels/array.h"
#include "kernels/dispatch.h"

namespace hadal::kernels {

struct Convert {  // y = x; they may not overlap
  Rows y, x;
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;  // null: in the caller alone
};

struct ZeroRows {  // y = 0, in any format
  Rows y;
  int64_t rows = 0, cols = 0;
  Lane* lane = nullptr;
};

HADAL_DECLARE_KERNEL(convert, Convert)
HADAL_DECLARE_FORMULA(zero_rows, ZeroRows)

}  // namespace hadal::kernels
