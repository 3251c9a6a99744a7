// Reading and writing of one shard; the bytes are drawn in shard_file.h.
#include "data/shard_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace hadal::data {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian and mapped as they are");
constexpr char kMagic[8] = {'H', 'A', 'D', 'A', 'L', 'S', 'H', 'D'};
constexpr uint32_t kTexts = 1, kDialogues = 2;  // versions
constexpr const char* kRepair = "run `hadal data build` to make it again";

struct Header {
  char magic[8];
  uint32_t version, token_bytes;
  uint64_t n_documents, n_tokens, n_raw_bytes;
  uint32_t source, split;
  uint64_t unit, refused;
  char tokenizer_hash[64], plan[64];
  uint8_t sha256[32];
};
static_assert(sizeof(Header) == 224 && offsetof(Header, sha256) == 192);

uint64_t padding_after(uint64_t bytes) { return (8 - bytes % 8) % 8; }
uint64_t padded(uint64_t bytes) { return bytes + padding_after(bytes); }

uint64_t bits_part(const Header& header) {
  return header.version == kDialogues ? padded((header.n_tokens + 7) / 8) : 0;
}

template <class T>
int64_t largest(const uint8_t* data, int64_t n) {
  const T* tokens = reinterpret_cast<const T*>(data);
  int64_t most = -1;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, int64_t(tokens[i]));
  return most;
}

void check_shape(const Header& header, size_t bytes, const std::string& name) {
  check(std::memcmp(header.magic, kMagic, 8) == 0, ErrorKind::corrupt, "'{}' is not a shard of Hadal; {}", name,
        kRepair);
  check(header.version == kTexts || header.version == kDialogues, ErrorKind::unsupported,
        "'{}' is a shard of format {}, this program reads formats {} and {}; {}", name, header.version, kTexts,
        kDialogues, kRepair);
  const uint64_t most = uint64_t(1) << 48;  // keeps the sums below from wrapping
  const bool sane = (header.token_bytes == 2 || header.token_bytes == 4) && header.split <= 1 &&
                    header.n_documents < most && header.n_tokens < most && header.unit < most &&
                    header.n_raw_bytes < most && header.refused < most;
  check(sane, ErrorKind::corrupt, "'{}' is damaged: its header makes no sense; {}", name, kRepair);
  const uint64_t expected = sizeof(Header) + padded(header.n_tokens * header.token_bytes) + bits_part(header) +
                            header.n_documents * sizeof(DocumentRecord);
  check(bytes == expected, ErrorKind::corrupt, "'{}' is damaged: it has {} bytes, its header says {}; {}", name, bytes,
        expected, kRepair);
}

void check_documents(std::span<const DocumentRecord> documents, const Header& header, const std::string& name) {
  uint64_t token = 0, raw = 0;
  bool fine = true;
  for (const DocumentRecord& d : documents) {
    fine &= d.first_token == token && d.n_tokens <= header.n_tokens - token && d.raw_bytes <= header.n_raw_bytes - raw;
    if (!fine) break;
    token += d.n_tokens, raw += d.raw_bytes;
  }
  check(fine && token == header.n_tokens && raw == header.n_raw_bytes, ErrorKind::corrupt,
        "'{}' is damaged: its table of documents does not add up; {}", name, kRepair);
}

}  // namespace

const char* split_name(Split split) { return split == Split::training ? "train" : "heldout"; }

ShardFile ShardFile::open(const std::filesystem::path& path) {
  ShardFile file;
  file.map_ = std::make_unique<GuardedMap>(path, GuardedMap::Use::many);
  file.parse({file.map_->data(), file.map_->size()}, path.string());
  return file;
}

ShardFile ShardFile::from_bytes(std::vector<uint8_t> bytes, const std::string& name) {
  ShardFile file;
  file.memory_ = std::move(bytes);
  file.parse(file.memory_, name);
  return file;
}

void ShardFile::parse(std::span<const uint8_t> bytes, const std::string& name) {
  check(bytes.size() >= sizeof(Header), ErrorKind::corrupt, "'{}' is damaged: {} bytes are too few for a shard; {}",
        name, bytes.size(), kRepair);
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  check_shape(header, bytes.size(), name);
  Sha256 hash;
  hash.update(bytes.data() + sizeof(Header), bytes.size() - sizeof(Header));
  hash.update(bytes.data(), offsetof(Header, sha256));
  check(std::memcmp(hash.digest().data(), header.sha256, 32) == 0, ErrorKind::corrupt,
        "'{}' is damaged: its content does not match its checksum; {}", name, kRepair);
  tokens_ = bytes.data() + sizeof(Header);
  bits_ = tokens_ + padded(header.n_tokens * header.token_bytes);
  documents_ = {reinterpret_cast<const DocumentRecord*>(bits_ + bits_part(header)), header.n_documents};
  check_documents(documents_, header, name);
  const int64_t n = int64_t(header.n_tokens);
  const int64_t most = header.token_bytes == 2 ? largest<uint16_t>(tokens_, n) : largest<uint32_t>(tokens_, n);
  check(most <= INT32_MAX, ErrorKind::corrupt, "'{}' is damaged: token {} is no id; {}", name, most, kRepair);
  max_token_ = int32_t(most);
  info_ = {int64_t(header.n_documents), n,
           int64_t(header.n_raw_bytes), int64_t(header.source),
           int64_t(header.unit),        Split(header.split),
           int64_t(header.token_bytes), std::string(header.tokenizer_hash, 64),
           std::string(header.plan, 64)};
  info_.dialogues = header.version == kDialogues, info_.n_refused = int64_t(header.refused);
  if (info_.dialogues)
    for (uint64_t byte = 0; byte < bits_part(header); ++byte) info_.n_trained += std::popcount(bits_[byte]);
}

