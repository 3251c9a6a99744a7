#include "nn/micro_batch.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {
namespace {

// For each segment how many rows are left at this depth.
int64_t rows_left(const ops::Segment& segment, int64_t depth) { return std::max<int64_t>(0, segment.n_q - depth); }

}  // namespace

MicroBatch batch_of_tokens(std::span<const int32_t> tokens) {
  const int64_t rows = int64_t(tokens.size()) - 1;
  check(rows >= 1, ErrorKind::invalid, "a text of {} tokens predicts nothing; give at least 2", tokens.size());
  MicroBatch batch;
  batch.tokens.assign(tokens.begin(), tokens.end() - 1);
  batch.targets.assign(tokens.begin() + 1, tokens.end());
  for (int64_t i = 0; i < rows; ++i) batch.positions.push_back(int32_t(i));
  batch.segments = {{0, rows, 0, rows}};
  batch.sequences = {{0, rows}};
  return batch;
}

// A segment of n rows keeps its first n - depth: those whose token `depth` places ahead is in it (§1.6, trap 21).
// Positions stay those of the row; rows_in finds the row among those of the depth before, where its segment was one
// longer.
MtpRows mtp_rows(const MicroBatch& batch, int64_t depth) {
  check(depth >= 1, ErrorKind::internal, "MTP depth {} is not at least 1", depth);
  MtpRows result;
  std::vector<int64_t> kept_before(batch.tokens.size() + 1, 0);  // kept rows among the first i
  std::vector<char> kept(batch.tokens.size(), 0);
  int64_t first_in = 0;  // where the segment begins among the rows of depth - 1
  for (const ops::Segment& segment : batch.segments) {
    const int64_t left = rows_left(segment, depth), begin = int64_t(result.rows.size());
    for (int64_t i = 0; i < left; ++i) {
      const int64_t row = segment.q_begin + i;
      kept[size_t(row)] = 1;
      result.rows.push_back(int32_t(row));
      result.rows_in.push_back(int32_t(first_in + i));
      result.batch.tokens.push_back(batch.tokens[size_t(row + depth)]);
      result.batch.targets.push_back(batch.targets[size_t(row + depth)]);
      if (!batch.weights.empty()) result.batch.weights.push_back(batch.weights[size_t(row + depth)]);
      result.batch.positions.push_back(batch.positions[size_t(row)]);
    }
    if (left > 0) result.batch.segments.push_back({begin, left, begin, left});
    first_in += rows_left(segment, depth - 1);
  }
  for (size_t i = 0; i < kept.size(); ++i) kept_before[i + 1] = kept_before[i] + kept[i];
  for (const ops::RowRange& sequence : batch.sequences) {
    const int64_t begin = kept_before[size_t(sequence.begin)];
    const int64_t count = kept_before[size_t(sequence.begin + sequence.count)] - begin;
    if (count > 0) result.batch.sequences.push_back({begin, count});
  }
  return result;
}

}  // namespace hadal
