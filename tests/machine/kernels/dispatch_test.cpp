// The choice of a kernel's twin: refusals; that the right twin runs is what every test over available_isas() shows.
#include "kernels/dispatch.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/gemm.h"

namespace hadal::kernels {
namespace {

TEST(Dispatch, RefusesADeviceThatHasNoKernelsByName) {
  try {
    gemm({.device = {DeviceKind::cuda, 1}, .isa = Isa::reference}, Gemm{});
    FAIL() << "ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_EQ(std::string(error.what()),
              "there is no kernel 'gemm' for the device cuda:1; this build has those of the CPU");
  }
}

TEST(Dispatch, TakesTheTwinOfADeviceFromItsTableAndHandsItTheStream) {
  static DeviceStream seen;
  static int64_t size = 0;
  DeviceKernels table;
  table.gemm = [](DeviceStream stream, const Gemm& args) { seen = stream, size = args.n_products; };
  int stream = 0;
  const Exec exec{.device = {DeviceKind::cuda, 0}, .kernels = &table, .stream = {&stream}};
  gemm(twin(exec, false), Gemm{.n_products = 7});
  EXPECT_EQ(seen.handle, &stream);
  EXPECT_EQ(size, 7);
}

TEST(Dispatch, RefusesAKernelThatADeviceLacksByName) {
  const DeviceKernels table;
  const Exec exec{.device = {DeviceKind::cuda, 0}, .kernels = &table};
  EXPECT_THROW(gemm(twin(exec, false), Gemm{}), Error);
}

TEST(Dispatch, GivesFp64ToTheFormulas) {
  OwnedExec owned(1);
  EXPECT_EQ(twin(owned.exec, true).isa, Isa::reference);
  EXPECT_EQ(twin(owned.exec, false).isa, best_isa());
}

}  // namespace
}  // namespace hadal::kernels
