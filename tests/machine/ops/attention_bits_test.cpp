// The bit contract of ops/attention.h in every instruction set, and on the emulated device: threads, chunks of queries,
// neighbours and blocks of a cache do not change a bit.
#include <gtest/gtest.h>

#include <array>

#include "attention_fixture.h"
#include "base/testing.h"
#include "ops/quantise.h"

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

// A text alone, far into its context: threads share its tiles and its columns. Few rows, many, more than they share.
TEST(Attention, ThreadsThatShareATextDoNotChangeABit) {
  for (const Place& place : places()) {
    if (place.on_device) continue;
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      for (const auto& [heads, rank, queries] :
           {std::array{3, 132, 1}, {16, 300, 1}, {5, 24, 3}, {3, 8, 1}, {40, 132, 1}, {3, 132, 20}, {9, 132, 9}}) {
        const ExecAt one(place, 1), many(place, 3);
        const Sizes sizes{heads, rank, 6, rank, true, {{0, queries, 0, 400}}, queries, 400};
        Problem problem(one.exec, sizes, dtype);
        SCOPED_TRACE(fmt::format("{} queries, {} in {} on {}", queries, text(sizes), dtype_name(dtype), place.name()));
        const auto same = [&] {
          Results want, got;
          problem.forward(one.exec, want), problem.forward(many.exec, got);
          return same_bits(got.o, want.o) && same_bits(got.lse, want.lse);
        };
        EXPECT_TRUE(same());
        if (dtype == DType::f16) continue;  // keys in codes are for the others
        problem.codes = ops::quantise(one.exec, problem.kv.col_range(0, rank), kRowTile, ScaleRule::power_of_two)
                            .with_wide_scales(one.exec);
        problem.k_rope = problem.k_rope.to(one.exec, DType::bf16);
        EXPECT_TRUE(same()) << "in codes";
      }
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

// One problem with the keys of a cache in FP8, and with their values.
struct InCodes {
  const Exec& exec;
  Problem codes, values;

  InCodes(const Exec& exec, const Sizes& sizes, DType dtype)
      : exec(exec), codes(exec, sizes, dtype), values(exec, sizes, dtype) {
    for (int64_t i = 0; i < codes.kv.count(); i += 3)  // tokens and columns of very different size
      set_element(codes.kv, i, element(codes.kv, i) * std::exp2(-double(i % 9)));
    codes.codes = ops::quantise(exec, codes.kv.col_range(0, sizes.d_nope), kRowTile, ScaleRule::power_of_two)
                      .with_wide_scales(exec);
    codes.k_rope = codes.k_rope.to(exec, DType::bf16);
    values.kv = ops::dequantise(exec, codes.codes);
    values.k_rope = codes.k_rope.to(exec, dtype);
  }
  // The rows of 150 keys and of 50 in four blocks.
  Problem in_blocks() const {
    const std::vector<int32_t> table = {2, 0, 1, 3};
    const Tensor rows = Tensor::empty(exec, DType::i32, {200});
    for (int64_t j = 0; j < 200; ++j) {
      const int64_t at = j < 150 ? j : 192 + j - 150;
      rows.data<int32_t>()[j] = table[size_t(at / 64)] * 64 + int32_t(at % 64);
    }
    Problem paged = codes;
    paged.codes = Quantised::empty(exec, {256, codes.s.d_nope}, kRowTile, codes.dtype);
    paged.k_rope = Tensor::zeros(exec, DType::bf16, {256, codes.k_rope.cols()});
    ops::put_rows(exec, Activation(paged.codes), Activation(codes.codes), rows);
    ops::put_rows(exec, paged.k_rope, codes.k_rope, rows);
    paged.blocks = Tensor::from(exec, table, {4});
    paged.s.segments = {{0, 70, 0, 150}, {70, 1, 3, 50}};
    return paged;
  }
  template <class Change>
  Results changed(Change change) const {
    Problem problem = codes;
    problem.codes.codes = copy_of(exec, codes.codes.codes), problem.codes.scales = copy_of(exec, codes.codes.scales);
    problem.k_rope = copy_of(exec, codes.k_rope);
    change(problem);
    return results(problem);
  }
  Results results(const Problem& problem) const {
    Results r;
    problem.forward(exec, r);
    return r;
  }
};

uint8_t& code(Problem& p, int64_t i) { return static_cast<uint8_t*>(p.codes.codes.raw())[i]; }

// In order and in blocks, in tiles of many rows and of few; codes, scales and rotary keys all count.
TEST(Attention, KeysInCodesHaveTheBitsOfTheirValues) {
  const std::vector<Segment> segments = {{0, 70, 0, 150}, {70, 1, 150, 50}};
  const auto same = [](const Results& a, const Results& b) { return same_bits(a.o, b.o) && same_bits(a.lse, b.lse); };
  for (const Place& place : places()) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const auto& [heads, rank, rope] : {std::array{3, 20, 6}, {2, 132, 9}, {17, 132, 9}}) {
        if (place.on_device && kernels_test::kDeviceStride > 1) continue;
        if (place.one_way() && heads > 3) continue;  // tiles of more rows than a few are the vector kernels'
        const ExecAt owned(place, 2);
        const InCodes keys(owned.exec, {heads, rank, rope, rank, true, segments, 71, 200}, dtype);
        SCOPED_TRACE(fmt::format("{} in {} on {}", text(keys.codes.s), dtype_name(dtype), place.name()));
        const Results want = keys.results(keys.values);
        EXPECT_TRUE(same(keys.results(keys.codes), want));
        EXPECT_TRUE(same(keys.results(keys.in_blocks()), want));
        const auto change_code = [](Problem& p) { code(p, p.s.d_nope - 1) ^= 0x80; };
        const auto change_scale = [](Problem& p) { p.codes.scales.data<float>()[p.codes.scales.count() - 1] *= 2; };
        const auto change_rope = [](Problem& p) { set_element(p.k_rope, p.s.d_rope - 1, 3); };
        EXPECT_FALSE(same(keys.changed(change_code), want));
        EXPECT_FALSE(same(keys.changed(change_scale), want));
        EXPECT_FALSE(same(keys.changed(change_rope), want));
        const Results nan = keys.changed([](Problem& p) { code(p, 5 * p.s.d_nope) = 0x7f; });
        EXPECT_TRUE(std::isnan(element(nan.o, 0)));  // of its own text
        EXPECT_TRUE(same_bits(nan.o.row_range(70, 1), want.o.row_range(70, 1)));
        Results backward = want;
        EXPECT_NE(error_of([&] { keys.codes.backward(owned.exec, backward); }).find("no gradient"), std::string::npos);
      }
    }
  }
}

