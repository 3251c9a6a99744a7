#include "base/open_device.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/system_info.h"
#include "base/text_format.h"

namespace hadal {

std::string device_name(Device device) {
  return device.kind == DeviceKind::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

Device parse_device(const std::string& s) {
  if (s == "cpu") return {};
  const std::string digits = s.starts_with("cuda:") ? s.substr(5) : s == "cuda" ? "0" : "";
  const bool number = !digits.empty() && digits.size() <= 4 && digits.find_first_not_of("0123456789") == digits.npos;
  check(number, ErrorKind::invalid, "device \"{}\" is not known; there are cpu and cuda:0, cuda:1, ...", s);
  return {DeviceKind::cuda, std::stoi(digits)};
}

OpenDevice::OpenDevice(Device device, const DeviceDriver& driver) : device_(device), driver_(driver) {
  const int count = driver_.count();
  check(device.index < count, ErrorKind::unsupported, "there is no device {}: this machine has {}", device_name(device),
        count == 1 ? "cuda:0 alone" : fmt::format("{} of them, cuda:0 to cuda:{}", count, count - 1));
  driver_.info(device.index);
  driver_.use(device.index);
  stream_ = driver_.make_stream();
  for (Half& half : halves_) {
    half.memory = static_cast<char*>(driver_.allocate_pinned(kHalf));
    half.copied = driver_.make_event();
  }
}

OpenDevice::~OpenDevice() {
  try {
    driver_.use(device_.index);
    driver_.close_stream(stream_);
    for (Half& half : halves_) driver_.close_event(half.copied), driver_.release_pinned(half.memory);
  } catch (const Error&) {  // the device failed before: who waited for it was told
  }
}

DeviceInfo OpenDevice::info() const { return driver_.info(device_.index); }

void OpenDevice::upload(void* to, const void* from, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  driver_.use(device_.index);
  for (int64_t done = 0; done < bytes;) {
    if (halves_[current_].used == kHalf) {
      driver_.record(halves_[current_].copied, stream_), halves_[current_].recorded = true;
      current_ = 1 - current_;
      Half& next = halves_[current_];
      if (next.recorded) driver_.wait_for_event(next.copied);
      next.used = 0;
    }
    Half& half = halves_[current_];
    const int64_t n = std::min(bytes - done, kHalf - half.used);
    std::memcpy(half.memory + half.used, static_cast<const char*>(from) + done, size_t(n));
    driver_.copy_to_device(static_cast<char*>(to) + done, half.memory + half.used, n, stream_);
    half.used += n, done += n;
  }
}

void OpenDevice::wait_locked() {
  ++waits_;
  driver_.wait_for_stream(stream_);
  for (Half& half : halves_) half.used = 0, half.recorded = false;
}

void OpenDevice::download(std::span<const Download> parts) {
  const std::lock_guard lock(mutex_);
  driver_.use(device_.index);
  for (const Download& part : parts)
    if (part.bytes > 0) driver_.copy_to_host(part.to, part.from, part.bytes, stream_);
  wait_locked();
}

void OpenDevice::copy(void* to, const void* from, int64_t bytes) {
  driver_.use(device_.index);
  if (bytes > 0) driver_.copy_on_device(to, from, bytes, stream_);
}

void OpenDevice::fill(void* to, uint8_t value, int64_t bytes) {
  driver_.use(device_.index);
  if (bytes > 0) driver_.fill_bytes(to, value, bytes, stream_);
}

void OpenDevice::wait() {
  const std::lock_guard lock(mutex_);
  driver_.use(device_.index);
  wait_locked();
}

namespace {

class DeviceSource : public MemorySource {
 public:
  explicit DeviceSource(std::shared_ptr<OpenDevice> device) : device_(std::move(device)) {}

  void* allocate(size_t bytes) override {
    try {
      device_->driver().use(device_->device().index);
      return device_->driver().allocate(int64_t(bytes));
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::out_of_memory) return nullptr;
      throw;
    }
  }
  // Blocks come back here when the pool gives them up, which no schedule of work waits for.
  void release(void* block, size_t) override {
    try {
      device_->driver().use(device_->device().index);
      device_->driver().wait_for_stream(device_->stream());
      device_->driver().release(block);
    } catch (const Error&) {  // the device failed before: who waited for it was told
    }
  }
  OpenDevice* device() const override { return device_.get(); }
  std::string free_text() const override {
    const DeviceInfo info = device_->info();
    return fmt::format("{} has {} free of {}", device_name(device_->device()), format_bytes(double(info.free_bytes)),
                       format_bytes(double(info.total_bytes)));
  }

 private:
  std::shared_ptr<OpenDevice> device_;
};

}  // namespace

std::shared_ptr<MemoryPool> device_memory(std::shared_ptr<OpenDevice> device, int64_t most) {
  return MemoryPool::create(std::make_unique<DeviceSource>(std::move(device)), most);
}

uint64_t available_memory(const MemoryPool& pool) {
  const OpenDevice* device = pool.device();
  if (!device) return memory_info().available;
  const auto left = uint64_t(device->info().free_bytes), most = uint64_t(pool.most());
  return most > 0 ? std::min(left, most) : left;
}

}  // namespace hadal
