// One case of the oracle's grid (tests/oracle/generate.py): loading it, running our Transformer on it, and comparing
// everything. compare_* return failures as text instead of asserting, so that the seeded faults can require them.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "storage/safetensors.h"
#include "train/oracle_batch.h"

namespace hadal::oracle {

struct Expected {
  double main = 0, balance = 0, total = 0;
  int64_t main_count = 0;
  std::vector<double> mtp;
  std::vector<int64_t> mtp_count;
  std::vector<std::vector<int64_t>> expert_load;
  std::vector<std::vector<int32_t>> routes;
};

struct Case {
  std::string name, summary;
  ModelConfig config;
  ModelOptions options;  // precision is set per run
  int threads = 1;
  bool split = false;  // every sequence as its own micro-batch
  MicroBatch batch;
  LossWeights weights;
  double gamma = 0;
  Expected expected;
  std::shared_ptr<SafetensorsReader> tensors;

  std::vector<MicroBatch> micro_batches() const;
};

Case load_case(const std::filesystem::path& json_path);
std::vector<std::filesystem::path> case_files(const std::filesystem::path& directory);  // sorted

// Runs the generator with .venv's Python; throws with its output's last lines when it fails.
void run_python(const std::string& script_and_arguments);
bool python_available();

// A directory under the system's temporary one, removed at the end.
class ScratchDirectory {
 public:
  explicit ScratchDirectory(const std::string& name);
  ~ScratchDirectory();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Worst {
  double value = 0;
  std::string where;
  void see(double candidate, const std::string& place) {
    if (!(candidate <= value)) value = candidate, where = place;
  }
};

// What a comparison found, over one or many cases.
struct Findings {
  std::vector<std::string> failures;
  Worst loss;                         // relative
  Worst gradient;                     // ||delta|| / (relative * ||g|| + absolute * sqrt(n)); 1 is the bound
  Worst gradient_relative;            // ||delta|| / ||g||, of gradients above 1e-3 a weight
  std::vector<double> of_bound;       // every gradient's ||delta|| in units of its bound
  std::map<std::string, bool> moved;  // parameter -> some gradient of ours was not zero
  int64_t routes_equal = 0, routes_different = 0;
};

struct Bounds {
  double loss = 0, relative = 0, absolute = 0;
};

struct Way {  // one way to run a case
  Precision precision = Precision::fp64;
  Isa isa = Isa::reference;
  Bounds bounds;
  std::string label;
  double loss_scale = 1;  // a power of two: losses are multiplied by it, gradients compared without it
  bool high = false;      // no product in FP8, whatever the case says
};

// Forward, backward and bias update of the case, against the oracle. routes: one per micro-batch, recorded when empty,
// else replayed (then the routes themselves are not compared).
void compare(const Case& test_case, const Way& way, std::vector<RouteReplay>& routes, Findings& findings);

}  // namespace hadal::oracle
