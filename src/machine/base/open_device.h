// OpenDevice: one device as one program uses it: a stream on which its kernels run one after another, copies in the
// order of that stream, and how often the host waited for it (a wait stops both, so a step may have few).
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/device.h"
#include "base/memory.h"

namespace hadal {

class OpenDevice {
 public:
  // Throws unsupported, with what would be right, for a device that is not there or that this program does not run on.
  OpenDevice(Device device, const DeviceDriver& driver);
  ~OpenDevice();
  OpenDevice(const OpenDevice&) = delete;
  OpenDevice& operator=(const OpenDevice&) = delete;

  Device device() const { return device_; }
  DeviceInfo info() const;
  const DeviceDriver& driver() const { return driver_; }
  DeviceStream stream() const { return stream_; }

  // `from` may go at once: it travels through pinned memory of ours, which is used again when its copy has run.
  void upload(void* to, const void* from, int64_t bytes);
  struct Download {
    void* to;
    const void* from;
    int64_t bytes;
  };
  void download(std::span<const Download> parts);  // one wait for all of them
  void copy(void* to, const void* from, int64_t bytes);
  void fill(void* to, uint8_t value, int64_t bytes);
  void wait();  // until everything has run; throws what failed there

  int64_t waits() const { return waits_; }  // wait() and download(), since it was opened

 private:
  // Half of the pinned memory: filled from its beginning, and again when what was copied out of it has run.
  struct Half {
    char* memory = nullptr;
    int64_t used = 0;
    DeviceEvent copied;
    bool recorded = false;
  };
  static constexpr int64_t kHalf = int64_t(8) << 20;  // bytes
  void wait_locked();

  const Device device_;
  const DeviceDriver& driver_;
  DeviceStream stream_;
  std::mutex mutex_;
  Half halves_[2];
  int current_ = 0;
  std::atomic<int64_t> waits_ = 0;
};

// A pool of the device's memory. Blocks are used again in the order of its stream: what is given back may still be read
// by work that was queued before, and what is made of it is queued after. The device is open as long as a block is.
// most: bytes that it may take from the device; 0: as many as there are.
std::shared_ptr<MemoryPool> device_memory(std::shared_ptr<OpenDevice> device, int64_t most = 0);

// Bytes that a pool's users may still take: of its device, within the most that it may take, or of the host.
uint64_t available_memory(const MemoryPool& pool);

}  // namespace hadal
