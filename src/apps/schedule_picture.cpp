#include "apps/schedule_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "picture/timeline.h"
#include "schedule/list_text.h"

namespace hadal {
namespace {

double shortest_action(const Simulation& simulation) {
  double shortest = simulation.makespan;
  for (const RankTimes& rank : simulation.ranks) {
    for (const Span& span : rank.actions) {
      if (span.end > span.begin) shortest = std::min(shortest, span.end - span.begin);
    }
  }
  return shortest;
}

enum Kind { kForward, kBackward, kInput, kWeight };

// A pair shows its F above its B; which of them the clock would run first inside it is not said.
TimelineBar bar_of(const Pipeline& p, const Action& action, const Span& span, BarPart part) {
  TimelineBar bar{.begin = span.begin, .end = span.end, .faint = action.direction == 1, .part = part};
  bar.kind = action.kind == ActionKind::forward          ? kForward
             : action.kind == ActionKind::backward       ? kBackward
             : action.kind == ActionKind::backward_input ? kInput
                                                         : kWeight;
  bar.label = fmt::format("{}", p.number_in_direction(action.micro_batch));
  if (p.schedule == ScheduleKind::interleaved) {
    bar.faint = action.stage / p.n_ranks % 2 == 1;
    bar.label = fmt::format("{}", action.micro_batch);
  }
  return bar;
}

std::string faint_note(const Pipeline& p) {
  if (p.schedule == ScheduleKind::interleaved) return p.chunks == 2 ? "faint: chunk 1" : "faint: odd chunks";
  if (p.schedule == ScheduleKind::dualpipe) return "faint: those that enter at the last rank";
  return p.two_ways() ? "faint: the way up" : "";
}

}  // namespace

CharacterTimeline character_timeline(const PipelinePlan& plan, const Simulation& simulation, int columns) {
  CharacterTimeline timeline;
  timeline.time_per_character = std::max(shortest_action(simulation), simulation.makespan / columns);
  if (!(timeline.time_per_character > 0)) timeline.time_per_character = 1;
  const size_t length = size_t(std::ceil(simulation.makespan / timeline.time_per_character - 1e-9));
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const Actions& list = plan.ranks[rank];
    std::string row(length, '.');
    for (size_t at = 0, i = 0; at < length; ++at) {
      const double time = (double(at) + 0.5) * timeline.time_per_character;
      while (i < list.size() && simulation.ranks[rank].actions[i].end <= time) ++i;
      if (i == list.size()) break;
      if (simulation.ranks[rank].actions[i].begin <= time) row[at] = action_letter(list[i], list[i].overlaps_next);
    }
    timeline.rows.push_back(std::move(row));
  }
  return timeline;
}

std::string schedule_svg(const PipelinePlan& plan, const Simulation& simulation, const std::string& title) {
  Timeline timeline{.title = title, .faint_note = faint_note(plan.pipeline)};
  timeline.kinds = {"F", "B"};
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const Actions& list = plan.ranks[rank];
    TimelineRow row{.label = fmt::format("rank {}", rank)};
    for (size_t i = 0; i < list.size(); ++i) {
      const BarPart part = list[i].overlaps_next                ? BarPart::upper
                           : i > 0 && list[i - 1].overlaps_next ? BarPart::lower
                                                                : BarPart::whole;
      row.bars.push_back(bar_of(plan.pipeline, list[i], simulation.ranks[rank].actions[i], part));
      if (row.bars.back().kind >= kInput) timeline.kinds = {"F", "B", "Bi (inputs)", "W (weights)"};
    }
    timeline.rows.push_back(std::move(row));
  }
  if (plan.pipeline.two_ways()) timeline.faint_note += "; one above the other: F&B";
  return timeline_svg(timeline);
}

}  // namespace hadal
