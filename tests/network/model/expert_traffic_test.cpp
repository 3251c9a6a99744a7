// What goes to experts and comes back, without a model around it: experts here return what they get.
#include "model/expert_traffic.h"

#include <gtest/gtest.h>

#include "comm/rank_threads.h"

namespace hadal {
namespace {

constexpr int64_t kTokens = 3, kSlots = 2, kCols = 5;

// A call that starts something, on one rank after another, each only when the one before has returned from it. One that
// waited for the others would wait for ever, which ranks as threads find at once.
void in_turn(Group& turns, const std::function<void()>& start) {
  std::byte token{};
  const Share share = {{&token, 1}};
  if (turns.rank() > 0) turns.start_receive(turns.rank() - 1, DType::u8, share).wait();
  start();
  if (turns.rank() + 1 < turns.size()) turns.send(turns.rank() + 1, DType::u8, share);
}

Tensor rows_of(const Exec& exec, int rank) {
  const Tensor x = Tensor::empty(exec, DType::f64, {kTokens, kCols});
  for (int64_t i = 0; i < x.count(); ++i) set_element(x, i, double(100 * rank + i));
  return x;
}

ops::Routes routes_of(const Exec& exec, int rank) {
  ops::Routes routes;
  routes.experts = Tensor::from(exec, std::vector<int32_t>{0, 7, 2, 3, rank, rank + 4}, {kTokens, kSlots});
  routes.weights = Tensor::from(exec, std::vector<double>{1, 2, 3, 4, 5, 6}, {kTokens, kSlots});
  return routes;
}

void there_and_back(Group& turns, const Partners& partners, const ops::RouteRule& rule) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  const int rank = turns.rank();
  const bool two_hops = experts_take_two_hops(partners);
  const int64_t each = rule.n_experts / turns.size();
  ExpertTraffic traffic(partners, rule, {{rank * each, 0, 0}, {each, 1, 1}});
  const Tensor x = rows_of(exec, rank), y = Tensor::zeros(exec, DType::f64, {kTokens, kCols});
  in_turn(turns, [&] { traffic.dispatch_start(exec, x, routes_of(exec, rank)); });
  if (two_hops) in_turn(turns, [&] { traffic.dispatch_pass_on(exec); });
  const std::vector<ExpertRows> came = traffic.dispatch_wait(exec);
  ASSERT_EQ(int(came.size()), turns.size());
  std::vector<Tensor> outputs;
  for (size_t source = 0; source < came.size(); ++source) {
    const Tensor rows = came[source].sorted(exec, came[source].rows).tensor();
    EXPECT_LE(came[source].rows.rows(), rows.rows()) << "a token comes once";
    outputs.push_back(rows);
    ASSERT_EQ(came[source].offsets.count(), each + 1);
    EXPECT_EQ(element(came[source].offsets, each), double(rows.rows()));
    for (int64_t r = 0; r < rows.rows(); ++r)  // of the rank in whose place they stand
      EXPECT_EQ(int(element(rows, r * kCols)) / 100, int(source));
  }
  for (size_t source = 0; source < came.size(); ++source)
    traffic.take_outputs(exec, source, outputs[source], DType::f64);
  traffic.combine_start(exec);
  if (two_hops) in_turn(turns, [&] { traffic.combine_pass_on(exec); });
  traffic.combine_wait(exec, y);
  const double weights[] = {3, 7, 11};  // of a token's two experts together
  for (int64_t i = 0; i < y.count(); ++i) EXPECT_EQ(element(y, i), element(x, i) * weights[i / kCols]);

  in_turn(turns, [&] { traffic.combine_backward_start(exec, x); });
  if (two_hops) in_turn(turns, [&] { traffic.combine_backward_pass_on(exec); });
  const std::vector<Activation> dy = traffic.combine_backward_wait(exec);
  for (size_t source = 0; source < dy.size(); ++source)
    traffic.take_gradients(exec, source, {came[source].sorted(exec, dy[source]).tensor(), came[source].weight},
                           DType::f64);
  traffic.dispatch_backward_start(exec);
  if (two_hops) in_turn(turns, [&] { traffic.dispatch_backward_pass_on(exec); });
  const Tensor dweights = traffic.dispatch_backward_wait(exec, y, ops::Write::overwrite);
  for (int64_t i = 0; i < y.count(); ++i) EXPECT_EQ(element(y, i), 2 * element(x, i));
  for (int64_t p = 0; p < kTokens * kSlots; ++p) EXPECT_EQ(element(dweights, p), double(p + 1));
}

ops::RouteRule rule_of(int64_t n_groups) {
  ops::RouteRule rule;
  rule.n_experts = 8, rule.top_k = kSlots, rule.n_groups = n_groups, rule.n_limited_groups = n_groups;
  return rule;
}

TEST(ExpertTraffic, StartsDoNotWaitAndEveryRowComesBack) {
  for (const int64_t n_groups : {4, 1}) {  // groups lie whole on ranks, or not
    run_rank_threads(4, [&](std::shared_ptr<Transport> transport) {
      Group experts(transport, "experts"), turns(transport, "turns");
      there_and_back(turns, {.experts = &experts}, rule_of(n_groups));
    });
  }
}

TEST(ExpertTraffic, GoesToNodesFirst) {
  run_rank_threads(4, [&](std::shared_ptr<Transport> transport) {
    const int rank = transport->rank(), node = rank / 2, index = rank % 2;
    Group experts(transport, "experts"), turns(transport, "turns");
    Group across(transport, fmt::format("across {}", index), {index, index + 2});
    Group within(transport, fmt::format("within {}", node), {2 * node, 2 * node + 1});
    there_and_back(turns, {.experts = &experts, .experts_across = &across, .experts_within = &within}, rule_of(2));
    EXPECT_EQ(experts.traffic().messages, 0);
  });
}

TEST(ExpertTraffic, OneTableSaysWhereExpertsLie) {
  const ExpertPlaces places = expert_places(6, 3);
  EXPECT_EQ(places.member, (std::vector<int32_t>{0, 0, 1, 1, 2, 2}));
  EXPECT_EQ(places.slot, (std::vector<int32_t>{0, 1, 0, 1, 0, 1}));
}

}  // namespace
}  // namespace hadal
