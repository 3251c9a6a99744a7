// Every layer's forward and both backwards against autograd in double precision (tests/oracle/layers.py): linear, norm,
// embedding, MLP, head with loss, latent attention, experts with their router, block, MTP module. In FP64, and in FP16
// on the same numbers.
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

// FP16 keeps operands and results in FP16 and sums in FP32. BF16, with three bits less, is several times as far: so the
// distances are those of FP16's roundings, and the weight gradient of one product, which has none, agrees to FP32's.
TEST(OracleLayers, InFp16AreAsNearAsItsRoundingsAllow) {
  NEED_PYTHON();
  ScratchDirectory directory("oracle_layers_fp16");
  run_python("layers.py '" + directory.path().string() + "' --fp16");
  double worst = 0;
  for (const Isa isa : available_isas()) {
    const LayerNumbers fp16{DType::f16, isa, 8e-3, 1e-6, 1e-6};
    const LayerFindings findings = compare_layers(directory.path(), fp16);
    std::printf("%s: worst %.1e of its norm (%s)\n", isa_name(isa), findings.worst, findings.worst_where.c_str());
    for (size_t i = 0; i < findings.failures.size() && i < 20; ++i) ADD_FAILURE() << findings.failures[i];
    EXPECT_EQ(findings.failures.size(), 0u);
    EXPECT_EQ(findings.cases, 95);
    worst = std::max(worst, findings.worst);
    EXPECT_GT(findings.tensors_sizable, 5000);
  }
  const LayerFindings bf16 = compare_layers(directory.path(), {DType::bf16, best_isa(), 10, 10, 10});
  std::printf("bf16: worst %.1e (%s)\n", bf16.worst, bf16.worst_where.c_str());
  EXPECT_GT(bf16.worst, 4 * worst);
}

TEST(OracleLayers, InFp16NoticeEveryWrongFormula) {
  NEED_PYTHON();
  ScratchDirectory directory("oracle_layer_faults_fp16");
  run_python("layers.py '" + directory.path().string() + "' --faults --fp16");
  int64_t n_faults = 0;
  for (const auto& fault : std::filesystem::directory_iterator(directory.path())) {
    const std::string name = read_file(fault.path() / "fault.txt");
    if (name.find("off by 1e-9") != std::string::npos) continue;
    ++n_faults;
    EXPECT_FALSE(compare_layers(fault.path(), {DType::f16, best_isa(), 8e-3, 1e-6, 1e-6}).failures.empty()) << name;
  }
  EXPECT_EQ(n_faults, 11);
}

}  // namespace
}  // namespace hadal::oracle
