// libFuzzer: any bytes as a safetensors file (as they are, and as a header whose length is put right) and as a
// checkpoint's manifest. Only Error may come out; every tensor that is offered can be read to its last byte.
// room: checkpoint
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "scratch_folder.h"

namespace {

namespace fs = std::filesystem;
using namespace hadal;

void read_tensors(const fs::path& path) {
  try {
    const SafetensorsReader reader(path);
    unsigned sum = 0;
    for (const auto& name : reader.names()) {
      const Tensor tensor = reader.tensor(name);
      const auto* bytes = static_cast<const uint8_t*>(tensor.raw());
      for (int64_t i = 0; i < tensor.bytes(); ++i) sum += bytes[i];
    }
    volatile unsigned sink = sum;
    (void)sink;
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Folder folder;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto file = folder.path / "model.safetensors";
  write(file, bytes);
  read_tensors(file);
  const uint64_t header = bytes.find('\n') == std::string::npos ? size : bytes.find('\n');
  std::string framed(8, '\0');
  std::memcpy(framed.data(), &header, 8);
  write(file, framed + bytes.substr(0, header) + (header < size ? bytes.substr(header + 1) : ""));
  read_tensors(file);
  write(folder.path / "manifest.json", bytes);
  try {
    verify_checkpoint(folder.path);
  } catch (const Error&) {
  }
  return 0;
}
