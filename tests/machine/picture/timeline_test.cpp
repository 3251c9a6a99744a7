// Bars of a timeline keep their place, kind and label, and nothing that is not finite reaches the file.
#include "picture/timeline.h"

#include <gtest/gtest.h>

#include "picture/count_in.h"

namespace hadal {
namespace {

TEST(Timeline, BarsOfOneKindAndShadeAreOnePath) {
  Timeline timeline{.title = "a < b", .kinds = {"F", "B"}, .faint_note = "the way back"};
  timeline.rows = {{"rank 0", {{0, 5, 0, false, "1"}, {5, 10, 1, true, "2"}}}, {"rank 1", {{5, 10, 0, false, "3"}}}};
  const std::string svg = timeline_svg(timeline, 1080);  // 1000 of them for 10 of time
  EXPECT_EQ(count(svg, "class=\"b k0\""), 1u);
  EXPECT_EQ(count(svg, "class=\"b k1 l\""), 1u);
  EXPECT_NE(svg.find("d=\"M64 52h500v22h-500zM564 78h500v22h-500z\""), std::string::npos) << svg;
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
  for (const char* text : {">rank 1<", ">1<", ">2<", ">3<", ">F<", ">the way back<", ">10<"})
    EXPECT_NE(svg.find(text), std::string::npos) << text;
}

TEST(Timeline, TwoThingsAtOnceShareTheHeightOfTheRow) {
  Timeline timeline{.kinds = {"F", "B"}};
  timeline.rows = {{"r", {{0, 1, 0, false, "1", BarPart::upper}, {0, 1, 1, false, "2", BarPart::lower}}}};
  const std::string svg = timeline_svg(timeline, 1080);
  EXPECT_NE(svg.find("M64 52h1000v11h"), std::string::npos) << svg;
  EXPECT_NE(svg.find("M64 63h1000v11h"), std::string::npos) << svg;
}

TEST(Timeline, ABarTooNarrowForItsLabelHasNone) {
  Timeline timeline{.kinds = {"F"}, .rows = {{"r", {{0, 0.05, 0, false, "lost"}, {0.05, 10, 0, false, "kept"}}}}};
  const std::string svg = timeline_svg(timeline);
  EXPECT_EQ(svg.find("lost"), std::string::npos);
  EXPECT_NE(svg.find("kept"), std::string::npos);
  EXPECT_EQ(timeline_svg({}).find("nan"), std::string::npos) << "no bars, no time";
}

}  // namespace
}  // namespace hadal
