// Ends a text at the first of given strings, while it comes in fragments: what may still become one of them waits, so
// that nothing is shown that has to be taken back.
#pragma once
#include <string>
#include <vector>

namespace hadal {

class StopStrings {
 public:
  // Throws invalid for an empty string, which would end every text.
  explicit StopStrings(std::vector<std::string> strings);

  std::string push(const std::string& fragment);  // what can be shown now; never a stop string or what follows it
  std::string finish();                           // what still waits, at the end of the text
  bool found() const { return found_; }           // from then on nothing comes any more

 private:
  std::vector<std::string> strings_;
  std::string waiting_;
  bool found_ = false;
};

}  // namespace hadal
