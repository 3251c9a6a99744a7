// What `hadal inspect` says of FP8 scales, of the tokenizer, and of what fits into this machine's memory.
#include <fmt/format.h>

#include "apps/inspect.h"
#include "base/error.h"
#include "base/table.h"
#include "base/text_format.h"
#include "checkpoint/phase_record.h"
#include "text/chat_files.h"
#include "text/tokenizer.h"

namespace hadal {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

namespace {

void read_tokenizer(const fs::path& directory, TokenizerFacts& facts) {
  const Tokenizer tokenizer = Tokenizer::load(directory.string());
  facts.kind =
      fmt::format("byte-level BPE, {} split{}", tokenizer.splits().size(), tokenizer.splits().size() == 1 ? "" : "s");
  facts.vocabulary = tokenizer.vocab_size();
  facts.merges = tokenizer.n_merges();
  facts.added = int64_t(tokenizer.added_tokens().size());
  for (const auto& added : tokenizer.added_tokens()) facts.special += added.special ? 1 : 0;
  const std::pair<const char*, std::optional<int32_t>> ids[] = {
      {"BOS", tokenizer.bos_id()},           {"EOS", tokenizer.eos_id()},
      {"PAD", tokenizer.pad_id()},           {"FIM begin", tokenizer.fim_begin_id()},
      {"FIM hole", tokenizer.fim_hole_id()}, {"FIM end", tokenizer.fim_end_id()}};
  for (const auto& [name, id] : ids)
    if (id) facts.ids.emplace_back(name, *id);
}

}  // namespace

TokenizerFacts tokenizer_facts(const fs::path& directory) {
  TokenizerFacts facts;
  facts.present = Tokenizer::is_in(directory.string());
  try {
    facts.chat_template = !read_chat_files(directory.string()).templates.empty();
    if (facts.present) read_tokenizer(directory, facts);
  } catch (const Error& error) {  // a model of ids is still a model
    facts.fault = error.what();
  }
  return facts;
}

void print_scales(const ScaleStatistics& s) {
  if (s.tensors == 0) return;
  fmt::print("FP8 scales: {} in {} tensors; min {:.6g}, max {:.6g}; zeros {}, negative {}, NaN {}, infinite {}; {}\n\n",
             format_count(s.scales), format_count(s.tensors), s.min, s.max, s.zeros, s.negative, s.nan, s.infinite,
             s.not_powers_of_two == 0 ? std::string("all powers of two (ue8m0)")
                                      : format_count(s.not_powers_of_two) + " are not powers of two");
}

void print_tokenizer(const TokenizerFacts& facts) {
  if (!facts.present) {
    fmt::print("tokenizer: none; a model of token ids\n");
  } else if (!facts.fault.empty()) {
    fmt::print("tokenizer: cannot be used: {}\n", facts.fault);
  } else {
    fmt::print("tokenizer: {}; {} ids, {} merges, {} added tokens, {} of them special\n", facts.kind,
               format_count(facts.vocabulary), format_count(facts.merges), facts.added, facts.special);
    std::string ids;
    for (const auto& [name, id] : facts.ids) ids += fmt::format("{}{} {}", ids.empty() ? "" : ", ", name, id);
    if (!ids.empty()) fmt::print("           {}\n", ids);
  }
  fmt::print("chat template: {}\n", facts.chat_template ? "yes" : "none");
}

ordered_json scales_json(const ScaleStatistics& s) {
  return {{"tensors", s.tensors}, {"scales", s.scales},     {"min", s.min},
          {"max", s.max},         {"zeros", s.zeros},       {"negative", s.negative},
          {"nan", s.nan},         {"infinite", s.infinite}, {"not_powers_of_two", s.not_powers_of_two}};
}

ordered_json tokenizer_json(const TokenizerFacts& facts) {
  ordered_json json = {{"present", facts.present}, {"chat_template", facts.chat_template}};
  if (!facts.fault.empty()) json["fault"] = facts.fault;
  if (!facts.present || !facts.fault.empty()) return json;
  json["kind"] = facts.kind;
  json["vocabulary"] = facts.vocabulary;
  json["merges"] = facts.merges;
  json["added"] = facts.added;
  json["special"] = facts.special;
  json["ids"] = ordered_json::object();
  for (const auto& [name, id] : facts.ids) json["ids"][name] = id;
  return json;
}

void print_memory(const std::vector<MemoryFit>& fits) {
  fmt::print("\nin this machine's memory ({}):\n", format_bytes(double(fits.at(0).limit)));
  for (const auto& fit : fits) {
    const std::string verdict =
        fit.fits ? fmt::format("fits, with a cache of {} tokens beside it", format_count(fit.context_tokens))
                 : fmt::format("does not fit: {:.1f} times the memory", double(fit.weight_bytes) / double(fit.limit));
    fmt::print("  {}  weights {}, cache {} per 1,000 tokens; {}\n", fit.precision,
               format_bytes(double(fit.weight_bytes)), format_bytes(double(fit.cache_bytes_per_1000_tokens)), verdict);
  }
}

ordered_json memory_json(const std::vector<MemoryFit>& fits) {
  ordered_json json = ordered_json::object();
  for (const auto& fit : fits)
    json[fit.precision] = {{"weight_bytes", fit.weight_bytes},
                           {"cache_bytes_per_1000_tokens", fit.cache_bytes_per_1000_tokens},
                           {"limit", fit.limit},
                           {"fits", fit.fits},
                           {"context_tokens", fit.context_tokens}};
  return json;
}

void print_lineage(const std::filesystem::path& run) {
  if (!has_phase_records(run)) return;
  Table table({"phase", "kind", "from", "steps", "tokens", "bits per byte", "checkpoint", "model", "parent", "data"});
  const auto first_digits = [](const std::string& hash) { return hash.empty() ? "-" : hash.substr(0, 12); };
  for (const PhaseRecord& r : read_phase_records(run))
    table.add({r.name, kind_in_words(r.kind, r.control_of), r.from.empty() ? "-" : r.from, format_count(r.steps),
               format_count(r.tokens), r.bits_per_byte > 0 ? fmt::format("{:.4f}", r.bits_per_byte) : "-", r.checkpoint,
               first_digits(r.model), first_digits(r.parent), first_digits(r.data)});
  fmt::print("{}\n", table.text());
}

nlohmann::ordered_json lineage_json(const std::filesystem::path& run) {
  auto all = nlohmann::ordered_json::array();
  for (const PhaseRecord& record : read_phase_records(run)) all.push_back(record_json(record));
  return all;
}

}  // namespace hadal
