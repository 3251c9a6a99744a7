// See log.h.
#include "base/log.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "base/error.h"

namespace hadal {
namespace {

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warning";
    case LogLevel::error: return "error";
    case LogLevel::silent: break;
  }
  return "";
}

void to_screen(LogLevel level, std::string_view text) {
  std::string line;
  if (redraws_lines(2)) line += "\r\033[K";  // over a progress bar, which draws itself again
  const bool colour = wants_colour(2);
  if (level != LogLevel::info) {
    if (colour) line += level == LogLevel::warn ? "\033[33m" : "\033[31m";
    line += fmt::format("hadal: {}: ", level_name(level));
    if (colour) line += "\033[0m";
  }
  line.append(text);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

Log::Log(LogLevel level) : level_(level) {}

Log::~Log() {
  if (file_ != nullptr) std::fclose(file_);
}

void Log::open_file(const std::filesystem::path& path) {
  std::lock_guard lock(mutex_);
  std::FILE* file = std::fopen(path.c_str(), "ae");
  check(file != nullptr, ErrorKind::io, "cannot write the log '{}': {}", path.string(), std::strerror(errno));
  if (file_ != nullptr) std::fclose(file_);
  file_ = file;
  file_name_ = path.string();
}

void Log::write(LogLevel level, std::string_view text) {
  std::lock_guard lock(mutex_);
  if (level >= level_) to_screen(level, text);
  if (file_ == nullptr) return;
  const std::string line = fmt::format("{} {} {}\n", iso_time(), level_name(level), text);
  const bool written = std::fwrite(line.data(), 1, line.size(), file_) == line.size();
  if (written && std::fflush(file_) == 0) return;
  const std::string reason = std::strerror(errno);
  std::fclose(file_);
  file_ = nullptr;
  to_screen(LogLevel::warn,
            fmt::format("the log '{}' cannot be written ({}); going on without it", file_name_, reason));
}

bool is_terminal(int descriptor) { return ::isatty(descriptor) == 1; }

bool redraws_lines(int descriptor) {
  const char* term = std::getenv("TERM");
  return is_terminal(descriptor) && term != nullptr && std::strcmp(term, "dumb") != 0 && *term != '\0';
}

bool wants_colour(int descriptor) {
  const char* no_colour = std::getenv("NO_COLOR");
  return redraws_lines(descriptor) && (no_colour == nullptr || *no_colour == '\0');
}

int terminal_columns(int descriptor) {
  struct winsize size {};
  return ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace hadal
