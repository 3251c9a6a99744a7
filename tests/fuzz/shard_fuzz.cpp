// libFuzzer: any bytes as a shard, with the checksum put right so that what lies behind it is reached, and as a cursor.
// Only Error may come out.
// room: data
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "data/loader.h"
#include "data/shard_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  constexpr size_t kHeader = 224, kChecked = 192;
  std::vector<uint8_t> bytes(data, data + size);
  if (size >= kHeader) {
    std::memcpy(bytes.data(), "HADALSHD\1\0\0\0", 12);
    Sha256 hash;
    hash.update(bytes.data() + kHeader, size - kHeader);
    hash.update(bytes.data(), kChecked);
    std::memcpy(bytes.data() + kChecked, hash.digest().data(), 32);
  }
  try {
    const data::ShardFile shard = data::ShardFile::from_bytes(bytes, "fuzzed");
    std::vector<int32_t> tokens;
    for (int64_t d = 0; d < shard.info().n_documents; ++d) shard.tokens(d, tokens);
  } catch (const Error&) {
  }
  try {
    data::Cursor::from_json(std::string(reinterpret_cast<const char*>(data), size));
  } catch (const Error&) {
  }
  return 0;
}
