// Optimizer against the oracle's AdamW (which generate_optimizer.py first holds against torch.optim.AdamW): gradient
// norm, clipping, decay and its exemptions, moments, moving average, in FP64 and in every FP32 instruction set.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "config/config_io.h"
#include "optim/optimizer.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;

class OptimizerCase {
 public:
  explicit OptimizerCase(const std::filesystem::path& directory) : tensors_(directory / "case.safetensors") {
    json_ = read_json(directory / "case.json");
    config_ = model_config_from_json(json_text(json_["config"]), directory.string());
    const Json& s = json_["settings"];
    settings_.beta1 = s["beta1"], settings_.beta2 = s["beta2"], settings_.eps = s["eps"];
    settings_.weight_decay = s["weight_decay"], settings_.clip = s["clip"], settings_.ema_decay = s["ema_decay"];
  }

  std::string fault() const { return json_["fault"]; }

  std::vector<std::string> differences(Precision precision, Isa isa, double bound) const {
    OwnedExec owned(2, isa);
    ModelOptions options;
    options.precision = precision, options.training = true;
    Transformer model(config_, options, owned.exec);
    for (Parameter* p : model.parameters()) p->master.copy_from(tensors_.tensor("w." + p->spec.name));
    model.refresh_values(owned.exec);
    Optimizer optimizer(model.parameters(), settings_, owned.exec);
    std::vector<std::string> found;
    for (size_t i = 0; i < json_["rates"].size(); ++i) {
      for (Parameter* p : model.parameters())
        if (p->spec.trained) p->grad.copy_from(tensors_.tensor(fmt::format("g{}.{}", i, p->spec.name)));
      const GradientNorms norms = optimizer.gradient_norms(owned.exec);
      const double expected = json_["norms"][i];
      if (!(std::abs(norms.global - expected) <= bound * expected))
        found.push_back(
            fmt::format("gradient norm of step {} is {:.17g}, oracle {:.17g}", i + 1, norms.global, expected));
      optimizer.step(owned.exec, json_["rates"][i], norms.global);
    }
    for (Parameter* p : model.parameters()) compare("a." + p->spec.name, p->master, bound, found);
    for (const StateTensor& state : optimizer.state()) compare(state.name, state.tensor, bound, found);
    return found;
  }

 private:
  void compare(const std::string& name, const Tensor& ours, double bound, std::vector<std::string>& found) const {
    const Tensor theirs = tensors_.tensor(name);
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < theirs.count(); ++i) {
      worst = std::max(worst, std::abs(element(ours, i) - element(theirs, i)));
      largest = std::max(largest, std::abs(element(theirs, i)));
    }
    if (!(worst <= bound * largest))
      found.push_back(
          fmt::format("{}: largest difference {:.2e} of {:.2e}, bound {:.0e} of it", name, worst, largest, bound));
  }

  SafetensorsReader tensors_;
  Json json_;
  ModelConfig config_;
  OptimConfig settings_;
};

TEST(OracleOptimizer, AgreesOverFiveStepsAndNoticesEverySeededFault) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  ScratchDirectory directory("oracle_optimizer");
  run_python(fmt::format("generate_optimizer.py '{}'", directory.path().string()));
  const OptimizerCase honest(directory.path() / "honest");
  for (const std::string& difference : honest.differences(Precision::fp64, Isa::reference, 1e-12))
    ADD_FAILURE() << "fp64: " << difference;
  for (Isa isa : available_isas())
    for (const std::string& difference : honest.differences(Precision::fp32, isa, 5e-6))
      ADD_FAILURE() << "fp32 " << isa_name(isa) << ": " << difference;
  int n_faults = 0;
  for (const auto& item : std::filesystem::directory_iterator(directory.path())) {
    if (item.path().filename() == "honest") continue;
    const OptimizerCase faulty(item.path());
    const auto differences = faulty.differences(Precision::fp64, Isa::reference, 1e-12);
    std::printf("MUTANT\thouse\t%s\t%s\t%s\n", item.path().filename().c_str(), faulty.fault().c_str(),
                differences.empty() ? "SURVIVED" : differences[0].c_str());
    EXPECT_FALSE(differences.empty()) << "survived: " << faulty.fault();
    ++n_faults;
  }
  EXPECT_EQ(n_faults, 7);
}

}  // namespace
}  // namespace hadal::oracle
