#include "text/bpe_trainer.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "base/utf8.h"
#include "text/bpe_merger.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_json.h"
#include "text/word_counts.h"

namespace hadal {
namespace {

constexpr size_t kBlockBytes = 256 << 10;   // one task of counting
constexpr size_t kPendingBytes = 16 << 20;  // counted in one go
constexpr size_t kReadBytes = 4 << 20;
constexpr int64_t kWordsOfOneThread = 1 << 18;  // then its table is added to the common one
constexpr double kReportSeconds = 0.2;

// Several texts, or a part of a long one, to be counted by one thread.
struct Block {
  std::string bytes;
  std::vector<size_t> ends;
};

// A place at most `limit` bytes into the text where no word crosses: behind a line end that a visible ASCII character
// follows (none of the report's expressions joins the two). Failing that, a character's border; 0 if the limit is
// inside one.
size_t place_to_cut(std::string_view text, size_t limit) {
  for (size_t at = std::min(limit, text.size() - 1); at > 0; --at) {
    if (text[at - 1] == '\n' && text[at] > 0x20 && text[at] < 0x7F) return at;
  }
  size_t at = std::min(limit, text.size());
  while (at > 0 && at < text.size() && (text[at] & 0xC0) == 0x80) --at;
  return at > 0 ? at : std::min(limit, text.size());
}

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

struct BpeTrainer::State {
  State(BpeOptions with, ThreadPool& on) : options(std::move(with)), pool(on), pre_tokenizer(options.splits) {
    for (int i = 0; i < pool.n_threads(); ++i) workers.push_back(std::make_unique<Worker>(pre_tokenizer));
  }
  struct Worker {
    explicit Worker(const PreTokenizer& pre_tokenizer) : scratch(pre_tokenizer.make_scratch()) {}
    PreTokenizer::Scratch scratch;
    WordCounts words;
  };

  BpeOptions options;
  ThreadPool& pool;
  PreTokenizer pre_tokenizer;
  std::vector<std::unique_ptr<Worker>> workers;
  WordCounts words;
  std::vector<Block> pending;
  size_t pending_bytes = 0;
  int64_t bytes_seen = 0;
  std::function<void(const BpeProgress&)> report;
  double last_report = 0;

