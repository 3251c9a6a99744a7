// Tables of a page, and its frame.
#pragma once
#include <string>
#include <vector>

namespace hadal {

// Its cells are text already escaped, or numbers.
class HtmlTable {
 public:
  explicit HtmlTable(const std::vector<std::string>& head) { row(head, "th"); }
  void add(const std::vector<std::string>& cells) { row(cells, "td"); }
  bool empty() const { return n_rows_ == 1; }  // but for its head
  std::string text() const { return "<div class=\"wide\"><table>" + rows_ + "</table></div>\n"; }

 private:
  void row(const std::vector<std::string>& cells, const char* kind);
  std::string rows_;
  int n_rows_ = 0;
};

std::vector<std::string> escaped(std::vector<std::string> cells);  // texts as cells

std::string page_of(const std::string& title, const std::string& body);
std::string charts(const std::string& all);  // beside each other where there is room

}  // namespace hadal
