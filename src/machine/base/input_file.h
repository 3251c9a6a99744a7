// A file, pipe or terminal read from its beginning to its end. Waiting for the other side of a pipe ends with the first
// Ctrl-C or SIGTERM, also where a CleanStop (base/interrupt.h) lives: to open a named pipe or to read from it does not
// block.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace hadal {

class InputFile {
 public:
  // Throws not_found, or io (a directory, no permission). `action` completes "cannot ACTION 'PATH'".
  explicit InputFile(const std::filesystem::path& path, const char* action = "read");
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;

  int64_t read(char* out, int64_t bytes);    // bytes given, 0 at the end; throws io, also when interrupted
  bool regular() const { return regular_; }  // can be read again
  int64_t bytes() const { return bytes_; }   // of a regular file when it was opened
  int descriptor() const { return descriptor_; }

 private:
  void wait() const;
  std::filesystem::path path_;
  const char* action_;
  int descriptor_ = -1;
  bool regular_ = false;
  int64_t bytes_ = 0;
};

// Throws invalid, without opening it, for what can be read only once, and says what it is: a pipe, a socket, a device.
// `needs` completes "'PATH' is a pipe, and NEEDS; write it to a file first". What is not there passes.
void require_file(const std::filesystem::path& path, const std::string& needs);

}  // namespace hadal
