// A program that was built with CUDA: its kernels, the thin layer as the house's driver of a device, and what is wrong
// with a machine that has none for it.
#include "kernels/devices.h"

#include "base/error.h"
#include "kernels/cuda/hopper/runtime.h"
#include "kernels/cuda/kernels.h"

namespace hadal::kernels {
namespace cuda {

void check_cuda(int status, const char* what) {
  if (status == kFine) return;
  take_last_error();
  fail(status == kNoMemory ? ErrorKind::out_of_memory : ErrorKind::internal, "{}: {}", what, status_text(status));
}

namespace {

constexpr const char* kDriverNeeded = "CUDA 13 needs NVIDIA's driver 580 or newer";

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace

bool device_is_there() {
  int count = 0;
  if (count_cards(count) == kFine) return count > 0;
  take_last_error();
  return false;
}

int device_count() {
  int count = 0;
  const int status = count_cards(count);
  if (status == kFine && count > 0) return count;
  take_last_error();
  const int version = driver_version();
  check(version > 0, ErrorKind::unsupported, "there is no NVIDIA driver on this machine; {}", kDriverNeeded);
  check(status != kDriverTooOld, ErrorKind::unsupported,
        "the NVIDIA driver of this machine is too old: it offers CUDA {}; {}", version_text(version), kDriverNeeded);
  check(status == kFine || status == kNoCard, ErrorKind::unsupported, "CUDA does not start: {}", status_text(status));
  fail(ErrorKind::unsupported, "the NVIDIA driver sees no card on this machine (or CUDA_VISIBLE_DEVICES hides it)");
}

DeviceInfo device_info(int index) {
  const Card card = card_of(index);
  check(
      runs_on(card), ErrorKind::unsupported,
      "cuda:{} ({}) is of compute capability {}.{}; the kernels are compiled for 9.0 (H100, H200) and run on no other",
      index, card.name, card.major, card.minor);
  return {card.name, version_text(driver_version()), card.free_bytes, card.total_bytes};
}

}  // namespace cuda

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
