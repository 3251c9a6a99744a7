// EXPECT_ERROR(statement, kind, words...): the statement throws an Error of this kind whose message is one line and
// holds all the words. A refusal for another reason, or one that does not name what was wrong, fails the test.
#pragma once
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "base/error.h"

namespace hadal {

inline const char* kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid: return "invalid";
    case ErrorKind::not_found: return "not_found";
    case ErrorKind::corrupt: return "corrupt";
    case ErrorKind::unsupported: return "unsupported";
    case ErrorKind::io: return "io";
    case ErrorKind::out_of_memory: return "out_of_memory";
    case ErrorKind::failed: return "failed";
    case ErrorKind::internal: return "internal";
  }
  return "unknown";
}

template <class Action>
::testing::AssertionResult throws_error(Action&& action, ErrorKind kind, std::initializer_list<const char*> words) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    if (error.kind() != kind)
      return ::testing::AssertionFailure()
             << "wanted kind " << kind_name(kind) << ", got " << kind_name(error.kind()) << ": " << message;
    for (const char* word : words)
      if (message.find(word) == std::string::npos)
        return ::testing::AssertionFailure() << "'" << word << "' is not in: " << message;
    if (message.find('\n') != std::string::npos)
      return ::testing::AssertionFailure() << "an error is one line: " << message;
    return ::testing::AssertionSuccess();
  } catch (const std::exception& error) {
    return ::testing::AssertionFailure() << "no Error of ours: " << error.what();
  }
  return ::testing::AssertionFailure() << "nothing was thrown; wanted kind " << kind_name(kind);
}

}  // namespace hadal

#define EXPECT_ERROR(statement, kind, ...) EXPECT_TRUE(::hadal::throws_error([&] { statement; }, kind, {__VA_ARGS__}))
