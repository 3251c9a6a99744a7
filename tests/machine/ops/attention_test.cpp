// ops/attention.h: every instruction set, and the emulated device, against the formula in FP64, the bit contract,
// workspace, refusals.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "attention_fixture.h"
#include "base/error.h"
#include "kernels/places_fixture.h"

namespace hadal::attention_tests {
namespace {

using kernels_test::ExecAt;
using kernels_test::Place;
using kernels_test::places;

double tolerance(DType dtype) {
  return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 3e-6 : dtype == DType::f16 ? 1.5e-3 : 1.2e-2;
}

// Odd sizes; segments of one token, of part of a tile, of several tiles, with a prefix in front of the queries; rows of
// no segment.
std::vector<Sizes> grid() {
  const std::vector<Segment> mixed = {
      {0, 1, 2, 1}, {1, 5, 3, 5}, {7, 70, 8, 200}, {77, 131, 210, 131}, {208, 1, 341, 65}};
  std::vector<Sizes> all;
  auto add = [&](Sizes sizes, std::vector<Segment> segments, int64_t q_rows, int64_t k_rows) {
    sizes.segments = std::move(segments), sizes.q_rows = q_rows, sizes.k_rows = k_rows;
    all.push_back(sizes);
  };
  for (bool absorbed : {false, true}) {
    add({3, 5, 3, absorbed ? 5 : 7, absorbed, {}, 0, 0}, mixed, 210, 410);
    add({2, 32, 16, 32, absorbed, {}, 0, 0}, mixed, 210, 410);
    add({1, 1, 2, 1, absorbed, {}, 0, 0}, {{0, 33, 0, 33}}, 33, 33);
    add({11, 17, 6, absorbed ? 17 : 9, absorbed, {}, 0, 0}, {{0, 67, 0, 67}, {67, 3, 67, 67}}, 70, 134);
    add({2, 128, 64, 128, absorbed, {}, 0, 0}, {{0, 129, 0, 129}}, 129, 129);
    add({2, 150, 10, absorbed ? 150 : 66, absorbed, {}, 0, 0}, {{0, 40, 0, 104}}, 40, 104);
  }
  for (const auto& [heads, kv_heads] : {std::pair(6, 2), {4, 1}, {3, 3}, {10, 5}}) {
    Sizes grouped{heads, heads == 6 ? 130 : 14, 0, heads == 6 ? 130 : 14, false, {}, 0, 0};
    grouped.kv_heads = kv_heads;
    add(grouped, mixed, 210, 410);
  }
  Sizes few{4, 10, 0, 10, false, {}, 0, 0};  // for the device too
  few.kv_heads = 2;
  add(few, {{0, 33, 0, 33}, {33, 2, 33, 9}}, 35, 42);
  add({9, 16, 8, 16, true, {}, 0, 0}, {{0, 1, 0, 130}, {1, 1, 130, 64}, {2, 0, 194, 3}}, 2, 200);
  return all;
}

TEST(Attention, EqualsTheFormulaInEveryInstructionSet) {
  OwnedExec maker(1);
  for (DType dtype : {DType::f64, DType::f32, DType::bf16, DType::f16}) {
    for (const Sizes& sizes : grid()) {
      const Problem problem(maker.exec, sizes, dtype);
      const Answer want = Naive(problem).solve();
      for (const Place& place : places()) {
        if (dtype == DType::f16 && place.on_device) continue;
        if (dtype == DType::f64 && !place.has_f64()) continue;  // f64 always takes the reference: see below
        if (place.on_device && kernels_test::kDeviceStride > 1 && sizes.heads * sizes.q_rows > 250) continue;
        const ExecAt owned(place, 2);
        const Worst worst = compare(problem, problem.run(owned.exec), want);
        EXPECT_LE(worst.distance, tolerance(dtype))
            << worst.of << " of " << text(sizes) << " in " << dtype_name(dtype) << " on " << place.name();
      }
    }
  }
}

TEST(Attention, DoublesTakeTheReferenceWhateverTheInstructionSet) {
  OwnedExec reference(1, Isa::reference), best(1);
  const Problem problem(reference.exec, {2, 6, 4, 6, false, {{0, 70, 0, 70}}, 70, 70}, DType::f64);
  EXPECT_TRUE(same_bits(problem.run(best.exec), problem.run(reference.exec)));
}

TEST(Attention, BackwardEqualsFiniteDifferencesOfTheReferenceForward) {
  OwnedExec owned(1, Isa::reference);
  for (bool absorbed : {false, true}) {
    const Sizes sizes{2, 4, 2, 4, absorbed, {{0, 5, 0, 7}, {5, 3, 7, 3}}, 8, 10};
    const Problem problem(owned.exec, sizes, DType::f64);
    const Results r = problem.run(owned.exec);
    auto loss = [&] {
      Results x;
      problem.forward(owned.exec, x);
      double sum = 0;
      for (int64_t i = 0; i < x.o.count(); ++i) sum += element(x.o, i) * element(problem.d_o, i);
      return sum;
    };
    auto slope = [&](const Tensor& input, int64_t flat) {
      const double x = element(input, flat), h = 1e-6;
      set_element(input, flat, x + h);
      const double above = loss();
      set_element(input, flat, x - h);
      const double below = loss();
      set_element(input, flat, x);
      return (above - below) / (2 * h);
    };
    for (int64_t row = 0; row < 8; ++row) {
      for (int64_t c = 0; c < r.dq.cols(); ++c) {
        EXPECT_NEAR(slope(problem.q, row * problem.q.cols() + c), element(r.dq, row * r.dq.cols() + c), 1e-8);
      }
    }
    for (int64_t row = 0; row < 10; ++row) {
      for (int64_t c = 0; c < problem.kv_cols(); ++c) {
        double want = element(r.dkv, row * r.dkv.cols() + c);
        if (absorbed) want += element(r.dv_latent, row * r.dv_latent.cols() + c);
        EXPECT_NEAR(slope(problem.kv, row * problem.kv.cols() + c), want, 1e-8);
      }
      for (int64_t c = 0; c < 2; ++c) {
        EXPECT_NEAR(slope(problem.k_rope, row * problem.k_rope.cols() + c), element(r.dk_rope, row * 2 + c), 1e-8);
      }
    }
  }
}

TEST(Attention, LargeScoresNeitherOverflowNorLoseTheRest) {
  for (const Place& place : places()) {
    const ExecAt owned(place, 2);
    const Problem problem(owned.exec, {2, 24, 8, 16, false, {{0, 150, 0, 150}}, 150, 150}, DType::f32, 8);
    const Worst worst = compare(problem, problem.run(owned.exec), Naive(problem).solve());
    EXPECT_LE(worst.distance, 2e-4) << worst.of << " on " << place.name();
  }
}

TEST(Attention, ComparisonNoticesOneWrongRow) {
  OwnedExec owned(1);
  const Problem problem(owned.exec, {2, 32, 16, 32, false, {{0, 100, 0, 100}}, 100, 101}, DType::f32);
  const Answer want = Naive(problem).solve();
  Results r = problem.run(owned.exec);
  EXPECT_LE(compare(problem, r, want).distance, tolerance(DType::f32));
  r.dk_rope.row_range(99, 1).zero();  // the last key's gradient comes from one query only
  EXPECT_GT(compare(problem, r, want).distance, tolerance(DType::f32));
  r = problem.run(owned.exec);
  set_element(r.dkv, 100 * r.dkv.cols(), 0);  // a row of no segment
  EXPECT_GT(compare(problem, r, want).distance, tolerance(DType::f32));
}

// Shared keys with values per head, and the reverse, do not occur in MLA but the strides allow them.
TEST(Attention, SharesKeysOrValuesAlone) {
  for (const Place& place : places()) {
    const ExecAt owned(place, 2);
    const Problem whole(owned.exec, {3, 6, 4, 6, false, {{0, 70, 0, 90}}, 70, 90}, DType::f32);
    for (bool share_keys : {true, false}) {
      // Copy head 0 over the others where it is to be shared: then both calls mean the same.
      for (int64_t row = 0; row < 90; ++row) {
        for (int64_t c = 0; c < 6; ++c) {
          const int64_t first = row * whole.kv.cols() + c + (share_keys ? 0 : 6);
          for (int64_t h = 1; h < 3; ++h) set_element(whole.kv, first + h * 12, element(whole.kv, first));
        }
      }
      const Results want = whole.run(owned.exec);
      ops::AttentionInputs in = whole.inputs();
      (share_keys ? in.k_head_stride : in.v_head_stride) = 0;
      Results got;
      whole.forward(owned.exec, got);
      got.dq = Tensor::empty(owned.exec, DType::f32, want.dq.shape());
      got.dkv = Tensor::zeros(owned.exec, DType::f32, want.dkv.shape());
      got.dk_rope = Tensor::empty(owned.exec, DType::f32, want.dk_rope.shape());
      ops::attention_forward(owned.exec, in, got.o, got.lse);
      ops::attention_backward(owned.exec, in, got.o, got.lse, whole.d_o,
                              {got.dq, got.dkv.col_range(0, 6), got.dkv.col_range(6, 6), got.dk_rope});
      EXPECT_LE(distance(values(got.o, 18), values(want.o, 18)), 1e-6);
      EXPECT_LE(distance(values(got.dq, 30), values(want.dq, 30)), 3e-6);
      EXPECT_LE(distance(values(got.dk_rope, 4), values(want.dk_rope, 4)), 3e-6);
      for (int64_t row = 0; row < 90; ++row) {
        for (int64_t c = 0; c < 12; ++c) {
          const int64_t first = row * want.dkv.cols() + c;
          const bool shared = (c < 6) == share_keys;
          double sum = element(want.dkv, first);
          for (int64_t h = 1; shared && h < 3; ++h) sum += element(want.dkv, first + h * 12);
          EXPECT_NEAR(element(got.dkv, first), sum, 1e-4) << place.name() << " row " << row << " column " << c;
        }
      }
    }
  }
}

// --- the bit contract ---

TEST(Attention, ReadsValuesThatAreKeysOnceWithTheSameBits) {
  for (const Place& place : places()) {
    const ExecAt owned(place, 2);
    for (DType dtype : {DType::f32, DType::bf16}) {
      for (int64_t n_q : {1, 150}) {
        const Problem problem(owned.exec, {3, 40, 8, 32, true, {{0, n_q, 0, 150}}, n_q, 150}, dtype);
        Results once, twice;
        problem.forward(owned.exec, once);
        problem.forward(owned.exec, twice);
        ops::AttentionInputs in = problem.inputs();
        in.values_are_keys = false;
        ops::attention_forward(owned.exec, in, twice.o, twice.lse);
        EXPECT_TRUE(same_bits(once.o, twice.o) && same_bits(once.lse, twice.lse)) << place.name() << " " << n_q;
      }
    }
  }
}

// --- memory and refusals ---

TEST(Attention, WorkspaceGrowsAtMostLinearlyWithTheSequence) {
  for (Isa isa : available_isas()) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      for (bool absorbed : {false, true}) {
        OwnedExec maker(2, isa);
        auto workspace = [&](int64_t n, bool backward) {
          const Sizes sizes{2, 16, 8, 16, absorbed, {{0, n, 0, n}}, n, n};
          const Problem problem(maker.exec, sizes, dtype);
          Results r = problem.run(maker.exec);
          OwnedExec fresh(2, isa);  // its lane has lent nothing yet
          if (!backward) {
            ops::attention_forward(fresh.exec, problem.inputs(), r.o, r.lse);
          } else {
            ops::attention_backward(fresh.exec, problem.inputs(), r.o, r.lse, problem.d_o,
                                    {r.dq, r.dkv.col_range(0, 16),
                                     (absorbed ? r.dv_latent : r.dkv).col_range(absorbed ? 0 : 16, 16), r.dk_rope});
          }
          return double(fresh.exec.memory->peak_bytes());
        };
        for (bool backward : {false, true}) {
          const double one = workspace(192, backward), two = workspace(384, backward);
          EXPECT_GT(one, 0);
          EXPECT_LE(two, 2.1 * one) << isa_name(isa) << (backward ? " backward" : " forward");
        }
      }
    }
  }
}

