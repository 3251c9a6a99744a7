// The parts of `hadal inspect`: lists of tensors, what a directory stores, what fits into memory. Private to the verb.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "arch/memory_fit.h"
#include "exchange/released_tensors.h"
#include "exchange/scale_statistics.h"
#include "storage/tensor_files.h"

namespace hadal {

// ---- tensors

struct ListedTensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  std::string parameter, file;  // either may be empty
  double init_std = 0;
};
std::vector<ListedTensor> listed(const std::vector<ReleasedTensor>& released);
std::vector<ListedTensor> listed(const TensorFiles& files);
// One row per tensor; experts that differ by nothing but their number share one.
void print_listed(const std::vector<ListedTensor>& tensors);
nlohmann::ordered_json listed_json(const std::vector<ListedTensor>& tensors);  // every tensor
// Tensors and bytes by type: "F8_E4M3  45,808 tensors  655.5 GiB".
void print_types(const std::vector<ListedTensor>& tensors);
nlohmann::ordered_json types_json(const std::vector<ListedTensor>& tensors);

// ---- a directory

struct TokenizerFacts {
  bool present = false, chat_template = false;
  std::string kind, fault;  // fault: why it cannot be used here
  int64_t vocabulary = 0, merges = 0, added = 0, special = 0;
  std::vector<std::pair<std::string, int64_t>> ids;  // "BOS" -> 0
};
TokenizerFacts tokenizer_facts(const std::filesystem::path& directory);

void print_scales(const ScaleStatistics& scales);
void print_tokenizer(const TokenizerFacts& facts);
nlohmann::ordered_json scales_json(const ScaleStatistics& scales);
nlohmann::ordered_json tokenizer_json(const TokenizerFacts& facts);

// ---- a run with phases: what it has been through, one line per phase that ended
void print_lineage(const std::filesystem::path& run);
nlohmann::ordered_json lineage_json(const std::filesystem::path& run);

// ---- memory

void print_memory(const std::vector<MemoryFit>& fits);
nlohmann::ordered_json memory_json(const std::vector<MemoryFit>& fits);

}  // namespace hadal
