// Every layer's forward and both backwards against autograd in double precision (tests/oracle/layers.py): linear, norm,
// embedding, MLP, head with loss, latent attention, experts with their router, block, MTP module.
#include "train/oracle_layers.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "base/files.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

#define NEED_PYTHON() \
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it"

TEST(OracleLayers, ResultsAndEveryGradientAgreeWithAutograd) {
  NEED_PYTHON();
  ScratchDirectory directory("oracle_layers");
  run_python("layers.py '" + directory.path().string() + "'");
  const LayerFindings findings = compare_layers(directory.path());
  std::printf("%lld layers, %lld tensors, worst %.1e of its norm (%s)\n", static_cast<long long>(findings.cases),
              static_cast<long long>(findings.tensors), findings.worst, findings.worst_where.c_str());
  for (size_t i = 0; i < findings.failures.size() && i < 20; ++i) ADD_FAILURE() << findings.failures[i];
  EXPECT_EQ(findings.failures.size(), 0u);
  EXPECT_EQ(findings.cases, 94);
  EXPECT_GT(findings.tensors_sizable, 5000);
}

// The negative control: formulas that are wrong are noticed, and where every number is off by 1e-9, every sizable
// tensor is.
TEST(OracleLayers, NoticeEverySeededFault) {
  NEED_PYTHON();
  ScratchDirectory directory("oracle_layer_faults");
  run_python("layers.py '" + directory.path().string() + "' --faults");
  int64_t n_faults = 0;
  for (const auto& fault : std::filesystem::directory_iterator(directory.path())) {
    const std::string name = read_file(fault.path() / "fault.txt");
    const LayerFindings findings = compare_layers(fault.path());
    ++n_faults;
    EXPECT_FALSE(findings.failures.empty()) << "survived: " << name;
    if (name.find("off by 1e-9") == std::string::npos) continue;
    EXPECT_GT(findings.tensors_failed, 0) << name;
    EXPECT_EQ(findings.tensors_failed, findings.tensors_sizable) << name;
  }
  EXPECT_EQ(n_faults, 20);
}

}  // namespace
}  // namespace hadal::oracle
