// The tokenizer at work for bench/tokenizer_bench.py, which writes commands and reads one line of JSON for each:
//   load FILE      texts, one JSON string a line
//   encode N       all texts on N threads: {"seconds", "tokens"}
//   train V N      a vocabulary of V on the texts, N threads: {"seconds", "bytes", "words", "merges", "peak_bytes"}
//   train_lines FILE REPEATS V N   the same from a file read REPEATS times
// usage: tokenizer_worker TOKENIZER
#include <sys/resource.h>

#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/clock.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "text/bpe_trainer.h"

namespace {

using namespace hadal;

int64_t peak_bytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

nlohmann::json train(int64_t vocab, int threads, const std::function<void(BpeTrainer&)>& feed) {
  const double start = steady_seconds();
  ThreadPool pool(threads);
  BpeOptions options;
  options.vocab_size = vocab;
  BpeTrainer trainer(options, pool);
  feed(trainer);
  const int64_t bytes = trainer.bytes_seen(), words = trainer.distinct_words();
  const double counted = steady_seconds();
  const Tokenizer tokenizer = trainer.train();
  const double end = steady_seconds();
  return {{"seconds", end - start}, {"counting", counted - start},    {"bytes", bytes},
          {"words", words},         {"merges", tokenizer.n_merges()}, {"peak_bytes", peak_bytes()}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const Tokenizer tokenizer = Tokenizer::load(argv[1]);
  std::map<int, std::unique_ptr<ThreadPool>> pools;
  std::vector<std::string> texts;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, file;
    int threads = 1, repeats = 1;
    int64_t vocab = 0;
    words >> command;
    nlohmann::json answer = nlohmann::json::object();
    if (command == "load") {
      words >> file;
      texts.clear();
      std::ifstream in(file);
      for (std::string text; std::getline(in, text);) texts.push_back(parse_json(text, file));
      answer["texts"] = texts.size();
    } else if (command == "encode") {
      words >> threads;
      if (!pools[threads]) pools[threads] = std::make_unique<ThreadPool>(threads);
      const std::vector<std::string_view> views(texts.begin(), texts.end());
      const double start = steady_seconds();
      const auto ids = tokenizer.encode_all(views, SpecialTokens::as_text, *pools[threads]);
      answer["seconds"] = steady_seconds() - start;
      int64_t tokens = 0;
      for (const auto& text : ids) tokens += int64_t(text.size());
      answer["tokens"] = tokens;
    } else if (command == "train") {
      words >> vocab >> threads;
      answer = train(vocab, threads, [&](BpeTrainer& trainer) {
        for (const std::string& text : texts) trainer.add_text(text);
      });
    } else if (command == "train_lines") {
      words >> file >> repeats >> vocab >> threads;
      answer = train(vocab, threads, [&](BpeTrainer& trainer) {
        for (int i = 0; i < repeats; ++i) trainer.add_file(file);
      });
    } else {
      return 2;
    }
    std::cout << json_text(answer) << std::endl;
  }
}