std::string refusal(const Exec& exec, const Problem& problem, const std::function<void(ops::AttentionInputs&)>& spoil) {
  Results r;
  problem.forward(exec, r);
  ops::AttentionInputs in = problem.inputs();
  spoil(in);
  try {
    ops::attention_forward(exec, in, r.o, r.lse);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Attention, RefusesWhatDoesNotFitAndSaysWhat) {
  OwnedExec owned(1);
  const Problem p(owned.exec, {2, 4, 2, 4, false, {{0, 5, 0, 5}}, 5, 5}, DType::f32);
  std::vector<Segment> segments;
  auto with = [&](Segment segment) {
    segments = {segment};
    return refusal(owned.exec, p, [&](ops::AttentionInputs& in) { in.segments = &segments; });
  };
  EXPECT_NE(with({0, 3, 0, 2}).find("3 queries for 2 keys"), std::string::npos);
  EXPECT_NE(with({0, 3, 3, 3}).find("leaves the 5 query rows and 5 key rows"), std::string::npos);
  auto spoilt = [&](auto&& spoil) { return refusal(owned.exec, p, spoil); };
  EXPECT_NE(spoilt([](ops::AttentionInputs& in) { in.scale = 0; }).find("scale 0 must be positive"), std::string::npos);
  EXPECT_NE(spoilt([](ops::AttentionInputs& in) { in.n_heads = 0; }).find("impossible sizes"), std::string::npos);
  EXPECT_NE(spoilt([](ops::AttentionInputs& in) { in.n_heads = 3; }).find("q has 12 columns, but needs 18"),
            std::string::npos);
  EXPECT_NE(spoilt([](ops::AttentionInputs& in) { in.k_head_stride = 2; }).find("overlap"), std::string::npos);
  EXPECT_NE(spoilt([](ops::AttentionInputs& in) { in.k_head_stride = 100; }).find("do not fit into rows"),
            std::string::npos);
  EXPECT_NE(spoilt([](ops::AttentionInputs& in) { in.n_kv_heads = 3; }).find("3 key/value heads do not divide 2 heads"),
            std::string::npos);
  EXPECT_NE(spoilt([](ops::AttentionInputs& in) { in.n_kv_heads = 1; }).find("and no rotary key"), std::string::npos);
  EXPECT_NE(spoilt([](ops::AttentionInputs& in) { in.segments = nullptr; }).find("no segments"), std::string::npos);
  EXPECT_NE(spoilt([&](ops::AttentionInputs& in) {
              in.k_rope = in.k_rope.to(owned.exec, DType::bf16);
            }).find("k_rope is BF16, but must be F32"),
            std::string::npos);
}

TEST(Attention, NoSegmentsIsNoWork) {
  OwnedExec owned(1);
  const Problem problem(owned.exec, {1, 2, 2, 2, false, {}, 3, 3}, DType::f32);
  const Results r = problem.run(owned.exec);
  for (const Tensor& tensor : {r.o, r.lse, r.dq, r.dkv, r.dk_rope}) {
    for (int64_t i = 0; i < tensor.count(); ++i) EXPECT_EQ(element(tensor, i), -77);
  }
}

}  // namespace
}  // namespace hadal::attention_tests
