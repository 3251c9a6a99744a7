// Builds by several ranks, as threads, and corpora made so that what ranks do apart has to meet: copies, near copies
// and chains of them across files and sources.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "comm/rank_threads.h"
#include "data/dialogue_testing.h"
#include "data/near_duplicates_testing.h"

namespace hadal::data {

// A corpus of several sources and forms under `dir`, whose files differ much in size.
inline DataConfig made_corpus(const TempDir& dir, uint64_t seed) {
  RandomStream random{seed, stream_id("test.divided")};
  const std::vector<std::string> texts = families(600, seed);
  const auto any = [&] { return texts[random.below(texts.size())]; };
  std::vector<std::string> first, second;
  for (size_t i = 0; i < texts.size(); ++i) (i % 3 == 0 ? second : first).push_back(texts[i]);
  for (int i = 0; i < 60; ++i) second.push_back(any() + (i % 4 == 0 ? "\nshort line" : ""));
  write_jsonl(dir / "web/a.jsonl", first);
  write_jsonl(dir / "web/b.jsonl", second);
  std::string lines = "no JSON\n";
  for (int i = 0; i < 40; ++i) lines += json_line(i % 4 == 0 ? "" : any() + (i % 3 == 0 ? " once more" : ""));
  write_text(dir / "web/c.jsonl", lines + "{\"txt\": 1}\n");
  for (int i = 0; i < 30; ++i) write_text(dir / fmt::format("books/{:02}.txt", i), any() + "\n" + any());
  write_text(dir / "books/latin.txt", "caf\xE9 and " + any());
  write_text(dir / "books/zeros.bin", std::string("a\0b", 3));
  write_text(dir / "books/x.txt", any());
  std::string dialogues;
  for (int i = 0; i < 30; ++i)
    dialogues += messages_line({{"user", any()}, {"assistant", i % 2 ? any() : "yes"}}) + "\n";
  write_text(dir / "talk.jsonl", dialogues + dialogues.substr(0, dialogues.find('\n') + 1));
  std::string items;
  for (int i = 0; i < 10; ++i) items += any().substr(0, 120) + "\n";
  write_text(dir / "items.txt", items);
  DataConfig config;
  config.sources = {source_of("books", dir / "books"), source_of("web", dir / "web"),
                    source_of("talk", dir / "talk.jsonl")};
  config.sources[2].format = SourceFormat::messages;
  config.sources[1].rules = {"gopher_quality", "c4"};
  config.sources[1].limits.gopher_quality = {.min_words = 90, .min_stop_words = 0};
  config.sources[1].limits.c4 = {.ends_in_punctuation = false, .min_sentences = 0};  // cuts short lines
  config.on_bad_line = OnBadLine::skip;
  config.near_duplicates.across = Across::all;
  config.decontaminate.files = {(dir / "items.txt").string()};
  config.holdout = Holdout::hash;
  config.holdout_fraction = 0.1;
  return config;
}

// Runs body(ranks, exec) on each of n ranks.
template <class Body>
void on_ranks(int n, Body body) {
  run_rank_threads(n, [&](std::shared_ptr<Transport> transport) {
    const OwnedExec exec(1 + transport->rank() % 2, Isa::reference);
    Group ranks(std::move(transport), "data");
    body(ranks, exec.exec);
  });
}

// What prepare() gave on the first rank, the others helping.
struct Divided {
  std::vector<std::string> said;
  bool built = false;
  int64_t units_kept = 0;
};

inline Divided build_on_ranks(int n, const Config& config, int64_t unit_bytes = 20'000) {
  Divided divided;
  on_ranks(n, [&](Group& ranks, const Exec& exec) {
    PrepareOptions options;
    options.quiet = true, options.unit_bytes = unit_bytes, options.ranks = &ranks;
    if (!ranks.leads()) return help_to_prepare(config, exec, options);
    options.say = [&](const std::string& text) { divided.said.push_back(text); };
    const Prepared prepared = prepare(config, exec, options);
    divided.built = prepared.built, divided.units_kept = prepared.units_kept;
  });
  return divided;
}

// Every file below a directory, but the lock.
inline std::map<std::string, std::string> files_below(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file() && entry.path().filename() != ".lock")
      files[fs::relative(entry.path(), directory).string()] = read_file(entry.path());
  return files;
}

}  // namespace hadal::data
