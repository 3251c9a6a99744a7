// The curriculum word_problems: five stories in equal shares, each of two steps.
//   1  has a, gets b, gives c away    a+b, -c          a 5..50, b 5..49, c 2..a+b-1
//   2  has a, buys n boxes of m       n*m, +a          n, m 2..9, a 2..18
//   3  shares n*e among n, gets c     /n, +c           n, e 2..9, c 2..30
//   4  A has a, B has b more; both    a+b, a+(a+b)     a 5..40, b 2..18
//   5  makes m a day for n days,      n*m, -c          n 2..9, m 3..9, c 2..n*m-1
//      sells c
#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"
#include "eval/problem.h"

namespace hadal::eval {
namespace {

constexpr const char* kNames[] = {"Anna", "Ben",   "Clara", "David", "Emma", "Felix", "Grace", "Henry",
                                  "Ida",  "Jonas", "Kim",   "Leo",   "Mia",  "Nils",  "Olga",  "Paul"};
constexpr const char* kThings[] = {"apples", "books", "cards",  "coins",  "eggs",   "keys",
                                   "nuts",   "pens",  "shells", "stamps", "stones", "toys"};

struct Draw {
  RandomStream random;
  int64_t within(int64_t low, int64_t high) { return low + int64_t(random.below(uint64_t(high - low + 1))); }
};

struct Operands {
  int64_t a, b, c;
};
Operands operands_of(int64_t story, Draw& draw) {
  Operands o{};
  switch (story) {
    case 0: o.a = draw.within(5, 50), o.b = draw.within(5, 49), o.c = draw.within(2, o.a + o.b - 1); return o;
    case 1: return o.a = draw.within(2, 9), o.b = draw.within(2, 9), o.c = draw.within(2, 18), o;
    case 2: return o.a = draw.within(2, 9), o.b = draw.within(2, 9), o.c = draw.within(2, 30), o;
    case 3: return o.a = draw.within(5, 40), o.b = draw.within(2, 18), o;
    default: o.a = draw.within(2, 9), o.b = draw.within(3, 9), o.c = draw.within(2, o.a * o.b - 1); return o;
  }
}

struct Words {
  std::string name, other, things;
};

Problem told(int64_t story, const Operands& o, const Words& w) {
  const auto [a, b, c] = o;
  Problem p;
  int64_t first = 0, answer = 0;
  switch (story) {
    case 0:
      first = a + b, answer = first - c;
      p.question =
          fmt::format("{} has {} {}, gets {} more and gives {} away. How many are left?", w.name, a, w.things, b, c);
      p.reasoning = fmt::format("{}+{}={};{}-{}={}", a, b, first, first, c, answer);
      break;
    case 1:
      first = a * b, answer = first + c;
      p.question =
          fmt::format("{} has {} {} and buys {} boxes of {}. How many are there now?", w.name, c, w.things, a, b);
      p.reasoning = fmt::format("{}*{}={};{}+{}={}", a, b, first, first, c, answer);
      break;
    case 2:
      first = b, answer = b + c;
      p.question = fmt::format("{} shares {} {} among {} friends. Then each friend gets {} more. How many has each?",
                               w.name, a * b, w.things, a, c);
      p.reasoning = fmt::format("{}/{}={};{}+{}={}", a * b, a, first, first, c, answer);
      break;
    case 3:
      first = a + b, answer = a + first;
      p.question = fmt::format("{} has {} {}. {} has {} more than {}. How many have both?", w.name, a, w.things,
                               w.other, b, w.name);
      p.reasoning = fmt::format("{}+{}={};{}+{}={}", a, b, first, a, first, answer);
      break;
    default:
      first = a * b, answer = first - c;
      p.question =
          fmt::format("{} makes {} {} a day for {} days and sells {}. How many are left?", w.name, b, w.things, a, c);
      p.reasoning = fmt::format("{}*{}={};{}-{}={}", a, b, first, first, c, answer);
  }
  p.answer = std::to_string(answer);
  return p;
}

}  // namespace

Problem word_problem(Split split, uint64_t seed, int64_t index) {
  const int64_t story = index % 5;
  Draw draw{{seed, stream_id("eval.word_problems", uint64_t(split), uint64_t(index)), 0}};
  constexpr int kMostTries = 10'000;  // a tenth of the tuples is the smaller split
  for (int tries = 0; tries < kMostTries; ++tries) {
    const Operands o = operands_of(story, draw);
    std::string key = fmt::format("word{}:{},{},{}", story + 1, o.a, o.b, o.c);
    if (is_test_tuple(key) != (split == Split::test)) continue;
    Words words;
    const size_t name = size_t(draw.random.below(std::size(kNames)));
    words.name = kNames[name];
    words.other = kNames[(name + 1 + size_t(draw.random.below(std::size(kNames) - 1))) % std::size(kNames)];
    words.things = kThings[draw.random.below(std::size(kThings))];
    Problem problem = told(story, o, words);
    problem.operands = std::move(key);
    return problem;
  }
  fail(ErrorKind::internal, "no operands of story {} belong to the split", story + 1);
}

}  // namespace hadal::eval
