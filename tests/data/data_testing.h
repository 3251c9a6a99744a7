// What the tests of the data room share: directories that vanish, sources written on the spot, and a tokenizer of bytes
// alone (ids 3..258, §2.1), with which everything can be computed by hand.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/exec.h"
#include "base/files.h"
#include "base/random.h"
#include "data/loader.h"
#include "data/prepare.h"
#include "text/bpe_trainer.h"
#include "text/tokenizer.h"

namespace hadal::data {
namespace fs = std::filesystem;

inline const ProgressOptions kQuiet{.unit = "B", .quiet = true};

class TempDir {
 public:
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  TempDir() {
    std::string pattern =
        (fs::temp_directory_path() / "hadal data ü XXXXXX").string();  // space and Unicode in every test
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code code;
    fs::remove_all(path_, code);
  }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string json_line(const std::string& text) {
  std::string out = "{\"text\": \"";
  for (char c : text) out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '"' ? "\\\"" : std::string(1, c);
  return out + "\"}\n";
}

inline void write_jsonl(const fs::path& path, const std::vector<std::string>& documents) {
  std::string all;
  for (const auto& text : documents) all += json_line(text);
  write_text(path, all);
}

inline Tokenizer train_tokenizer(const std::string& text, int64_t vocab_size) {
  ThreadPool pool(1);
  BpeOptions options;
  options.vocab_size = vocab_size;
  BpeTrainer trainer(options, pool);
  trainer.add_text(text);
  return trainer.train();
}
inline Tokenizer byte_tokenizer() { return train_tokenizer("x", 3 + 256 + 8); }

// A tokenizer with merges, from repetitive English.
inline Tokenizer merging_tokenizer() {
  std::string text;
  for (int i = 0; i < 50; ++i)
    text += "the quick brown fox jumps over the lazy dog, again and again.\nThe end of the story!\n\n";
  return train_tokenizer(text, 420);
}

inline std::string random_text(int64_t bytes, uint64_t seed) {
  std::string text;
  RandomStream random{seed, 99};
  while (int64_t(text.size()) < bytes) text += random.below(6) == 0 ? ' ' : char('a' + random.below(26));
  return text;
}

inline SourceConfig source_of(const std::string& name, const fs::path& path, double weight = 0) {
  SourceConfig source;
  source.name = name;
  source.paths = {path.string()};
  source.weight = weight;
  return source;
}

inline std::vector<std::vector<std::string>> one_source(std::vector<std::string> documents) {
  return {std::move(documents)};
}

// Documents of several sources as shards, with a tokenizer of choice; no text held out unless asked for.
struct Fixture {
  TempDir directory;
  Config config;
  OwnedExec exec{1, Isa::reference};

  explicit Fixture(const std::vector<std::vector<std::string>>& sources, Tokenizer tokenizer = byte_tokenizer()) {
    tokenizer.save((directory / "tok").string());
    config.tokenizer.path = (directory / "tok").string();
    config.data.cache = (directory / "cache").string();
    config.data.holdout_fraction = 0;
    config.data.sequence_length = 16;
    config.data.pack_window = 8;
    for (size_t s = 0; s < sources.size(); ++s) {
      const std::string name = "s" + std::to_string(s);
      write_jsonl(directory / (name + ".jsonl"), sources[s]);
      config.data.sources.push_back(source_of(name, directory / (name + ".jsonl")));
    }
  }
  Prepared prepare(PrepareOptions options = {}) {
    options.quiet = true;
    return data::prepare(config, exec.exec, options);
  }
};

// Checks that `action` throws an Error of this kind whose message holds all parts.
template <class Action>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(int(error.kind()), int(kind)) << message;
    for (const auto& part : parts)
      EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << "an error is one line: " << message;
    return;
  }
  ADD_FAILURE() << "nothing was thrown";
}

}  // namespace hadal::data
