// TensorFile: what a file of tensors, or its shards, will hold, the same on every rank, and what of it this rank
// writes. Between all ranks every element is written once.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "arch/box.h"
#include "arch/parameter_list.h"
#include "storage/shared_safetensors.h"

namespace hadal {

struct TensorFile {
  std::vector<SafetensorsEntry> tensors;  // whole
  std::vector<TensorPart> parts;
};

// Some elements of a box, one behind the other, that begin with its element `begin`, row by row.
struct BoxElements {
  const Box& box;
  int64_t begin = 0;
  Tensor elements;  // contiguous; may be empty
};

// These as rectangles of the whole tensor. Boxes may be cut along the first and the last dimension.
std::vector<TensorPart> parts_of(const std::string& name, const Shape& shape, const BoxElements& own);

// The tensors under which a model's file has a parameter: stacked experts one by one.
std::vector<SafetensorsEntry> model_entries(const ParameterSpec& spec, DType dtype);
std::vector<TensorPart> model_parts(const ParameterSpec& spec, const BoxElements& own);

}  // namespace hadal
