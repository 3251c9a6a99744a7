// Regular expressions as Python's re reads them, for extracting answers: findall and sub. A pattern of a task file
// comes from outside, so a match ends after a bounded number of steps with an error that names the pattern: one that
// backtracks for ever is the task's fault, and is said.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::grading {

class Pattern {
 public:
  // Throws invalid, with the place, for what is no expression.
  explicit Pattern(const std::string& expression);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  // Every match from left to right, none inside another: the whole where the pattern has no group, else its groups
  // (empty where a group took no part), as re.findall.
  std::vector<std::vector<std::string>> find_all(std::string_view text) const;
  std::string without_matches(std::string_view text) const;  // re.sub(pattern, "", text)
  const std::string& expression() const { return expression_; }

 private:
  struct Code;
  struct Span {
    size_t begin, end;
  };
  template <class Take>
  void each_match(std::string_view text, Take take) const;

  std::string expression_;
  std::unique_ptr<Code> code_;
};

}  // namespace hadal::grading
