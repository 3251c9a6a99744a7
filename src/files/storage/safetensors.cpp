#include "storage/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/json.h"
#include "base/text_format.h"

namespace hadal {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");
using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr const char* kMetadataKey = "__metadata__";
constexpr DType kDTypes[] = {DType::f64, DType::f32, DType::bf16, DType::f16,    DType::f8_e4m3,
                             DType::i64, DType::i32, DType::u8,   DType::f8_e8m0};

[[noreturn]] void corrupt(const std::filesystem::path& path, const std::string& what) {
  fail(ErrorKind::corrupt, "{}: not a valid safetensors file: {}", path.string(), what);
}

int64_t size_value(const std::filesystem::path& path, const Json& value, const std::string& what) {
  const bool whole = value.is_number_unsigned() ? value.get<uint64_t>() <= uint64_t(INT64_MAX)
                                                : value.is_number_integer() && value.get<int64_t>() >= 0;
  if (!whole) corrupt(path, fmt::format("{} is {}, wanted a whole number from 0 to 2^63-1", what, json_text(value)));
  return value.get<int64_t>();
}

DType parse_dtype(const std::filesystem::path& path, const std::string& name, const Json& value) {
  if (!value.is_string()) corrupt(path, fmt::format("dtype of '{}' is {}, wanted a string", name, json_text(value)));
  const std::string text = value.get<std::string>();
  std::string known;
  for (DType dtype : kDTypes) {
    if (text == dtype_name(dtype)) return dtype;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", dtype_name(dtype));
  }
  fail(ErrorKind::unsupported, "{}: tensor '{}' has dtype '{}'; known are {}", path.string(), name, text, known);
}

// Bytes of a tensor; corrupt when the product leaves 63 bits.
uint64_t data_bytes_of(const std::filesystem::path& path, const SafetensorsEntry& entry) {
  int64_t bytes = dtype_bytes(entry.dtype);
  for (int64_t size : entry.shape)
    if (__builtin_mul_overflow(bytes, size, &bytes))
      corrupt(path, fmt::format("shape {} of '{}' overflows 64 bits", shape_text(entry.shape), entry.name));
  return uint64_t(bytes);
}

SafetensorsEntry parse_entry(const std::filesystem::path& path, const std::string& name, const Json& value) {
  if (!value.is_object()) corrupt(path, fmt::format("the entry of '{}' is not an object", name));
  for (const char* key : {"dtype", "shape", "data_offsets"})
    if (!value.contains(key)) corrupt(path, fmt::format("the entry of '{}' lacks \"{}\"", name, key));
  if (value.size() != 3)
    corrupt(path, fmt::format("the entry of '{}' has keys beside dtype, shape and data_offsets", name));
  SafetensorsEntry entry;
  entry.name = name;
  entry.dtype = parse_dtype(path, name, value["dtype"]);
  if (!value["shape"].is_array()) corrupt(path, fmt::format("shape of '{}' is not an array", name));
  for (const Json& size : value["shape"])
    entry.shape.push_back(size_value(path, size, fmt::format("a size of '{}'", name)));
  const Json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    corrupt(path, fmt::format("data_offsets of '{}' is not a pair", name));
  entry.begin = uint64_t(size_value(path, offsets[0], fmt::format("data_offsets[0] of '{}'", name)));
  entry.end = uint64_t(size_value(path, offsets[1], fmt::format("data_offsets[1] of '{}'", name)));
  if (entry.end < entry.begin)
    corrupt(path, fmt::format("data_offsets [{}, {}] of '{}' run backwards", entry.begin, entry.end, name));
  const uint64_t bytes = data_bytes_of(path, entry);
  if (entry.end - entry.begin != bytes)
    corrupt(path,
            fmt::format("'{}' is {} {}, {} bytes, but data_offsets [{}, {}] hold {}", name, dtype_name(entry.dtype),
                        shape_text(entry.shape), bytes, entry.begin, entry.end, entry.end - entry.begin));
  return entry;
}

std::string header_text(const std::vector<SafetensorsEntry>& entries, const SafetensorsMetadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  for (const SafetensorsEntry& entry : entries)
    header[entry.name] = {
        {"dtype", dtype_name(entry.dtype)}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  std::string text = json_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path)
    : path_(path), file_(std::make_shared<GuardedMap>(path)) {
  const uint64_t file_bytes = file_->size();
  if (file_bytes < 8) corrupt(path, fmt::format("it has {} bytes, the header's length alone needs 8", file_bytes));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file_->data(), 8);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file_bytes - 8)
    corrupt(path, fmt::format("its header claims {} bytes, the file has {} (truncated, or another format?)",
                              header_bytes, file_bytes));
  data_begin_ = 8 + header_bytes;
  parse(file_->text().substr(8, header_bytes), file_bytes - data_begin_);
}

void SafetensorsReader::parse(std::string_view header, uint64_t data_bytes) {
  const Json json =
      parse_json(header, path_.string() + ": header", {.levels = 8, .object = true, .unique_names = true});
  for (const auto& [name, value] : json.items()) {
    if (name != kMetadataKey) {
      entries_.push_back(parse_entry(path_, name, value));
      continue;
    }
    if (!value.is_object()) corrupt(path_, "__metadata__ is not an object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) corrupt(path_, fmt::format("metadata '{}' is {}, wanted a string", key, json_text(text)));
      metadata_[key] = text.get<std::string>();
    }
  }
  check_layout(data_bytes);
}

