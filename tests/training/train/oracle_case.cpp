#include "train/oracle_case.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "config/config_io.h"
#include "optim/loss_scaler.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;

Expected parse_expected(const Json& json) {
  Expected expected;
  expected.main = json["main"], expected.balance = json["balance"], expected.total = json["total"];
  expected.main_count = json["main_count"];
  expected.mtp = json["mtp"].get<std::vector<double>>();
  expected.mtp_count = json["mtp_count"].get<std::vector<int64_t>>();
  expected.expert_load = json["expert_load"].get<std::vector<std::vector<int64_t>>>();
  expected.routes = json["routes"].get<std::vector<std::vector<int32_t>>>();
  return expected;
}

// The rows of one sequence as a micro-batch of its own.
MicroBatch cut(const MicroBatch& all, const ops::RowRange& rows) {
  MicroBatch part;
  const auto range = [&](const std::vector<int32_t>& from) {
    return std::vector<int32_t>(from.begin() + rows.begin, from.begin() + rows.begin + rows.count);
  };
  part.tokens = range(all.tokens), part.positions = range(all.positions), part.targets = range(all.targets);
  for (const ops::Segment& segment : all.segments) {
    if (segment.q_begin < rows.begin || segment.q_begin >= rows.begin + rows.count) continue;
    part.segments.push_back({segment.q_begin - rows.begin, segment.n_q, segment.k_begin - rows.begin, segment.n_k});
  }
  part.sequences = {{0, rows.count}};
  return part;
}

void load_weights(const Exec& exec, const Case& test_case, Transformer& model, std::vector<std::string>& failures) {
  size_t expected = 0;
  for (const auto& entry : test_case.tensors->entries()) expected += entry.name.starts_with("w.");
  if (expected != model.parameters().size())
    failures.push_back(fmt::format("{} parameters, the oracle has {}", model.parameters().size(), expected));
  for (Parameter* parameter : model.parameters()) {
    const Tensor weight = test_case.tensors->tensor("w." + parameter->spec.name);
    if (weight.shape() != parameter->spec.shape)
      fail(ErrorKind::internal, "{} is {}, the oracle has {}", parameter->spec.name, shape_text(parameter->spec.shape),
           shape_text(weight.shape()));
    parameter->master.copy_from(weight);
  }
  model.refresh_values(exec);
}

class Comparer {
 public:
  Comparer(const Case& test_case, const Way& way, Findings& findings)
      : case_(test_case), way_(way), findings_(findings) {}

  void fail_with(const std::string& what) {
    findings_.failures.push_back(fmt::format("{} [{}]: {}\n    {}", case_.name, way_.label, what, case_.summary));
  }

  void loss(const std::string& name, double ours, double theirs) {
    const double error = std::abs(ours - theirs) / (std::abs(theirs) + 1e-3);
    findings_.loss.see(error, case_.name + " " + name);
    if (!(error <= way_.bounds.loss))
      fail_with(fmt::format("loss '{}' is {:.17g}, oracle {:.17g}, error {:.2e}", name, ours, theirs, error));
  }

  template <class T>
  void equal(const std::string& name, const T& ours, const T& theirs) {
    if (ours != theirs) fail_with(fmt::format("{} differs from the oracle", name));
  }

  void tensor(const std::string& name, const Tensor& ours, const Tensor& theirs, const Bounds& bounds) {
    if (ours.shape() != theirs.shape())
      return fail_with(fmt::format("{} is {}, oracle {}", name, shape_text(ours.shape()), shape_text(theirs.shape())));
    double error = 0, norm = 0, size = 0;
    for (int64_t i = 0; i < theirs.count(); ++i) {
      const double a = element(ours, i), b = element(theirs, i);
      error += (a - b) * (a - b), norm += b * b, size += a * a;
    }
    error = std::sqrt(error), norm = std::sqrt(norm);
    const double bound = bounds.relative * norm + bounds.absolute * std::sqrt(double(theirs.count()));
    findings_.gradient.see(error / bound, case_.name + " " + name);
    findings_.of_bound.push_back(error / bound);
    if (norm > 1e-3 * std::sqrt(double(theirs.count())))
      findings_.gradient_relative.see(error / norm, case_.name + " " + name);
    findings_.moved[name] |= size > 0;
    if (!(error <= bound))
      fail_with(fmt::format("{}: ||difference|| {:.3e}, ||oracle|| {:.3e}, bound {:.3e}", name, error, norm, bound));
  }

 private:
  const Case& case_;
  const Way& way_;
  Findings& findings_;
};

