#include "apps/line_output.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"

namespace hadal {

void write_out(const std::string& text) {
  check(std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0, ErrorKind::io,
        "standard output was closed");
}

LineOutput::LineOutput(const std::string& path) : path_(path), file_(stdout) {
  if (path_ == "-") return;
  partial_ = path_ + ".partial";
  file_ = std::fopen(partial_.c_str(), "wb");
  check(file_ != nullptr, ErrorKind::io, "cannot write '{}': {}", partial_, std::strerror(errno));
}

LineOutput::~LineOutput() {
  if (partial_.empty() || file_ == nullptr) return;
  std::fclose(file_);
  if (lines_ == 0) ::unlink(partial_.c_str());
}

void LineOutput::write(const std::string& line, const std::string& of) {
  errno = 0;
  const bool written = std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
  check(written, ErrorKind::io, "{}: cannot write its result to {}: {}", of,
        partial_.empty() ? "standard output" : "'" + partial_ + "'", std::strerror(errno));
  ++lines_;
}

void LineOutput::commit() {
  if (partial_.empty()) return;
  const bool synced = ::fsync(::fileno(file_)) == 0 || errno == EINVAL || errno == EROFS;
  std::FILE* file = file_;
  file_ = nullptr;
  check(std::fclose(file) == 0 && synced, ErrorKind::io, "cannot write '{}': {}", partial_, std::strerror(errno));
  std::error_code code;
  std::filesystem::rename(partial_, path_, code);
  check(!code, ErrorKind::io, "cannot rename '{}' to '{}': {}", partial_, path_, code.message());
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  sync_directory(folder.empty() ? "." : folder);
}

std::string LineOutput::kept() const {
  if (lines_ == 0 || partial_.empty()) return "";
  return fmt::format("; what was computed before is in '{}'", partial_);
}

}  // namespace hadal
