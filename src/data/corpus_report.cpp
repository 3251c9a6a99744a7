#include "data/corpus_report.h"

#include <array>
#include <map>

#include "base/table.h"
#include "base/text_format.h"
#include "data/file_names.h"
#include "data/loader.h"

namespace hadal::data {
namespace {

constexpr size_t kNotesListed = 10;

// "read as plain text: 14 .md, 3 .csv; as JSON lines: 2 .jsonl", or nothing.
std::string forms_in_words(const std::vector<SourceFiles>& sources) {
  std::array<std::map<std::string, int64_t>, std::size(kFormNames)> files;  // [form][extension]
  for (const auto& source : sources)
    for (const SourceFile& file : source.files)
      if (file.form && file.skipped.empty()) ++files[size_t(*file.form)][inner_extension(file.path)];
  std::string text;
  for (size_t form = 0; form < files.size(); ++form) {
    if (files[form].empty()) continue;
    text += fmt::format("{} {}:", text.empty() ? "read as" : "; as", kFormNames[form]);
    const char* between = " ";
    for (const auto& [extension, n] : files[form]) {
      text += fmt::format("{}{} {}", between, format_count(n), extension.empty() ? "without extension" : extension);
      between = ", ";
    }
  }
  return text;
}

}  // namespace

std::vector<std::string> corpus_notes(const std::vector<SourceFiles>& sources,
                                      const std::vector<SourceCounts>& counts) {
  std::vector<std::string> lines;
  if (std::string forms = forms_in_words(sources); !forms.empty()) lines.push_back(std::move(forms));
  size_t notes = 0;
  int64_t listed = 0, bad_lines = 0;
  for (const auto& source : sources)
    for (const SourceFile& file : source.files)
      for (const std::string& note : file.notes)
        if (++notes <= kNotesListed) lines.push_back(fmt::format("'{}' {}", file.path, note));
  if (notes > kNotesListed) lines.push_back(fmt::format("{} more notes of this kind", notes - kNotesListed));
  for (const auto& source : sources)
    for (const SourceFile& file : source.files)
      for (const BadLine& bad : file.bad_lines) {
        lines.push_back(fmt::format("skipped: '{}' line {}: {}", file.path, bad.line, bad.reason));
        ++listed;
      }
  for (const SourceCounts& c : counts) bad_lines += c.bad_lines;
  for (const auto& source : sources)
    for (size_t i = 0; i < source.left_out.size(); ++i)
      if (i < kNotesListed)
        lines.push_back("left out: " + source.left_out[i]);
      else if (i == kNotesListed)
        lines.push_back(fmt::format("left out: {} more of source '{}'", source.left_out.size() - i, source.name));
  if (bad_lines > listed) lines.push_back(fmt::format("skipped: {} more lines", format_count(bad_lines - listed)));
  return lines;
}

std::string heldout_note(const ShardIndex& index, const DataConfig& config) {
  SourceCounts all;
  for (const SourceCounts& c : index.counts) all.documents += c.documents, all.held_out_bytes += c.held_out_bytes;
  if (index.tails_instead)
    return fmt::format(
        "hashes of {} documents hold out none, or all: the last {} of each is held out instead, as by data.holdout = "
        "\"tail\"",
        format_count(all.documents), format_percent(config.holdout_fraction));
  if (all.held_out_bytes > 0) return "";
  const bool wanted = config.holdout_fraction > 0;
  return fmt::format("no text is held out, and validation will have nothing to read: {}data.holdout_fraction is {}",
                     wanted ? "there is too little of it, as " : "", config.holdout_fraction);
}

std::string Corpus::table(const std::vector<SourceFiles>& sources, const std::vector<SourceCounts>& counts) {
  SourceCounts sum;
  for (const auto& c : counts)
    sum.training_tokens += c.training_tokens, sum.filtered += c.filtered, sum.replaced += c.replaced,
        sum.refused += c.refused, sum.bad_lines += c.bad_lines;
  const bool tokens = sum.training_tokens > 0, filtered = sum.filtered > 0;
  std::vector<std::string> head{"source", "files", "skipped", "documents", "bytes", "empty", "duplicates"};
  if (sum.bad_lines > 0) head.push_back("bad lines");
  if (sum.replaced > 0) head.push_back("U+FFFD");
  if (filtered) head.push_back("filtered");
  if (sum.refused > 0) head.push_back("refused");
  for (const char* side : {"training", "held out"}) {
    head.push_back(side), head.push_back("bytes");
    if (tokens) head.push_back("tokens");
  }
  Table table(head);
  auto add = [&](const std::string& name, const SourceCounts& c) {
    std::vector<std::string> row{name,
                                 format_count(c.files),
                                 format_count(c.skipped_files),
                                 format_count(c.documents),
                                 format_count(c.bytes),
                                 format_count(c.empty),
                                 format_count(c.duplicates)};
    if (sum.bad_lines > 0) row.push_back(format_count(c.bad_lines));
    if (sum.replaced > 0) row.push_back(format_count(c.replaced));
    if (filtered) row.push_back(format_count(c.filtered));
    if (sum.refused > 0) row.push_back(format_count(c.refused));
    row.push_back(format_count(c.training)), row.push_back(format_count(c.training_bytes));
    if (tokens) row.push_back(format_count(c.training_tokens));
    row.push_back(format_count(c.held_out)), row.push_back(format_count(c.held_out_bytes));
    if (tokens) row.push_back(format_count(c.held_out_tokens));
    table.add(row);
  };
  SourceCounts all;
  for (size_t s = 0; s < counts.size(); ++s) {
    const SourceCounts& c = counts[s];
    add(sources[s].name, c);
    all.files += c.files, all.skipped_files += c.skipped_files, all.documents += c.documents, all.bytes += c.bytes;
    all.empty += c.empty, all.duplicates += c.duplicates, all.filtered += c.filtered;
    all.refused += c.refused;
    all.replaced += c.replaced, all.bad_lines += c.bad_lines;
    all.training += c.training, all.training_bytes += c.training_bytes, all.training_tokens += c.training_tokens;
    all.held_out += c.held_out, all.held_out_bytes += c.held_out_bytes, all.held_out_tokens += c.held_out_tokens;
  }
  if (counts.size() > 1) table.add_rule(), add("all", all);
  return table.text();
}

std::string corpus_table(const Shards& shards, const DataConfig& config) {
  std::string text = Corpus::table(shards.index().sources, shards.index().counts);
  if (const std::string removed = removed_table(shards.index().sources, shards.index().counts); !removed.empty())
    text += "\n" + removed;
  std::vector<double> weights;
  std::vector<int64_t> tokens;
  for (int64_t s = 0; s < shards.n_sources(); ++s) {
    weights.push_back(config.sources[size_t(s)].weight);
    tokens.push_back(shards.n_tokens(Split::training, s));
  }
  if (shards.n_sources() < 2) return text;
  text += "\nmixture:";
  const std::vector<double> shares = mixture_weights(weights, tokens);
  for (int64_t s = 0; s < shards.n_sources(); ++s) {
    text += fmt::format("{} {} {}", s ? "," : "", shards.source_name(s), format_percent(shares[size_t(s)]));
  }
  return text + " of the training tokens\n";
}

std::string removed_table(const std::vector<SourceFiles>& sources, const std::vector<SourceCounts>& counts) {
  Table table({"source", "removed by", "documents", "share", "bytes", "tokens, about", "by it alone"});
  for (size_t s = 0; s < counts.size(); ++s) {
    const SourceCounts& c = counts[s];
    // As many per byte as what stays has; unknown before that is tokenised.
    const auto tokens = [&](int64_t bytes) {
      if (c.training_tokens == 0) return std::string("-");
      return format_count(int64_t(double(bytes) * double(c.training_tokens) / double(c.training_bytes)));
    };
    for (const auto& [rule, removed] : c.by_rule)
      table.add({sources[s].name, rule, format_count(removed.documents),
                 format_percent(double(removed.documents) / double(std::max<int64_t>(1, c.documents))),
                 format_count(removed.bytes), tokens(removed.bytes), format_count(removed.alone)});
    if (c.cut_bytes > 0)
      table.add({sources[s].name, "c4, lines of documents that stay", "-", "-", format_count(c.cut_bytes),
                 tokens(c.cut_bytes), "-"});
  }
  return table.empty() ? "" : table.text();
}

}  // namespace hadal::data
