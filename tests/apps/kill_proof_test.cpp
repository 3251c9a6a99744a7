// Ten kills of a run in FP8, and of one in FP16 in the middle of its skips; `make test` has two of each.
#include "apps/killed_run.h"

namespace hadal {
namespace {

TEST(KilledTenTimes, InFp8) { expect_bytes_of_the_untouched_run(in_fp8(), 10, 3); }
TEST(KilledTenTimes, InTheMiddleOfTheSkipsOfALossScale) { expect_bytes_of_the_untouched_run(skipping_fp16(), 10, 3); }

}  // namespace
}  // namespace hadal
