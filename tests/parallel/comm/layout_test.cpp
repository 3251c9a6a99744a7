// Layouts as they are typed.
#include "comm/layout.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

TEST(Layout, IsReadAndWritten) {
  EXPECT_EQ(parse_layout("dp=4").dp, 4);
  EXPECT_EQ(parse_layout("dp=4").ranks(), 4);
  EXPECT_EQ(layout_text(parse_layout("dp=12")), "dp=12");
}

TEST(Layout, RefusesWhatIsNone) {
  EXPECT_ERROR(parse_layout(""), ErrorKind::invalid, "'' is no axis");
  EXPECT_ERROR(parse_layout("dp"), ErrorKind::invalid, "'dp' is no axis");
  EXPECT_ERROR(parse_layout("pp=2"), ErrorKind::invalid, "'pp=2' is no axis");
  EXPECT_ERROR(parse_layout("dp=2,"), ErrorKind::invalid, "'' is no axis");
  EXPECT_ERROR(parse_layout("dp=2,dp=2"), ErrorKind::invalid, "twice");
  for (const char* wrong : {"dp=", "dp=0", "dp=-1", "dp=two", "dp=2x", "dp=5000", "dp=99999999999999999999"})
    EXPECT_ERROR(parse_layout(wrong), ErrorKind::invalid, "1 .. 4096");
}

}  // namespace
}  // namespace hadal
