// Lists of tensors as `hadal inspect --tensors` shows them.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/inspect.h"
#include "base/table.h"
#include "base/text_format.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

// "a.experts.17.b" -> {"a.experts.", 17, ".b"}; number -1 when the name has no expert.
struct ExpertName {
  std::string before, after;
  int64_t number = -1;
};

ExpertName split_expert(const std::string& name) {
  static const std::string kMark = ".experts.";
  const size_t mark = name.find(kMark);
  if (mark == std::string::npos) return {name, "", -1};
  const size_t begin = mark + kMark.size(), end = name.find_first_not_of("0123456789", begin);
  if (end == begin || end == std::string::npos || end - begin > 9) return {name, "", -1};
  return {name.substr(0, begin), name.substr(end), std::stoll(name.substr(begin, end - begin))};
}

struct TensorGroup {
  ListedTensor first;
  std::string name;  // with the experts' numbers as a range
  int64_t tensors = 0, bytes = 0;
  std::vector<int64_t> experts;
};

std::vector<TensorGroup> grouped(const std::vector<ListedTensor>& tensors) {
  std::vector<TensorGroup> groups;
  std::map<std::string, size_t> places;
  for (const auto& tensor : tensors) {
    const ExpertName name = split_expert(tensor.name);
    std::string key = fmt::format("{}|{}|{}", name.before, name.after, tensor.dtype);
    for (int64_t size : tensor.shape) key += fmt::format("|{}", size);
    const auto [place, is_new] = places.try_emplace(key, groups.size());
    if (is_new) groups.push_back({tensor, tensor.name, 0, 0, {}});
    TensorGroup& group = groups[place->second];
    group.tensors += 1;
    group.bytes += tensor.bytes;
    if (name.number >= 0) group.experts.push_back(name.number);
  }
  for (auto& group : groups) {
    if (group.tensors < 2 || group.experts.empty()) continue;
    const ExpertName name = split_expert(group.first.name);
    const auto [low, high] = std::minmax_element(group.experts.begin(), group.experts.end());
    const bool gaps = *high - *low + 1 != group.tensors;
    group.name = fmt::format("{}{{{}..{}{}}}{}", name.before, *low, *high, gaps ? " in part" : "", name.after);
  }
  return groups;
}

std::string shape_of(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

struct TypeRow {
  int64_t tensors = 0, bytes = 0;
};
std::map<std::string, TypeRow> by_type(const std::vector<ListedTensor>& tensors) {
  std::map<std::string, TypeRow> types;
  for (const auto& tensor : tensors) {
    types[tensor.dtype].tensors += 1;
    types[tensor.dtype].bytes += tensor.bytes;
  }
  return types;
}

}  // namespace

std::vector<ListedTensor> listed(const std::vector<ReleasedTensor>& released) {
  std::vector<ListedTensor> list;
  list.reserve(released.size());
  for (const auto& t : released) list.push_back({t.name, t.dtype, t.shape, t.bytes, t.parameter, "", t.init_std});
  return list;
}

std::vector<ListedTensor> listed(const TensorFiles& files) {
  std::vector<ListedTensor> list;
  for (const std::string& name : files.names()) {
    const auto& entry = files.entry(name);
    list.push_back(
        {name, dtype_name(entry.dtype), entry.shape, int64_t(entry.end - entry.begin), "", files.file_of(name), 0});
  }
  return list;
}

void print_listed(const std::vector<ListedTensor>& tensors) {
  const bool stored = !tensors.empty() && !tensors[0].file.empty();
  std::vector<std::string> head = {"tensor", "shape", "type", "tensors", "bytes"};
  if (stored) {
    head.push_back("file");
  } else {
    head.insert(head.end(), {"Hadal's name", "initial std"});
  }
  Table table(head);
  int64_t bytes = 0;
  for (const auto& group : grouped(tensors)) {
    bytes += group.bytes;
    std::vector<std::string> row = {group.name, shape_of(group.first.shape), group.first.dtype,
                                    format_count(group.tensors), format_count(group.bytes)};
    if (stored) {
      row.push_back(group.first.file + (group.tensors > 1 ? " ..." : ""));
    } else {
      row.push_back(group.first.parameter.empty() ? "-" : group.first.parameter);
      row.push_back(group.first.init_std > 0 ? fmt::format("{:.4g}", group.first.init_std) : "-");
    }
    table.add(row);
  }
  fmt::print("{}\n{} tensors, {} B of data\n\n", table.text(), format_count(int64_t(tensors.size())),
             format_count(bytes));
}

ordered_json listed_json(const std::vector<ListedTensor>& tensors) {
  ordered_json list = ordered_json::array();
  for (const auto& tensor : tensors) {
    ordered_json item = {
        {"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"bytes", tensor.bytes}};
    if (!tensor.file.empty()) item["file"] = tensor.file;
    if (!tensor.parameter.empty()) item["parameter"] = tensor.parameter;
    list.push_back(std::move(item));
  }
  return list;
}

void print_types(const std::vector<ListedTensor>& tensors) {
  Table table({"stored as", "tensors", "bytes", "size"});
  for (const auto& [type, row] : by_type(tensors))
    table.add({type, format_count(row.tensors), format_count(row.bytes), format_bytes(double(row.bytes))});
  fmt::print("{}\n", table.text());
}

ordered_json types_json(const std::vector<ListedTensor>& tensors) {
  ordered_json json = ordered_json::object();
  for (const auto& [type, row] : by_type(tensors)) json[type] = {{"tensors", row.tensors}, {"bytes", row.bytes}};
  return json;
}

}  // namespace hadal
