// Layers under the FP8 recipe, in every instruction set, against an oracle that shares nothing with them
// (tests/oracle/fp8_layers.py: its own tiles, scales and codes by torch's cast, products in double precision): codes
// and scales of what both are given are the same, the three products of a linear agree to FP32's rounding; MLP and
// experts, where a rounding in between may move a code here and there, agree far closer than the formats do.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "model/experts.h"
#include "nn/init.h"
#include "nn/mlp.h"
#include "ops/quantise.h"
#include "storage/safetensors.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;

constexpr double kOfProducts = 1e-6, kOfLayers = 1e-4;  // ||difference|| / ||oracle||
constexpr double kOfComputedScales = 1e-5;              // relative
constexpr int64_t kCodesForOneMoved = 5000;             // so many may have one on the other side of a border

struct Fp8Findings {
  std::vector<std::string> failures;
  int64_t cases = 0, codes = 0, moved = 0;
  double worst_product = 0, worst_layer = 0;
};

ScaleRule rule_of(const Json& text) {
  return text == "exact" ? ScaleRule::exact : text == "ocp" ? ScaleRule::ocp : ScaleRule::power_of_two;
}

GemmRecipe recipe_of(const Json& json) {
  GemmRecipe recipe = Recipe::fp8().q_b;
  recipe.x_scale = rule_of(json["x"]), recipe.dy_scale = rule_of(json["dy"]), recipe.weight_scale = rule_of(json["w"]);
  const int64_t tile = json["tile"];
  recipe.activation = {1, tile}, recipe.token = {tile, 1}, recipe.weight = recipe.turned_weight = {tile, tile};
  if (json["mx"]) recipe.weight = recipe.activation, recipe.turned_weight = recipe.token;
  return recipe;
}

class Fp8Trial {
 public:
  Fp8Trial(const Json& json, const SafetensorsReader& file, Isa isa, Fp8Findings& findings)
      : json_(json), file_(file), findings_(findings), name_(json["name"]), owned_(2, isa) {}

  const Exec& exec() const { return owned_.exec; }
  GemmRecipe recipe(size_t i) const { return recipe_of(json_["recipes"][i]); }
  const Json& facts() const { return json_["facts"]; }
  Tensor tensor(const std::string& name) const { return file_.tensor(name_ + "/" + name).clone(exec()); }
  Tensor space(const Shape& shape) const { return Tensor::empty(exec(), DType::f32, shape); }
  // A weight as linears of this recipe find it, to which one contribution will come.
  Parameter* weight(const std::string& name, const GemmRecipe& recipe) {
    const Tensor values = tensor("w." + name);
    ParameterSpec spec;
    spec.name = name, spec.shape = values.shape();
    auto& parameter = parameters_.emplace_back(bare_parameter(spec));
    reads(recipe, *parameter);
    give_memory(exec(), *parameter, DType::f32, true);
    parameter->master.copy_from(values);
    refresh_value(exec(), *parameter);
    return parameter.get();
  }

