// A vocabulary cut over ranks against one rank that holds all of it: losses, gradients of the state, the head and the
// embedding, and the embedding's rows. Cuts are uneven, and one slice may be a single row.
#include "nn/vocabulary.h"

#include "base/error.h"
#include "comm/group.h"
#include "comm/rank_threads.h"
#include "nn/embedding.h"
#include "nn/head_loss.h"
#include "nn/numeric.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr int64_t kRows = 300, kHidden = 20, kVocab = 103;  // three chunks
constexpr double kScale = 0.25;
using Cuts = std::vector<Box>;  // of the members

Cuts cut_at(const std::vector<int64_t>& begins) {
  Cuts cuts;
  for (size_t m = 0; m + 1 < begins.size(); ++m) cuts.push_back({{begins[m], 0}, {begins[m + 1] - begins[m], kHidden}});
  return cuts;
}

std::unique_ptr<Parameter> slice_of_weight(const Exec& exec, DType dtype, const Box& box) {
  ParameterSpec spec;
  spec.name = "embedding";
  spec.shape = {kVocab, kHidden};
  auto parameter = make_parameter(exec, spec, dtype, true, box);
  const Tensor all = random_tensor(exec, spec.shape, 1, 0.7, parameter->master.dtype());
  parameter->master.copy_from(all.row_range(box.begin[0], box.size[0]));
  refresh_value(exec, *parameter);
  return parameter;
}

struct Result {
  std::vector<double> losses, scored, dh, head, head_later, rows, embedding;
};

std::vector<int32_t> some_ids(uint64_t stream, int every) {
  std::vector<int32_t> ids(kRows);
  for (int64_t r = 0; r < kRows; ++r)
    ids[size_t(r)] = every && r % every == 0 ? -1 : int32_t(random_below(1, stream, uint64_t(r), kVocab));
  return ids;
}

// What one member finds; the parameter serves embedding and head (tied), one after the other.
Result compute(const Exec& exec, DType dtype, const Box& box, Group* partners) {
  const DType wide = dtype == DType::f64 ? DType::f64 : DType::f32;
  auto weight = slice_of_weight(exec, dtype, box);
  HeadLoss head;
  head.head = {weight.get()};
  head.chunk_tokens = 128;
  const HeadLoss::Rows of{random_tensor(exec, {kRows, kHidden}, 2, 1.5, dtype), i32(exec, some_ids(3, 5)),
                          Tensor::empty(exec, wide, {kRows})};
  const Tensor dh = Tensor::empty(exec, dtype, {kRows, kHidden});
  Result result;
  head.forward(exec, of, partners);
  result.scored = values_of(of.losses);
  weight->expect(1);
  head.forward_backward(exec, of, kScale, dh, WeightGradient::now, partners);
  EXPECT_TRUE(weight->complete());
  result.losses = values_of(of.losses), result.dh = values_of(dh), result.head = values_of(weight->grad);
  weight->expect(1);
  head.forward_backward(exec, of, kScale, dh, WeightGradient::later, partners);
  EXPECT_EQ(values_of(dh), result.dh);
  head.backward_weight(exec, of, kScale, partners);
  result.head_later = values_of(weight->grad);

  const Embedding embedding{weight.get()};
  const Tensor ids = i32(exec, some_ids(4, 0));
  weight->expect(1);
  result.rows = values_of(embedding.forward(exec, ids, dtype));
  embedding.backward_weight(exec, random_tensor(exec, {kRows, kHidden}, 5, 1.0, dtype), ids);
  EXPECT_TRUE(weight->complete());
  result.embedding = values_of(weight->grad);
  return result;
}

std::vector<Result> compute_on_ranks(DType dtype, const Cuts& cuts) {
  std::vector<Result> results(cuts.size());
  run_rank_threads(int(cuts.size()), [&](std::shared_ptr<Transport> transport) {
    Group group(transport, "tensor");
    OwnedExec owned{1};
    results[size_t(group.rank())] = compute(owned.exec, dtype, cuts[size_t(group.rank())], &group);
  });
  return results;
}

Result compute_alone(DType dtype) {
  OwnedExec owned{1};
  return compute(owned.exec, dtype, Box::whole({kVocab, kHidden}), nullptr);
}

using Field = std::vector<double> Result::*;

std::vector<double> sum_of(const std::vector<Result>& members, Field field) {
  std::vector<double> sum(members[0].*field);
  for (size_t m = 1; m < members.size(); ++m)
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += (members[m].*field)[i];
  return sum;
}

