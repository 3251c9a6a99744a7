// Who does what when: rows of bars over time, as an SVG file that stands alone and follows its reader's light or dark
// setting. Bars of one kind and shade are one path, so that hundreds of them stay small.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal {

enum class BarPart : uint8_t { whole, upper, lower };  // of the row's height: two things at once share it

struct TimelineBar {
  double begin = 0, end = 0;
  int kind = 0;        // of Timeline::kinds; at most six have colours of their own
  bool faint = false;  // the second shade of the kind's colour
  std::string label;   // left out where the bar is too narrow
  BarPart part = BarPart::whole;
};

struct TimelineRow {
  std::string label;
  std::vector<TimelineBar> bars;
};

struct Timeline {
  std::string title, x_label = "time";
  std::vector<std::string> kinds;  // the legend
  std::string faint_note;          // what the second shade means; empty: it is not used
  std::vector<TimelineRow> rows;
};

std::string timeline_svg(const Timeline& timeline, int width = 960);

}  // namespace hadal
