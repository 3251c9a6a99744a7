// Experts on several ranks compute what one rank computes, to the bit: losses, routes and gradients of inputs as one
// rank has them of each rank's micro-batches, gradients of experts as of one rank that runs all of them.
#include "base/error.h"
#include "base/expect_error.h"
#include "comm/faulty_transport.h"
#include "model/expert_ranks.h"
#include "model/expert_traffic.h"

namespace hadal {
namespace {

using namespace hadal::testing;

void same_bits(const ExpertCase& c, const std::string& what) {
  EXPECT_EQ(first_difference(c, run_alone(c), run_ranks(c)), "") << what;
}

// Different for every rank and round; depth 2 of MTP has no rows on some.
std::vector<std::vector<MicroBatch>> some_batches(int ranks, int64_t rounds) {
  std::vector<std::vector<MicroBatch>> batches;
  for (int64_t round = 0; round < rounds; ++round) {
    batches.emplace_back();
    for (int rank = 0; rank < ranks; ++rank) {
      const int64_t n = 5 + (3 * rank + 7 * round) % 11;
      batches.back().push_back(make_batch({{n, 4}, {1, 6}}, true, 37, uint64_t(1 + rank + 10 * round)));
    }
  }
  return batches;
}

struct Form {
  int ranks, nodes;
};
// Groups of two experts lie whole on ranks, or only on nodes, or nowhere.
constexpr Form kExpertForms[] = {{2, 0}, {4, 0}, {8, 0}, {4, 2}, {8, 2}, {8, 4}, {4, 1}, {4, 4}};

ExpertCase some_case(const Form& form, int64_t rounds = 1) {
  ExpertCase c;
  c.ranks = form.ranks, c.nodes = form.nodes;
  c.batches = some_batches(c.ranks, rounds);
  return c;
}

TEST(ExpertParallel, HasTheBitsOfOneRankInEveryArithmetic) {
  for (const auto& [precision, isa] : every_arithmetic()) {
    for (const Form& form : {Form{2, 0}, Form{8, 0}, Form{8, 2}}) {
      ExpertCase c = some_case(form);
      c.options = training_options(precision);
      c.isa = isa;
      same_bits(c, fmt::format("{}, precision {}", isa_name(isa), int(precision)));
    }
  }
}

TEST(ExpertParallel, HasTheBitsOfOneRankInEveryForm) {
  for (const Precision precision : {Precision::fp64, Precision::fp32}) {
    for (const Form& form : kExpertForms) {
      ExpertCase c = some_case(form);
      c.options = training_options(precision);
      same_bits(c, fmt::format("precision {}", int(precision)));
    }
  }
}

TEST(ExpertParallel, HasTheBitsOfOneRankWhenSumsCrossChunks) {
  ExpertCase c = some_case({4, 2});
  c.config = wide_config();
  c.options = training_options(Precision::bf16);
  same_bits(c, "wide");
}

TEST(ExpertParallel, CodesTravelAndSumsAreRoundedToTheWire) {
  for (const Form& form : {Form{2, 0}, Form{8, 0}, Form{8, 2}}) {
    ExpertCase c = some_case(form);
    c.options.recipe = Recipe::fp8();
    c.options.recipe.combine = Recipe::Wire::bf16;
    same_bits(c, "fp8");
  }
}

// More than a tile of tokens comes from every rank to the same experts: tiles of a weight gradient begin with each
// rank's first row and end with its last, as where one rank runs all micro-batches.
TEST(ExpertParallel, TilesOfTokensBeginWithEachRanksRows) {
  for (const Form& form : {Form{2, 0}, Form{4, 2}}) {
    for (const int64_t tile : {128, 32}) {
      ExpertCase c = some_case(form);
      for (int rank = 0; rank < c.ranks; ++rank)
        c.batches[0][size_t(rank)] = make_batch({{131 + 7 * rank}, {2}}, true, 37, uint64_t(1 + rank));
      for (const MicroBatch& batch : c.batches[0]) c.routes.push_back(same_routes(c.config, batch, {0, 5, 6}));
      Fp8Config fp8;
      fp8.tile = tile;
      c.options.precision = Precision::fp8;
      c.options.recipe = recipe_of(Precision::fp8, fp8);
      same_bits(c, "tiles of tokens");
    }
  }
}

TEST(ExpertParallel, RecomputationSendsNothingTwiceAndChangesNoBit) {
  for (const Form& form : {Form{4, 0}, Form{8, 0}, Form{4, 2}}) {
    Traffic first;
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
      ExpertCase c = some_case(form, 2);
      c.options.recompute = recompute;
      const std::vector<RankRecord> many = run_ranks(c);
      EXPECT_EQ(first_difference(c, run_alone(c), many), "") << int(recompute);
      const Traffic& traffic = form.nodes > 0 ? many[1].across : many[1].all;
      if (recompute == Recompute::none) first = traffic;
      EXPECT_EQ(traffic.bytes, first.bytes);
      EXPECT_EQ(traffic.messages, first.messages);
    }
  }
}

// As pipelines run them: several flights under way, W long after Bi.
TEST(ExpertParallel, WeightGradientsMayRunLater) {
  using enum ActionKind;
  for (const Form& form : {Form{2, 0}, Form{8, 0}, Form{4, 2}}) {
    for (const Recompute recompute : {Recompute::none, Recompute::all}) {
      ExpertCase c = some_case(form, 3);
      c.options.recompute = recompute;
      c.actions = {{forward, 0, 0},         {forward, 0, 1},         {backward_input, 0, 0},
                   {backward_input, 0, 1},  {backward_weight, 0, 0}, {forward, 0, 2},
                   {backward_weight, 0, 1}, {backward_input, 0, 2},  {backward_weight, 0, 2}};
      same_bits(c, "later");
    }
  }
}

// ---- ranks without rows ----

TEST(ExpertParallel, RanksWithoutTokensTakePart) {
  for (const Form& form : kExpertForms) {
    ExpertCase c = some_case(form, 3);
    c.batches[0][1] = {};
    c.batches[2][0] = {};
    for (MicroBatch& batch : c.batches[1]) batch = {};
    same_bits(c, "no tokens");
  }
}

TEST(ExpertParallel, RanksWhoseDocumentsAreTooShortForMtpTakePart) {
  for (const Form& form : {Form{2, 0}, Form{8, 0}, Form{4, 2}}) {
    ExpertCase c = some_case(form, 2);
    c.batches[0][0] = make_batch({{1, 1, 1}}, true);
    c.batches[0][1] = make_batch({{2, 1, 2}}, true);
    c.batches[1][1] = make_batch({{1}}, true);
    same_bits(c, "short documents");
  }
}

// ---- routes that are given ----

TEST(ExpertParallel, AllTokensMayVisitTheSameExpertsAndOthersNone) {
  for (const Form& form : {Form{2, 0}, Form{8, 0}, Form{8, 2}}) {
    for (const std::vector<int32_t>& experts : {std::vector<int32_t>{0, 1, 2}, {2, 3, 7}, {5, 6, 7}}) {
      ExpertCase c = some_case(form);
      for (const MicroBatch& batch : c.batches[0]) c.routes.push_back(same_routes(c.config, batch, experts));
      same_bits(c, "the same experts");
    }
  }
}

TEST(ExpertParallel, RoutesOfOneRankAreReplayedByMany) {
  for (const Form& form : {Form{8, 0}, Form{4, 2}}) {
    ExpertCase c = some_case(form, 2);
    const std::vector<RankRecord> chosen = run_alone(c);
    for (int64_t round = 0; round < 2; ++round)
      for (const RankRecord& record : chosen) c.routes.push_back({true, record.routes[size_t(round)]});
    same_bits(c, "replayed");
  }
}

// ---- cases that nobody thought of ----

class Draw {
 public:
  explicit Draw(uint64_t number) : random_{7, stream_id("experts"), number} {}
  template <class T>
  T of(const std::vector<T>& values) {
    return values[size_t(random_.below(values.size()))];
  }

