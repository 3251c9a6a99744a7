// The options of a kernel bench. Apart from the benches, which need not each compile the parser.
#include "bench/harness.h"

#include <CLI/CLI.hpp>

namespace hadal::bench {

int main_of(int argc, char** argv, const char* about, int (*run)(const Options&)) {
  Options options;
  CLI::App app{about};
  app.add_option("--threads", options.threads, "threads; 0 = all granted");
  app.add_option("--isa", options.isa, "avx2, avx512, avx512_bf16, avx512_amx, reference or best");
  app.add_option("--only", options.only, "only cases whose name holds this");
  app.add_option("--seconds", options.seconds, "time spent per case, type and direction");
  app.add_option("--peak-candidate", options.sgemm,
                 "GFLOP/s of another library's best FP32 product here: the peak is no lower");
  app.add_option("--model", options.model, "engine_bench: what `engine_worker write` made");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench: error: %s\n", error.what());
    return 2;
  }
}

}  // namespace hadal::bench
