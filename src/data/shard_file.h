// One shard file: the tokens of a run of documents of one source and one split (training or held out). Little-endian:
//
//   offset  bytes  what
//        0      8  "HADALSHD"
//        8      4  format version: 1 texts, 2 samples of dialogues
//       12      4  bytes per token: 2 (vocabulary up to 65536) or 4
//       16      8  documents D
//       24      8  tokens T
//       32      8  raw bytes of the text
//       40      4  source (index in the configuration)
//       44      4  split: 0 training, 1 held out
//       48      8  unit: which run of documents of the source (0, 1, ...)
//       56      8  texts: 0; dialogues: how many were refused (dialogue_samples.h), in the training shard
//       64     64  content hash of the tokenizer (SHA-256, hexadecimal digits)
//      128     64  plan, what it was built from: SHA-256 (hexadecimal digits) of corpus, tokenizer and split
//      192     32  SHA-256 of everything after the header, followed by bytes [0, 192)
//      224  T * w  tokens, document after document, of texts without BOS and EOS, of samples all
//        …    0-7  zeros up to a multiple of 8
//        …  T / 8  samples: one bit per token, the lowest of a byte first: whether it is trained; rounded up to bytes
//        …    0-7  zeros up to a multiple of 8
//        … 32 * D  documents: first token, tokens, raw bytes, hash of the document (8 bytes each); samples: bytes of
//                  trained text, hash of the dialogue
//
// A file is complete or absent (written beside, synced, renamed). open() checks every byte of it.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/guarded_map.h"
#include "base/hash.h"

namespace hadal::data {

enum class Split : uint32_t { training = 0, held_out = 1 };
const char* split_name(Split split);  // "train", "heldout"

struct ShardInfo {
  int64_t n_documents = 0, n_tokens = 0, n_raw_bytes = 0;
  int64_t source = 0, unit = 0;
  Split split = Split::training;
  int64_t token_bytes = 2;
  std::string tokenizer_hash;  // the first 32 digits of Tokenizer::content_hash()
  std::string plan;            // 64 digits
  bool dialogues = false;      // samples, with bits
  int64_t n_trained = 0;       // tokens of samples
  int64_t n_refused = 0;
};

struct DocumentRecord {
  uint64_t first_token, n_tokens, raw_bytes, hash;
};
static_assert(sizeof(DocumentRecord) == 32);

class ShardFile {
 public:
  // Maps and checks a file: corrupt (truncated, flipped bits, not a shard) or unsupported (another version), naming it.
  static ShardFile open(const std::filesystem::path& path);
  static ShardFile from_bytes(std::vector<uint8_t> bytes, const std::string& name);  // the same checks on memory

  const ShardInfo& info() const { return info_; }
  const DocumentRecord& document(int64_t index) const { return documents_[size_t(index)]; }
  // Replaces out. Throws corrupt, naming the file, when it was cut off or written to since it was opened.
  void tokens(int64_t index, std::vector<int32_t>& out) const;
  // Of a sample, one byte per token: whether it is trained. Replaces out; empties it for a text.
  void trained(int64_t index, std::vector<uint8_t>& out) const;
  int32_t max_token() const { return max_token_; }

 private:
  void parse(std::span<const uint8_t> bytes, const std::string& name);
  std::unique_ptr<GuardedMap> map_;
  std::vector<uint8_t> memory_;
  ShardInfo info_;
  const uint8_t *tokens_ = nullptr, *bits_ = nullptr;
  std::span<const DocumentRecord> documents_;
  int32_t max_token_ = -1;
};

class ShardWriter {
 public:
  ShardWriter(const std::filesystem::path& path, ShardInfo info);  // counts in info are ignored
  void add(std::span<const int32_t> tokens, int64_t raw_bytes, uint64_t hash);
  void add_sample(std::span<const int32_t> tokens, std::span<const uint8_t> trained, int64_t raw_bytes, uint64_t hash);
  void refuse() { ++info_.n_refused; }  // a dialogue
  ShardInfo commit();

 private:
  void put(const void* data, size_t bytes);
  AtomicFile file_;
  Sha256 hash_;
  ShardInfo info_;
  std::vector<DocumentRecord> documents_;
  std::vector<uint8_t> buffer_, bits_;
};

}  // namespace hadal::data