void ShardFile::trained(int64_t index, std::vector<uint8_t>& out) const {
  out.clear();
  if (!info_.dialogues) return;
  const DocumentRecord& d = document(index);
  out.resize(size_t(d.n_tokens));
  for (uint64_t i = 0, at = d.first_token; i < d.n_tokens; ++i, ++at) out[i] = bits_[at / 8] >> at % 8 & 1;
  if (map_) map_->check_intact();
}

void ShardFile::tokens(int64_t index, std::vector<int32_t>& out) const {
  const DocumentRecord& d = document(index);
  out.resize(size_t(d.n_tokens));
  if (info_.token_bytes == 2) {
    const uint16_t* from = reinterpret_cast<const uint16_t*>(tokens_) + d.first_token;
    std::copy(from, from + d.n_tokens, out.begin());
  } else if (d.n_tokens > 0) {
    std::memcpy(out.data(), tokens_ + 4 * d.first_token, 4 * d.n_tokens);
  }
  if (map_) map_->check_intact();
}

ShardWriter::ShardWriter(const std::filesystem::path& path, ShardInfo info) : file_(path), info_(std::move(info)) {
  check(info_.token_bytes == 2 || info_.token_bytes == 4, ErrorKind::internal, "tokens of {} bytes", info_.token_bytes);
  check(info_.tokenizer_hash.size() == 64 && info_.plan.size() == 64, ErrorKind::internal, "hashes of {} and {} digits",
        info_.tokenizer_hash.size(), info_.plan.size());
  info_.n_documents = info_.n_tokens = info_.n_raw_bytes = info_.n_trained = info_.n_refused = 0;
  const Header empty{};
  file_.write(&empty, sizeof empty);  // its place; filled by commit()
}

void ShardWriter::put(const void* data, size_t bytes) {
  file_.write(data, bytes);
  hash_.update(data, bytes);
}

void ShardWriter::add(std::span<const int32_t> tokens, int64_t raw_bytes, uint64_t hash) {
  documents_.push_back({uint64_t(info_.n_tokens), tokens.size(), uint64_t(raw_bytes), hash});
  info_.n_documents += 1, info_.n_tokens += int64_t(tokens.size()), info_.n_raw_bytes += raw_bytes;
  if (info_.token_bytes == 4) return put(tokens.data(), tokens.size() * 4);
  buffer_.resize(tokens.size() * 2);
  for (size_t i = 0; i < tokens.size(); ++i) {
    check(tokens[i] >= 0 && tokens[i] <= 0xffff, ErrorKind::internal, "token {} does not fit into two bytes",
          tokens[i]);
    const uint16_t small = uint16_t(tokens[i]);
    std::memcpy(buffer_.data() + 2 * i, &small, 2);
  }
  put(buffer_.data(), buffer_.size());
}

void ShardWriter::add_sample(std::span<const int32_t> tokens, std::span<const uint8_t> trained, int64_t raw_bytes,
                             uint64_t hash) {
  check(info_.dialogues && trained.size() == tokens.size(), ErrorKind::internal, "{} marks for {} tokens",
        trained.size(), tokens.size());
  bits_.resize(size_t(info_.n_tokens + int64_t(tokens.size()) + 7) / 8, 0);
  for (size_t i = 0, at = size_t(info_.n_tokens); i < trained.size(); ++i, ++at) {
    bits_[at / 8] = uint8_t(bits_[at / 8] | (trained[i] != 0) << at % 8);
    info_.n_trained += trained[i] != 0;
  }
  add(tokens, raw_bytes, hash);
}

ShardInfo ShardWriter::commit() {
  const uint64_t zero = 0;
  put(&zero, padding_after(uint64_t(info_.n_tokens * info_.token_bytes)));
  if (info_.dialogues) put(bits_.data(), bits_.size()), put(&zero, padding_after(bits_.size()));
  put(documents_.data(), documents_.size() * sizeof(DocumentRecord));
  Header header{};
  std::memcpy(header.magic, kMagic, 8);
  header.version = info_.dialogues ? kDialogues : kTexts, header.token_bytes = uint32_t(info_.token_bytes);
  header.n_documents = uint64_t(info_.n_documents), header.n_tokens = uint64_t(info_.n_tokens);
  header.n_raw_bytes = uint64_t(info_.n_raw_bytes);
  header.source = uint32_t(info_.source), header.split = uint32_t(info_.split), header.unit = uint64_t(info_.unit);
  header.refused = uint64_t(info_.n_refused);
  std::memcpy(header.tokenizer_hash, info_.tokenizer_hash.data(), 64);
  std::memcpy(header.plan, info_.plan.data(), 64);
  hash_.update(&header, offsetof(Header, sha256));
  std::memcpy(header.sha256, hash_.digest().data(), 32);
  file_.write_at(0, &header, sizeof header);
  file_.commit();
  return info_;
}

}  // namespace hadal::data
