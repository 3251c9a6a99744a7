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
  open(up_), open(down_);
}

void OpenDevice::open(Halves& halves) {
  for (Half& half : halves.of) {
    half.memory = static_cast<char*>(driver_.allocate_pinned(kHalf));
    half.copied = driver_.make_event();
  }
}

void OpenDevice::close(Halves& halves) {
  for (Half& half : halves.of) driver_.close_event(half.copied), driver_.release_pinned(half.memory);
}

OpenDevice::~OpenDevice() {
  try {
    driver_.use(device_.index);
    driver_.close_stream(stream_);
    close(up_), close(down_);
    if (!out_) return;
    driver_.close_stream(out_stream_), driver_.close_event(out_from_);
    close(out_);
  } catch (const Error&) {  // the device failed before: who waited for it was told
  }
}

DeviceInfo OpenDevice::info() const { return driver_.info(device_.index); }

void OpenDevice::wait_for_half(Half& half) {
  if (!half.recorded) return;
  ++waits_;
  driver_.wait_for_event(half.copied);
  half.recorded = false;
}

void OpenDevice::upload(void* to, const void* from, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  driver_.use(device_.index);
  for (int64_t done = 0; done < bytes;) {
    if (up_.of[current_].used == kHalf) {
      driver_.record(up_.of[current_].copied, stream_), up_.of[current_].recorded = true;
      current_ = 1 - current_;
      wait_for_half(up_.of[current_]);
      up_.of[current_].used = 0;
    }
    Half& half = up_.of[current_];
    const int64_t n = std::min(bytes - done, kHalf - half.used);
    std::memcpy(half.memory + half.used, static_cast<const char*>(from) + done, size_t(n));
    driver_.copy_to_device(static_cast<char*>(to) + done, half.memory + half.used, n, stream_);
    half.used += n, done += n;
  }
}

void OpenDevice::wait_locked() {
  ++waits_;
  driver_.wait_for_stream(stream_);
  for (Half& half : up_.of) half.used = 0, half.recorded = false;
}

void OpenDevice::Half::deliver() {
  for (const Download& part : arriving) std::memcpy(part.to, part.from, size_t(part.bytes));
  arriving.clear();
  used = 0;
}

// Queues copies into one half after another; before one fills again, it is emptied while the other fills. The last of
// them are not waited for.
void OpenDevice::bring_home(std::span<const Download> parts, DeviceStream stream, Halves& through) {
  for (Half& half : through.of) half.arriving.clear(), half.used = 0, half.recorded = false;  // of one that failed
  int current = 0;
  for (const Download& part : parts)
    for (int64_t done = 0; done < part.bytes;) {
      if (through.of[current].used == kHalf) {
        driver_.record(through.of[current].copied, stream), through.of[current].recorded = true;
        current = 1 - current;
        wait_for_half(through.of[current]);
        through.of[current].deliver();
      }
      Half& half = through.of[current];
      const int64_t n = std::min(part.bytes - done, kHalf - half.used);
      driver_.copy_to_host(half.memory + half.used, static_cast<const char*>(part.from) + done, n, stream);
      half.arriving.push_back({static_cast<char*>(part.to) + done, half.memory + half.used, n});
      half.used += n, done += n;
    }
}

void OpenDevice::download(std::span<const Download> parts) {
  const std::lock_guard lock(mutex_);
  driver_.use(device_.index);
  bring_home(parts, stream_, down_);
  wait_locked();
  for (Half& half : down_.of) half.deliver();
}

void OpenDevice::begin_copy_out() {
  const std::lock_guard lock(out_mutex_);
  driver_.use(device_.index);
  if (!out_) out_stream_ = driver_.make_stream(), out_from_ = driver_.make_event(), open(out_);
  driver_.record(out_from_, stream_);
  driver_.order_after(out_from_, out_stream_);
}

void OpenDevice::copy_out(std::span<const Download> parts) {
  const std::lock_guard lock(out_mutex_);
  check(bool(out_), ErrorKind::internal, "copies go out that were not begun");
  driver_.use(device_.index);
  bring_home(parts, out_stream_, out_);
  ++waits_;
  driver_.wait_for_stream(out_stream_);
  for (Half& half : out_.of) half.deliver();
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
      device_->wait();
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