LossWeights scaled(LossWeights weights, double factor) {
  weights.main *= factor, weights.balance *= factor;
  for (double& weight : weights.mtp) weight *= factor;
  return weights;
}

void compare_losses(const Case& test_case, const LossSums& sums, Comparer& comparer) {
  const Expected& expected = test_case.expected;
  comparer.loss("main", sums.main, expected.main);
  comparer.equal("count of targets", sums.main_count, expected.main_count);
  comparer.equal("MTP counts", sums.mtp_count, expected.mtp_count);
  for (size_t k = 0; k < expected.mtp.size() && k < sums.mtp.size(); ++k)
    comparer.loss(fmt::format("mtp {}", k + 1), sums.mtp[k], expected.mtp[k]);
  comparer.loss("balance", sums.balance, expected.balance);
  comparer.loss("total", sums.total(test_case.weights), expected.total);
  comparer.equal("expert load", sums.expert_load, expected.expert_load);
}

// Our recorded routes, micro-batches joined layer by layer.
std::vector<std::vector<int32_t>> joined(const std::vector<RouteReplay>& routes, size_t n_layers) {
  std::vector<std::vector<int32_t>> all(n_layers);
  for (const RouteReplay& one : routes)
    for (size_t layer = 0; layer < one.experts.size() && layer < n_layers; ++layer)
      all[layer].insert(all[layer].end(), one.experts[layer].begin(), one.experts[layer].end());
  return all;
}

void compare_routes(const Case& test_case, const std::vector<RouteReplay>& routes, Comparer& comparer,
                    Findings& findings) {
  const auto ours = joined(routes, test_case.expected.routes.size());
  for (size_t layer = 0; layer < ours.size(); ++layer) {
    const auto& theirs = test_case.expected.routes[layer];
    comparer.equal(fmt::format("number of routes of MoE layer {}", layer), ours[layer].size(), theirs.size());
    int64_t different = 0;
    for (size_t i = 0; i < std::min(ours[layer].size(), theirs.size()); ++i) different += ours[layer][i] != theirs[i];
    findings.routes_equal += int64_t(theirs.size()) - different, findings.routes_different += different;
    if (different)
      comparer.fail_with(fmt::format("{} of {} routes of MoE layer {} differ", different, theirs.size(), layer));
  }
}

void compare_log_probs(const Exec& exec, const Case& test_case, Transformer& model,
                       const std::vector<MicroBatch>& batches, Comparer& comparer) {
  const Tensor theirs = test_case.tensors->tensor("log_probs");
  std::vector<double> all;
  for (const MicroBatch& batch : batches) {
    std::vector<double> part;
    model.forward(exec, batch, {.log_probs = &part});
    all.insert(all.end(), part.begin(), part.end());
  }
  if (int64_t(all.size()) != theirs.count())
    return comparer.fail_with(fmt::format("{} log-probabilities for {} rows", all.size(), theirs.count()));
  for (size_t i = 0; i < all.size(); ++i)
    if (!(std::abs(all[i] - element(theirs, int64_t(i))) <= 1e-10 * (1 + std::abs(all[i]))))
      return comparer.fail_with(
          fmt::format("log-probability of row {} is {:.17g}, oracle {:.17g}", i, all[i], element(theirs, int64_t(i))));
}

}  // namespace

MicroBatch parse_batch(const std::string& text) {
  const Json json = parse_json<Json>(text, "a batch");
  MicroBatch batch;
  batch.tokens = json["tokens"].get<std::vector<int32_t>>();
  batch.targets = json["targets"].get<std::vector<int32_t>>();
  batch.positions = json["positions"].get<std::vector<int32_t>>();
  for (const Json& pair : json["segments"]) batch.segments.push_back({pair[0], pair[1], pair[0], pair[1]});
  for (const Json& pair : json["sequences"]) batch.sequences.push_back({pair[0], pair[1]});
  return batch;
}

std::vector<MicroBatch> Case::micro_batches() const {
  if (!split) return {batch};
  std::vector<MicroBatch> parts;
  for (const ops::RowRange& rows : batch.sequences) parts.push_back(cut(batch, rows));
  return parts;
}

