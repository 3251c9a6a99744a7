// Rules, near duplicates and decontamination at work for bench/data_quality_bench.py, which writes a line with a number
// of threads and reads one of JSON: {"seconds", "cpu_seconds", "bytes", "documents", "removed", "alike"}.
// usage: data_quality_worker TEXTS.jsonl EVALUATION.jsonl
#include <sys/resource.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/json.h"
#include "data/corpus.h"

namespace {

using namespace hadal;

DataConfig config_of(const std::string& texts, const std::string& evaluation) {
  DataConfig config;
  SourceConfig& source = config.sources.emplace_back();
  source.name = "texts", source.paths = {texts};
  source.rules = {"gopher_repetition", "gopher_quality", "c4", "fineweb"};
  config.near_duplicates.across = Across::all;
  if (!evaluation.empty()) config.decontaminate.files = {evaluation};
  return config;
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const DataConfig config = config_of(argv[1], argv[2]);
  for (std::string line; std::getline(std::cin, line);) {
    ThreadPool pool(std::stoi(line));
    const double worked = cpu_seconds();
    const double start = steady_seconds();
    const data::Corpus corpus = data::Corpus::scan(config, {.quiet = true}, {.pool = &pool});
    const double seconds = steady_seconds() - start;
    const data::SourceCounts& counts = corpus.counts()[0];
    std::cout << json_text(nlohmann::json{{"seconds", seconds},
                                          {"cpu_seconds", cpu_seconds() - worked},
                                          {"bytes", counts.bytes},
                                          {"documents", counts.documents},
                                          {"removed", counts.filtered},
                                          {"alike", corpus.near_duplicates().size()}})
              << std::endl;
  }
}
