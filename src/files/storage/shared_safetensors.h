// SharedSafetensors: a safetensors file that several ranks write together. Its header depends on the list of tensors
// alone, so everyone knows where each byte goes. One makes the file, of its whole size and with the header; then each
// writes what it has into place, and the bytes are those that one alone would write.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "storage/safetensors.h"

namespace hadal {

struct TensorPart {  // a rectangle of a tensor that is seen as [rows, columns]
  std::string name;
  int64_t row = 0, col = 0;  // where it begins
  Tensor elements;           // [rows, cols] of it
};

class SharedSafetensors {
 public:
  // All tensors, whole, in the order in which SafetensorsWriter would take them.
  explicit SharedSafetensors(std::vector<SafetensorsEntry> tensors, const SafetensorsMetadata& metadata = {});

  void create(const std::filesystem::path& path) const;
  // Into a file that was created; on the disk when it returns. Throws internal for a part that is none of its tensor.
  void write(const std::filesystem::path& path, const std::vector<TensorPart>& parts) const;

 private:
  std::string prefix_;  // what stands before the data
  uint64_t bytes_ = 0;  // of the file
  std::map<std::string, SafetensorsEntry> by_name_;
};

}  // namespace hadal
