// Pictures of a plan that was run on the clock: rows of characters for a terminal, an SVG file.
#pragma once
#include <string>

#include "schedule/simulate.h"

namespace hadal {

// One row per rank, one character per `time_per_character`, dots where it stands idle.
struct CharacterTimeline {
  std::vector<std::string> rows;
  double time_per_character = 1;
};
// A character is the shortest action, or longer where rows would be longer than `columns`.
CharacterTimeline character_timeline(const PipelinePlan& plan, const Simulation& simulation, int columns);

std::string schedule_svg(const PipelinePlan& plan, const Simulation& simulation, const std::string& title);

}  // namespace hadal
