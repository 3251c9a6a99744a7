// A program that was built with CUDA: its kernels, and the thin layer as the house's driver of a device.
#include "kernels/devices.h"

#include "kernels/cuda/hopper/runtime.h"
#include "kernels/cuda/kernels.h"

namespace hadal::kernels {

const DeviceBackend* cuda_backend() {
  static const DeviceDriver driver = {
      .count = &cuda::device_count,
      .info = &cuda::device_info,
      .use = &cuda::use_device,
      .allocate = &cuda::allocate,
      .release = &cuda::release,
      .allocate_pinned = &cuda::allocate_pinned,
      .release_pinned = &cuda::release_pinned,
      .copy_to_device = &cuda::copy_to_device,
      .copy_to_host = &cuda::copy_to_host,
      .copy_on_device = &cuda::copy_on_device,
      .fill_bytes = &cuda::fill_bytes,
      .make_stream = &cuda::make_stream,
      .close_stream = &cuda::close_stream,
      .wait_for_stream = &cuda::wait_for,
      .make_event = &cuda::make_event,
      .close_event = &cuda::close_event,
      .record = &cuda::record,
      .wait_for_event = &cuda::wait_for_event,
      .order_after = &cuda::order_after,
  };
  static const DeviceBackend backend = {&driver, &cuda::table()};
  return &backend;
}

}  // namespace hadal::kernels
