// Charts show every line and every point: alone, among many, and among noise.
#include "picture/chart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "picture/count_in.h"

namespace hadal {
namespace {

ChartLine noisy(const std::string& name, int points) {
  ChartLine line{name, {}};
  for (int i = 0; i < points; ++i) line.points.emplace_back(i, std::sin(i) + i % 7);
  return line;
}

TEST(LineChart, APointAloneIsSeen) {
  EXPECT_EQ(count(line_chart({{"one", {{100, 2.5}}}}, {}), "<circle"), 1u);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(count(line_chart({{"gaps", {{1, 2}, {2, nan}, {3, 4}}}}, {}), "<circle"), 2u);
  EXPECT_EQ(count(line_chart({noisy("many", 1000)}, {}), "<circle"), 0u);
  EXPECT_EQ(count(line_chart({{"zero", {{1, 0}}}}, {.log_y = true}), "<circle"), 0u)
      << "no place on a logarithmic axis";
  EXPECT_EQ(line_chart({{"none", {}}}, {}).find("nan"), std::string::npos);
}

TEST(LineChart, NoTwoLinesHaveOneColour) {
  std::vector<ChartLine> lines;
  for (int i = 0; i < 40; ++i) lines.push_back(noisy("layer " + std::to_string(i), 30));
  const std::string svg = line_chart(lines, {});
  std::set<std::string> colours;
  for (size_t at = svg.find("<path"); at != std::string::npos; at = svg.find("<path", at + 1))
    colours.insert(svg.substr(at, svg.find(" d=", at) - at));
  EXPECT_EQ(colours.size(), 40u);
  for (const auto& line : lines) EXPECT_NE(svg.find(">" + line.name + "<"), std::string::npos) << "in the legend";
}

TEST(LineChart, ANoisyLineGetsASmoothOneOverIt) {
  const std::string svg = line_chart({noisy("loss", 500)}, {.smooth = true});
  EXPECT_EQ(count(svg, "<path"), 2u);
  EXPECT_EQ(count(svg, "line raw"), 1u);
  EXPECT_LT(svg.find("line raw"), svg.rfind("<path")) << "the smooth one lies above";
  EXPECT_EQ(count(line_chart({noisy("loss", 500)}, {}), "<path"), 1u);
  EXPECT_EQ(count(line_chart({noisy("short", 5)}, {.smooth = true}), "<path"), 1u);
}

}  // namespace
}  // namespace hadal
