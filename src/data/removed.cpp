// Removed documents beside the rule that removed them.
#include "data/removed.h"

#include <fmt/ranges.h>

#include "base/html.h"
#include "base/text_format.h"

namespace hadal::data {
namespace {

constexpr size_t kBegin = 160;  // bytes that are shown

std::string one_line(std::string_view text) {
  std::string line(text.substr(0, kBegin));
  while (!line.empty() && line.size() == kBegin && (line.back() & 0xC0) == 0x80) line.pop_back();
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  return line + (text.size() > line.size() ? " …" : "");
}

std::string measured(const Refusal& refusal) {
  if (refusal.limit == 0) return refusal.rule;
  return fmt::format("{}: {:.4g}, limit {:.4g}", refusal.rule, refusal.value, refusal.limit);
}

}  // namespace

RemovedDocuments removed_documents(const DataConfig& config, const std::string& rule, int64_t most,
                                   const ProgressOptions& progress) {
  const Corpus corpus = Corpus::scan(config, progress);
  std::vector<QualityRules> rules;
  for (const SourceConfig& source : config.sources) rules.emplace_back(source);
  RemovedDocuments removed;
  size_t source = 0;
  corpus.read(0, [&](int64_t document, const std::string& text) {
    while (document >= corpus.first_document(int64_t(source) + 1)) ++source;
    if (corpus.facts(document).fate != Fate::filtered) return true;
    const std::vector<Refusal> all = rules[source].all(text);  // in the order in which they are asked
    if (all.empty() || !all.front().rule.starts_with(rule) || ++removed.n > most) return true;
    RemovedDocument one{corpus.sources()[source].name, corpus.place_of(document), all.front(), {}, one_line(text)};
    for (size_t i = 1; i < all.size(); ++i) one.others.push_back(all[i].rule);
    removed.shown.push_back(std::move(one));
    return true;
  });
  return removed;
}

std::string removed_text(const RemovedDocuments& removed) {
  std::string out;
  for (const RemovedDocument& one : removed.shown) {
    out += fmt::format("{}\n  {}{}\n  {}\n", one.place, measured(one.refusal),
                       one.others.empty() ? "" : fmt::format("; also {}", fmt::join(one.others, ", ")), one.begin);
  }
  return out + fmt::format("{} of {} removed documents\n", format_count(int64_t(removed.shown.size())),
                           format_count(removed.n));
}

std::string removed_html(const RemovedDocuments& removed) {
  std::string out =
      "<!doctype html><meta charset=\"utf-8\"><title>Removed documents</title><style>body{font:14px "
      "sans-serif;margin:2em}"
      "td,th{vertical-align:top;text-align:left;padding:.3em .8em;border-bottom:1px solid #ddd}"
      "td:last-child{font-family:monospace;white-space:pre-wrap}</style><h1>Removed documents</h1>";
  out += fmt::format("<p>{} of {}</p><table><tr><th>where<th>rule<th>also<th>begins with",
                     format_count(int64_t(removed.shown.size())), format_count(removed.n));
  for (const RemovedDocument& one : removed.shown)
    out += fmt::format("<tr><td>{}<td>{}<td>{}<td>{}", html_escape(one.place), html_escape(measured(one.refusal)),
                       html_escape(fmt::format("{}", fmt::join(one.others, ", "))), html_escape(one.begin));
  return out + "</table>\n";
}

}  // namespace hadal::data
