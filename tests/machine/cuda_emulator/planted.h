// Faults that are planted: what the emulated device says of one; and those for a sanitizer, which run in a process of
// their own, whose reports go to its standard error and not to where those of the suite are counted.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "base/error.h"

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

namespace hadal::emulator {

inline std::string failure(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}
inline void expect_failure(const std::function<void()>& f, const std::string& part) {
  const std::string text = failure(f);
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nhas no: " << part;
}

}  // namespace hadal::emulator