Case load_case(const std::filesystem::path& json_path) {
  const Json json = read_json<Json>(json_path);
  Case c;
  c.name = json["name"], c.summary = json["summary"];
  c.config = model_config_from_json(json_text(json["config"]), json_path.string());
  const Json& options = json["options"];
  c.options.attention_form = parse_enum<AttentionForm>("attention form", options["attention_form"].get<std::string>());
  c.options.recompute = parse_enum<Recompute>("recompute", options["recompute"].get<std::string>());
  c.options.loss_chunk_tokens = options["loss_chunk_tokens"];
  c.options.training = true;
  if (options.contains("fp8")) {  // settings as a user gives them
    Config settings;
    apply_overrides(settings, options["fp8"].get<std::vector<std::string>>());
    c.options.recipe = recipe_of(settings.train.precision, settings.fp8);
  }
  c.threads = options["threads"], c.split = options["split"];
  c.batch = parse_batch(json_text(json["batch"]));
  c.weights = {json["weights"]["main"], json["weights"]["mtp"].get<std::vector<double>>(), json["weights"]["balance"]};
  c.gamma = json["gamma"];
  c.expected = parse_expected(json["expect"]);
  c.tensors = std::make_shared<SafetensorsReader>(std::filesystem::path(json_path).replace_extension(".safetensors"));
  return c;
}

std::vector<std::filesystem::path> case_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& item : std::filesystem::directory_iterator(directory))
    if (item.path().extension() == ".json" && item.path().filename().string().starts_with("case_"))
      files.push_back(item.path());
  std::sort(files.begin(), files.end());
  return files;
}

static std::string python() { return std::string(HADAL_SOURCE_DIR) + "/.venv/bin/python"; }
bool python_available() { return std::filesystem::exists(python()); }

void run_python(const std::string& script_and_arguments) {
  const std::string command =
      fmt::format("'{}' -B '{}/tests/oracle/'{} 2>&1", python(), HADAL_SOURCE_DIR, script_and_arguments);
  std::FILE* pipe = ::popen(command.c_str(), "r");
  check(pipe != nullptr, ErrorKind::io, "cannot run {}", command);
  std::string output;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, n);
  const int status = ::pclose(pipe);
  std::fputs(output.c_str(), stdout);
  check(status == 0, ErrorKind::internal, "{} failed:\n{}", command,
        output.size() > 2000 ? output.substr(output.size() - 2000) : output);
}

ScratchDirectory::ScratchDirectory(const std::string& name)
    : path_(std::filesystem::temp_directory_path() / fmt::format("hadal_{}_{}", name, ::getpid())) {
  std::filesystem::create_directories(path_);
}
ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void compare(const Case& test_case, const Way& way, std::vector<RouteReplay>& routes, Findings& findings) {
  Comparer comparer(test_case, way, findings);
  OwnedExec owned(test_case.threads, way.isa);
  ModelOptions options = test_case.options;
  options.precision = way.precision;
  if (way.high) options.recipe = Recipe::high();
  Transformer model(test_case.config, options, owned.exec);
  load_weights(owned.exec, test_case, model, findings.failures);
  const std::vector<MicroBatch> batches = test_case.micro_batches();
  model.begin_step(int64_t(batches.size()));
  const bool replay = !routes.empty();
  routes.resize(batches.size());
  LossSums sums;
  for (size_t i = 0; i < batches.size(); ++i) {
    routes[i].replay = replay;
    const LossSums part =
        model.forward_backward(owned.exec, batches[i], scaled(test_case.weights, way.loss_scale), &routes[i]);
    if (i == 0)
      sums = part;
    else
      sums.merge(part);
  }
  sums.balance /= way.loss_scale;
  unscale_gradients(owned.exec, model.parameters(), way.loss_scale);
  for (const Parameter* parameter : model.parameters())  // what was counted from the pieces is what came
    if (parameter->spec.trained && !parameter->complete())
      findings.failures.push_back(fmt::format("{}: {} of {} contributions to the gradient", parameter->spec.name,
                                              parameter->arrived(), parameter->expected()));
  compare_losses(test_case, sums, comparer);
  for (Parameter* parameter : model.parameters())
    if (parameter->spec.trained)
      comparer.tensor(parameter->spec.name, parameter->grad, test_case.tensors->tensor("g." + parameter->spec.name),
                      way.bounds);
  if (way.precision != Precision::fp64) return;
  compare_routes(test_case, routes, comparer, findings);
  compare_log_probs(owned.exec, test_case, model, batches, comparer);
  model.update_selection_bias(owned.exec, sums.expert_load, test_case.gamma);
  for (Parameter* parameter : model.parameters())
    if (!parameter->spec.trained)
      comparer.tensor(parameter->spec.name, parameter->master,
                      test_case.tensors->tensor("bias." + parameter->spec.name), way.bounds);
}

}  // namespace hadal::oracle
