#include "eval/item_page.h"

#include <algorithm>

#include "base/html.h"
#include "picture/page.h"

namespace hadal::eval {
namespace {

constexpr const char* kStyle =
    "<style>pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3em 0;padding:.5em;border:1px solid #8884}"
    "details{margin:.4em 0}table{border-collapse:collapse}td,th{padding:.15em .6em;text-align:left;"
    "vertical-align:top}.right summary::before{content:'\\2713  '}.wrong summary::before{content:'\\2717  '}"
    ".gold{font-weight:bold}</style>\n";

std::string shown(const std::string& text) { return "<pre>" + html_escape(text) + "</pre>\n"; }

// The first line of a text, cut where it is long.
std::string headline(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  constexpr size_t kMost = 100;
  if (line.size() > kMost) {
    size_t end = kMost;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;
    line = line.substr(0, end) + "…";
  }
  return html_escape(line);
}

std::string prompt_of(const Request& request) {
  std::string text = request.context;
  for (const ChatTurn& turn : request.chat) text += fmt::format("[{}] {}\n", turn.role, turn.content);
  return text;
}

std::string choices_of(const Item& item, const std::vector<Replies>& replies) {
  std::string rows = "<table><tr><th>choice</th><th>log p</th><th>tokens</th><th>greedy</th></tr>\n";
  for (size_t r = 0; r < item.requests.size(); ++r) {
    const Reply& reply = replies[r].at(0);
    const bool gold = std::find(item.gold.begin(), item.gold.end(), int64_t(r)) != item.gold.end();
    rows += fmt::format("<tr{}><td>{}</td><td>{:.4f}</td><td>{}</td><td>{}</td></tr>\n", gold ? " class=\"gold\"" : "",
                        html_escape(item.requests[r].continuation), reply.log_prob, reply.n_tokens,
                        reply.greedy ? "yes" : "");
  }
  return rows + "</table>\n";
}

std::string replies_of(const std::vector<Replies>& replies) {
  std::string out;
  for (const Reply& reply : replies.at(0))
    out += shown(reply.text) +
           (reply.ended ? "" : "<p>(cut off after " + std::to_string(reply.n_tokens) + " tokens)</p>\n");
  return out;
}

std::string grades_of(const std::vector<Graded>& grades) {
  std::string rows = "<table><tr><th>filter</th><th>extracted</th><th>why</th><th>metrics</th></tr>\n";
  for (const Graded& graded : grades) {
    std::string values;
    for (const auto& [name, value] : graded.values) values += fmt::format("{} {:.4g} ", name, value.value);
    for (size_t s = 0; s < std::max<size_t>(1, graded.extracted.size()); ++s)
      rows += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", html_escape(graded.filter),
                          s < graded.extracted.size() ? html_escape(graded.extracted[s]) : "",
                          s < graded.why.size() ? html_escape(graded.why[s]) : "", s == 0 ? html_escape(values) : "");
  }
  return rows + "</table>\n";
}

bool is_right(const std::vector<Graded>& grades) {
  return std::any_of(grades.begin(), grades.end(),
                     [](const Graded& g) { return !g.values.empty() && g.values[0].second.value > 0; });
}

std::string item_html(const TaskResult& result, size_t i) {
  const Item& item = result.task.items[i];
  const std::string prompt = item.requests.empty() ? "" : prompt_of(item.requests[0]);
  const bool rolling = !item.requests.empty() && item.requests[0].kind == RequestKind::rolling;
  const std::string text = rolling ? item.requests[0].continuation : prompt;
  std::string html = fmt::format("<details class=\"{}\"><summary>{}: {}</summary>\n",
                                 is_right(result.grades[i]) ? "right" : "wrong", item.id, headline(text));
  html += shown(text);
  if (!item.target.empty() && !rolling) html += "<p>expected:</p>" + shown(item.target);
  if (!item.requests.empty() && item.requests[0].kind == RequestKind::log_likelihood)
    html += choices_of(item, result.replies[i]);
  if (!item.requests.empty() && item.requests[0].kind == RequestKind::generate) html += replies_of(result.replies[i]);
  return html + grades_of(result.grades[i]) + "</details>\n";
}

}  // namespace

std::string item_page(const TaskResult& result, int64_t most) {
  std::string html = page_head(result.task.name) + kStyle + "<h1>" + html_escape(result.task.name) + "</h1>\n";
  html += "<table><tr><th>filter</th><th>metric</th><th>value</th><th>standard error</th></tr>\n";
  for (const MetricResult& metric : result.metrics)
    html +=
        fmt::format("<tr><td>{}</td><td>{}</td><td>{:.4f}</td><td>{}</td></tr>\n", html_escape(metric.filter),
                    html_escape(metric.name), metric.value, metric.error ? fmt::format("{:.4f}", *metric.error) : "-");
  html += "</table>\n";
  for (const std::string& note : result.task.notes) html += "<p>" + html_escape(note) + "</p>\n";
  for (const bool right : {false, true}) {
    std::string items;
    int64_t n = 0;
    for (size_t i = 0; i < result.task.items.size(); ++i) {
      if (is_right(result.grades[i]) != right) continue;
      if (++n <= most) items += item_html(result, i);
    }
    html += fmt::format("<h2>{} {}</h2>\n", n, right ? "right" : "wrong, or without a verdict");
    if (n > most) html += fmt::format("<p>the first {} of them</p>\n", most);
    html += items;
  }
  return html + "</body></html>\n";
}

}  // namespace hadal::eval
