// The log: one line per message on standard error (colours only on a terminal that has them, and without NO_COLOR), and
// the same with time and level in an optional file. A log that cannot be written (full disk, closed pipe) says so once,
// if it can, and never stops the run.
#pragma once
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace hadal {

enum class LogLevel { info, warn, error, silent };

class Log {
 public:
  // Messages below `level` do not go to standard error; the file, if any, gets all.
  explicit Log(LogLevel level = LogLevel::info);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void open_file(const std::filesystem::path& path);  // appends; throws io if it cannot be opened
  void write(LogLevel level, std::string_view text);  // thread-safe; text may hold several lines

  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) {
    write(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) {
    write(LogLevel::warn, fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) {
    write(LogLevel::error, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  LogLevel level_;
  std::mutex mutex_;
  std::FILE* file_ = nullptr;
  std::string file_name_;
};

// Whether a stream (1 or 2) is a terminal, and whether it wants colours (a terminal, TERM not dumb, NO_COLOR unset or
// empty).
bool is_terminal(int descriptor);
bool redraws_lines(int descriptor);  // a terminal that knows "carriage return, erase the line": not a dumb one
bool wants_colour(int descriptor);
int terminal_columns(int descriptor);  // 80 when unknown

}  // namespace hadal
