// See table.h.
#include "base/table.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {
namespace {

bool looks_like_number(const std::string& cell) {
  size_t i = 0;
  while (i < cell.size() && (cell[i] == '+' || cell[i] == '-' || cell[i] == '~' || cell[i] == ' ')) ++i;
  return i < cell.size() && cell[i] >= '0' && cell[i] <= '9';
}

}  // namespace

int display_width(const std::string& utf8) {
  return int(std::count_if(utf8.begin(), utf8.end(), [](char c) { return (uint8_t(c) & 0xc0) != 0x80; }));
}

Table::Table(std::vector<std::string> head) : head_(std::move(head)) {}

void Table::add(std::vector<std::string> row) {
  check(row.size() == head_.size(), ErrorKind::internal, "a table row has {} cells, its head {}", row.size(),
        head_.size());
  rows_.push_back(std::move(row));
}

void Table::add_rule() { rows_.emplace_back(); }

std::string Table::text() const {
  const size_t n = head_.size();
  std::vector<int> width(n);
  std::vector<bool> right(n, true);
  for (size_t c = 0; c < n; ++c) {
    width[c] = display_width(head_[c]);
    bool any = false;
    for (const auto& row : rows_) {
      if (row.empty()) continue;
      width[c] = std::max(width[c], display_width(row[c]));
      if (row[c].empty() || row[c] == "-") continue;
      any = true;
      right[c] = right[c] && looks_like_number(row[c]);
    }
    right[c] = right[c] && any;
  }
  std::string out;
  auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t c = 0; c < n; ++c) {
      const std::string space(size_t(width[c] - display_width(cells[c])), ' ');
      text += (c ? "  " : "") + (right[c] ? space + cells[c] : cells[c] + space);
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out += text + "\n";
  };
  auto rule = [&] {
    for (size_t c = 0; c < n; ++c) out += (c ? "  " : "") + std::string(size_t(width[c]), '-');
    out += "\n";
  };
  line(head_);
  rule();
  for (const auto& row : rows_) row.empty() ? rule() : line(row);
  return out;
}

}  // namespace hadal
