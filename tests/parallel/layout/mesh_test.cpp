// Who sits where.
#include "layout/mesh.h"

#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/expect_error.h"
#include "config/config_io.h"

namespace hadal {
namespace {

TEST(Mesh, EveryRankHasASeatOfItsOwn) {
  const Mesh mesh(parse_layout("dp=3,pp=2,tp=2,cp=2,ep=4"));
  EXPECT_EQ(mesh.n_ranks(), 24);
  EXPECT_EQ(mesh.stage_ranks(), 12);
  for (int64_t rank = 0; rank < 24; ++rank) EXPECT_EQ(mesh.rank(mesh.seat(rank)), rank);
  EXPECT_EQ(mesh.seat(23), (Seat{1, 2, 1, 1}));
}

TEST(Mesh, GroupsOfAnAxisDivideTheRanks) {
  const Mesh mesh(parse_layout("dp=3,pp=2,tp=2,cp=2,ep=4"));
  EXPECT_EQ(mesh.tensor_group(5), (std::vector<int>{4, 5}));
  EXPECT_EQ(mesh.context_group(5), (std::vector<int>{5, 7}));
  EXPECT_EQ(mesh.data_group(5), (std::vector<int>{1, 5, 9}));
  EXPECT_EQ(mesh.pipeline_group(5), (std::vector<int>{5, 17}));
  EXPECT_EQ(mesh.expert_group(5), (std::vector<int>{4, 5, 6, 7}));
  EXPECT_EQ(mesh.expert_seat(17), 1);
  for (int64_t rank = 0; rank < 24; ++rank) {
    for (const auto& group : {mesh.tensor_group(rank), mesh.context_group(rank), mesh.data_group(rank),
                              mesh.pipeline_group(rank), mesh.expert_group(rank)}) {
      EXPECT_EQ(std::count(group.begin(), group.end(), int(rank)), 1);
      EXPECT_TRUE(std::is_sorted(group.begin(), group.end()));
    }
  }
}

TEST(Mesh, ATokenReachesItsExpertsInTwoHops) {
  const Mesh mesh(parse_layout("dp=16,ep=8,node_ranks=2"));
  EXPECT_EQ(mesh.experts_across(11), (std::vector<int>{9, 11, 13, 15}));
  EXPECT_EQ(mesh.experts_within(11), (std::vector<int>{10, 11}));
  EXPECT_TRUE(Mesh(parse_layout("dp=16,ep=8,node_ranks=8")).experts_across(11).empty());
  EXPECT_TRUE(Mesh(parse_layout("dp=16,ep=8")).experts_within(11).empty());
}

TEST(Mesh, RefusesWhatMakesNone) {
  const auto mesh = [](const char* text) { return Mesh(parse_layout(text)); };
  EXPECT_ERROR(mesh("dp=0"), ErrorKind::invalid, "dp = 0 must be between 1 and");
  EXPECT_ERROR(mesh("dp=-2"), ErrorKind::invalid, "dp = -2");
  EXPECT_ERROR(mesh("dp=1024,tp=2048"), ErrorKind::invalid, "ranks");
}

}  // namespace
}  // namespace hadal