std::vector<double> joined(const std::vector<Result>& members, Field field) {
  std::vector<double> all;
  for (const Result& member : members) all.insert(all.end(), (member.*field).begin(), (member.*field).end());
  return all;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {  // relative to b
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    difference += (a[i] - b[i]) * (a[i] - b[i]), size += b[i] * b[i];
  return std::sqrt(difference / size);
}

void expect_as_alone(DType dtype, const Cuts& cuts, double bound) {
  const Result alone = compute_alone(dtype);
  const std::vector<Result> members = compute_on_ranks(dtype, cuts);
  for (const Result& member : members) {
    EXPECT_EQ(member.losses, members[0].losses);
    EXPECT_EQ(member.scored, members[0].losses);
    EXPECT_EQ(member.head_later, member.head);
    for (size_t r = 0; r < kRows; r += 5) EXPECT_EQ(member.losses[r], 0);
    for (size_t i = 0; i < kHidden; ++i) EXPECT_EQ(member.dh[i], 0);  // row 0 has no target
  }
  // Only the products of bf16 round; losses stay f32 but for their logits.
  EXPECT_LT(distance(members[0].losses, alone.losses), dtype == DType::f64 ? bound : 1e-6);
  EXPECT_LT(distance(sum_of(members, &Result::dh), alone.dh), bound);
  EXPECT_LT(distance(joined(members, &Result::head), alone.head), bound);
  EXPECT_EQ(sum_of(members, &Result::rows), alone.rows);
  EXPECT_EQ(joined(members, &Result::embedding), alone.embedding);
}

const std::vector<Cuts> kCuts = {cut_at({0, 52, kVocab}), cut_at({0, 60, 61, kVocab}), cut_at({0, 26, 52, 78, kVocab}),
                                 cut_at({0, 1, 2, 101, kVocab})};

TEST(Vocabulary, RanksWithSlicesComputeWhatOneRankDoes) {
  for (const Cuts& cuts : kCuts) {
    SCOPED_TRACE(cuts.size());
    expect_as_alone(DType::f64, cuts, 1e-12);
  }
}

TEST(Vocabulary, RanksWithSlicesRoundAsTheFormatDoes) {
  for (const Cuts& cuts : kCuts) {
    SCOPED_TRACE(cuts.size());
    expect_as_alone(DType::f32, cuts, 1e-6);
    expect_as_alone(DType::bf16, cuts, 1.0 / 128);
  }
}

std::string error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// A row that two members count, and one that nobody counts.
TEST(Vocabulary, ARowOnTwoMembersOrOnNoneIsFound) {
  Cuts twice = cut_at({0, 60, kVocab}), none = twice;
  twice[0].size[0] = 90;
  none[0].size[0] = 10;
  EXPECT_NE(error_of([&] { compute_on_ranks(DType::f64, twice); }).find("lies on 2 of 2 members, expected 1"),
            std::string::npos);
  EXPECT_NE(error_of([&] { compute_on_ranks(DType::f64, none); }).find("lies on 0 of 2 members, expected 1"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              OwnedExec owned{1};
              compute(owned.exec, DType::f64, none[0], nullptr);
            }).find("has no partners"),
            std::string::npos);
}

// Foreign ids give zeros and no gradient: were they clamped into the slice, the sums above would differ.
TEST(Vocabulary, AForeignIdGivesZerosAndNoGradient) {
  OwnedExec owned{1};
  auto weight = slice_of_weight(owned.exec, DType::f64, {{10, 0}, {5, kHidden}});
  const Embedding embedding{weight.get()};
  const Tensor ids = i32(owned.exec, {9, 10, 14, 15, 102});
  const Tensor own = own_rows_of(owned.exec, *weight, ids);
  EXPECT_EQ(std::vector<int32_t>(own.data<int32_t>(), own.data<int32_t>() + 5),
            (std::vector<int32_t>{-1, 0, 4, -1, -1}));
  const Tensor y = embedding.forward(owned.exec, ids, DType::f64);
  for (const int64_t token : {0, 3, 4}) EXPECT_EQ(values_of(y.row_range(token, 1)), std::vector<double>(kHidden, 0.0));
  EXPECT_EQ(values_of(y.row_range(2, 1)), values_of(weight->value.plain.row_range(4, 1)));
  weight->expect(2);
  embedding.backward_weight(owned.exec, y, i32(owned.exec, {9, 15, 0, 1, 102}));  // nothing of ours
  EXPECT_EQ(weight->arrived(), 1);
  embedding.backward_weight(owned.exec, y, ids);
  EXPECT_EQ(values_of(weight->grad.row_range(1, 3)), std::vector<double>(3 * kHidden, 0.0));
  EXPECT_EQ(values_of(weight->grad.row_range(4, 1)), values_of(y.row_range(2, 1)));
  EXPECT_NE(error_of([&] { own_rows_of(owned.exec, *weight, i32(owned.exec, {103})); }).find("is 103"),
            std::string::npos);
}

}  // namespace
}  // namespace hadal
