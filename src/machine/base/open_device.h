// OpenDevice: one device as one program uses it: a stream on which its kernels run one after another, copies in the
// order of that stream, and how often the host waited for it (a wait stops both, so a step may have few). A second
// stream carries what leaves the device while kernels run. All copies travel through pinned memory of ours: with any
// other a copy would itself be a wait.
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

  // `from` may go at once. Waits where more than the pinned memory is under way.
  void upload(void* to, const void* from, int64_t bytes);
  struct Download {
    void* to;
    const void* from;
    int64_t bytes;
  };
  void download(std::span<const Download> parts);  // one wait for all of them, or one for each kHalf
  // The same beside what the first stream runs from now on: begin_copy_out() marks the moment, and copy_out(), on any
  // thread, brings home what the parts held when all that was queued before it had run. Nobody may write to them or
  // give them up before it returns. One at a time.
  void begin_copy_out();
  void copy_out(std::span<const Download> parts);
  void copy(void* to, const void* from, int64_t bytes);
  void fill(void* to, uint8_t value, int64_t bytes);
  void wait();  // until everything has run; throws what failed there

  int64_t waits() const { return waits_; }  // of the host for the device, since it was opened

  static constexpr int64_t kHalf = int64_t(8) << 20;  // bytes of each half of the pinned memory, of each direction

 private:
  // Half of the pinned memory of a direction: filled from its beginning, and again when the copies out of it or into it
  // have run and, of those into it, what came has been taken to where it belongs.
  struct Half {
    char* memory = nullptr;
    int64_t used = 0;
    DeviceEvent copied;
    bool recorded = false;
    std::vector<Download> arriving;  // from here to the host's memory
    void deliver();
  };
  struct Halves {
    Half of[2];
    explicit operator bool() const { return of[0].memory != nullptr; }
  };
  void open(Halves& halves);
  void close(Halves& halves);
  void wait_locked();
  void wait_for_half(Half& half);
  void bring_home(std::span<const Download> parts, DeviceStream stream, Halves& through);

  const Device device_;
  const DeviceDriver& driver_;
  DeviceStream stream_;
  std::mutex mutex_;
  Halves up_, down_;
  int current_ = 0;  // of up_
  std::mutex out_mutex_;
  DeviceStream out_stream_;  // open from the first copy on that goes out
  DeviceEvent out_from_;     // when it may begin
  Halves out_;
  std::atomic<int64_t> waits_ = 0;
};

// A pool of the device's memory. Blocks are used again in the order of its stream: what is given back may still be read
// by work that was queued before, and what is made of it is queued after. The device is open as long as a block is.
// most: bytes that it may take from the device; 0: as many as there are.
std::shared_ptr<MemoryPool> device_memory(std::shared_ptr<OpenDevice> device, int64_t most = 0);

// Bytes that a pool's users may still take: of its device, within the most that it may take, or of the host.
uint64_t available_memory(const MemoryPool& pool);

}  // namespace hadal
