// Opening a directory of tensors and checking index against shards.
#include "storage/tensor_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/text_format.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

constexpr uintmax_t kMaxIndexBytes = 512 << 20;

// A shard's name must be that of a file in the index's own directory.
void check_shard_name(const std::string& name, const std::string& tensor, const std::string& where) {
  const bool plain = !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
                     name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
  check(plain, ErrorKind::corrupt,
        "{}: tensor '{}' is said to be in {}; a shard must be a file of the index's own directory, named without a "
        "path",
        where, tensor, json_text(nlohmann::json(name), {.ascii = true, .lossy = true}));
}

// A link that lies in the directory is its owner's doing (shards on another disk, a download cache) and is followed.
// Where a shard lies is never taken from the index, which came with the model: that is check_shard_name().
void check_shard_file(const fs::path& directory, const std::string& shard, const std::string& where) {
  std::error_code code;
  if (fs::exists(directory / shard, code)) return;
  const bool link = fs::is_symlink(directory / shard, code);
  check(!link, ErrorKind::not_found, "{}: lists shard '{}', which is a link to '{}', and nothing is there", where,
        shard, fs::read_symlink(directory / shard, code).string());
  fail(ErrorKind::not_found, "{}: lists shard '{}', which is not in the directory; download it again, whole", where,
       shard);
}

}  // namespace

SafetensorsIndex parse_safetensors_index(std::string_view text, const std::string& where) {
  const auto json = parse_json(text, where, {.levels = 8, .object = true, .unique_names = true});
  check(json.contains("weight_map") && json["weight_map"].is_object(), ErrorKind::corrupt,
        "{}: not a valid safetensors index: it has no object \"weight_map\"", where);
  SafetensorsIndex index;
  auto& map = index.weight_map;
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    check(shard.is_string(), ErrorKind::corrupt, "{}: the shard of tensor '{}' is {}, wanted a string", where, tensor,
          json_text(shard, {.lossy = true}));
    check_shard_name(shard.get<std::string>(), tensor, where);
    map[tensor] = shard.get<std::string>();
  }
  check(!map.empty(), ErrorKind::corrupt, "{}: its weight_map is empty", where);
  if (!json.contains("metadata")) return index;
  const auto& metadata = json["metadata"];
  check(metadata.is_object(), ErrorKind::corrupt, "{}: not a valid safetensors index: \"metadata\" is not an object",
        where);
  if (!metadata.contains("total_size")) return index;
  check(metadata["total_size"].is_number() && metadata["total_size"].get<double>() >= 0, ErrorKind::corrupt,
        "{}: not a valid safetensors index: total_size is {}, wanted a number of bytes", where,
        json_text(metadata["total_size"], {.lossy = true}));
  index.total_size = metadata["total_size"].get<double>();
  return index;
}

TensorFiles TensorFiles::open(const fs::path& directory, const std::string& stem) {
  TensorFiles files;
  files.directory_ = directory;
  const std::string single = tensor_file_name(stem, 0, 1), index = tensor_index_name(stem);
  const auto file = tensor_file_in(directory, stem);
  check(file.has_value(), ErrorKind::not_found, "{}: neither {} nor {} is in it", directory.string(), single, index);
  files.file_ = *file;
  if (file->filename() == index)
    files.open_index(*file, single);
  else
    files.open_single(*file);
  return files;
}

void TensorFiles::open_single(const fs::path& file) {
  shards_.push_back(std::make_shared<SafetensorsReader>(file));
  for (const auto& entry : shards_[0]->entries()) places_[entry.name] = {0, &entry};
}

void TensorFiles::open_index(const fs::path& file, const std::string& single) {
  check(fs::file_size(file) <= kMaxIndexBytes, ErrorKind::corrupt, "{}: {} bytes are too many for an index",
        file.string(), fs::file_size(file));
  const auto index = parse_safetensors_index(read_file(file), file.string());
  const auto& map = index.weight_map;
  std::map<std::string, size_t> shard_index;
  for (const auto& [tensor, shard] : map) shard_index.emplace(shard, 0);
  check(!fs::exists(directory_ / single) || shard_index.count(single) == 1, ErrorKind::corrupt,
        "{}: lists other files than {}, which is there too; remove the one that does not belong to the model",
        file.string(), single);
  for (auto& [shard, number] : shard_index) {
    check_shard_file(directory_, shard, file.string());
    number = shards_.size();
    shards_.push_back(std::make_shared<SafetensorsReader>(directory_ / shard));
  }
  for (const auto& [tensor, shard] : map) {
    const auto& reader = *shards_[shard_index[shard]];
    check(reader.has(tensor), ErrorKind::corrupt, "{}: tensor '{}' should be in shard '{}', which does not hold it",
          file.string(), tensor, shard);
    places_[tensor] = {shard_index[shard], &reader.entry(tensor)};
  }
  for (const auto& reader : shards_) {
    for (const auto& entry : reader->entries()) {
      const auto listed = map.find(entry.name);
      check(listed != map.end(), ErrorKind::corrupt, "{}: shard '{}' holds tensor '{}', which the index does not list",
            file.string(), reader->path().filename().string(), entry.name);
      check(listed->second == reader->path().filename().string(), ErrorKind::corrupt,
            "{}: tensor '{}' stands in shard '{}' and in '{}'", file.string(), entry.name, listed->second,
            reader->path().filename().string());
    }
  }
  uint64_t file_bytes = 0;  // what the released index counts; others count the tensors
  for (const auto& reader : shards_) file_bytes += fs::file_size(reader->path());
  if (index.total_size >= 0 && index.total_size != double(bytes()) && index.total_size != double(file_bytes))
    notices_.push_back(fmt::format("{}: total_size says {:.0f} bytes, the tensors have {}", file.filename().string(),
                                   index.total_size, bytes()));
}

