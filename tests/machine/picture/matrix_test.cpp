// Every amount of a matrix is in its picture, in its place, and the picture is a whole one.
#include "picture/matrix.h"

#include <gtest/gtest.h>

#include "picture/count_in.h"
#include "picture/well_formed.h"

namespace hadal {
namespace {

MatrixPicture small_picture() {
  return {.title = "a < b",
          .note = "rows & columns",
          .rows = {{"0: layers 0-1", {{"rank 0", "experts 0-3"}, {"rank 1"}}}},
          .labels = {"0", "1"},
          .ticks = {"0", "1"},
          .unit = "bytes",
          .matrices = {{"values", {0, 1'000'000, 10, 0}}, {"pipeline", {0, 1000, 0, 0}}}};
}

TEST(MatrixPicture, EveryAmountIsInItsPlaceAndSaysItself) {
  const std::string svg = matrix_svg(small_picture());
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_EQ(count(svg, "<title>"), 2u + 3u) << "two boxes; nothing is drawn for 0";
  for (const char* text :
       {"<title>0 → 1: 1,000,000 bytes</title>", "<title>1 → 0: 10 bytes</title>", "<title>0 → 1: 1,000 bytes</title>",
        "values: 1,000,010 bytes", "pipeline: 1,000 bytes", ">rank 0<", ">experts 0-3<",
        "<title>rank 0, experts 0-3</title>", "a &lt; b", "rows &amp; columns", "prefers-color-scheme:dark"})
    EXPECT_NE(svg.find(text), std::string::npos) << text << "\n" << svg;
  EXPECT_NE(svg.find("d=\"M132 0h131v131h-131z\" opacity=\"1.00\""), std::string::npos) << "the most is darkest" << svg;
  EXPECT_NE(svg.find("d=\"M0 132h131v131h-131z\" opacity=\"0.25\""), std::string::npos) << "the least is lightest";
}

TEST(MatrixPicture, NothingSentIsAPictureToo) {
  const std::string svg =
      matrix_svg({.title = "one", .rows = {{"all", {{"rank 0"}}}}, .labels = {"0"}, .ticks = {"0"}});
  EXPECT_EQ(xml_fault(svg), "");
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(MatrixPicture, FaultsOfPicturesAreFound) {
  EXPECT_EQ(xml_fault("<svg a=\"1\"><path/>x &amp; y</svg>\n"), "");
  for (const char* bad : {"<svg>", "<svg><g></svg></g>", "<svg a=1></svg>", "<svg a=\"1\" a=\"2\"></svg>",
                          "<svg>a & b</svg>", "<svg>a < b</svg>", "<svg></svg>x"})
    EXPECT_NE(xml_fault(bad), "") << bad;
}

}  // namespace
}  // namespace hadal
