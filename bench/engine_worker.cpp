// engine_worker: our side of the serving benchmark (serving_rivals_bench.py drives it; rivals/llama.py and
// rivals/generate.py are the other side).
//   write DIR [CONFIG]   a random model (bench/random_model.h): of 3 billion weights, or of a run's configuration
//   run DIR              serves that directory: reads lines from standard input and answers each with one line of JSON
//     decode N           {"seconds": [N of them]}, of the N tokens behind the first one, after a prompt of 16
//     prefill N          {"seconds": [one]}, from a prompt of N tokens to its first token
// usage: engine_worker MODE ... [--weights values|fp8|int8|int4] [--precision fp32|bf16] [--threads N]
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "bench/random_model.h"
#include "config/config_io.h"
#include "engine/generator.h"
#include "exchange/loaded_model.h"

namespace hadal::bench {
namespace {

struct Options {
  std::string directory, config, weights = "values", precision = "bf16";
  int threads = 0;
};

int write(const Options& o) {
  make_directories(o.directory);
  write_random_model(o.directory, o.config.empty() ? serving_config() : load_config(o.config).model);
  return 0;
}

// Seconds of each step of one text alone; random tokens, which choose other experts each.
std::vector<double> steps_of(const Exec& exec, const Transformer& model, int64_t prompt, int64_t tokens) {
  static uint64_t turn = 0;
  RandomStream random{7, stream_id("bench.prompt"), ++turn << 32};
  EngineRequest request;
  for (int64_t i = 0; i < prompt; ++i) request.prompt.push_back(int32_t(random.below(model.config().vocab_size)));
  request.max_tokens = tokens, request.sampling.seed = turn, request.sampling.top_k = 40;
  Engine engine = engine_for(exec, model, request);
  engine.submit(std::move(request));
  std::vector<double> seconds;
  while (true) {
    const double begin = steady_seconds();
    if (!engine.step()) return seconds;
    seconds.push_back(steady_seconds() - begin);
  }
}

int serve(const Options& o) {
  const OwnedExec owned(o.threads);
  LoadedModel loaded = load_model(o.directory,
                                  {.precision = parse_enum<Precision>("--precision", o.precision),
                                   .attention_form = AttentionForm::absorbed,
                                   .weights = parse_enum<WeightFormat>("--weights", o.weights)},
                                  owned.exec);
  loaded.transformer->pack(owned.exec);
  std::string what;
  for (int64_t n = 0; std::cin >> what >> n;) {
    check(what == "decode" || what == "prefill", ErrorKind::invalid, "'{}': neither decode nor prefill", what);
    const bool decode = what == "decode";
    std::vector<double> seconds = steps_of(owned.exec, *loaded.transformer, decode ? 16 : n, decode ? n + 1 : 1);
    if (decode) seconds.erase(seconds.begin());  // the prompt's
    std::cout << json_text(nlohmann::json{{"seconds", seconds}}) << std::endl;
  }
  return 0;
}

int main_checked(int argc, char** argv) {
  Options o;
  CLI::App app{"Our side of the serving benchmark"};
  app.require_subcommand(1);
  CLI::App* const writing = app.add_subcommand("write", "write a random model");
  writing->add_option("DIR", o.directory)->required();
  writing->add_option("CONFIG", o.config, "a run's configuration; without it the model of 3 billion weights");
  CLI::App* const serving = app.add_subcommand("run", "answer lines from standard input");
  serving->add_option("DIR", o.directory)->required();
  serving->add_option("--weights", o.weights, "values, fp8, int8 or int4");
  serving->add_option("--precision", o.precision, "fp32 or bf16");
  serving->add_option("--threads", o.threads, "threads; 0 = all granted");
  CLI11_PARSE(app, argc, argv);
  return writing->parsed() ? write(o) : serve(o);
}

}  // namespace
}  // namespace hadal::bench

int main(int argc, char** argv) {
  try {
    return hadal::bench::main_checked(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "engine_worker: error: " << error.what() << "\n";
    return 1;
  }
}
