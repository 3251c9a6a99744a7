// Copies of tensors on the host, at once (host_copies() of tensor.h) or late.
#include "tensor/late_copies.h"

#include <algorithm>
#include <new>

#include "base/error.h"
#include "base/open_device.h"
#include "tensor/stretches.h"

namespace hadal {
namespace {

// Room on the host for copies of tensors, and what is to be copied from the one device that some of them lie on.
struct HostCopies {
  explicit HostCopies(const std::vector<Tensor>& tensors) {
    for (const Tensor& tensor : tensors) {
      if (tensor.on_host()) {
        copies.push_back(tensor);
        continue;
      }
      check(device == nullptr || device == tensor.device(), ErrorKind::internal, "tensors of several devices at once");
      device = tensor.device();
      std::shared_ptr<void> room(::operator new(size_t(std::max<int64_t>(1, tensor.bytes()))),
                                 [](void* memory) { ::operator delete(memory); });
      copies.push_back(Tensor::wrap(room.get(), tensor.dtype(), tensor.shape(), -1, room));
      char* next = static_cast<char*>(room.get());
      each_stretch(tensor, [&](int64_t element, int64_t bytes) {
        parts.push_back({next, place_in(tensor, element), bytes});
        next += bytes;
      });
    }
  }
  std::vector<Tensor> copies;
  std::vector<OpenDevice::Download> parts;
  OpenDevice* device = nullptr;
};

}  // namespace

std::vector<Tensor> host_copies(const std::vector<Tensor>& tensors) {
  HostCopies all(tensors);
  if (all.device) all.device->download(all.parts);
  return all.copies;
}

Tensor host_copy(const Tensor& tensor) { return host_copies({tensor}).front(); }

LateCopies late_host_copies(const std::vector<Tensor>& tensors) {
  HostCopies all(tensors);
  LateCopies late{all.copies, [] {}};
  if (all.device == nullptr) return late;
  all.device->begin_copy_out();
  late.arrive = [tensors, device = all.device, parts = std::move(all.parts)] { device->copy_out(parts); };
  return late;
}

}  // namespace hadal
