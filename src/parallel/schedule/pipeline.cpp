#include "schedule/pipeline.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text_format.h"

namespace hadal {
namespace {

struct Entry {
  ScheduleKind kind;
  const char* name;
  std::vector<Actions> (*lists)(const Pipeline&);
};

constexpr std::array<Entry, 5> kSchedules = {{
    {ScheduleKind::one_f_one_b, "1f1b", one_f_one_b},
    {ScheduleKind::interleaved, "interleaved", interleaved},
    {ScheduleKind::zb1p, "zb1p", zb1p},
    {ScheduleKind::dualpipe, "dualpipe", dualpipe},
    {ScheduleKind::dualpipev, "dualpipev", dualpipev},
}};

constexpr int64_t kMostActions =
    1 << 22;  // of one kind, over all ranks: far beyond any cluster, and no hour of counting

const Entry& entry(ScheduleKind kind) { return kSchedules[size_t(kind)]; }

// "16 and 24" around a number that is no multiple; what is below `least` is not offered.
std::string nearest_multiples(int64_t value, int64_t unit, int64_t least) {
  const int64_t below = value / unit * unit, above = std::max(below + unit, least);
  return below >= least ? fmt::format("{} and {} are the nearest", below, above)
                        : fmt::format("{} is the nearest", above);
}

void check_two_ways(const Pipeline& p) {
  const std::string name = schedule_name(p.schedule);
  const int64_t least = 2 * p.n_ranks;
  if (p.schedule == ScheduleKind::dualpipe) {
    check(p.n_ranks % 2 == 0, ErrorKind::invalid,
          "{} needs an even number of ranks, a pair for every two stages, and got {}: {}", name, p.n_ranks,
          nearest_multiples(p.n_ranks, 2, 2));
    check(p.n_micro_batches < least || p.n_micro_batches % 2 == 0, ErrorKind::invalid,
          "{} needs an even number of micro-batches, half for each direction, and got {}: {}", name, p.n_micro_batches,
          nearest_multiples(p.n_micro_batches, 2, least));
  }
  const int64_t unit = p.schedule == ScheduleKind::dualpipe ? 2 : 1, most_ranks = p.n_micro_batches / 2 / unit * unit;
  check(p.n_micro_batches >= least, ErrorKind::invalid,
        "{} over {} ranks needs {} micro-batches or more, two for each rank, and got {}{}", name, p.n_ranks, least,
        p.n_micro_batches, most_ranks > 0 ? fmt::format(": enough for {} ranks", most_ranks) : "");
}

}  // namespace

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kSchedules) names.push_back(entry.name);
  return names;
}

std::string schedule_name(ScheduleKind kind) { return entry(kind).name; }

ScheduleKind schedule_named(std::string_view name) {
  for (const Entry& entry : kSchedules) {
    if (name == entry.name) return entry.kind;
  }
  const std::string nearest = nearest_name(std::string(name), schedule_names());
  fail(ErrorKind::invalid, "no schedule is called '{}'{}; there are {}", name,
       nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest), fmt::join(schedule_names(), ", "));
}

int64_t Pipeline::n_stages() const {
  switch (schedule) {
    case ScheduleKind::interleaved: return n_ranks * chunks;
    case ScheduleKind::dualpipev: return 2 * n_ranks;
    default: return n_ranks;
  }
}

std::vector<int64_t> Pipeline::stages_of_rank(int64_t rank) const {
  std::vector<int64_t> stages;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) stages.push_back(rank + chunk * n_ranks);
  if (two_ways()) stages.push_back(n_stages() - 1 - rank);
  return stages;
}

int64_t Pipeline::direction(int64_t stage, int64_t micro_batch) const {
  if (schedule == ScheduleKind::dualpipe) return micro_batch % 2;
  return schedule == ScheduleKind::dualpipev && stage >= n_ranks ? 1 : 0;
}

int64_t Pipeline::rank(int64_t stage, int64_t micro_batch) const {
  return direction(stage, micro_batch) == 1 ? n_stages() - 1 - stage : stage % n_ranks;
}

int64_t Pipeline::number_in_direction(int64_t micro_batch) const {
  return schedule == ScheduleKind::dualpipe ? micro_batch / 2 : micro_batch;
}

void check_pipeline(const Pipeline& p) {
  const std::string name = schedule_name(p.schedule);
  const int64_t least_ranks = p.schedule == ScheduleKind::dualpipe ? 2 : 1;
  check(p.n_ranks >= least_ranks, ErrorKind::invalid, "{} over {} ranks: it needs {} or more", name, p.n_ranks,
        least_ranks);
  check(p.n_micro_batches >= 1, ErrorKind::invalid, "{} with {} micro-batches: it needs {} or more", name,
        p.n_micro_batches, p.two_ways() ? 2 * p.n_ranks : 1);
  for (int64_t number : {p.n_ranks, p.n_micro_batches, p.chunks})
    check(number <= kMostActions, ErrorKind::invalid, "a pipeline of {}: {} is the most", number, kMostActions);
  if (p.schedule == ScheduleKind::interleaved) {
    check(p.chunks >= 2, ErrorKind::invalid, "{} over {} chunks of each rank: it needs 2 or more; 1f1b has one", name,
          p.chunks);
    check(p.n_micro_batches % p.n_ranks == 0, ErrorKind::invalid,
          "{} over {} ranks needs a multiple of {} micro-batches and got {}: {}", name, p.n_ranks, p.n_ranks,
          p.n_micro_batches, nearest_multiples(p.n_micro_batches, p.n_ranks, p.n_ranks));
  } else {
    check(p.chunks == 1, ErrorKind::invalid, "{} has no chunks to choose and got {}; interleaved has", name, p.chunks);
  }
  if (p.two_ways()) check_two_ways(p);
  check(p.n_stages() <= kMostActions / p.n_micro_batches, ErrorKind::invalid,
        "{} stages x {} micro-batches: lists are made for {} or fewer", p.n_stages(), p.n_micro_batches, kMostActions);
}

int64_t fitting_micro_batches(const Pipeline& p, int64_t wanted) {
  const int64_t least = p.two_ways() ? 2 * p.n_ranks : 1;
  const int64_t unit = p.schedule == ScheduleKind::interleaved ? p.n_ranks
                       : p.schedule == ScheduleKind::dualpipe  ? 2
                                                               : 1;
  return (std::max(wanted, least) + unit - 1) / unit * unit;
}

// Ordered by the time at which a micro-batch would reach a stage if all took equally long: what an action waits for has
// an earlier time, so no order of delivery makes ranks wait for each other.
Actions forward_list(const Pipeline& p, int64_t rank) {
  Actions list;
  for (int64_t m = 0; m < p.n_micro_batches; ++m) {
    for (const int64_t stage : p.stages_of_rank(rank)) {
      if (p.rank(stage, m) == rank) list.push_back({ActionKind::forward, stage, m, p.direction(stage, m)});
    }
  }
  const auto time = [&](const Action& a) { return p.number_in_direction(a.micro_batch) + a.stage; };
  std::stable_sort(list.begin(), list.end(), [&](const Action& a, const Action& b) { return time(a) < time(b); });
  return list;
}

PipelinePlan make_plan(const Pipeline& pipeline) {
  check_pipeline(pipeline);
  return {pipeline, entry(pipeline.schedule).lists(pipeline)};
}

}  // namespace hadal
