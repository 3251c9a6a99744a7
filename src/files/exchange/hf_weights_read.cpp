// Reading what HfWeights maps: the rectangles of stored tensors that make a box of a parameter, and nothing else.
#include <algorithm>

#include "base/error.h"
#include "exchange/hf_weights.h"

namespace hadal {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;
constexpr int64_t kTaskBytes = 16 << 20;  // many large pages: two threads in one page would both clear it

// A box as rows and columns of each stored weight that it touches: of a vector the one row is never cut.
struct Rectangle {
  int64_t row = 0, rows = 1, col = 0, cols = 0;
};

Rectangle rectangle_of(const Box& box) {
  const size_t n = box.size.size();
  Rectangle rectangle{.col = box.begin.back(), .cols = box.size.back()};
  if (n > 1) rectangle.row = box.begin[n - 2], rectangle.rows = box.size[n - 2];
  return rectangle;
}

bool lies_in(const Box& box, const Shape& shape) {
  bool inside = !shape.empty() && box.begin.size() == shape.size() && box.size.size() == shape.size();
  for (size_t i = 0; inside && i < shape.size(); ++i)
    inside = box.begin[i] >= 0 && box.size[i] >= 0 && box.begin[i] + box.size[i] <= shape[i];
  return inside;
}

struct Chunk {
  const StoredWeight* stored;
  int64_t first, count;  // rows of the stored weight's part
  Tensor destination;    // [count, cols]; of heads in Llama's order all rows of the box, which are put in our order
};

// About a megabyte each, cut at block borders; none for experts outside of the box.
std::vector<Chunk> chunks_of(const std::vector<StoredWeight>& list, const Box& box, const Tensor& destination,
                             int64_t block_rows) {
  std::vector<Chunk> chunks;
  const Rectangle part = rectangle_of(box);
  const int64_t wanted = kChunkBytes / std::max<int64_t>(1, part.cols * dtype_bytes(destination.dtype()));
  const int64_t step = std::max<int64_t>(1, wanted / block_rows) * block_rows;
  for (const auto& stored : list) {
    const int64_t slot = stored.expert < 0 ? 0 : stored.expert - box.begin[0];
    if (stored.expert >= 0 && (slot < 0 || slot >= box.size[0])) continue;
    const Tensor whole = stored.expert < 0 ? destination : destination.slice(slot);
    const int64_t head = std::max<int64_t>(1, stored.half_split);  // its rows stand anywhere in it: it is read whole
    const int64_t end = (part.row + part.rows + head - 1) / head * head;
    for (int64_t row = part.row / head * head, next = 0; row < end; row = next) {
      next = std::min(end, (row / step + 1) * step);
      chunks.push_back(
          {&stored, row, next - row, stored.half_split > 0 ? whole : whole.row_range(row - part.row, next - row)});
    }
  }
  return chunks;
}

// Where tasks of neighbouring chunks begin, each for one thread; the last entry is the end.
std::vector<size_t> tasks_of(const std::vector<Chunk>& chunks, int n_threads) {
  int64_t total = 0, in_task = 0;
  const auto bytes_of = [](const Chunk& chunk) {
    return chunk.count * chunk.destination.cols() * dtype_bytes(chunk.destination.dtype());
  };
  for (const auto& chunk : chunks) total += bytes_of(chunk);
  const int64_t wanted = std::min(kTaskBytes, total / n_threads + 1);
  std::vector<size_t> begins = {0};
  for (size_t i = 0; i < chunks.size(); ++i) {
    in_task += bytes_of(chunks[i]);
    if (in_task < wanted && i + 1 < chunks.size()) continue;
    begins.push_back(i + 1);
    in_task = 0;
  }
  return begins;
}

struct BoxReader {
  const Exec& exec;
  const TensorFiles& files;
  const BlockSize block;
  const Rectangle part;
  std::vector<std::vector<uint8_t>> buffers;  // of threads

