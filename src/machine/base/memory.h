// Memory for tensors: blocks of a size class are kept and reused, so that a training step after the first asks the
// system for nothing (fresh pages cost several times a copy). One MemoryPool per rank; thread-safe; alignment 64 bytes
// (2 MiB and huge pages for large blocks). Counts what callers use and what is taken from the system: the second is
// more, by unused blocks that wait for their next use, and it is what a machine must have. A pool of a device's memory
// (base/open_device.h) is the same over another source.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace hadal {

class OpenDevice;

// Where a pool's memory comes from.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  virtual void* allocate(size_t bytes) = 0;  // null: there is no more
  virtual void release(void* block, size_t bytes) = 0;
  virtual OpenDevice* device() const { return nullptr; }           // whose memory it is; null: the host's
  virtual std::string free_text() const { return std::string(); }  // what is left there, for a message
};

class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  static std::shared_ptr<MemoryPool> create();  // of the system's memory
  // most: bytes that it may take from the source; 0: as many as there are.
  static std::shared_ptr<MemoryPool> create(std::unique_ptr<MemorySource> source, int64_t most);
  ~MemoryPool();

  std::shared_ptr<void> allocate(size_t bytes);  // uninitialised; returned to the pool when the last reference goes
  // Memory of others, of so many bytes, counted as in use here too as long as what is returned lives.
  std::shared_ptr<void> adopt(std::shared_ptr<void> memory, size_t bytes);
  size_t bytes_in_use() const;    // as requested by callers
  size_t peak_bytes() const;      // highest bytes_in_use since the last reset_peak
  size_t bytes_reserved() const;  // taken from the system
  size_t peak_reserved() const;   // highest bytes_reserved since the last reset_peak
  void reset_peak();
  void trim();                 // gives unused blocks back to the system
  OpenDevice* device() const;  // whose memory it is; null: the host's
  size_t most() const;         // bytes that it may take from its source; 0: as many as there are

 private:
  MemoryPool(std::unique_ptr<MemorySource> source, int64_t most);
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hadal
