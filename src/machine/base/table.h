// A plain table for terminals and logs: columns aligned by display width, numbers to the right, a rule below the head.
#pragma once
#include <string>
#include <vector>

namespace hadal {

class Table {
 public:
  explicit Table(std::vector<std::string> head);
  void add(std::vector<std::string> row);  // as many cells as the head
  void add_rule();
  bool empty() const { return rows_.empty(); }
  std::string text() const;  // lines end in \n
  // A column is right-aligned when every cell below its head starts like a number; "-" and "" are neutral.

 private:
  std::vector<std::string> head_;
  std::vector<std::vector<std::string>> rows_;  // an empty row is a rule
};

int display_width(
    const std::string& utf8);  // characters, not bytes; combining marks and wide letters are not told apart

}  // namespace hadal