  void read(const Chunk& chunk, int worker) {
    const int64_t head = chunk.stored->half_split;
    if (head == 0) return read_rows(chunk, chunk.destination, worker);
    const Tensor rows = Tensor::empty(exec, chunk.destination.dtype(), {chunk.count, part.cols});
    read_rows(chunk, rows, worker);
    for (int64_t i = 0; i < chunk.count; ++i) {
      const int64_t row = row_of_half_split(chunk.first + i, head) - part.row;
      if (row >= 0 && row < part.rows) chunk.destination.row_range(row, 1).copy_from(rows.row_range(i, 1));
    }
  }

  void read_rows(const Chunk& chunk, const Tensor& to, int worker) {
    const StoredWeight& stored = *chunk.stored;
    const DType dtype = files.entry(stored.name).dtype;
    const int64_t first = stored.first_row + chunk.first;
    if (dtype == to.dtype()) return files.read_part(stored.name, first, part.col, to);
    auto& buffer = buffers[size_t(worker)];
    buffer.resize(std::max(buffer.size(), size_t(chunk.count * part.cols * dtype_bytes(dtype))));
    const Tensor source = Tensor::wrap(buffer.data(), dtype, {chunk.count, part.cols});
    files.read_part(stored.name, first, part.col, source);
    if (stored.scale_name.empty()) return to.copy_from(exec, source);
    const int64_t row = first / block.rows, col = part.col / block.cols;
    const int64_t rows = (first + chunk.count - 1) / block.rows + 1 - row;
    const int64_t cols = (part.col + part.cols - 1) / block.cols + 1 - col;
    const Tensor scales = files.tensor(stored.scale_name).row_range(row, rows).col_range(col, cols);
    dequantise_blocks(exec, source, scales, to, block, {first % block.rows, part.col % block.cols});
  }
};

}  // namespace

void HfWeights::read(const Exec& exec, const ParameterSpec& spec, const Box& box, const Tensor& destination) const {
  check(lies_in(box, spec.shape), ErrorKind::internal, "a box from {} of size {} is not in '{}' of shape {}",
        shape_text(box.begin), shape_text(box.size), spec.name, shape_text(spec.shape));
  check(destination.shape() == box.size && destination.contiguous(), ErrorKind::internal, "{} of '{}' are read into {}",
        shape_text(box.size), spec.name, shape_text(destination.shape()));
  if (destination.count() == 0) return;
  if (!destination.on_host()) {
    const Exec host = exec.on_host();
    const Tensor read_here = Tensor::empty(host, destination.dtype(), destination.shape());
    read(host, spec, box, read_here);
    return destination.copy_from(read_here);
  }
  const auto chunks = chunks_of(stored(spec), box, destination, block_.rows);
  const int n_threads = exec.compute->n_threads();
  const auto tasks = tasks_of(chunks, n_threads);
  BoxReader reader{exec, *files_, block_, rectangle_of(box), std::vector<std::vector<uint8_t>>(size_t(n_threads))};
  exec.compute->parallel_for(int64_t(tasks.size()) - 1, [&](int64_t task, int worker) {
    for (size_t i = tasks[size_t(task)]; i < tasks[size_t(task) + 1]; ++i) reader.read(chunks[i], worker);
  });
}

std::optional<Quantised> HfWeights::read_codes(const Exec& exec, const ParameterSpec& spec, DType source) const {
  if (!is_stored_as_codes(spec)) return std::nullopt;
  const auto& list = stored(spec);
  Quantised result = Quantised::empty(exec, spec.shape, kSquareTile, source);
  const bool stacked = spec.shape.size() == 3;
  exec.compute->parallel_for(int64_t(list.size()), [&](int64_t i, int) {
    const StoredWeight& one = list[size_t(i)];
    const Quantised to = stacked ? result.slice(one.expert) : result;
    files_->read_part(one.name, one.first_row, 0, to.codes);
    to.scales.copy_from(files_->tensor(one.scale_name));
  });
  return result;
}

}  // namespace hadal
