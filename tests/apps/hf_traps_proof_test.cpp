// The negative control of hf_grid_peer_test.cpp: the known mistakes, put into the oracle on purpose, are seen at ten
// tolerances or more. It exercises the oracle alone and takes minutes: `make proof` runs it, `make test` does not.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

TEST(HfGrid, EveryTrapMovesTheNumbersTenTolerances) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  const ScratchDirectory scratch("hf_traps");
  EXPECT_NO_THROW(run_python(fmt::format("hf_traps.py '{}'", scratch.path().string())));
}

}  // namespace
}  // namespace hadal::oracle