TEST(Attention, RefusesKeysInCodesThatNoCacheKeeps) {
  const OwnedExec owned(1);
  const Exec& exec = owned.exec;
  const Problem problem(exec, {2, 130, 4, 130, true, {{0, 3, 0, 3}}, 3, 3}, DType::f32);
  const auto refusal = [&](auto change) {
    Problem wrong = problem;
    wrong.codes =
        ops::quantise(exec, problem.kv.col_range(0, 130), kRowTile, ScaleRule::power_of_two).with_wide_scales(exec);
    wrong.k_rope = problem.k_rope.to(exec, DType::bf16);
    change(wrong);
    Results r;
    return error_of([&] { wrong.forward(exec, r); });
  };
  EXPECT_EQ(refusal([](Problem&) {}), "");
  EXPECT_EQ(refusal([&](Problem& p) { p.k_rope = problem.k_rope; }), "attention: k_rope is F32, but must be BF16");
  EXPECT_EQ(refusal([&](Problem& p) { p.codes.codes = problem.kv; }), "attention: k_nope is F32, but must be F8_E4M3");
  EXPECT_EQ(refusal([&](Problem& p) { p.codes.scales = p.codes.scales.col_range(0, 1); }),
            "attention: k_scales has 1 columns, but needs 2");
  EXPECT_NE(refusal([&](Problem& p) {
              p.q = problem.q.to(exec, DType::f64), p.dtype = DType::f64;
            }).find("keys in FP8 are one head's"),
            std::string::npos);
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
