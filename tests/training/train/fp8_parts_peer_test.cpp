// Attention in both forms and a mixture of experts (router, dispatch, shared and routed experts, combine) under the FP8
// recipe and in blocks of MX, on given inputs, against an oracle whose quantiser and products are its own
// (tests/oracle/fp8_parts.py); in every instruction set, with every recomputation, on the oracle's routes. Sums differ
// by roundings of FP32, which may move a value that lies at a border of two codes to the other side: a case has several
// draws of its numbers, one of which must agree throughout.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "config/config_io.h"
#include "model/block_pieces.h"
#include "model/rope_cache.h"
#include "nn/init.h"
#include "storage/safetensors.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;

// ||difference|| <= relative ||oracle|| + absolute sqrt(n), as of whole models; plain FP32 is farther by far.
constexpr double kOfPart = 2e-3, kBesideZero = 1e-8, kFartherInFp32 = 5;
constexpr int kDrawsOfPart = 3;

struct PartFindings {
  std::vector<std::string> failures;
  int64_t cases = 0, tensors = 0, drawn_again = 0;
  std::vector<double> of_bound;  // of the last draw of every case
};

// One draw of a case; its layer is built anew for every run.
class Part {
 public:
  Part(const Json& json, const SafetensorsReader& file, int draw, const Exec& exec)
      : json_(json),
        file_(file),
        exec_(exec),
        draw_(draw),
        name_(fmt::format("{}/{}/", std::string(json["name"]), draw)) {
    apply_overrides(settings_, json["fp8"].get<std::vector<std::string>>());
  }

  const std::string& name() const { return name_; }
  Recipe recipe() const { return recipe_of(settings_.train.precision, settings_.fp8); }
  Tensor wanted(const std::string& name) const { return file_.tensor(name_ + name); }

  // What it gives, by the oracle's names.
  std::map<std::string, Tensor> run(const Recipe& recipe, Recompute recompute) {
    const ModelConfig config = model_config_from_json(json_text(json_["config"]), name_);
    make_bare_parameters();
    const ModelLayers layers = wire_layers(
        config, {0, 1, false, false}, [&](const std::string& name) { return parameters_.at(name).get(); }, recipe);
    for (auto& [name, parameter] : parameters_) {
      give_memory(exec_, *parameter, DType::f32, true);
      parameter->master.copy_from(wanted("w." + name));
      refresh_value(exec_, *parameter);
    }
    PartClock clock;
    const auto form = parse_enum<AttentionForm>("attention form", json_["form"].get<std::string>());
    Pass pass{exec_, clock, DType::f32, form, recompute, rope_table(exec_, config, DType::f32, 256)};
    pass.keep = true;
    pass.balance_alpha = json_["alpha"];
    std::map<std::string, Tensor> results = layers.blocks[0].is_moe() ? run_experts(pass, config, layers.blocks[0])
                                                                      : run_attention(pass, layers.blocks[0].mla);
    for (const auto& [name, parameter] : parameters_)
      if (file_.has(name_ + "g." + name)) results["g." + name] = parameter->grad;
    return results;
  }

 private:
  void make_bare_parameters() {
    parameters_.clear();
    const std::string prefix = name_ + "w.";
    for (const SafetensorsEntry& entry : file_.entries()) {
      if (!entry.name.starts_with(prefix)) continue;
      ParameterSpec spec;
      spec.name = entry.name.substr(prefix.size()), spec.shape = entry.shape;
      parameters_[spec.name] = bare_parameter(spec);
    }
  }
  MicroBatch batch() const { return parse_batch(json_text(json_["batch"])); }
  Tensor given(const std::string& name) const { return wanted(name).to(exec_, DType::f32); }

  std::map<std::string, Tensor> run_attention(const Pass& pass, const Mla& mla) const {
    Flight flight(exec_, batch(), {});
    const Rows rows = flight.rows(0, 0);
    const Tensor x = given("in.x"), y = Tensor::empty(exec_, DType::f32, x.shape());
    Mla::Saved saved;
    mla.forward(pass, rows, y, x, ops::Write::overwrite, saved);
    mla.keep(pass, saved);
    mla.restore(pass, rows, x, saved);
    PartsUnderWay nothing_sent;
    const Tensor dx = mla.backward_input(pass, rows, given("dout.y"), nothing_sent, saved).wait();
    mla.backward_weight(pass, x, saved);
    return {{"out.y", y}, {"din.x", dx}};
  }

  // As a stage runs it: B of all pieces, then W of all.
  std::map<std::string, Tensor> run_experts(const Pass& pass, const ModelConfig& config,
                                            const BlockLayers& layers) const {
    std::vector<std::unique_ptr<Piece>> pieces;
    append_moe_pieces(layers, {0, 0, 0, 0}, pieces);
    std::erase_if(pieces, [&](const auto& piece) { return !piece->runs(pass, true); });  // nothing passes on
    Flight flight(exec_, batch(), {0, 1, 1, config.n_routed_experts});
    RouteReplay routes;
    routes.replay = true, routes.experts = {json_["routes"][size_t(draw_)].get<std::vector<int32_t>>()};
    flight.routes = &routes;
    Tensor& h = flight.streams[0].h;
    h = given("in.x");
    for (const auto& piece : pieces) piece->forward(pass, flight);
    const Tensor y = h.clone(exec_);
    h = given("dout.y");
    for (size_t i = pieces.size(); i-- > 0;) pieces[i]->backward_input(pass, flight);
    const Tensor dx = h;
    for (size_t i = pieces.size(); i-- > 0;) pieces[i]->backward_weight(pass, flight);
    return {{"out.y", y}, {"din.x", dx}};
  }

