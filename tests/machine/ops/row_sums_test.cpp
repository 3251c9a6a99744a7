// Sums of groups and their totals have, one after the other, the bits of combine and of its mirror.
#include "ops/row_sums.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "base/expect_error.h"
#include "base/random.h"
#include "kernels/places_fixture.h"
#include "ops/routing.h"

namespace hadal {
namespace {

using kernels_test::ExecAt;
using kernels_test::Place;
using kernels_test::places;

Tensor list(const Exec& exec, const std::vector<int32_t>& values) {
  return Tensor::from(exec, values, {int64_t(values.size())});
}

// Rows of a tensor that is cut in two, the second of which has distance between its rows, with an empty one between.
struct Cut {
  Cut(const Exec& exec, const Tensor& x) : at(x.rows() / 3) {
    const Tensor wide = Tensor::empty(exec, x.dtype(), {x.rows() - at, x.cols() + 3});
    const Tensor apart = wide.col_range(3, x.cols());
    for (int64_t r = 0; r < apart.rows(); ++r)
      for (int64_t c = 0; c < x.cols(); ++c)
        set_element(wide, r * wide.cols() + 3 + c, element(x, (at + r) * x.cols() + c));
    pieces = {x.row_range(0, at), Tensor::empty(exec, x.dtype(), {0, x.cols()}), apart};
  }
  Tensor places(const Exec& exec, const std::vector<int32_t>& rows) const {
    std::vector<int32_t> result;
    for (const int32_t row : rows) result.insert(result.end(), {row < at ? 0 : 2, row < at ? row : int32_t(row - at)});
    return Tensor::from(exec, result, {int64_t(rows.size()), 2});
  }
  int64_t at;
  std::vector<Tensor> pieces;
};

Tensor numbers(const Exec& exec, DType dtype, const Shape& shape, uint64_t seed) {
  const Tensor tensor = Tensor::empty(exec, dtype, shape);
  for (int64_t i = 0; i < tensor.count(); ++i) set_element(tensor, i, random_normal(seed, 1, uint64_t(i)));
  return tensor;
}

struct Trial {
  static constexpr int64_t kTokens = 5, kSlots = 3, kCols = 37, kGroup = 2;
  explicit Trial(const Place& place, DType rows, DType wire) : owned(place, 2), exec(owned.exec), wire(wire) {
    const DType wide = rows == DType::f64 ? DType::f64 : DType::f32;
    routed = Tensor::from(exec, std::vector<int32_t>{0, 1, 2, 0, 2, 3, 1, 4, 7, 4, 5, 6, 2, 3, 5}, {kTokens, kSlots});
    plan = ops::make_plan(exec, routed, 8);
    x = numbers(exec, rows, {kTokens * kSlots, kCols}, 1);
    y = numbers(exec, rows, {kTokens, kCols}, 2);
    weights = numbers(exec, wide, {kTokens, kSlots}, 3);
    const int32_t* experts = routed.data<int32_t>();
    for (int64_t pair = 0; pair < kTokens * kSlots; ++pair) {
      const bool first = pair % kSlots == 0;
      if (first || experts[pair] / kGroup != experts[pair - 1] / kGroup) sums.push_back(int32_t(pair));
      if (first) totals.push_back(int32_t(sums.size()) - 1);
    }
    totals.push_back(int32_t(sums.size()));
    sums.push_back(kTokens * kSlots);
  }
  Tensor in_halves(const Tensor& to, bool weighted, ops::Write write) const {
    const int64_t n = int64_t(sums.size()) - 1;
    const Tensor of_groups = Tensor::empty(exec, wire, {n, kCols});
    const Cut pairs(exec, x);
    const int32_t* position = plan.position.data<int32_t>();
    ops::group_sums(exec, of_groups, pairs.pieces,
                    {list(exec, sums), pairs.places(exec, {position, position + kTokens * kSlots})},
                    weighted ? weights.view({kTokens * kSlots}) : Tensor());
    std::vector<int32_t> index(static_cast<size_t>(n));
    std::iota(index.begin(), index.end(), 0);
    const Cut groups(exec, of_groups);
    ops::group_totals(exec, to, groups.pieces, {list(exec, totals), groups.places(exec, index)}, write);
    return to;
  }

  const ExecAt owned;
  const Exec& exec;
  DType wire;
  Tensor routed, x, y, weights;
  ops::DispatchPlan plan;
  std::vector<int32_t> sums, totals;
};

bool same(const Tensor& a, const Tensor& b) { return std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0; }

TEST(RowSums, HaveTheBitsOfCombineAndOfItsMirror) {
  struct Types {
    Place place;
    DType rows, wire;
  };
  std::vector<Types> all = {{Place{}, DType::f64, DType::f64}};
  for (const Place& place : places())
    for (const DType rows : {DType::f32, DType::bf16})
      for (const DType wire : {DType::f32, DType::bf16}) all.push_back({place, rows, wire});
  for (const Types& types : all) {
    const Trial t(types.place, types.rows, types.wire);
    const ops::CombineRule rule{t.routed, Trial::kGroup, t.wire};
    for (const ops::Write write : {ops::Write::overwrite, ops::Write::add}) {
      const Tensor combined = t.y.clone(t.exec), mirrored = t.y.clone(t.exec);
      ops::combine(t.exec, combined, t.x, t.plan, t.weights, rule, write);
      ops::gather_backward(t.exec, mirrored, t.x, t.plan, rule, write);
      EXPECT_TRUE(same(t.in_halves(t.y.clone(t.exec), true, write), combined)) << types.place.name();
      EXPECT_TRUE(same(t.in_halves(t.y.clone(t.exec), false, write), mirrored)) << types.place.name();
    }
  }
}

TEST(RowSums, ListsMustNameRowsThatAreThere) {
  const Trial t(Place{best_isa()}, DType::f32, DType::f32);
  const Tensor y = Tensor::empty(t.exec, DType::f32, {1, Trial::kCols});
  const auto sums = [&](const std::vector<Tensor>& x, const std::vector<int32_t>& begin,
                        const std::vector<int32_t>& index) {
    ops::group_sums(t.exec, y, x, {list(t.exec, begin), list(t.exec, index)}, {});
  };
  EXPECT_ERROR(sums({t.x}, {0, 1}, {0, 15}), ErrorKind::invalid, "row 0 is row 15 of tensor 0, expected 0 to 14");
  EXPECT_ERROR(sums({t.x}, {0, 1}, {1, 0}), ErrorKind::invalid, "row 0 is to be found in tensor 1, expected 0 to 0");
  EXPECT_ERROR(sums({t.x}, {0, 1}, {0, -1}), ErrorKind::invalid, "row 0 is row -1 of tensor 0");
  EXPECT_ERROR(sums({t.x}, {0, 2}, {0, 1}), ErrorKind::internal, "must name all");
  EXPECT_ERROR(sums({}, {0, 0}, {}), ErrorKind::internal, "no rows to sum");
  EXPECT_ERROR(sums({t.x, Tensor::empty(t.exec, DType::bf16, {0, Trial::kCols})}, {0, 1}, {0, 1}), ErrorKind::invalid,
               "BF16 rows of 37 are summed beside F32 rows of 37");
  EXPECT_ERROR(ops::group_totals(t.exec, y, {t.x}, {list(t.exec, {0, 0}), list(t.exec, {})}, ops::Write::add),
               ErrorKind::internal, "must name at least 1");
}

}  // namespace
}  // namespace hadal
