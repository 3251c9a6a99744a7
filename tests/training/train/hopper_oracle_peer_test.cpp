// FP8 products as Hopper's tensor cores sum them, against the rules told in another language on other numbers
// (tests/oracle/tensor_core.py): 100000 steps of every kind, and products of several chunks with scales, promoted and
// not, to the bit.
#include <gtest/gtest.h>

#include <cstring>

#include "base/isa.h"
#include "kernels/tensor_core.h"
#include "ops/matmul.h"
#include "storage/safetensors.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

TEST(OracleTensorCore, StepsAndProductsHaveTheSameBits) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  namespace core = kernels::tensor_core;
  const ScratchDirectory directory("oracle_tensor_core");
  run_python("tensor_core.py '" + directory.path().string() + "'");
  const SafetensorsReader file(directory.path() / "tensor_core.safetensors");
  const Tensor a = file.tensor("steps.a"), b = file.tensor("steps.b"), c = file.tensor("steps.c"),
               d = file.tensor("steps.d");
  ASSERT_EQ(a.rows(), 100000);
  int64_t nans = 0, subnormal = 0;
  for (int64_t i = 0; i < a.rows(); ++i) {
    core::Row<core::E4m3> row, column;
    core::take_apart(row, static_cast<const uint8_t*>(a.raw()) + 32 * i, 1);
    core::take_apart(column, static_cast<const uint8_t*>(b.raw()) + 32 * i, 1);
    const auto before = uint32_t(c.data<int32_t>()[i]), expected = uint32_t(d.data<int32_t>()[i]);
    const float sum = core::multiply_add(std::bit_cast<float>(before), row, column);
    ASSERT_EQ(std::bit_cast<uint32_t>(sum), expected) << "step " << i;
    nans += expected == core::kNan, subnormal += (before & 0x7f800000u) == 0 && before << 1 != 0;
  }
  EXPECT_GT(nans, 100);
  EXPECT_GT(subnormal, 50);

  for (const Isa isa : available_isas()) {
    const OwnedExec owned(2, isa);
    const auto codes = [&](const std::string& name) {
      const Tensor bytes = file.tensor("product." + name);
      Quantised q = Quantised::empty(owned.exec, bytes.shape(), kRowTile, DType::f32);
      std::memcpy(q.codes.raw(), bytes.raw(), size_t(bytes.bytes()));
      q.scales = file.tensor("product.s" + name).clone(owned.exec);
      return q;
    };
    for (const auto& [name, mode] :
         {std::pair("promoted", ops::Accumulation::hopper), {"unpromoted", ops::Accumulation::hopper_unpromoted}}) {
      const Tensor expected = file.tensor(std::string("product.") + name),
                   y = Tensor::empty(owned.exec, DType::f32, expected.shape());
      ops::linear(owned.exec, y, codes("a"), codes("b"), ops::Write::overwrite, mode);
      EXPECT_EQ(std::memcmp(y.raw(), expected.raw(), size_t(y.bytes())), 0) << name << " " << isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace hadal::oracle