void SafetensorsReader::check_layout(uint64_t data_bytes) {
  std::sort(entries_.begin(), entries_.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t expected = 0;
  for (const SafetensorsEntry& entry : entries_) {
    if (entry.begin < expected)
      corrupt(path_, fmt::format("'{}' begins at byte {} inside the tensor before it, which ends at {}", entry.name,
                                 entry.begin, expected));
    if (entry.begin > expected)
      corrupt(path_, fmt::format("bytes {} to {} before '{}' belong to no tensor", expected, entry.begin, entry.name));
    expected = entry.end;
  }
  if (expected != data_bytes)
    corrupt(path_, fmt::format("its tensors need {} bytes of data, the file has {} ({})", expected, data_bytes,
                               expected > data_bytes ? "truncated" : "trailing bytes"));
  for (size_t i = 0; i < entries_.size(); ++i) index_[entries_[i].name] = i;
}

std::vector<std::string> SafetensorsReader::names() const {
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : entries_) names.push_back(entry.name);
  return names;
}

const SafetensorsEntry& SafetensorsReader::entry(const std::string& name) const {
  const auto found = index_.find(name);
  if (found != index_.end()) return entries_[found->second];
  const std::string near = nearest_name(name, names());
  fail(ErrorKind::not_found, "{}: no tensor '{}' among its {}{}", path_.string(), name, entries_.size(),
       near.empty() ? "" : "; the nearest name is '" + near + "'");
}

Tensor SafetensorsReader::tensor(const std::string& name) const {
  const SafetensorsEntry& entry = this->entry(name);
  uint8_t* data = file_->private_data() + data_begin_ + entry.begin;
  const size_t alignment = size_t(dtype_bytes(entry.dtype)), bytes = entry.end - entry.begin;
  if (reinterpret_cast<uintptr_t>(data) % alignment == 0)
    return Tensor::wrap(data, entry.dtype, entry.shape, -1, file_);
  std::shared_ptr<void> copy(::operator new(std::max<size_t>(bytes, 1)), [](void* p) { ::operator delete(p); });
  std::memcpy(copy.get(), data, bytes);
  return Tensor::wrap(copy.get(), entry.dtype, entry.shape, -1, copy);
}

void SafetensorsReader::read(const std::string& name, uint64_t offset, void* destination, size_t bytes) const {
  const SafetensorsEntry& entry = this->entry(name);
  const uint64_t size = entry.end - entry.begin;
  check(offset <= size && bytes <= size - offset, ErrorKind::internal, "bytes {} to {} of '{}', which has {}", offset,
        offset + bytes, name, size);
  file_->read_at(data_begin_ + entry.begin + offset, destination, bytes);
}

std::string safetensors_prefix(std::vector<SafetensorsEntry>& entries, const SafetensorsMetadata& metadata,
                               const std::string& where) {
  std::stable_sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return dtype_bytes(a.dtype) > dtype_bytes(b.dtype);
  });
  std::set<std::string> seen;
  uint64_t offset = 0;
  for (SafetensorsEntry& entry : entries) {
    check(entry.name != kMetadataKey && !entry.name.empty(), ErrorKind::invalid, "{}: a tensor may not be named '{}'",
          where, entry.name);
    check(seen.insert(entry.name).second, ErrorKind::invalid, "{}: tensor '{}' is declared twice", where, entry.name);
    entry.begin = offset;
    offset += uint64_t(shape_count(entry.shape) * dtype_bytes(entry.dtype));
    entry.end = offset;
  }
  const std::string header = header_text(entries, metadata);
  check(header.size() <= kMaxHeaderBytes, ErrorKind::invalid,
        "{}: a header of {} bytes passes the format's limit of {}", where, header.size(), kMaxHeaderBytes);
  const uint64_t header_bytes = header.size();
  return std::string(reinterpret_cast<const char*>(&header_bytes), 8) + header;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries,
                                     const SafetensorsMetadata& metadata)
    : entries_(std::move(entries)), file_(path) {
  file_.write(safetensors_prefix(entries_, metadata, path.string()));
}

void SafetensorsWriter::write(const std::string& name, const Tensor& from) {
  const Tensor tensor = host_copy(from);
  check(next_ < entries_.size(), ErrorKind::invalid, "tensor '{}' was not declared, or comes after the last one", name);
  const SafetensorsEntry& entry = entries_[next_];
  check(entry.name == name, ErrorKind::invalid, "tensor '{}' is written where '{}' is due", name, entry.name);
  check(tensor.dtype() == entry.dtype && tensor.shape() == entry.shape, ErrorKind::invalid,
        "tensor '{}' is {} {}, declared {} {}", name, dtype_name(tensor.dtype()), shape_text(tensor.shape()),
        dtype_name(entry.dtype), shape_text(entry.shape));
  const auto* data = static_cast<const uint8_t*>(tensor.raw());
  const int64_t element_bytes = dtype_bytes(tensor.dtype());
  if (tensor.contiguous()) {
    file_.write(data, size_t(tensor.bytes()));
  } else {
    for (int64_t row = 0; row < tensor.rows(); ++row)
      file_.write(data + row * tensor.row_stride() * element_bytes, size_t(tensor.cols() * element_bytes));
  }
  ++next_;
}

void SafetensorsWriter::commit() {
  check(next_ == entries_.size(), ErrorKind::invalid, "{} of {} tensors were written; '{}' is due", next_,
        entries_.size(), next_ < entries_.size() ? entries_[next_].name : "");
  file_.commit();
}

void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const SafetensorsMetadata& metadata) {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, const Tensor*> by_name;
  for (const NamedTensor& named : tensors) {
    entries.push_back({named.name, named.tensor.dtype(), named.tensor.shape()});
    by_name[named.name] = &named.tensor;
  }
  SafetensorsWriter writer(path, std::move(entries), metadata);
  for (const SafetensorsEntry& entry : writer.entries()) writer.write(entry.name, *by_name.at(entry.name));
  writer.commit();
}

}  // namespace hadal
