// Removed documents beside the rule that removed them.
#include "data/removed.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/html.h"
#include "base/text_format.h"
#include "data/compared_documents.h"
#include "data/features.h"
#include "data/one_line.h"

namespace hadal::data {
namespace {

std::string measured(const Refusal& refusal) {
  if (refusal.limit == 0) return refusal.rule;
  return fmt::format("{}: {:.4g}, limit {:.4g}", refusal.rule, refusal.value, refusal.limit);
}

// Goes once more through a corpus that was scanned.
class Shower {
 public:
  Shower(const Corpus& corpus, const std::string& rule, int64_t most)
      : corpus_(corpus),
        rule_(rule),
        most_(most),
        features_(corpus.config(), &corpus.common_groups()),
        pairs_(corpus, features_) {
    if (!of_rule(kNearDuplicateRule)) return;
    pairs_.want_largest_cluster();
    const auto& gone = corpus.near_duplicates();
    for (size_t i = 0; i < gone.size() && int64_t(i) < most; ++i) pairs_.want(gone[i]);
  }

  RemovedDocuments show() {
    size_t source = 0;
    corpus_.read(0, [&](int64_t document, const std::string& text) {
      while (document >= corpus_.first_document(int64_t(source) + 1)) ++source;
      const Fate fate = corpus_.facts(document).fate;
      pairs_.take(document, source, text);
      if (fate == Fate::filtered) show_refused(document, source, text);
      if (fate == Fate::near_duplicate && of_rule(kNearDuplicateRule)) show_near_duplicate(document, source, text);
      return true;
    });
    removed_.largest_cluster = pairs_.largest_cluster();
    return std::move(removed_);
  }

 private:
  bool of_rule(const std::string& name) const { return name.starts_with(rule_); }

  RemovedDocument document_of(int64_t document, size_t source, const std::string& text, Refusal refusal) const {
    return {corpus_.sources()[source].name, corpus_.place_of(document), std::move(refusal), {}, one_line(text), {}};
  }

  void show_refused(int64_t document, size_t source, const std::string& text) {
    const std::vector<Refusal> all = features_.refusals(text, source);  // in the order in which they are asked
    if (all.empty() || !of_rule(all.front().rule) || ++removed_.n > most_) return;
    RemovedDocument one = document_of(document, source, text, all.front());
    for (size_t i = 1; i < all.size(); ++i) one.others.push_back(all[i].rule);
    if (all.back().rule.starts_with(kDecontaminateRule)) one.beside = pairs_.evaluation_item(text, source);
    removed_.shown.push_back(std::move(one));
  }

  void show_near_duplicate(int64_t document, size_t source, const std::string& text) {
    if (++removed_.n > most_) return;
    double similarity = 0;
    std::vector<std::string> beside = pairs_.beside_first(document, source, text, similarity);
    const double threshold = corpus_.config().near_duplicates.threshold;
    RemovedDocument one = document_of(document, source, text, {kNearDuplicateRule, similarity, threshold});
    one.beside = std::move(beside);
    removed_.shown.push_back(std::move(one));
  }

  const Corpus& corpus_;
  const std::string& rule_;
  const int64_t most_;
  const FeatureMaker features_;
  ComparedDocuments pairs_;
  RemovedDocuments removed_;
};

}  // namespace

RemovedDocuments removed_documents(const DataConfig& config, const std::string& rule, int64_t most,
                                   const ProgressOptions& progress, const ScanOptions& options) {
  const Corpus corpus = Corpus::scan(config, progress, options);
  return Shower(corpus, rule, most).show();
}

std::string removed_text(const RemovedDocuments& removed) {
  std::string out;
  for (const RemovedDocument& one : removed.shown) {
    out += fmt::format("{}\n  {}{}\n  {}\n", one.place, measured(one.refusal),
                       one.others.empty() ? "" : fmt::format("; also {}", fmt::join(one.others, ", ")), one.begin);
    for (const std::string& line : one.beside) out += fmt::format("  {}\n", line);
  }
  if (!removed.largest_cluster.empty()) out += removed.largest_cluster + "\n";
  return out + fmt::format("{} of {} removed documents\n", format_count(int64_t(removed.shown.size())),
                           format_count(removed.n));
}

std::string removed_html(const RemovedDocuments& removed) {
  std::string out =
      "<!doctype html><meta charset=\"utf-8\"><title>Removed documents</title><style>body{font:14px "
      "sans-serif;margin:2em}"
      "td,th{vertical-align:top;text-align:left;padding:.3em .8em;border-bottom:1px solid #ddd}"
      "td:last-child{font-family:monospace;white-space:pre-wrap}</style><h1>Removed documents</h1>";
  out += fmt::format("<p>{} of {}</p>", format_count(int64_t(removed.shown.size())), format_count(removed.n));
  if (!removed.largest_cluster.empty()) out += fmt::format("<p>{}</p>", html_escape(removed.largest_cluster));
  out += "<table><tr><th>where<th>rule<th>also<th>held against<th>begins with";
  for (const RemovedDocument& one : removed.shown)
    out += fmt::format("<tr><td>{}<td>{}<td>{}<td>{}<td>{}", html_escape(one.place), html_escape(measured(one.refusal)),
                       html_escape(fmt::format("{}", fmt::join(one.others, ", "))),
                       html_escape(fmt::format("{}", fmt::join(one.beside, "; "))), html_escape(one.begin));
  return out + "</table>\n";
}

}  // namespace hadal::data
