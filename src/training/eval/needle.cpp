#include "eval/needle.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/random.h"

namespace hadal::eval {
namespace {

constexpr int64_t kCandidates = 16;

constexpr const char* kFiller[] = {"The river runs past the old mill.",
                                   "A cart went down the road to town.",
                                   "Nobody came that day.",
                                   "The wind was cold, and the sky grey.",
                                   "Two boats lay in the reeds.",
                                   "He closed the window and sat down.",
                                   "She read until the lamp went out.",
                                   "The bread was still warm.",
                                   "It rained for most of the night.",
                                   "A dog slept in front of the door.",
                                   "They talked about the harvest.",
                                   "The path led up to the woods.",
                                   "In spring the meadow is full of light.",
                                   "The clock on the wall had stopped.",
                                   "Someone sang far away.",
                                   "The letters lay on the table."};
constexpr const char* kHues[] = {"red", "green", "blue", "white", "black", "brown", "golden", "silver", "grey", "pale"};
constexpr const char* kPlaces[] = {"harbour", "tower",   "garden", "bridge", "castle", "market",
                                   "forest",  "station", "temple", "valley", "island", "library"};

bool is_test_half(std::string_view key) { return hash64(key, 21) % 2 == 0; }

struct Needle {
  std::string key;
  int64_t value = 0;
  std::vector<int64_t> others;  // candidates beside the value
  std::string fact() const { return fmt::format("The secret number of the {} is {}.", key, value); }
  std::string question() const { return fmt::format("The secret number of the {} is", key); }
};

// Keys and values of the split alone; a half of each belongs to the test. Values have four digits: were they few,
// a model that knows which digits follow each other in training would be held back from writing others, however well it
// finds them.
Needle needle_of(Split split, RandomStream& random) {
  const auto fits = [&](const std::string& word) { return is_test_half(word) == (split == Split::test); };
  Needle needle;
  do
    needle.key = fmt::format("{} {}", kHues[random.below(std::size(kHues))], kPlaces[random.below(std::size(kPlaces))]);
  while (!fits("key:" + needle.key));
  const auto number = [&] {
    while (true) {
      const int64_t n = 1000 + int64_t(random.below(9000));
      if (fits(fmt::format("value:{}", n))) return n;
    }
  };
  needle.value = number();
  std::set<int64_t> taken = {needle.value};
  while (int64_t(taken.size()) < kCandidates)
    if (const int64_t n = number(); taken.insert(n).second) needle.others.push_back(n);
  return needle;
}

// The fact between sentences, so many of them in front as the depth says.
std::string haystack(const Needle& needle, const std::vector<const char*>& sentences, int64_t depth) {
  const size_t before = (sentences.size() * size_t(depth) + 50) / 100;
  std::string text;
  for (size_t i = 0; i <= sentences.size(); ++i) {
    if (i == before) text += needle.fact() + " ";
    if (i < sentences.size()) text += std::string(sentences[i]) + " ";
  }
  return text + needle.question();
}

std::vector<const char*> filler(RandomStream& random, size_t n) {
  std::vector<const char*> sentences;
  while (sentences.size() < n) sentences.push_back(kFiller[random.below(std::size(kFiller))]);
  return sentences;
}

// As many sentences as the length has room for.
std::string fitting_haystack(const NeedleOptions& o, const Needle& needle, RandomStream& random, int64_t length,
                             int64_t depth) {
  const auto tokens = [&](const std::vector<const char*>& sentences) {
    return o.n_tokens(haystack(needle, sentences, depth) + fmt::format(" {}", needle.value));
  };
  const int64_t bare = tokens({});
  check(bare <= length, ErrorKind::invalid,
        "needle: a text of {} tokens has no room for the fact and its question, "
        "which take {}",
        length, bare);
  // From a guess, then one by one.
  std::vector<const char*> all = filler(random, size_t(length));
  const std::vector<const char*> sample(all.begin(), all.begin() + std::min<int64_t>(16, length));
  const double each = std::max(1.0, double(tokens(sample) - bare) / double(sample.size()));
  auto n = std::min(int64_t(double(length - bare) / each) + 2, length);
  std::vector<const char*> sentences(all.begin(), all.begin() + n);
  while (!sentences.empty() && tokens(sentences) > length) sentences.pop_back();
  return haystack(needle, sentences, depth);
}

Item needle_item(const NeedleOptions& o, const TaskOptions& options, int64_t length, int64_t depth, int64_t index) {
  RandomStream random{options.seed, stream_id("eval.needle", uint64_t(length * 101 + depth), uint64_t(index)), 0};
  const Needle needle = needle_of(Split::test, random);
  const std::string context = fitting_haystack(o, needle, random, length, depth);
  Item item{.target = std::to_string(needle.value)};
  item.doc = {{"length", length}, {"depth", depth}, {"key", needle.key}, {"value", needle.value}};
  const auto gold = int64_t(random.below(uint64_t(kCandidates)));
  std::vector<int64_t> candidates = needle.others;
  candidates.insert(candidates.begin() + gold, needle.value);
  item.gold = {gold};
  for (const int64_t value : candidates) {
    item.choices.push_back(std::to_string(value));
    item.requests.push_back(
        {.kind = RequestKind::log_likelihood, .context = context, .continuation = fmt::format(" {}", value)});
  }
  return item;
}

Graded grade_needle(const Item& item, const std::vector<Replies>& replies) {
  const auto gold = size_t(item.gold.at(0));
  const Reply& right = replies.at(gold).at(0);
  int64_t rank = 1;
  size_t best = 0;
  for (size_t c = 0; c < replies.size(); ++c) {
    const double value = replies[c].at(0).log_prob;
    rank += c != gold && (value > right.log_prob || (value == right.log_prob && c < gold));
    if (value > replies[best].at(0).log_prob) best = c;
  }
  Graded graded{.extracted = {item.choices[best]}, .why = {fmt::format("rank {} of {}", rank, replies.size())}};
  graded.values = {{"first_of_16", {rank == 1 ? 1.0 : 0.0}},
                   {"greedy", {right.greedy ? 1.0 : 0.0}},
                   {"reciprocal_rank", {1.0 / double(rank)}}};
  return graded;
}

}  // namespace

Task needle_task(const NeedleOptions& given, const TaskOptions& options) {
  NeedleOptions o = given;
  if (o.lengths.empty())
    for (int64_t length = o.positions; length >= 64 && o.lengths.size() < 4; length /= 2)
      o.lengths.insert(o.lengths.begin(), length);
  check(!o.lengths.empty() && !o.depths.empty() && o.per_cell > 0, ErrorKind::invalid,
        "needle: lengths, depths and items of a cell must not be empty; the model has {} positions", o.positions);
  Task task{.name = "needle", .output_type = "multiple_choice"};
  task.metrics = {{"first_of_16"}, {"greedy"}, {"reciprocal_rank"}};
  for (const int64_t length : o.lengths) {
    check(length <= o.positions, ErrorKind::invalid, "needle: a length of {} is more than the model's {} positions",
          length, o.positions);
    for (const int64_t depth : o.depths) {
      check(depth >= 0 && depth <= 100, ErrorKind::invalid, "needle: the depth {} must lie in 0 .. 100 %", depth);
      for (int64_t i = 0; i < (options.limit > 0 ? options.limit : o.per_cell); ++i) {
        task.items.push_back(needle_item(o, options, length, depth, i));
        task.items.back().id = int64_t(task.items.size()) - 1;
      }
    }
  }
  task.n_items = int64_t(task.items.size());
  task.config = {{"task", "needle"}, {"lengths", o.lengths}, {"depths", o.depths}, {"seed", options.seed}};
  task.notes = {"chance is 0.0625 for first_of_16; keys and values are none of those in training data"};
  task.grade = [](const Item& item, const std::vector<Replies>& replies) {
    return std::vector<Graded>{grade_needle(item, replies)};
  };
  return task;
}

std::string needle_text(Split split, uint64_t seed, int64_t index, int64_t bytes) {
  RandomStream random{seed, stream_id("eval.needle.text", uint64_t(split), uint64_t(index)), 0};
  const Needle needle = needle_of(split, random);
  std::vector<const char*> sentences;
  int64_t size = int64_t(needle.fact().size() + needle.question().size()) + 7;
  while (size < bytes) {
    sentences.push_back(kFiller[random.below(std::size(kFiller))]);
    size += int64_t(std::char_traits<char>::length(sentences.back())) + 1;
  }
  return haystack(needle, sentences, int64_t(random.below(101))) + fmt::format(" {}.", needle.value);
}

}  // namespace hadal::eval
