// The one error type. A message names the value that was wrong and what would be right.
// Use check(condition, kind, "format {}", values...) for input that a user, file or caller may get wrong;
// assert-style checks on our own logic use ErrorKind::internal.
#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace hadal {

enum class ErrorKind {
  invalid,        // the caller's or user's value is wrong
  not_found,      // a file, key or tensor is missing
  corrupt,        // a file does not hold what it should
  unsupported,    // understood, but not offered here
  io,             // the system refused: full disk, permissions, threads
  out_of_memory,  // the machine does not hold what the work needs
  failed,         // the work failed by its own numbers: a run that diverges
  internal        // a fault in Hadal
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
inline void check(bool condition, ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) fail(kind, format, std::forward<Args>(args)...);
}

}  // namespace hadal
