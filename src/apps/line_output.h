// Results of a verb that writes as it goes, line by line: to standard output, each line at once, or to a file. The file
// is complete or absent: until commit() the lines stand in FILE.partial, where they stay if the work ends early.
#pragma once
#include <cstdint>
#include <cstdio>
#include <string>

namespace hadal {

// Standard output at once, for what is read as it comes; throws io when it was closed.
void write_out(const std::string& text);

class LineOutput {
 public:
  explicit LineOutput(const std::string& path);  // "-" is standard output
  ~LineOutput();
  LineOutput(const LineOutput&) = delete;
  LineOutput& operator=(const LineOutput&) = delete;

  // `line` with its line end; throws io, saying of what it was the result: "FILE: line N".
  void write(const std::string& line, const std::string& of);
  void commit();
  // Where the lines are that were written before the work ended early, for its message; empty if there are none.
  std::string kept() const;

 private:
  std::string path_, partial_;
  std::FILE* file_;
  int64_t lines_ = 0;
};

}  // namespace hadal