  void add(std::string_view part);
  void count_pending();
  void collect(bool all);
  void tell(BpeProgress progress, bool now);
  std::vector<std::string> names_at_end() const;
};

const std::vector<std::string_view>& BpeTrainer::first_tokens() {
  static const std::vector<std::string_view> names = {kBosToken, kEosToken, kPadToken};
  return names;
}

const std::vector<std::string_view>& BpeTrainer::last_tokens() {
  static const std::vector<std::string_view> names = {kFimHoleToken,    kFimBeginToken,  kFimEndToken,
                                                      kUserToken,       kAssistantToken, kEndOfTurnToken,
                                                      kThinkBeginToken, kThinkEndToken};
  return names;
}

std::vector<std::string> BpeTrainer::State::names_at_end() const {
  std::vector<std::string> names(last_tokens().begin(), last_tokens().end());
  names.insert(names.end(), options.extra_tokens.begin(), options.extra_tokens.end());
  return names;
}

BpeTrainer::BpeTrainer(BpeOptions options, ThreadPool& pool)
    : state_(std::make_unique<State>(std::move(options), pool)) {
  const BpeOptions& with = state_->options;
  std::vector<std::string> names = state_->names_at_end();
  names.insert(names.end(), first_tokens().begin(), first_tokens().end());
  const auto least = int64_t(256 + names.size());
  check(with.vocab_size >= least, ErrorKind::invalid,
        "a vocabulary of {} is too small: 256 bytes and {} added tokens need at least {}", with.vocab_size,
        names.size(), least);
  check(with.vocab_size <= BpeModel::kMostTokens, ErrorKind::invalid, "a vocabulary of {} is too large: at most {}",
        with.vocab_size, BpeModel::kMostTokens);
  check(with.min_count >= 1, ErrorKind::invalid, "min_count is {}, but a pair occurs at least once", with.min_count);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  check(twice == names.end(), ErrorKind::invalid, "added token '{}' is listed twice",
        twice == names.end() ? "" : *twice);
  for (const std::string& name : names) {
    check(!name.empty() && utf8_valid_prefix(name) == int64_t(name.size()), ErrorKind::invalid,
          "added token '{}' is empty or not UTF-8", name);
  }
}
BpeTrainer::~BpeTrainer() = default;

void BpeTrainer::on_progress(std::function<void(const BpeProgress&)> report) { state_->report = std::move(report); }
int64_t BpeTrainer::bytes_seen() const { return state_->bytes_seen; }

int64_t BpeTrainer::distinct_words() const {
  state_->count_pending();
  state_->collect(true);
  return state_->words.n_words();
}

void BpeTrainer::State::tell(BpeProgress progress, bool now) {
  if (!report) return;
  const double time = steady_seconds();
  if (!now && time - last_report < kReportSeconds) return;
  last_report = time;
  report(progress);
}

void BpeTrainer::State::add(std::string_view part) {
  if (part.empty()) return;
  if (pending.empty() || pending.back().bytes.size() >= kBlockBytes) {
    pending.emplace_back();
    pending.back().bytes.reserve(kBlockBytes + part.size());
  }
  pending.back().bytes += part;
  pending.back().ends.push_back(pending.back().bytes.size());
  pending_bytes += part.size();
  bytes_seen += int64_t(part.size());
  if (pending_bytes >= kPendingBytes) count_pending();
}

void BpeTrainer::State::count_pending() {
  pool.parallel_for(int64_t(pending.size()), [&](int64_t index, int worker_index) {
    Worker& worker = *workers[worker_index];
    const Block& block = pending[index];
    size_t begin = 0;
    for (size_t end : block.ends) {
      const auto text = std::string_view(block.bytes).substr(begin, end - begin);
      pre_tokenizer.split(text, worker.scratch, [&](std::string_view word) {
        if (word.size() > 1) worker.words.add(word);  // a single byte has nothing to merge
      });
      begin = end;
    }
  });
  pending.clear();
  pending_bytes = 0;
  collect(false);
  tell({"counting words", bytes_seen, 0, words.n_words()}, false);
}

void BpeTrainer::State::collect(bool all) {
  for (auto& worker : workers) {
    if (!all && worker->words.n_words() < kWordsOfOneThread) continue;
    words.add_all(worker->words);
    worker->words.clear();
  }
}

void BpeTrainer::add_text(std::string_view text) {
  while (text.size() > 2 * kBlockBytes) {
    const size_t cut = place_to_cut(text, kBlockBytes);
    state_->add(text.substr(0, cut));
    text.remove_prefix(cut);
  }
  state_->add(text);
}

void BpeTrainer::add_texts(const std::function<bool(std::string&)>& next) {
  for (std::string text; next(text);) add_text(text);
}

void BpeTrainer::add_file(const std::string& path) {
  check(std::filesystem::exists(path), ErrorKind::not_found, "no file '{}' to train a tokenizer on", path);
  check(!std::filesystem::is_directory(path), ErrorKind::invalid, "'{}' is a directory, not a text file", path);
  const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  check(file != nullptr, ErrorKind::io, "cannot open '{}' for reading", path);
  add_stream([&](char* out, size_t size) {
    const size_t got = std::fread(out, 1, size, file.get());
    check(!std::ferror(file.get()), ErrorKind::io, "cannot read '{}'", path);
    return got;
  });
}

void BpeTrainer::add_stream(const std::function<size_t(char* out, size_t size)>& read) {
  std::string buffer;
  while (true) {
    const size_t before = buffer.size();
    buffer.resize(before + kReadBytes);
    size_t filled = before;
    while (filled < buffer.size()) {
      const size_t got = read(buffer.data() + filled, buffer.size() - filled);
      if (got == 0) break;
      filled += got;
    }
    const bool end = filled < buffer.size();
    buffer.resize(filled);
    if (end) break;
    const size_t cut = place_to_cut(buffer, buffer.size());
    add_text(std::string_view(buffer).substr(0, cut));
    buffer.erase(0, cut);
  }
  add_text(buffer);
}

Tokenizer BpeTrainer::train() {
  State& state = *state_;
  check(state.bytes_seen > 0, ErrorKind::invalid, "there is no text to train a tokenizer on (0 bytes)");
  state.count_pending();
  state.collect(true);

  TokenizerFile file;
  for (std::string_view name : first_tokens()) {
    file.added.push_back({int32_t(file.tokens.size()), std::string(name), true, false});
    file.tokens.emplace_back(name);
  }
  for (uint8_t byte : byte_alphabet().in_order) {
    file.byte_ids[byte] = int32_t(file.tokens.size());
    file.tokens.emplace_back(1, char(byte));
  }
  const std::vector<std::string> last = state.names_at_end();
  std::vector<std::string> forbidden = last;
  forbidden.insert(forbidden.end(), first_tokens().begin(), first_tokens().end());
  BpeMerger merger(file.tokens, file.byte_ids, forbidden);
  state.words.for_each([&](const WordCounts::Word& word) { merger.add_word(word.text(), word.count); });
  const int64_t n_words = state.words.n_words();
  state.words.clear();
  state.bytes_seen = 0;

  const int64_t n_tokens = state.options.vocab_size - int64_t(last.size());
  const int64_t first_merge = int64_t(file.tokens.size());
  auto progress = [&](int64_t tokens, bool now) {
    state.tell({"merging", tokens - first_merge, n_tokens - first_merge, n_words}, now);
  };
  progress(first_merge, true);
  merger.run(n_tokens, state.options.min_count, [&](int64_t tokens) { progress(tokens, false); });
  progress(int64_t(merger.tokens().size()), true);

  file.tokens = merger.tokens();
  file.merges = merger.merges();
  for (const std::string& name : last) {
    const bool special = name == kEndOfTurnToken;  // the flags of the released file
    file.added.push_back({int32_t(file.tokens.size()), name, special, true});
    file.tokens.push_back(name);
  }
  file.splits = state.options.splits;
  return Tokenizer::from_json_text(write_tokenizer_json(file), write_tokenizer_config());
}

}  // namespace hadal
