// The bit contract of ops/attention.h in every instruction set, and on the emulated device: threads, chunks of queries,
// neighbours and blocks of a cache do not change a bit.
#include <gtest/gtest.h>

#include "attention_fixture.h"
#include "base/testing.h"

namespace hadal::attention_tests {
namespace {

using hadal::testing::error_of;

TEST(Attention, ThreadsDoNotChangeABit) {
  for (BitCase c : bit_cases()) {
    c.sizes.segments = {{0, 90, 0, 90}, {90, 1, 90, 1}, {91, 109, 91, 109}};
    const ExecAt one(c.place, 1);
    const Problem problem(one.exec, c.sizes, c.dtype);
    const Results want = problem.run(one.exec);
    for (int n_threads : {2, 7}) {
      const ExecAt many(c.place, n_threads);
      EXPECT_TRUE(same_bits(problem.run(many.exec), want)) << text(c) << " with " << n_threads << " threads";
    }
  }
}

// Rows of the whole pass = rows of a pass in chunks of queries (prefill), down to one query (decoding), of the same
// document.
TEST(Attention, ChunkedPrefillAndDecodingHaveTheBitsOfTheWholePass) {
  for (const BitCase& c : bit_cases()) {
    const ExecAt owned(c.place, 2);
    Problem problem(owned.exec, c.sizes, c.dtype);
    Results whole, parts;
    problem.forward(owned.exec, whole);
    for (std::vector<int64_t> ends :
         {std::vector<int64_t>{37, 64, 65, 66, 140, 200}, {128, 129, 199, 200}, {1, 2, 3, 63, 127, 200}}) {
      problem.s.segments.clear();
      for (int64_t begin = 0; int64_t end : ends) {
        problem.s.segments.push_back({begin, end - begin, 0, end});
        begin = end;
      }
      problem.forward(owned.exec, parts);
      EXPECT_TRUE(same_bits(parts.o, whole.o)) << text(c) << " in " << ends.size() << " parts";
      EXPECT_TRUE(same_bits(parts.lse, whole.lse)) << text(c) << " in " << ends.size() << " parts";
    }
  }
}

// Keys of two documents strewn over the blocks of one cache; then a table with two entries exchanged, which must show.
TEST(Attention, KeysInBlocksHaveTheBitsOfKeysInOrder) {
  for (BitCase c : bit_cases()) {
    const ExecAt owned(c.place, 2);
    c.sizes.segments = {{0, 90, 0, 130}, {90, 1, 130, 70}};
    Problem problem(owned.exec, c.sizes, c.dtype);
    Results in_order, paged, exchanged;
    problem.forward(owned.exec, in_order);
    std::vector<int32_t> table = {4, 0, 6, 2, 5};  // 130 keys: three blocks; 70: two
    const auto strewn = [&](const Tensor& rows) {
      const Tensor to = filled(owned.exec, c.dtype, {7 * 64, rows.cols()}, 1e30);
      for (int64_t j = 0; j < 200; ++j) {
        const int64_t at = j < 130 ? j : 192 + j - 130, row = table[size_t(at / 64)] * 64 + at % 64;
        for (int64_t col = 0; col < rows.cols(); ++col)
          set_element(to, row * rows.cols() + col, element(rows, j * rows.cols() + col));
      }
      return to;
    };
    problem.kv = strewn(problem.kv), problem.k_rope = strewn(problem.k_rope);
    problem.s.segments = {{0, 90, 0, 130}, {90, 1, 3, 70}};
    problem.blocks = Tensor::from(owned.exec, table, {5});
    problem.forward(owned.exec, paged);
    EXPECT_TRUE(same_bits(paged.o, in_order.o) && same_bits(paged.lse, in_order.lse)) << text(c);
    std::swap(table[0], table[1]);
    problem.blocks = Tensor::from(owned.exec, table, {5});
    problem.forward(owned.exec, exchanged);
    EXPECT_FALSE(same_bits(exchanged.o, in_order.o)) << text(c);
    EXPECT_NE(error_of([&] { problem.backward(owned.exec, paged); }).find("no gradient"), std::string::npos);
    if (c.place.on_device) continue;
    table[4] = 7;
    problem.blocks = Tensor::from(owned.exec, table, {5});
    EXPECT_EQ(error_of([&] { problem.forward(owned.exec, exchanged); }), "attention: entry 4 names block 7 of 7");
    problem.blocks = Tensor::from(owned.exec, std::vector<int32_t>{1, 2, 3, 4}, {4});
    EXPECT_NE(error_of([&] { problem.forward(owned.exec, exchanged); }).find("leaves the 200 query rows and the table"),
              std::string::npos);
  }
}

TEST(Attention, NeighboursInTheCallDoNotChangeABit) {
  for (BitCase c : bit_cases()) {
    const ExecAt owned(c.place, 2);
    const std::vector<Segment> all = {{0, 70, 0, 70}, {70, 1, 70, 3}, {71, 66, 73, 100}, {137, 1, 173, 1}};
    c.sizes.segments = all;
    Problem problem(owned.exec, c.sizes, c.dtype);
    const Results together = problem.run(owned.exec);
    for (const Segment& segment : all) {
      problem.s.segments = {segment};
      const Results one = problem.run(owned.exec);
      auto same = [&](const Tensor& x, const Tensor& y, int64_t first, int64_t n) {
        return same_bits(x.row_range(first, n), y.row_range(first, n));
      };
      EXPECT_TRUE(same(one.o, together.o, segment.q_begin, segment.n_q)) << text(c);
      EXPECT_TRUE(same(one.lse, together.lse, segment.q_begin, segment.n_q)) << text(c);
      EXPECT_TRUE(same(one.dq, together.dq, segment.q_begin, segment.n_q)) << text(c);
      EXPECT_TRUE(same(one.dkv, together.dkv, segment.k_begin, segment.n_k)) << text(c);
      EXPECT_TRUE(same(one.dv_latent, together.dv_latent, segment.k_begin, segment.n_k)) << text(c);
      EXPECT_TRUE(same(one.dk_rope, together.dk_rope, segment.k_begin, segment.n_k)) << text(c);
    }
  }
}

// Negative control: the bit tests above can fail. A key in front of the document that nobody sees (its probability is 0
// and its value 0) leaves the answer as it was but shifts the tiles by one position: bits differ, by rounding only.
TEST(Attention, BitsBetrayTilesThatAreNotAlignedToTheDocument) {
  for (const Place& place : places()) {
    if (place.has_f64()) continue;  // the reference sums rows key by key: it has no tiles
    const ExecAt owned(place, 2);
    Problem problem(owned.exec, {2, 20, 6, 12, false, {{0, 200, 1, 200}}, 200, 201}, DType::f32);
    for (int64_t row = 0; row < 201; ++row) {
      for (int64_t h = 0; h < 2; ++h) {
        if (row < 200) set_element(problem.q, row * problem.q.cols() + h * problem.d_qk(), 1);
        for (int64_t c = 0; c < 32; ++c) {
          const int64_t at = row * problem.kv.cols() + h * 32 + c;
          if (row == 0)
            set_element(problem.kv, at, c == 0 ? -1e4 : 0);
          else if (c == 0)
            set_element(problem.kv, at, 0);
        }
      }
    }
    Results aligned, shifted;
    problem.forward(owned.exec, aligned);
    problem.s.segments = {{0, 200, 0, 201}};
    problem.forward(owned.exec, shifted);
    EXPECT_FALSE(same_bits(aligned.o, shifted.o)) << place.name();
    EXPECT_LE(distance(values(shifted.o, 24), values(aligned.o, 24)), 1e-6) << place.name();
  }
}

}  // namespace
}  // namespace hadal::attention_tests