  // Of values that both were given; or that both computed: sums differ by roundings, which move scales by as much, and
  // of the codes one that lies at a border. There +0 is -0: what is below FP32's range is zero, and zeros have no sign.
  enum class Of { given, computed };
  void same_codes(const std::string& name, const Quantised& ours, Of values = Of::given) {
    const Tensor codes = tensor("c." + name), scales = tensor("s." + name);
    if (scales.shape() != ours.scales.shape() || codes.shape() != ours.codes.shape())
      return findings_.failures.push_back(fmt::format("{}: codes or scales of {} have another shape", name_, name));
    int64_t other = 0, other_scales = 0;
    const auto* found = static_cast<const uint8_t*>(ours.codes.raw());
    const int32_t* wanted = codes.data<int32_t>();
    for (int64_t i = 0; i < codes.count(); ++i) {
      const int a = found[i], b = wanted[i];
      const bool zeros = values == Of::computed && (a & 0x7f) == 0 && (b & 0x7f) == 0;
      other += a != b && !zeros;
    }
    const double nearly = values == Of::given ? 0 : kOfComputedScales;
    for (int64_t i = 0; i < scales.count(); ++i) {
      const double a = element(ours.scales, i), b = element(scales, i);
      other_scales += !(std::abs(a - b) <= nearly * b);
    }
    findings_.codes += codes.count();
    if (values == Of::computed) findings_.moved += other;
    if (other_scales > 0 || other > (values == Of::given ? 0 : 1 + codes.count() / kCodesForOneMoved))
      findings_.failures.push_back(
          fmt::format("{}: {} codes and {} scales of {} differ", name_, other, other_scales, name));
  }
  // Of a weight, for both of its products.
  void same_weight_codes(const std::string& name, const Parameter& weight) {
    same_codes("weight " + name + " 0", weight.value.codes);
    same_codes("weight " + name + " 1", weight.value.codes_for_inputs());
  }
  // Gate and up as they are kept; gradients of both, side by side, as backward multiplies them.
  void same_kept(const SwigluCodes& codes) {
    same_codes("kept gate", codes.gate.quantised(), Of::computed);
    same_codes("kept up", codes.up.quantised(), Of::computed);
  }
  void same_gradient_codes(const GemmRecipe& recipe, const Tensor& d_gate_up) {
    const int64_t width = d_gate_up.cols() / 2;
    const Tensor dg = d_gate_up.col_range(0, width), du = d_gate_up.col_range(width, width);
    same_codes("dg", recipe.dgrad_operand(exec(), dg).quantised(), Of::computed);
    same_codes("du", recipe.dgrad_operand(exec(), du).quantised(), Of::computed);
  }
  void near(const std::string& name, const Tensor& ours, double bound) {
    const Tensor theirs = tensor("out." + name);
    double difference = 0, size = 0;
    for (int64_t i = 0; i < theirs.count(); ++i) {
      const double a = element(ours, i), b = element(theirs, i);
      difference += (a - b) * (a - b), size += b * b;
    }
    const double off = std::sqrt(difference / size);
    double& worst = bound == kOfProducts ? findings_.worst_product : findings_.worst_layer;
    if (!(off <= worst)) worst = off;
    if (!(off <= bound))
      findings_.failures.push_back(fmt::format("{}: {} is off by {:.1e} of its norm", name_, name, off));
  }

 private:
  const Json& json_;
  const SafetensorsReader& file_;
  Fp8Findings& findings_;
  std::string name_;
  OwnedExec owned_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
};

void run_fp8_linear(Fp8Trial& t) {
  const GemmRecipe recipe = t.recipe(0);
  const Linear linear{t.weight("weight", recipe), recipe};
  const Tensor x = t.tensor("in.x"), dy = t.tensor("in.dy"), y = t.space(dy.shape()), dx = t.space(x.shape());
  t.same_codes("x", recipe.fprop_operand(t.exec(), x).quantised());
  t.same_codes("dy", recipe.dgrad_operand(t.exec(), dy).quantised());
  t.same_codes("x over tokens", recipe.wgrad_operand_x(t.exec(), x).quantised());
  t.same_codes("dy over tokens", recipe.wgrad_operand_dy(t.exec(), dy).quantised());
  t.same_codes("weight", linear.weight->value.codes);
  t.same_codes("turned weight", linear.weight->value.codes_for_inputs());
  linear.forward(t.exec(), y, x);
  linear.backward_input(t.exec(), dx, dy);
  linear.backward_weight(t.exec(), dy, x);
  t.near("y", y, kOfProducts), t.near("dx", dx, kOfProducts), t.near("dw", linear.weight->grad, kOfProducts);
}

void run_fp8_mlp(Fp8Trial& t) {
  const GemmRecipe first = t.recipe(0), second = t.recipe(1);
  const Mlp mlp{
      {t.weight("gate", first), first}, {t.weight("up", first), first}, {t.weight("down", second), second}, Kept::e4m3};
  const Tensor values = t.tensor("in.x"), dy = t.tensor("in.dy"), y = t.space(dy.shape()), dx = t.space(dy.shape());
  const bool travels = first.x_scale == ScaleRule::power_of_two;
  const Activation x = travels ? first.fprop_operand(t.exec(), values) : values;
  t.same_codes("x", first.fprop_operand(t.exec(), values).quantised());
  t.same_codes("dy", second.dgrad_operand(t.exec(), dy).quantised());
  t.same_weight_codes("gate", *mlp.gate.weight), t.same_weight_codes("up", *mlp.up.weight);
  t.same_weight_codes("down", *mlp.down.weight);
  Mlp::Saved saved;
  mlp.forward(t.exec(), y, x, ops::Write::overwrite, saved);
  mlp.keep(t.exec(), saved);
  t.same_kept(saved.codes);
  mlp.restore(t.exec(), x, saved);
  mlp.backward_input(t.exec(), dx, dy, ops::Write::overwrite, saved);
  t.same_gradient_codes(first, saved.d_gate_up);
  mlp.backward_weight(t.exec(), x, saved);
  t.near("y", y, kOfLayers), t.near("dx", dx, kOfLayers);
  t.near("gate", mlp.gate.weight->grad, kOfLayers), t.near("up", mlp.up.weight->grad, kOfLayers);
  t.near("down", mlp.down.weight->grad, kOfLayers);
}

