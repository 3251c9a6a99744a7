#include "train/report_sections.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/html.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "data/prepare.h"
#include "picture/grid.h"
#include "picture/html_table.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

// What was removed, whatever removed it: documents, bytes, and those that nothing else would have removed.
void add_removed(HtmlTable& table, const std::string& source, const data::SourceCounts& counts) {
  const auto share = [&](int64_t n) {
    return format_percent(double(n) / double(std::max<int64_t>(1, counts.documents)));
  };
  const auto add = [&](const char* by, int64_t n, int64_t bytes) {
    if (n > 0) table.add(escaped({source, by, format_count(n), share(n), bytes > 0 ? format_count(bytes) : "-", "-"}));
  };
  add("empty", counts.empty, 0);
  add("a copy of another document", counts.duplicates, counts.duplicate_bytes);
  for (const auto& [rule, removed] : counts.by_rule)
    table.add(escaped({source, rule, format_count(removed.documents), share(removed.documents),
                       format_count(removed.bytes), format_count(removed.alone)}));
  add("nothing to learn from in it", counts.refused, 0);
  add("no document: a bad line", counts.bad_lines, 0);
  if (counts.cut_bytes > 0)
    table.add(escaped({source, "lines of documents that stay", "-", "-", format_count(counts.cut_bytes), "-"}));
}

}  // namespace

std::string data_section(const RunRecord& run) {
  if (!run.has_config) return "";
  try {
    const data::ShardIndex index = data::read_index(data::cache_directory(run.config) / "shards");
    HtmlTable sources({"source", "documents", "training tokens", "held-out tokens"}),
        removed({"source", "removed by", "documents", "share", "bytes", "alone"});
    for (size_t s = 0; s < index.sources.size() && s < index.counts.size(); ++s) {
      const data::SourceCounts& counts = index.counts[s];
      sources.add(escaped({index.sources[s].name, format_count(counts.documents), format_count(counts.training_tokens),
                           format_count(counts.held_out_tokens)}));
      add_removed(removed, index.sources[s].name, counts);
    }
    std::string out = sources.text();
    if (!removed.empty())
      out += "<p>Removed documents: the first that asks counts; alone: no other rule would have removed it</p>\n" +
             removed.text();
    return out + fmt::format("<p class=\"soft\">text, split and tokenizer {}, tokenizer {}</p>\n",
                             html_escape(index.plan.substr(0, 16)), html_escape(index.tokenizer_hash.substr(0, 16)));
  } catch (const Error& error) {  // a page shows what there is
    return fmt::format("<p class=\"soft\">{}</p>\n", html_escape(error.what()));
  }
}

std::string packing_picture(const RunRecord& run) {
  if (!run.packing.is_object()) return "";
  constexpr int kWidth = 720, kRow = 14, kTop = 28;
  std::vector<std::string> sources;
  for (const auto& name : run.packing["sources"]) sources.push_back(name.get<std::string>());
  const auto& sequences = run.packing["sequences"];
  double longest = 1;
  for (const auto& sequence : sequences) {
    double tokens = number(sequence, "padding");
    for (const auto& passage : sequence["passages"]) tokens += passage[1].get<double>();
    longest = std::max(longest, tokens);
  }
  const int height = kTop + kRow * int(sequences.size()) + 22;
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {0} {1}\" style=\"max-width:{0}px\" role=\"img\"><text class=\"title\" x=\"0\" "
      "y=\"16\">{2}</text>\n",
      kWidth, height,
      html_escape(fmt::format("packed sequences of step 1, {} tokens each: a bar a document, by source", longest)));
  for (size_t row = 0; row < sequences.size(); ++row) {
    double at = 0;
    for (const auto& passage : sequences[row]["passages"]) {
      const double width = passage[1].get<double>() / longest * kWidth;
      svg +=
          fmt::format("<rect class=\"fill c{}\" x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\"/>",
                      passage[0].get<size_t>() % 10, at, kTop + kRow * int(row), std::max(0.3, width - 0.8), kRow - 3);
      at += width;
    }
    svg += "\n";
  }
  double at = 0;
  for (size_t s = 0; s < sources.size() && s < 10; ++s) {
    svg += fmt::format(
        "<rect class=\"fill c{}\" x=\"{:.0f}\" y=\"{}\" width=\"10\" height=\"10\"/><text class=\"tick\" x=\"{:.0f}\" "
        "y=\"{}\">{}</text>",
        s, at, height - 16, at + 14, height - 7, html_escape(sources[s]));
    at += 26 + 6.6 * double(sources[s].size());
  }
  return svg + "</svg>\n";
}

std::string domain_loads(const RunRecord& run) {
  if (run.validations.empty()) return "";
  const ordered_json& last = run.validations.back();
  Grid worst{
      .title = "experts' max / mean load by domain, " + run.name, .across = "MoE layers", .down = "domains", .high = 2};
  Grid all{.title = "experts' load over its layer's mean by domain, " + run.name,
           .across = "layer.expert",
           .down = "domains",
           .high = 2};
  for (const std::string& domain : domains_in({last})) {
    const auto& load = last["domains"][domain]["expert_load"];
    worst.rows.push_back(domain), all.rows.push_back(domain);
    worst.columns.clear(), all.columns.clear();
    for (size_t layer = 0; layer < load.size(); ++layer) {
      double total = 0, most = 0;
      for (const auto& count : load[layer]) total += count.get<double>(), most = std::max(most, count.get<double>());
      const double mean = total / double(std::max<size_t>(1, load[layer].size()));
      worst.columns.push_back(std::to_string(layer));
      worst.values.push_back(mean > 0 ? most / mean : 0);
      for (size_t e = 0; e < load[layer].size(); ++e) {
        all.columns.push_back(fmt::format("{}.{}", layer, e));
        all.values.push_back(mean > 0 ? load[layer][e].get<double>() / mean : 0);
      }
    }
  }
  if (worst.columns.empty()) return "";
  constexpr size_t kFit = 32;  // columns that stand beside each other
  return grid_chart(worst) + (all.columns.size() <= kFit ? grid_chart(all) : "");
}

std::string sample_timeline(const RunRecord& run, size_t most) {
  std::string out;
  const size_t n = run.samples.size();
  for (size_t i = most > 0 && n > most ? n - most : 0; i < n; ++i) {
    const auto& sample = run.samples[i];
    out += fmt::format("<p class=\"soft\">step {:.0f}</p><pre><b>{}</b>{}</pre>\n", number(sample, "step"),
                       html_escape(sample.value("prompt", "")), html_escape(sample.value("text", "")));
  }
  return out;
}

std::string configuration_details(const RunRecord& run) {
  if (!run.has_config) return "";
  return fmt::format("<details><summary>configuration, {}</summary><pre>{}</pre></details>\n", html_escape(run.name),
                     html_escape(config_to_toml(run.config)));
}

}  // namespace hadal
