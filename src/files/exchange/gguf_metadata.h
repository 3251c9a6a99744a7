// The keys of a GGUF file of architecture deepseek2: what llama.cpp and its family read to run a model of ours. Private
// to the room.
#pragma once
#include <string>
#include <vector>

#include "exchange/export_plan.h"
#include "storage/gguf_file.h"

namespace hadal {

// file_type is llama.cpp's number of the type that most tensors have.
GgufKeys gguf_model_keys(const ModelConfig& model, const std::string& name, uint32_t file_type);
void add_gguf_vocabulary(const ModelConfig& model, const GgufVocabulary* vocabulary, GgufKeys& keys);
// What the model has and the format, or every program that reads it, lacks: one sentence each. Throws unsupported for
// what such a program would not even load.
std::vector<std::string> gguf_limits(const ModelConfig& model);
// A MoE layer without shared experts gets one of zeros, which adds nothing: the format knows no layer without.
int64_t gguf_shared_experts(const ModelConfig& model);

}  // namespace hadal