 private:
  RandomStream random_;
};

ExpertCase random_case(uint64_t number) {
  Draw draw(number);
  ExpertCase c;
  ModelConfig& m = c.config;
  m.n_layers = 2;
  m.n_groups = draw.of<int64_t>({1, 2, 4});
  m.n_routed_experts = m.n_groups * draw.of<int64_t>({2, 3, 4, 6});
  m.n_limited_groups = draw.of<int64_t>({1, m.n_groups});
  const int64_t reachable = m.n_limited_groups * (m.n_routed_experts / m.n_groups);
  m.n_experts_per_token = std::min(reachable, draw.of<int64_t>({1, 2, 4, 7}));
  m.n_shared_experts = draw.of<int64_t>({0, 1});
  m.n_mtp = draw.of<int64_t>({0, 1, 2});
  m.score_function = draw.of<ScoreFunction>({ScoreFunction::sigmoid, ScoreFunction::softmax});
  m.normalize_top_k = draw.of<int>({0, 1}) > 0;
  std::vector<int> ranks, nodes = {0};
  for (int n = 2; n <= 8; ++n)
    if (m.n_routed_experts % n == 0) ranks.push_back(n);
  c.ranks = draw.of(ranks);
  for (int n = 1; n <= c.ranks; ++n)
    if (c.ranks % n == 0 && m.n_groups % n == 0) nodes.push_back(n);
  c.nodes = draw.of(nodes);
  c.options = training_options(draw.of<Precision>({Precision::fp64, Precision::fp32, Precision::bf16}));
  c.options.recompute = draw.of<Recompute>({Recompute::none, Recompute::norms, Recompute::all});
  const int64_t rounds = draw.of<int64_t>({1, 2});
  for (int64_t round = 0; round < rounds; ++round) {
    std::vector<MicroBatch>& batches = c.batches.emplace_back();
    for (int rank = 0; rank < c.ranks; ++rank) {
      if (draw.of<int>({0, 1, 1, 1, 1}) == 0) {
        batches.emplace_back();
        continue;
      }
      const int64_t a = draw.of<int64_t>({1, 2, 5, 9}), b = draw.of<int64_t>({1, 3, 8});
      batches.push_back(make_batch({{a}, {b, a}}, draw.of<int>({0, 1}) > 0, 37, 100 * number + uint64_t(rank)));
    }
  }
  return c;
}

TEST(ExpertParallel, RandomCasesHaveTheBitsOfOneRank) {
  for (uint64_t number = 0; number < 24; ++number) same_bits(random_case(number), fmt::format("case {}", number));
}

// ---- what travels ----

// By the routes: what rank `from` sends to other ranks of its groups for one layer of one micro-batch.
struct Sizes {
  int64_t tokens = 0, pairs = 0, runs = 0;
};
struct Formula {
  const ExpertCase& c;
  int64_t number, row;  // bytes of a weight, of a row of activations

