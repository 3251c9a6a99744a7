#include "eval/training_overlap.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "checkpoint/phase_record.h"
#include "config/config_io.h"
#include "data/text_stream.h"

namespace hadal::eval {
namespace {

constexpr size_t kWindow = 13, kFewest = 6;
constexpr int64_t kItemsNamed = 5;

// Gives the hash of each word of a text that comes in pieces.
class WordCutter {
 public:
  template <class Take>
  void push(std::string_view text, Take take) {
    for (const char c : text) {
      if (hex_left_ > 0) {
        code_ = code_ * 16 + uint32_t(c <= '9' ? c - '0' : (c | 32) - 'a' + 10) % 16;
        if (--hex_left_ == 0) code_point(take);
      } else if (escaped_) {
        escaped_ = false;
        if (c == 'u')
          hex_left_ = 4, code_ = 0;
        else
          end(take);  // a line end, a quotation mark
      } else if (c == '\\') {
        escaped_ = true;
      } else {
        byte(c, take);
      }
    }
  }
  template <class Take>
  void end(Take take) {
    if (!word_.empty()) take(hash64(word_, 13));
    word_.clear();
  }

 private:
  template <class Take>
  void byte(char c, Take take) {
    const bool letter = static_cast<unsigned char>(c) >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9');
    if (letter)
      word_ += c >= 'A' && c <= 'Z' ? char(c + 32) : c;
    else
      end(take);
  }
  template <class Take>
  void code_point(Take take) {
    if (code_ < 0x80) return byte(char(code_), take);
    if (code_ < 0xD800 || code_ > 0xDFFF) append_utf8(word_, code_);
  }

  std::string word_;
  bool escaped_ = false;
  int hex_left_ = 0;
  uint32_t code_ = 0;
};

std::vector<uint64_t> words_of(const std::string& text) {
  std::vector<uint64_t> words;
  WordCutter cutter;
  const auto take = [&](uint64_t word) { words.push_back(word); };
  cutter.push(text, take);
  cutter.end(take);
  return words;
}

uint64_t mixed(uint64_t hash, uint64_t word) { return (hash ^ word) * 0x9E3779B97F4A7C15ull + (hash >> 29); }

struct Where {
  size_t task = 0, item = 0;
};

class Overlap {
 public:
  explicit Overlap(const std::vector<Task>& tasks) {
    for (size_t t = 0; t < tasks.size(); ++t) {
      found_.emplace_back();
      n_long_enough_.push_back(0);
      for (size_t i = 0; i < tasks[t].items.size(); ++i) add({t, i}, words_of(tasks[t].items[i].text));
    }
  }

  void look(std::string_view text) {
    words_.push(text, [&](uint64_t word) { take(word); });
  }
  void end_file() {
    words_.end([&](uint64_t word) { take(word); });
    last_ = {};
    n_ = 0;
  }

  void note(std::vector<Task>& tasks) const {
    for (size_t t = 0; t < tasks.size(); ++t) {
      if (found_[t].empty()) continue;
      std::string names;
      int64_t named = 0;
      for (const size_t item : found_[t])
        if (named++ < kItemsNamed) names += fmt::format("{}{}", names.empty() ? "" : ", ", tasks[t].items[item].id);
      tasks[t].notes.push_back(
          fmt::format("{} of {} items stand in the text that this run was trained on (items {}{}): its figures say "
                      "what it remembers",
                      found_[t].size(), n_long_enough_[t], names, named > kItemsNamed ? ", ..." : ""));
    }
  }
  bool anything_to_find() const { return !grams_.empty(); }

 private:
  void add(Where where, const std::vector<uint64_t>& words) {
    if (words.size() < kFewest) return;
    ++n_long_enough_[where.task];
    const size_t n = std::min(words.size(), kWindow);
    lengths_.insert(n);
    for (size_t begin = 0; begin + n <= words.size(); ++begin) {
      uint64_t hash = n;
      for (size_t i = begin; i < begin + n; ++i) hash = mixed(hash, words[i]);
      grams_[hash].push_back(where);
    }
  }

  void take(uint64_t word) {
    last_[n_++ % kWindow] = word;
    for (const size_t n : lengths_) {
      if (n_ < n) return;
      uint64_t hash = n;
      for (size_t i = n_ - n; i < n_; ++i) hash = mixed(hash, last_[i % kWindow]);
      const auto known = grams_.find(hash);
      if (known == grams_.end()) continue;
      for (const Where& where : known->second) found_[where.task].insert(where.item);
    }
  }

  std::unordered_map<uint64_t, std::vector<Where>> grams_;
  std::set<size_t> lengths_;
  std::vector<std::set<size_t>> found_;  // of each task: its items
  std::vector<int64_t> n_long_enough_;
  WordCutter words_;
  std::array<uint64_t, kWindow> last_{};
  size_t n_ = 0;
};

}  // namespace

TrainingText training_text_of(const std::filesystem::path& model) {
  namespace fs = std::filesystem;
  TrainingText text;
  std::set<fs::path> runs, files;
  fs::path run = phase_run(model).value_or(model);
  while (fs::exists(run / "config.toml") && runs.insert(run).second) {
    const Config config = load_config((run / "config.toml").string());
    for (const SourceConfig& source : config.data.sources) {
      for (const std::string& pattern : source.paths) {
        try {
          for (const auto& file : list_files(pattern))
            if (files.insert(file).second) text.files.push_back(file);
        } catch (const Error&) {
          text.missing.push_back(pattern);
        }
      }
    }
    const fs::path start = config.train.start_model;
    if (start.empty() || !fs::exists(start)) break;
    run = phase_run(start).value_or(start);
  }
  std::error_code ignored;
  for (const auto& file : text.files) text.bytes += int64_t(fs::file_size(file, ignored));
  return text;
}

void note_training_overlap(const TrainingText& text, std::vector<Task>& tasks, bool quiet) {
  Overlap overlap(tasks);
  if (!overlap.anything_to_find() || text.files.empty()) return;
  const CleanStop polled("stopping");
  Progress progress("looking for items in the training text", text.bytes, {.unit = "B", .quiet = quiet});
  std::vector<char> buffer(1 << 20);
  int64_t before = 0;
  for (const auto& file : text.files) {
    const auto stream = data::open_text(file);
    while (const int64_t n = stream->read(buffer.data(), int64_t(buffer.size()))) {
      stop_if_interrupted("the training text was not read to its end");
      overlap.look({buffer.data(), size_t(n)});
      progress.set(before + stream->file_bytes_read());
    }
    overlap.end_file();
    before += stream->file_bytes_read();
  }
  overlap.note(tasks);
}

}  // namespace hadal::eval
