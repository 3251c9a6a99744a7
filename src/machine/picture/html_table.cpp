// HTML that pages share.
#include "picture/html_table.h"

#include <fmt/format.h>

#include "base/html.h"
#include "picture/page.h"

namespace hadal {

void HtmlTable::row(const std::vector<std::string>& cells, const char* kind) {
  rows_ += "<tr>";
  for (const std::string& cell : cells) rows_ += fmt::format("<{0}>{1}</{0}>", kind, cell);
  rows_ += "</tr>\n";
  ++n_rows_;
}

std::vector<std::string> escaped(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = html_escape(cell);
  return cells;
}

std::string page_of(const std::string& title, const std::string& body) {
  return page_head(title) + "<h1>" + html_escape(title) + "</h1>\n" + body + "</body></html>\n";
}

std::string charts(const std::string& all) { return "<div class=\"charts\">" + all + "</div>\n"; }

}  // namespace hadal
