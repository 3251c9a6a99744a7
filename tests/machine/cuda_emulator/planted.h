// Faults that are planted for a sanitizer: they run in a process of their own, whose reports go to its standard error
// and not to where those of the suite are counted.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#define HADAL_REPORT_HERE() __sanitizer_set_report_path("stderr")
#else
#define HADAL_REPORT_HERE() static_cast<void>(0)
#endif

// The statement ends the program; with a sanitizer, by its report.
#define EXPECT_DEATH_ALONE(statement, message) \
  EXPECT_DEATH(                                \
      {                                        \
        HADAL_REPORT_HERE();                   \
        statement;                             \
      },                                       \
      message)
// The thread sanitizer reports a race and goes on; the program's exit code says so.
#define EXPECT_RACE(statement) \
  EXPECT_EXIT(                 \
      {                        \
        HADAL_REPORT_HERE();   \
        statement;             \
        std::exit(0);          \
      },                       \
      ::testing::ExitedWithCode(66), "data race")
