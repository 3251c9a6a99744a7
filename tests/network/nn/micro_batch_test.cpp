// Rows of MTP modules: traps 20 and 21 by hand.
#include "nn/micro_batch.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

using Ids = std::vector<int32_t>;

// Two sequences; the first holds documents of 4 and 1 tokens, the second one of 3.
MicroBatch example() {
  MicroBatch batch;
  batch.tokens = {10, 11, 12, 13, 20, 30, 31, 32};
  batch.positions = {0, 1, 2, 3, 0, 0, 1, 2};
  batch.targets = {11, 12, 13, -1, -1, 31, 32, 33};
  batch.segments = {{0, 4, 0, 4}, {4, 1, 4, 1}, {5, 3, 5, 3}};
  batch.sequences = {{0, 5}, {5, 3}};
  return batch;
}

TEST(MtpRows, FirstModuleReadsTheNextTokenAndPredictsTheOneAfter) {
  const MtpRows rows = mtp_rows(example(), 1);
  EXPECT_EQ(rows.rows, (Ids{0, 1, 2, 5, 6}));
  EXPECT_EQ(rows.rows_in, (Ids{0, 1, 2, 5, 6}));
  EXPECT_EQ(rows.batch.tokens, (Ids{11, 12, 13, 31, 32}));
  EXPECT_EQ(rows.batch.targets, (Ids{12, 13, -1, 32, 33}));
  EXPECT_EQ(rows.batch.positions, (Ids{0, 1, 2, 0, 1}));
  ASSERT_EQ(rows.batch.segments.size(), 2u);  // the document of one token has no row left
  EXPECT_EQ(rows.batch.segments[0].n_q, 3);
  EXPECT_EQ(rows.batch.segments[1].q_begin, 3);
  EXPECT_EQ(rows.batch.segments[1].k_begin, 3);
  EXPECT_EQ(rows.batch.segments[1].n_k, 2);
  ASSERT_EQ(rows.batch.sequences.size(), 2u);
  EXPECT_EQ(rows.batch.sequences[0].count, 3);
  EXPECT_EQ(rows.batch.sequences[1].begin, 3);
}

TEST(MtpRows, SecondModuleTakesItsStatesFromTheRowsOfTheFirst) {
  const MtpRows rows = mtp_rows(example(), 2);
  EXPECT_EQ(rows.rows, (Ids{0, 1, 5}));
  EXPECT_EQ(rows.rows_in, (Ids{0, 1, 3}));
  EXPECT_EQ(rows.batch.tokens, (Ids{12, 13, 32}));
  EXPECT_EQ(rows.batch.targets, (Ids{13, -1, 33}));
}

TEST(MtpRows, ADepthThatNoSegmentReachesIsEmpty) {
  const MtpRows rows = mtp_rows(example(), 4);
  EXPECT_TRUE(rows.rows.empty());
  EXPECT_TRUE(rows.batch.segments.empty());
  EXPECT_TRUE(rows.batch.sequences.empty());
}

}  // namespace
}  // namespace hadal