  const Json& json_;
  const SafetensorsReader& file_;
  const Exec& exec_;
  int draw_;
  std::string name_;
  Config settings_;
  std::map<std::string, std::unique_ptr<Parameter>> parameters_;
};

// In units of the bound.
double distance(const Tensor& ours, const Tensor& theirs) {
  double difference = 0, size = 0;
  for (int64_t i = 0; i < theirs.count(); ++i) {
    const double a = element(ours, i), b = element(theirs, i);
    difference += (a - b) * (a - b), size += b * b;
  }
  return std::sqrt(difference) / (kOfPart * std::sqrt(size) + kBesideZero * std::sqrt(double(theirs.count())));
}

struct DrawFindings {
  std::vector<std::string> failures;
  std::vector<double> of_bound;
};

DrawFindings compare_draw(Part& part, const Recipe& recipe) {
  DrawFindings found;
  for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
    for (const auto& [what, ours] : part.run(recipe, recompute)) {
      found.of_bound.push_back(distance(ours, part.wanted(what)));
      if (!(found.of_bound.back() <= 1))
        found.failures.push_back(fmt::format("{}{} is off by {:.2f} of its bound, recompute {}", part.name(), what,
                                             found.of_bound.back(), enum_name(recompute)));
    }
  }
  return found;
}

// high: no product in FP8, whatever the case says; of one draw.
PartFindings compare_parts(const std::filesystem::path& directory, Isa isa, bool high = false) {
  const SafetensorsReader file(directory / "fp8_parts.safetensors");
  const OwnedExec owned(2, isa);
  PartFindings findings;
  for (const Json& json : parse_json<Json>(read_file(directory / "fp8_parts.json"), "fp8_parts.json")) {
    ++findings.cases;
    DrawFindings found;
    for (int draw = 0; draw < (high ? 1 : kDrawsOfPart); ++draw) {
      Part part(json, file, draw, owned.exec);
      found = compare_draw(part, high ? Recipe::high() : part.recipe());
      if (found.failures.empty()) break;
      ++findings.drawn_again;
    }
    findings.tensors += int64_t(found.of_bound.size());
    findings.failures.insert(findings.failures.end(), found.failures.begin(), found.failures.end());
    findings.of_bound.insert(findings.of_bound.end(), found.of_bound.begin(), found.of_bound.end());
  }
  std::sort(findings.of_bound.begin(), findings.of_bound.end());
  return findings;
}

TEST(OracleFp8Parts, AttentionAndExpertsAgreeInEveryInstructionSetAndThoseOfFp32DoNot) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  ScratchDirectory directory("oracle_fp8_parts");
  run_python("fp8_parts.py '" + directory.path().string() + "'");
  for (const Isa isa : available_isas()) {
    const PartFindings findings = compare_parts(directory.path(), isa);
    std::printf("%s: %lld layers, %lld tensors, worst %.3f of its bound, half below %.4f, drawn again %lld\n",
                isa_name(isa), static_cast<long long>(findings.cases), static_cast<long long>(findings.tensors),
                findings.of_bound.back(), findings.of_bound[findings.of_bound.size() / 2],
                static_cast<long long>(findings.drawn_again));
    for (size_t i = 0; i < findings.failures.size() && i < 20; ++i)
      ADD_FAILURE() << isa_name(isa) << ": " << findings.failures[i];
    EXPECT_EQ(findings.cases, 30);
    EXPECT_LE(findings.drawn_again, findings.cases / 5) << "that is no chance";
  }
  const PartFindings high = compare_parts(directory.path(), best_isa(), true);
  EXPECT_GE(high.of_bound[high.of_bound.size() / 10], kFartherInFp32);
  std::printf("fp32: nine of ten at %.1f bounds or more\n", high.of_bound[high.of_bound.size() / 10]);
}

// The negative control: each rule of the recipe, wrong in the oracle, is noticed, in every draw of a case.
TEST(OracleFp8Parts, NoticeEverySeededFault) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  ScratchDirectory directory("oracle_fp8_parts_faults");
  run_python("fp8_parts.py '" + directory.path().string() + "' --faults");
  int64_t n_faults = 0;
  for (const auto& fault : std::filesystem::directory_iterator(directory.path())) {
    ++n_faults;
    const PartFindings findings = compare_parts(fault.path(), best_isa());
    std::printf("%s: %zu tensors\n", read_file(fault.path() / "fault.txt").c_str(), findings.failures.size());
    EXPECT_FALSE(findings.failures.empty()) << "survived: " << read_file(fault.path() / "fault.txt");
  }
  EXPECT_EQ(n_faults, 7);
}

}  // namespace
}  // namespace hadal::oracle
