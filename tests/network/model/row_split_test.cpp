// Whose rows are whose: every row has one owner, context ranks get as much work, and segments say what queries see.
#include "model/row_split.h"

#include "comm/transport_over.h"
#include "comm/virtual_clock.h"
#include "model/shared_batches.h"

namespace hadal {
namespace {

using namespace hadal::testing;

// Runs body on tensor * context ranks, each with its split of the batch.
void on_splits(int tensor, int context, const MicroBatch& batch, const std::function<void(RowSplit&, int)>& body) {
  run_rank_threads(tensor * context, [&](std::shared_ptr<Transport> transport) {
    const int rank = transport->rank(), t = rank % tensor, c = rank / tensor;
    std::vector<int> same_c, same_t;
    for (int i = 0; i < tensor; ++i) same_c.push_back(c * tensor + i);
    for (int i = 0; i < context; ++i) same_t.push_back(i * tensor + t);
    Group over_tensor(transport, fmt::format("tensor {}", c), same_c);
    Group over_context(transport, fmt::format("context {}", t), same_t);
    RowSplit split(batch, {.tensor = &over_tensor, .context = &over_context});
    body(split, rank);
  });
}

TEST(RowSplit, GivesEveryRowToOneRankAndDepthsToTheOwnersOfTheirRows) {
  const MicroBatch batch = make_batch({{9, 4}, {1, 7, 5}, {2}}, true);
  for (const auto& [tensor, context] : {std::pair(1, 2), {2, 1}, {3, 2}, {2, 3}}) {
    std::vector<std::vector<int>> owners(3);
    std::mutex mutex;
    on_splits(tensor, context, batch, [&](RowSplit& split, int rank) {
      std::vector<int32_t> rows(size_t(batch.n_tokens()));
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = int32_t(i);
      for (int depth = 0; depth < 3; ++depth) {
        const MtpRows at = depth > 0 ? mtp_rows(batch, depth) : MtpRows();
        if (depth > 0) {
          const RowSplit next = split.next(at.batch, at.rows_in);
          const std::vector<int32_t> own_in = next.own_rows_in(split, at.rows_in);
          for (size_t i = 0; i < own_in.size(); ++i)
            EXPECT_EQ(split.own()[size_t(own_in[i])], at.rows_in[size_t(next.own()[i])]);
          split = next;
        }
        EXPECT_TRUE(std::is_sorted(split.own().begin(), split.own().end()));
        const std::lock_guard lock(mutex);
        owners[size_t(depth)].resize(size_t(split.n_keys()), -1);
        for (const int32_t row : split.own()) {
          EXPECT_EQ(owners[size_t(depth)][size_t(row)], -1);
          owners[size_t(depth)][size_t(row)] = rank;
        }
      }
    });
    for (const auto& of_depth : owners)
      for (const int owner : of_depth) EXPECT_GE(owner, 0);
  }
}

TEST(RowSplit, CutsASequenceAtBothEndsSoThatQueriesSeeAsManyKeys) {
  const MicroBatch batch = make_batch({{48}}, false);
  on_splits(1, 3, batch, [&](RowSplit& split, int rank) {
    ASSERT_EQ(split.n_own(), 16);
    EXPECT_EQ(split.own().front(), 8 * rank);
    EXPECT_EQ(split.own().back(), 47 - 8 * rank);
    int64_t seen = 0;
    for (const ops::Segment& s : split.segments()) seen += s.n_q * (s.n_k - s.n_q) + s.n_q * (s.n_q + 1) / 2;
    EXPECT_EQ(seen, 48 * 49 / 2 / 3);
    EXPECT_EQ(split.passes().size(), rank == 2 ? 1u : 2u);  // the middle runs are one
  });
}

TEST(RowSplit, SegmentsSeeTheirDocumentAndShareNoKeyInOnePass) {
  const MicroBatch batch = make_batch({{9, 4, 30}, {1, 7, 5}}, true);
  on_splits(2, 2, batch, [&](RowSplit& split, int) {
    size_t query = 0, n = 0;
    for (const ops::Segment& s : split.segments()) {
      for (int64_t i = 0; i < s.n_q; ++i, ++query) {
        const int64_t row = split.queries()[query];
        EXPECT_EQ(s.q_begin + i, int64_t(query));
        EXPECT_EQ(s.k_begin + s.n_k - s.n_q + i, row);
        const auto document = std::find_if(batch.segments.begin(), batch.segments.end(), [&](const ops::Segment& d) {
          return d.q_begin <= row && row < d.q_begin + d.n_q;
        });
        EXPECT_EQ(s.k_begin, document->k_begin);
      }
    }
    EXPECT_EQ(query, split.queries().size());
    for (const auto& segments : split.passes()) {
      std::vector<int> keys(size_t(split.n_keys()), 0);
      for (const ops::Segment& s : segments)
        for (int64_t k = 0; k < s.n_k; ++k) EXPECT_EQ(keys[size_t(s.k_begin + k)]++, 0);
      n += segments.size();
    }
    EXPECT_EQ(n, split.segments().size());
  });
}

TEST(RowSplit, GathersRowsAndBringsSumsToTheirOwners) {
  const MicroBatch batch = make_batch({{9, 4}, {1, 7, 5}, {2}}, true);
  for (const auto& [tensor, context] : {std::pair(1, 2), {2, 1}, {3, 2}, {2, 3}, {16, 2}}) {
    on_splits(tensor, context, batch, [&, tensor = tensor, ranks = tensor * context](RowSplit& split, int rank) {
      OwnedExec owned(1);
      for (const Extent extent : {Extent::queries, Extent::keys}) {
        std::vector<int32_t> all = split.queries();
        if (extent == Extent::keys)
          for (all.clear(); int64_t(all.size()) < split.n_keys();) all.push_back(int32_t(all.size()));
        std::vector<double> own, summands;
        for (const int32_t row : split.own()) own.insert(own.end(), {double(row), row + 0.5});
        for (const int32_t row : all) summands.insert(summands.end(), {double(row), double(rank)});
        const Tensor gathered =
            split.start_gather(owned.exec, extent, Tensor::from(owned.exec, own, {split.n_own(), 2})).wait();
        ASSERT_EQ(gathered.rows(), int64_t(all.size()));
        for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(element(gathered, 2 * int64_t(i) + 1), all[i] + 0.5);
        const Tensor sums =
            split.start_reduce(owned.exec, extent, Tensor::from(owned.exec, summands, {int64_t(all.size()), 2})).wait();
        const int adders = extent == Extent::keys ? ranks : tensor;
        ASSERT_EQ(sums.rows(), split.n_own());
        for (size_t i = 0; i < split.own().size(); ++i)
          EXPECT_EQ(element(sums, 2 * int64_t(i)), double(split.own()[i]) * adders);
      }
    });
  }
}

// Tensor ranks on a virtual clock, where products of all rows take as long as the rows' way: the share of the way that
// is hidden under products, of a gather and of a reduction.
struct Hidden {
  double gather = 0, reduce = 0;
};
Hidden hidden_under_products(int tensor, bool in_parts) {
  const MicroBatch batch = make_batch({{512 * tensor}}, false);
  const int64_t n = batch.n_tokens(), cols = 4;
  const double travel = double((tensor - 1) * 512 * cols * 8), each_row = travel / double(n);  // at a byte a second
  std::vector<Hidden> of_ranks(static_cast<size_t>(tensor));
  run_rank_threads(tensor, [&](std::shared_ptr<Transport> transport) {
    VirtualClock clock;
    Group group(on_clock(transport, clock, [](int, int) { return LinkSpeed{.bytes_per_second = 1}; }), "tensor");
    const RowSplit split(batch, {.tensor = &group});
    OwnedExec owned(1);
    const auto multiply = [&](int64_t rows) { clock.advance(double(rows) * each_row); };
    const Tensor own = Tensor::zeros(owned.exec, DType::f64, {split.n_own(), cols}),
                 all = Tensor::zeros(owned.exec, DType::f64, {n, cols});
    double begin = clock.now();
    const auto hidden = [&] { return 1 - (clock.now() - begin - travel) / travel; };
    if (in_parts) {
      PartsUnderWay parts = split.start_parts(owned.exec, Extent::queries, own);
      parts.each([&](const ops::RowRange& part) { multiply(part.count); });
      parts.finish();
    } else {
      split.start_gather(owned.exec, Extent::queries, own).wait();
      multiply(n);
    }
    Hidden& result = of_ranks[size_t(transport->rank())];
    result.gather = hidden();
    group.barrier();
    begin = clock.now();
    if (in_parts) {
      const auto make = [&](const ops::RowRange& part) { multiply(part.count); };
      split.start_reduce_in_parts(owned.exec, Extent::queries, all, make).wait();
    } else {
      multiply(n);
      split.start_reduce(owned.exec, Extent::queries, all).wait();
    }
    result.reduce = hidden();
  });
  Hidden least{1, 1};
  for (const Hidden& of_rank : of_ranks)
    least = {std::min(least.gather, of_rank.gather), std::min(least.reduce, of_rank.reduce)};
  return least;
}

TEST(RowSplit, PartsTravelUnderTheProductsOfOthers) {
  for (const int tensor : {2, 3, 4}) {
    const Hidden parts = hidden_under_products(tensor, true), whole = hidden_under_products(tensor, false);
    EXPECT_GE(parts.gather, 0.8) << tensor;
    EXPECT_GE(parts.reduce, 0.8) << tensor;
    EXPECT_LE(whole.gather, 0.01) << "the control: all rows, then all products";
    EXPECT_LE(whole.reduce, 0.01) << "the control: all products, then all rows";
  }
}

// Own rows come first, each row once, and where it belongs; sums of parts reach the rows' owner.
TEST(RowSplit, EveryRowOfEveryPartIsThatOfItsOwner) {
  for (const auto& [tensor, far] : std::vector<std::pair<int, bool>>{{2, true}, {3, true}, {3, false}}) {
    const MicroBatch batch = make_batch({{300 * tensor + 1}}, false);
    run_rank_threads(tensor, [&, tensor = tensor, far = far](std::shared_ptr<Transport> transport) {
      Group group(far ? as_if_far(transport) : transport, "tensor");
      const RowSplit split(batch, {.tensor = &group});
      OwnedExec owned(1);
      std::vector<double> own;
      for (const int32_t row : split.own()) own.push_back(row);
      const int64_t n = split.n_queries();
      for (const Extent extent : {Extent::queries, Extent::keys}) {
        PartsUnderWay rows = split.start_parts(owned.exec, extent, Tensor::from(owned.exec, own, {split.n_own(), 1}));
        std::vector<ops::RowRange> parts;
        std::vector<int> seen(size_t(n), 0);
        rows.each([&](const ops::RowRange& part) {
          parts.push_back(part);
          for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
            ++seen[size_t(i)];
            EXPECT_EQ(element(rows.all(), i), double(i));
          }
        });
        EXPECT_EQ(seen, std::vector<int>(size_t(n), 1));
        EXPECT_EQ(parts.size() > size_t(tensor), far) << parts.size();
        EXPECT_EQ(parts.front().begin, split.own_among_queries().begin);
        rows.finish();
        const Tensor summands = Tensor::zeros(owned.exec, DType::f64, {n, 1});
        const auto make = [&](const ops::RowRange& part) {
          for (int64_t i = part.begin; i < part.begin + part.count; ++i) set_element(summands, i, double(i + 1));
        };
        const Tensor sums = split.start_reduce_in_parts(owned.exec, extent, summands, make).wait();
        for (int64_t i = 0; i < split.n_own(); ++i) EXPECT_EQ(element(sums, i), (own[size_t(i)] + 1) * tensor);
      }
    });
  }
}

TEST(RowSplit, FewRowsAreMultipliedTogetherWithTheirNeighbours) {
  constexpr int kRanks = 8, kEach = 48;
  const MicroBatch batch = make_batch({{kRanks * kEach}}, false);
  run_rank_threads(kRanks, [&](std::shared_ptr<Transport> transport) {
    Group group(transport, "tensor");
    const RowSplit split(batch, {.tensor = &group});
    OwnedExec owned(1);
    std::vector<double> rows, own;
    for (int i = 0; i < kRanks * kEach; ++i) rows.push_back(i);
    for (const int32_t row : split.own()) own.push_back(row);
    std::vector<int> seen(rows.size(), 0);
    int products = 0;
    PartsUnderWay parts = split.start_parts(owned.exec, Extent::queries, Tensor::from(owned.exec, own, {kEach, 1}));
    parts.each([&](const ops::RowRange& part) {
      ++products;
      for (int64_t i = part.begin; i < part.begin + part.count; ++i) {
        ++seen[size_t(i)];
        EXPECT_EQ(element(parts.all(), i), double(i));
      }
    });
    EXPECT_EQ(seen, std::vector<int>(rows.size(), 1));
    EXPECT_LE(products, 4) << "the own rows, those behind them, those before them";
    const Tensor summands = Tensor::zeros(owned.exec, DType::f64, {kRanks * kEach, 1});
    const auto make = [&](const ops::RowRange& part) {
      summands.row_range(part.begin, part.count)
          .copy_from(Tensor::from(owned.exec, rows, {int64_t(rows.size()), 1}).row_range(part.begin, part.count));
    };
    const Tensor sums = split.start_reduce_in_parts(owned.exec, Extent::queries, summands, make).wait();
    for (int64_t i = 0; i < kEach; ++i) EXPECT_EQ(element(sums, i), own[size_t(i)] * kRanks);
  });
}

}  // namespace
}  // namespace hadal