void TensorFiles::add(const TensorFiles& from, const std::string& name) {
  if (shards_.empty()) directory_ = from.directory_, file_ = from.file_;
  const auto& shard = from.shards_[from.place(name).shard];
  const auto found = std::find(shards_.begin(), shards_.end(), shard);
  const auto number = size_t(found - shards_.begin());
  if (found == shards_.end()) shards_.push_back(shard);
  check(places_.emplace(name, Place{number, from.place(name).entry}).second, ErrorKind::internal,
        "'{}' is there already", name);
}

std::vector<std::string> TensorFiles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : places_) names.push_back(name);
  return names;
}

const TensorFiles::Place& TensorFiles::place(const std::string& name) const {
  const auto found = places_.find(name);
  if (found != places_.end()) return found->second;
  const std::string near = nearest_name(name, names());
  fail(ErrorKind::not_found, "{}: no tensor '{}' among its {}{}", directory_.string(), name, places_.size(),
       near.empty() ? "" : "; the nearest name is '" + near + "'");
}

const SafetensorsEntry& TensorFiles::entry(const std::string& name) const { return *place(name).entry; }

std::string TensorFiles::file_of(const std::string& name) const {
  return shards_[place(name).shard]->path().filename().string();
}

uint64_t TensorFiles::bytes() const {
  uint64_t bytes = 0;
  for (const auto& [name, place] : places_) bytes += place.entry->end - place.entry->begin;
  return bytes;
}

Tensor TensorFiles::tensor(const std::string& name) const { return shards_[place(name).shard]->tensor(name); }

void TensorFiles::read_part(const std::string& name, int64_t row, int64_t col, const Tensor& to) const {
  const Place& at = place(name);
  const SafetensorsEntry& entry = *at.entry;
  const int64_t cols = entry.shape.empty() ? 1 : entry.shape.back(), size = dtype_bytes(entry.dtype);
  check(to.dtype() == entry.dtype && to.on_host() && row >= 0 && col >= 0 && col + to.cols() <= cols,
        ErrorKind::internal, "{} {} from row {} and column {} of '{}' {} {}", dtype_name(to.dtype()),
        shape_text(to.shape()), row, col, name, dtype_name(entry.dtype), shape_text(entry.shape));
  if (to.count() == 0) return;
  const int64_t at_once = to.cols() == cols && to.contiguous() ? to.rows() : 1;  // rows that lie behind each other
  for (int64_t i = 0; i < to.rows(); i += at_once)
    shards_[at.shard]->read(name, uint64_t(((row + i) * cols + col) * size), to.row_range(i, at_once).raw(),
                            size_t(at_once * to.cols() * size));
}

uint64_t TensorFiles::bytes_read() const {
  uint64_t bytes = 0;
  for (const auto& shard : shards_) bytes += shard->bytes_read();
  return bytes;
}

std::string TensorFiles::identity() const {
  Sha256 hash;
  const size_t step = (places_.size() + kIdentityTensors - 1) / kIdentityTensors;
  size_t i = 0;
  for (const auto& [name, place] : places_) {
    const SafetensorsEntry& entry = *place.entry;
    hash.update(fmt::format("{} {} {}\n", name, dtype_name(entry.dtype), shape_text(entry.shape)));
    if (i++ % step != 0) continue;
    std::string bytes(std::min<size_t>(kIdentityBytes, entry.end - entry.begin), '\0');
    shards_[place.shard]->read(name, 0, bytes.data(), bytes.size());
    hash.update(bytes);
  }
  return hash.hex().substr(0, 32);
}

void TensorFiles::check_intact() const {
  for (const auto& shard : shards_) shard->check_intact();
}

}  // namespace hadal
