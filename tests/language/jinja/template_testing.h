// What tests of chat templates share: a template rendered, or refused.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "base/testing.h"
#include "jinja/chat_template.h"

namespace hadal::testing {

inline ChatLimits limits() {
  ChatLimits result;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // the same ends, met in seconds
  result.steps /= 20, result.text_bytes /= 8, result.work_bytes /= 8;
#endif
  return result;
}

inline std::string rendered(const std::string& source, const std::string& variables = "{}") {
  return chat_text(ChatTemplate::parse(source, {}, limits()).render_variables(variables, 1753426861));
}

inline std::string refusal(const std::string& source, ErrorKind expected, const std::string& variables = "{}") {
  ErrorKind kind = ErrorKind::internal;
  const std::string message = error_of([&] { rendered(source, variables); }, &kind);
  EXPECT_EQ(int(kind), int(expected)) << source.substr(0, 100) << " -> " << message;
  return message;
}

}  // namespace hadal::testing
