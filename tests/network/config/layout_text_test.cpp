// Layouts as they are typed.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/expect_error.h"
#include "config/config_io.h"

namespace hadal {
namespace {

TEST(LayoutText, IsReadAndWritten) {
  EXPECT_EQ(parse_layout("dp=4").dp, 4);
  EXPECT_EQ(parse_layout("dp=4").ranks(), 4);
  EXPECT_EQ(parse_layout("dp=4,pp=3,ep=2,tp=5").ranks(), 60);  // experts are spread over ranks that are there
  EXPECT_EQ(parse_layout("pp=2,schedule=dualpipe").schedule, "dualpipe");
  for (const char* text : {"dp=12", "dp=1", "dp=2,pp=4,schedule=interleaved,chunks=2", "ep=2,tp=2,node_ranks=1"})
    EXPECT_EQ(layout_text(parse_layout(text)), text);
}

TEST(LayoutText, RefusesWhatIsNone) {
  EXPECT_ERROR(parse_layout(""), ErrorKind::invalid, "'' is no axis");
  EXPECT_ERROR(parse_layout("dp"), ErrorKind::invalid, "'dp' is no axis");
  EXPECT_ERROR(parse_layout("=2"), ErrorKind::invalid, "'=2' is no axis");
  EXPECT_ERROR(parse_layout("dpp=2"), ErrorKind::invalid, "dpp");
  EXPECT_ERROR(parse_layout("dp=2,"), ErrorKind::invalid, "'' is no axis");
  EXPECT_ERROR(parse_layout("dp=2,dp=2"), ErrorKind::invalid, "twice");
  for (const char* wrong : {"dp=", "dp=two", "dp=2x", "dp=99999999999999999999"})
    EXPECT_ERROR(parse_layout(wrong), ErrorKind::invalid, "--layout");
}

}  // namespace
}  // namespace hadal
