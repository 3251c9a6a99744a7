// The earliest stop string in what waits, else its longest end that may begin one.
#include "dialogue/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace hadal {

StopStrings::StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {
  for (const std::string& string : strings_)
    check(!string.empty(), ErrorKind::invalid, "an empty stop string would end every text before it begins");
}

std::string StopStrings::push(const std::string& fragment) {
  if (found_) return "";
  waiting_ += fragment;
  size_t end = std::string::npos, kept = 0;
  for (const std::string& string : strings_) {
    end = std::min(end, waiting_.find(string));
    for (size_t n = std::min(string.size() - 1, waiting_.size()); n > kept; --n) {
      if (waiting_.compare(waiting_.size() - n, n, string, 0, n) == 0) kept = n;
    }
  }
  if (end != std::string::npos) {
    found_ = true;
    return std::exchange(waiting_, "").substr(0, end);
  }
  std::string shown = waiting_.substr(0, waiting_.size() - kept);
  waiting_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::finish() { return std::exchange(waiting_, ""); }

}  // namespace hadal
