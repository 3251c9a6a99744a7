// arithmetic: two numbers of one or two digits, one operation. recall: eight names with things, one of which is asked
// for: what a model can look up in its own context (chance: one in eight).
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/random.h"
#include "eval/problem.h"

namespace hadal::eval {
namespace {

constexpr int kMostTries = 10'000;

constexpr const char* kOwners[] = {"Anna", "Ben",   "Clara", "David", "Emma", "Felix", "Grace", "Henry",
                                   "Ida",  "Jonas", "Kim",   "Leo",   "Mia",  "Nils",  "Olga",  "Paul"};
constexpr const char* kOwned[] = {"lamp", "boat", "drum", "hat",  "ring", "bell", "kite", "rope",
                                  "sled", "coat", "vase", "tent", "sock", "fork", "harp", "bike"};

}  // namespace

Problem arithmetic_problem(Split split, uint64_t seed, int64_t index) {
  RandomStream random{seed, stream_id("eval.arithmetic", uint64_t(split), uint64_t(index)), 0};
  for (int tries = 0; tries < kMostTries; ++tries) {
    const char sign = "+-*"[index % 3];
    const int64_t most = sign == '*' ? 12 : 99;
    int64_t a = 1 + int64_t(random.below(uint64_t(most))), b = 1 + int64_t(random.below(uint64_t(most)));
    if (sign == '-' && a < b) std::swap(a, b);
    Problem problem;
    problem.operands = fmt::format("arithmetic:{}{}{}", a, sign, b);
    if (is_test_tuple(problem.operands) != (split == Split::test)) continue;
    problem.question = fmt::format("What is {}{}{}?", a, sign, b);
    problem.answer = std::to_string(sign == '+' ? a + b : sign == '-' ? a - b : a * b);
    return problem;
  }
  fail(ErrorKind::internal, "no operands of the sign at {} belong to the split", index);
}

Problem recall_problem(Split split, uint64_t seed, int64_t index) {
  RandomStream random{seed, stream_id("eval.recall", uint64_t(split), uint64_t(index)), 0};
  for (int tries = 0; tries < kMostTries; ++tries) {
    std::array<size_t, 16> owners{}, owned{};
    for (size_t i = 0; i < 16; ++i) owners[i] = owned[i] = i;
    for (size_t i = 0; i < 8; ++i) {
      std::swap(owners[i], owners[i + random.below(16 - i)]);
      std::swap(owned[i], owned[i + random.below(16 - i)]);
    }
    const size_t asked = random.below(8);
    Problem problem;
    problem.operands = fmt::format("recall:{},{}", owners[asked], owned[asked]);
    if (is_test_tuple(problem.operands) != (split == Split::test)) continue;
    for (size_t i = 0; i < 8; ++i)
      problem.question += fmt::format("{} has a {}. ", kOwners[owners[i]], kOwned[owned[i]]);
    problem.question += fmt::format("What has {}?", kOwners[owners[asked]]);
    problem.answer = kOwned[owned[asked]];
    return problem;
  }
  fail(ErrorKind::internal, "no pair belongs to the split");
}

}  // namespace hadal::eval
