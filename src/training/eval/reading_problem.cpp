// reading: a short text about three people, and a question on it. Three in four are answered by a sentence of the text;
// of the others the text says nothing, and the right answer is that: "I don't know."
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/random.h"
#include "eval/problem.h"

namespace hadal::eval {
namespace {

constexpr const char* kReaders[] = {"Anna", "Ben",   "Clara", "David", "Emma", "Felix", "Grace", "Henry",
                                    "Ida",  "Jonas", "Kim",   "Leo",   "Mia",  "Nils",  "Olga",  "Paul"};

// What can be said of somebody: a sentence, the question that it answers, values. {0}: the name, {1}: the value.
struct Aspect {
  const char *name, *told, *asked;
  std::array<const char*, 8> values;
};
constexpr Aspect kAspects[] = {
    {"home",
     "{} lives in {}.",
     "Where does {} live?",
     {"Arlen", "Brookside", "Copley", "Dellham", "Elmford", "Garth", "Holmby", "Larkhill"}},
    {"work",
     "{} works as a {}.",
     "What does {} work as?",
     {"baker", "doctor", "farmer", "miller", "painter", "sailor", "smith", "teacher"}},
    {"pet", "{} has a {}.", "What pet has {}?", {"cat", "crow", "dog", "goat", "hen", "horse", "mouse", "tortoise"}},
    {"likes",
     "{} likes {}.",
     "What does {} like?",
     {"chess", "maps", "rain", "snow", "songs", "soup", "stars", "tea"}}};
constexpr size_t kAsked = std::size(kAspects), kPeople = 3, kSaidOfEach = 2, kMostDraws = 10'000;

// The first n of 0 .. size - 1 in a drawn order.
std::vector<size_t> drawn(RandomStream& random, size_t n, size_t size) {
  std::vector<size_t> all(size);
  for (size_t i = 0; i < size; ++i) all[i] = i;
  for (size_t i = 0; i < n; ++i) std::swap(all[i], all[i + random.below(size - i)]);
  all.resize(n);
  return all;
}

std::string told(const Aspect& aspect, const char* name, const char* value) {
  return fmt::format(fmt::runtime(aspect.told), name, value);
}

}  // namespace

Problem reading_problem(Split split, uint64_t seed, int64_t index) {
  RandomStream random{seed, stream_id("eval.reading", uint64_t(split), uint64_t(index)), 0};
  for (size_t tries = 0; tries < kMostDraws; ++tries) {
    struct Fact {
      size_t name, aspect, value;
    };
    std::vector<Fact> facts;
    const std::vector<size_t> people = drawn(random, kPeople, std::size(kReaders));
    for (const size_t name : people)
      for (const size_t aspect : drawn(random, kSaidOfEach, kAsked)) facts.push_back({name, aspect, random.below(8)});
    const std::vector<size_t> order = drawn(random, facts.size(), facts.size());
    Problem problem;
    for (const size_t i : order)
      problem.question +=
          told(kAspects[facts[i].aspect], kReaders[facts[i].name], kAspects[facts[i].aspect].values[facts[i].value]) +
          " ";
    Fact asked = facts[random.below(facts.size())];
    const bool known = index % 4 != 3;
    if (!known) {  // another aspect of somebody in the text
      const auto said = [&](size_t aspect) {
        return std::any_of(facts.begin(), facts.end(),
                           [&](const Fact& fact) { return fact.name == asked.name && fact.aspect == aspect; });
      };
      while (said(asked.aspect)) asked.aspect = random.below(kAsked);
    }
    const Aspect& aspect = kAspects[asked.aspect];
    const char *name = kReaders[asked.name], *value = aspect.values[asked.value];
    problem.operands = fmt::format("reading:{},{},{}", aspect.name, name, known ? value : "-");
    if (is_test_tuple(problem.operands) != (split == Split::test)) continue;
    problem.question += fmt::format(fmt::runtime(aspect.asked), name);
    problem.answer = known ? told(aspect, name, value) : "I don't know.";
    return problem;
  }
  fail(ErrorKind::internal, "no question belongs to the split");
}

}  // namespace hadal::eval
