// What an export will write, decided before the first byte: files, the tensors in each with their places, and small
// text files. Plans are made by plan_hf (safetensors under the released names, §1.7) and plan_gguf (architecture
// deepseek2), and written by write_export.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "exchange/export_source.h"

namespace hadal {

enum class Encoding {
  stored,  // the bytes as they are stored
  f32,
  bf16,
  f16,         // values beyond its range are refused
  fp8,         // E4M3 codes; the scales that belong to them go into the tensor named by `scales`
  fp8_scales,  // F32, filled while the codes are written
  q8_0,
  q4_0
};

// Rows of one stored weight. An empty name stands for zeros.
struct ExportRows {
  StoredWeight weight;      // first_row and rows say which rows
  bool transposed = false;  // written as [cols, rows]
  int64_t half_split = 0;   // rows of a head, which is written in Llama's order (row_of_half_split); 0: as it is
};

struct ExportTensor {
  std::string name;
  Shape shape;
  Encoding encoding = Encoding::stored;
  std::vector<ExportRows> rows;  // in the order of the bytes; none for fp8_scales
  std::string scales;
  uint64_t bytes = 0;
};

struct ExportFile {
  struct Slot {
    size_t tensor = 0;    // index in ExportPlan::tensors
    uint64_t offset = 0;  // from the file's beginning; ascending, zeros between
  };
  std::string name, prefix;
  std::vector<Slot> slots;
  uint64_t bytes = 0;
};

struct ExportPlan {
  std::string to, dtype;  // as the user spells them
  uint64_t shard_bytes = 0;
  BlockSize block;             // of what becomes FP8: as the run multiplies it, if it was trained in FP8
  bool powers_of_two = false;  // its scales
  std::vector<ExportTensor> tensors;
  std::vector<ExportFile> files;
  std::vector<std::pair<std::string, std::string>> texts;  // file name, content; written after the files, in order
  std::vector<std::string> notices;
  uint64_t bytes() const;                           // of all files
  std::vector<std::vector<size_t>> shards() const;  // the tensors, as files of at most shard_bytes hold them
};

struct ExportRequest {
  std::string dtype;         // hf: bf16, f16, fp32, fp8; gguf: those but fp8, q8_0, q4_0
  uint64_t shard_bytes = 0;  // most bytes of tensors in one file; 0: all in one
};

// What a tokenizer is to GGUF; the text room knows tokenizers, this room only their tables.
struct GgufVocabulary {
  std::string pre;                  // llama.cpp's name of the pre-tokenizer
  std::vector<std::string> tokens;  // by id, in the byte alphabet; added tokens as they are
  std::vector<int32_t> types;       // GgufTokenType
  std::vector<std::string> merges;  // "left right"
  int64_t bos = -1, eos = -1, pad = -1;
  bool add_bos = false, add_eos = false;
  std::vector<std::pair<std::string, std::string>> chat_templates;  // name, source; "default" is the one without name
};
enum GgufTokenType : int32_t { kGgufNormal = 1, kGgufControl = 3, kGgufUserDefined = 4, kGgufUnused = 5 };

// Types that a target offers; throws invalid naming them when `dtype` is not among them.
void check_export_dtype(const std::string& to, const std::string& dtype);

// Same type in and out: every tensor byte for byte. Else matrices become `dtype`; in fp8 those of attention and FFNs,
// while router, norms, embedding, head, the MTP projection and what a run keeps high (fp8.high) stay BF16 and the
// router's bias F32.
ExportPlan plan_hf(const ExportSource& source, const ExportRequest& request);
// vocabulary may be null: a model of token ids. `name` stands in general.name. Notices say what GGUF cannot hold.
ExportPlan plan_gguf(const ExportSource& source, const ExportRequest& request, const GgufVocabulary* vocabulary,
                     const std::string& name);

}  // namespace hadal
