#include "train/whole_tensors.h"

#include <map>

#include "comm/byte_text.h"

namespace hadal {
namespace {

using Bytes = std::vector<char>;

void write_part(const Exec& exec, const TensorPart& part, ByteWriter& writer) {
  const Tensor own = part.elements.contiguous() ? part.elements : part.elements.clone(exec);
  const char* data = static_cast<const char*>(own.raw());
  writer(Bytes(part.name.begin(), part.name.end())), writer(part.row), writer(part.col);
  writer(own.rows()), writer(own.cols()), writer(Bytes(data, data + own.bytes()));
}

void read_part(const Exec& exec, ByteReader& reader, const std::map<std::string, Tensor>& by_name) {
  Bytes name, data;
  int64_t row = 0, col = 0, rows = 0, cols = 0;
  reader(name), reader(row), reader(col), reader(rows), reader(cols), reader(data);
  const Tensor& whole = by_name.at(std::string(name.begin(), name.end()));
  whole.view({whole.rows(), whole.cols()})
      .row_range(row, rows)
      .col_range(col, cols)
      .copy_from(exec, Tensor::wrap(data.data(), whole.dtype(), {rows, cols}));
}

}  // namespace

std::vector<NamedTensor> bring_together(const Exec& exec, Group& ranks, const TensorFile& file) {
  ByteWriter writer;
  writer(int64_t(file.parts.size()));
  for (const TensorPart& part : file.parts) write_part(exec, part, writer);
  std::vector<ConstBytes> to(size_t(ranks.size()));
  to[0] = std::as_bytes(std::span(writer.text));
  std::vector<Message> received;
  ranks.start_all_to_all(to, received).wait();
  std::vector<NamedTensor> all;
  if (!ranks.leads()) return all;
  std::map<std::string, Tensor> by_name;
  for (const SafetensorsEntry& entry : file.tensors) {
    all.push_back({entry.name, Tensor::zeros(exec, entry.dtype, entry.shape)});
    by_name[entry.name] = all.back().tensor;
  }
  for (const Message& message : received) {
    const std::string text(reinterpret_cast<const char*>(message.data.get()), size_t(message.bytes));
    ByteReader reader(text);
    int64_t n = 0;
    for (reader(n); n > 0; --n) read_part(exec, reader, by_name);
  }
  return all;
}

}  // namespace hadal
