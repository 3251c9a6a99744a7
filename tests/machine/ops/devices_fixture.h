// A walk over the schedules of the device that tests of ops run on beside the CPU (kernels/places_fixture.h).
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "kernels/places_fixture.h"

namespace hadal::rows_test {

// f(exec) on the device under each of some schedules; which one it was is in every failure.
inline void each_device_schedule(const std::function<void(const Exec&)>& f) {
  for (const kernels_test::Place& place : kernels_test::places()) {
    for (int schedule = 1; place.on_device && schedule <= (kernels_test::kDeviceStride > 1 ? 1 : 2); ++schedule) {
      const kernels_test::ExecAt device(place, schedule);
      SCOPED_TRACE(place.name() + ", schedule " + std::to_string(schedule));
      f(device.exec);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace hadal::rows_test