void run_fp8_experts(Fp8Trial& t) {
  const GemmRecipe first = t.recipe(0), second = t.recipe(1);
  Experts experts;
  experts.gate = {t.weight("gate", first), first}, experts.up = {t.weight("up", first), first};
  experts.down = {t.weight("down", second), second};
  experts.kept = Kept::e4m3;
  const auto offsets = t.facts()["offsets"].get<std::vector<int32_t>>();
  ExpertRows rows;
  rows.rows = first.fprop_operand(t.exec(), t.tensor("in.x"));
  rows.weight = t.tensor("in.weight");
  rows.offsets = Tensor::from(t.exec(), offsets, {int64_t(offsets.size())});
  const Activation dy = second.dgrad_operand(t.exec(), t.tensor("in.dy"));
  t.same_codes("x", rows.rows.quantised()), t.same_codes("dy", dy.quantised());
  t.same_weight_codes("gate", *experts.gate.weight), t.same_weight_codes("up", *experts.up.weight);
  t.same_weight_codes("down", *experts.down.weight);
  Experts::Saved saved;
  const Tensor y = experts.forward(t.exec(), rows, saved);
  experts.keep(t.exec(), saved);
  t.same_kept(saved.codes);
  experts.restore(t.exec(), rows, saved);
  const Experts::Gradients d = experts.backward_input(t.exec(), rows, dy, saved);
  t.same_gradient_codes(first, saved.d_gate_up);
  experts.backward_weight(t.exec(), std::span(&rows, 1), std::span(&saved, 1));
  t.near("y", y, kOfLayers), t.near("dx", d.rows, kOfLayers), t.near("dweight", d.weight, kOfLayers);
  t.near("gate", experts.gate.weight->grad, kOfLayers), t.near("up", experts.up.weight->grad, kOfLayers);
  t.near("down", experts.down.weight->grad, kOfLayers);
}

Fp8Findings compare_fp8_layers(const std::filesystem::path& directory, Isa isa) {
  Fp8Findings findings;
  const SafetensorsReader file(directory / "fp8_layers.safetensors");
  const Json cases = parse_json<Json>(read_file(directory / "fp8_layers.json"), "fp8_layers.json");
  for (const Json& one : cases) {
    Fp8Trial trial(one, file, isa, findings);
    ++findings.cases;
    const std::string kind = one["kind"];
    kind == "linear" ? run_fp8_linear(trial) : kind == "mlp" ? run_fp8_mlp(trial) : run_fp8_experts(trial);
  }
  return findings;
}

TEST(OracleFp8Layers, CodesAreTheSameAndProductsAgree) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  ScratchDirectory directory("oracle_fp8");
  run_python("fp8_layers.py '" + directory.path().string() + "'");
  for (const Isa isa : available_isas()) {
    const Fp8Findings findings = compare_fp8_layers(directory.path(), isa);
    std::printf("%s: %lld layers, %lld codes, %lld at a border; worst product %.1e, worst layer %.1e of its norm\n",
                isa_name(isa), static_cast<long long>(findings.cases), static_cast<long long>(findings.codes),
                static_cast<long long>(findings.moved), findings.worst_product, findings.worst_layer);
    for (const std::string& failure : findings.failures) ADD_FAILURE() << isa_name(isa) << ": " << failure;
    EXPECT_EQ(findings.cases, 37);
    EXPECT_GT(findings.codes, 1000000);
  }
}

// The negative control: each rule of the recipe, wrong in the oracle, is noticed.
TEST(OracleFp8Layers, NoticeEverySeededFault) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  ScratchDirectory directory("oracle_fp8_faults");
  run_python("fp8_layers.py '" + directory.path().string() + "' --faults");
  int64_t n_faults = 0;
  for (const auto& fault : std::filesystem::directory_iterator(directory.path())) {
    ++n_faults;
    EXPECT_FALSE(compare_fp8_layers(fault.path(), Isa::reference).failures.empty())
        << "survived: " << read_file(fault.path() / "fault.txt");
  }
  EXPECT_EQ(n_faults, 10);
}

}  // namespace
}  // namespace hadal::oracle