  int64_t member(int32_t expert) const { return expert / (c.config.n_routed_experts / c.ranks); }
  // Tokens of a layer's routes with experts that are `there`, these, and their runs in one group.
  Sizes sizes(const std::vector<int32_t>& routes, const std::function<bool(int32_t)>& there) const {
    const int64_t k = c.config.n_experts_per_token, per_group = c.config.n_routed_experts / c.config.n_groups;
    Sizes result;
    for (size_t t = 0; t < routes.size(); t += size_t(k)) {
      int64_t pairs = 0, last = -1;
      for (size_t s = t; s < t + size_t(k); ++s) {
        if (!there(routes[s])) continue;
        ++pairs;
        if (routes[s] / per_group != last) ++result.runs;
        last = routes[s] / per_group;
      }
      result.pairs += pairs, result.tokens += pairs > 0;
    }
    return result;
  }
  int64_t out(const Sizes& s) const {  // dispatch, and dy
    return 16 + s.tokens * (row + 4) + s.pairs * (number + 4) + s.tokens * row;
  }
  int64_t back(int64_t rows, const Sizes& s) const { return 2 * rows * row + s.pairs * number; }  // combine, dx, dw
};

void expect_traffic(const ExpertCase& c, const Formula& f, const std::vector<RankRecord>& records) {
  const int nodes = c.nodes > 0 ? c.nodes : c.ranks, size = c.ranks / nodes;
  std::vector<Traffic> across(size_t(c.ranks)), within(size_t(c.ranks));
  const auto add = [](Traffic& traffic, int64_t bytes, int64_t messages) {
    traffic.bytes += bytes, traffic.messages += messages;
  };
  for (int64_t round = 0; round < c.rounds(); ++round) {
    for (size_t layer = 0; layer < 4; ++layer) {
      for (int owner = 0; owner < c.ranks; ++owner) {
        const std::vector<int32_t>& routes = records[size_t(owner)].routes[size_t(round)][layer];
        for (int node = 0; node < nodes; ++node) {
          const int entry = node * size + owner % size;
          const Sizes to_node = f.sizes(routes, [&](int32_t e) { return f.member(e) / size == node; });
          if (entry != owner) add(across[size_t(owner)], f.out(to_node), 2);
          if (entry != owner) add(across[size_t(entry)], f.back(to_node.runs, to_node), 3);
          for (int holder = node * size; holder < (node + 1) * size; ++holder) {
            if (holder == entry) continue;
            const Sizes s = f.sizes(routes, [&](int32_t e) { return f.member(e) == holder; });
            add(within[size_t(entry)], f.out(s), 2);
            add(within[size_t(holder)], f.back(s.pairs, s), 3);
          }
        }
      }
    }
  }
  for (int rank = 0; rank < c.ranks; ++rank) {
    const RankRecord& found = records[size_t(rank)];
    const Traffic &first = c.nodes > 0 ? found.across : found.all, &wanted = across[size_t(rank)];
    EXPECT_EQ(first.bytes, wanted.bytes) << rank;
    EXPECT_EQ(first.messages, wanted.messages) << rank;
    if (c.nodes == 0) continue;
    EXPECT_EQ(found.all.bytes, 0);
    EXPECT_EQ(found.within.bytes, within[size_t(rank)].bytes) << rank;
    EXPECT_EQ(found.within.messages * nodes, within[size_t(rank)].messages) << rank;  // one for the blocks of all nodes
  }
}

TEST(ExpertParallel, TrafficIsWhatTheRoutesSay) {
  for (const Precision precision : {Precision::fp32, Precision::fp64}) {
    for (const Form& form : {Form{2, 0}, Form{4, 0}, Form{4, 2}, Form{8, 2}, Form{8, 4}}) {
      ExpertCase c = some_case(form, 2);
      c.batches[1][1] = {};
      c.options = training_options(precision);
      const int64_t number = precision == Precision::fp64 ? 8 : 4;
      expect_traffic(c, {c, number, number * c.config.hidden_size}, run_ranks(c));
    }
  }
}

TEST(ExpertParallel, ATokenCrossesToANodeOnce) {
  ExpertCase c = some_case({8, 2});
  for (const MicroBatch& batch : c.batches[0])
    c.routes.push_back(same_routes(c.config, batch, {4, 5, 6}));  // all on node 1
  const std::vector<RankRecord> records = run_ranks(c);
  int64_t tokens = 0;
  for (const auto& layer : records[0].routes[0]) tokens += int64_t(layer.size()) / 3;
  const int64_t row = 4 * c.config.hidden_size;
  // dispatch, dy; the sums of two groups forward and backward come from rank 4
  EXPECT_EQ(records[0].across.bytes, 4 * 16 + tokens * (2 * row + 4 + 3 * 8));
  EXPECT_EQ(records[4].across.bytes, 4 * 16 + tokens * (2 * 2 * row + 3 * 4));
}

// ---- the negative control, and what is refused ----

std::string found_with(ExpertCase c, const FaultyTransport::Change& change) {
  c.wrap = [&](std::shared_ptr<Transport> inner) {
    return std::make_shared<FaultyTransport>(std::move(inner), change);
  };
  try {
    return first_difference(c, run_alone(c), run_ranks(c));
  } catch (const Error& error) {
    return error.what();
  }
}

// In operation `number` of the experts' group the first number that comes to rank 1.
FaultyTransport::Change halved(int64_t number) {
  return [number](int to, int, Message& message) {
    if (to != 1 || message.label.number != number) return;
    float first;
    std::memcpy(&first, message.data.get(), 4);
    first /= 2;
    std::memcpy(message.data.get(), &first, 4);
  };
}

void expect_found(const FaultyTransport::Change& change, const char* words) {
  const std::string found = found_with(some_case({2, 0}), change);
  EXPECT_NE(found.find(words), std::string::npos) << "wanted '" << words << "', found '" << found << "'";
}

TEST(ExpertParallel, FindsWhatIsChangedOnItsWay) {
  EXPECT_EQ(found_with(some_case({2, 0}), [](int, int, Message&) {}), "");
  // F of four layers, dispatch and combine each; then B from the last.
  expect_found(halved(1), "losses on rank 1");
  expect_found(halved(8), "the gradient of");  // of outputs
  expect_found(halved(9), "the gradient of");  // of a weight
  expect_found(
      [](int to, int, Message& message) {  // an expert's number
        if (to == 1 && message.label.number == 0) message.data[size_t(message.bytes - 4)] = {};
      },
      "for expert 0, which is not there");
}

TEST(ExpertParallel, FindsAMessageOfTheLayerBefore) {
  auto last = std::make_shared<std::vector<std::byte>>();
  const std::string found = found_with(some_case({2, 0}), [last](int to, int, Message& message) {
    if (to != 1 || message.label.number % 2 == 0 || message.label.number > 3) return;  // sums of the first two layers
    const std::vector<std::byte> now(message.data.get(), message.data.get() + message.bytes);
    if (!last->empty()) std::memcpy(message.data.get(), last->data(), std::min(last->size(), now.size()));
    *last = now;
  });
  EXPECT_NE(found, "");
}

TEST(ExpertParallel, RefusesGroupsThatAreCutByNodes) {
  ExpertCase c = some_case({8, 8});
  EXPECT_NE(found_with(c, [](int, int, Message&) {}).find("4 routing groups do not lie whole on 8 nodes"),
            std::string::npos);
  EXPECT_ERROR(expert_places(8, 3), ErrorKind::invalid, "8 experts cannot be spread over 3 ranks");
}

}  // namespace
}  // namespace hadal
