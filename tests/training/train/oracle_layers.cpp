#include "train/oracle_layers.h"

#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "config/config_io.h"
#include "model/parts.h"
#include "nn/init.h"
#include "storage/safetensors.h"
#include "train/oracle_batch.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;

Rows rows_of(const MicroBatch& batch) {
  Rows rows;
  rows.positions = batch.positions;
  rows.segments = &batch.segments;
  rows.sequences = batch.sequences;
  return rows;
}

// One way to run one case: its parameters, and what was found.
class Trial {
 public:
  Trial(const Json& json, const SafetensorsReader& file, LayerFindings& findings)
      : json_(json), file_(file), findings_(findings), name_(json["name"]) {
    ++findings_.runs;
    const std::string prefix = name_ + "/w.";
    for (const SafetensorsEntry& entry : file.entries()) {
      if (!entry.name.starts_with(prefix)) continue;
      ParameterSpec spec;
      spec.name = entry.name.substr(prefix.size());
      spec.shape = entry.shape;
      auto& parameter = parameters_[spec.name] = make_parameter(exec(), spec, DType::f64, true);
      parameter->master.copy_from(file.tensor(entry.name));
    }
  }

  const Exec& exec() const { return owned_.exec; }
  const Json& facts() const { return json_["facts"]; }
  ModelConfig config() const { return model_config_from_json(json_["config"].dump(), name_); }
  MicroBatch batch() const { return parse_batch(json_["batch"].dump()); }
  void label(const std::string& text) { label_ = text; }
  Parameter* parameter(const std::string& name) const {
    const auto found = parameters_.find(name);
    check(found != parameters_.end(), ErrorKind::not_found, "{} has no weight {}", name_, name);
    return found->second.get();
  }
  Linear linear(const std::string& name) const { return {parameter(name)}; }
  Tensor tensor(const std::string& name) const { return file_.tensor(name_ + "/" + name).clone(exec()); }
  Tensor space(const Tensor& like) const { return Tensor::empty(exec(), DType::f64, {like.rows(), like.cols()}); }
  Tensor rows_like(const Tensor& x, int64_t cols) const { return Tensor::empty(exec(), DType::f64, {x.rows(), cols}); }

  void wrong(const std::string& what) { findings_.failures.push_back(fmt::format("{} [{}]: {}", name_, label_, what)); }
  template <class T>
  void equal(const char* what, const T& ours, const Json& theirs) {
    if (Json(ours) != theirs)
      wrong(fmt::format("{} differ: ours {}, oracle {}", what, Json(ours).dump(), theirs.dump()));
  }
  void near(const char* what, double ours, double theirs) {
    if (!(std::abs(ours - theirs) <= 1e-10 * std::abs(theirs) + 1e-13))
      wrong(fmt::format("{} is {:.17g}, oracle {:.17g}", what, ours, theirs));
  }
  void same(const std::string& what, const Tensor& ours) { same_as(what, ours, tensor(what)); }

  // B has run, W has not: no gradient may have moved.
  void expect_no_gradient_yet() {
    for (const auto& [name, parameter] : parameters_)
      for (int64_t i = 0; i < parameter->grad.count(); ++i)
        if (element(parameter->grad, i) != 0)
          return wrong(fmt::format("backward_input moved the gradient of {}", name));
  }
  void same_gradients() {
    for (const auto& [name, parameter] : parameters_) {
      if (file_.has(name_ + "/g." + name)) {
        same("g." + name, parameter->grad);
      } else {
        for (int64_t i = 0; i < parameter->grad.count(); ++i)
          if (element(parameter->grad, i) != 0)
            return wrong(fmt::format("{} is not trained, but has a gradient", name));
      }
      parameter->grad.zero();
    }
  }

 private:
  void same_as(const std::string& what, const Tensor& ours, const Tensor& theirs) {
    ++findings_.tensors;
    if (ours.count() != theirs.count())
      return wrong(fmt::format("{} has {} elements, oracle {}", what, ours.count(), theirs.count()));
    double difference = 0, size = 0;
    for (int64_t i = 0; i < theirs.count(); ++i) {
      const double a = element(ours, i), b = element(theirs, i);
      difference += (a - b) * (a - b), size += b * b;
    }
    difference = std::sqrt(difference), size = std::sqrt(size);
    const bool sizable = size > 1e-3 * std::sqrt(double(theirs.count()));
    findings_.tensors_sizable += sizable;
    if (sizable && !(difference / size <= findings_.worst))
      findings_.worst = difference / size, findings_.worst_where = name_ + " " + what;
    if (difference <= 1e-10 * size + 1e-13 * std::sqrt(double(theirs.count()))) return;
    findings_.tensors_failed += sizable;
    wrong(fmt::format("{}: ||difference|| {:.3e}, ||oracle|| {:.3e}", what, difference, size));
  }

  const Json& json_;
  const SafetensorsReader& file_;
  LayerFindings& findings_;
  std::string name_, label_;
  OwnedExec owned_{3, Isa::reference};
  std::map<std::string, std::unique_ptr<Parameter>> parameters_;
};

void run_linear(Trial& t) {
  const Linear linear = t.linear("weight");
  const Tensor x = t.tensor("in.x"), dy = t.tensor("dout.y"), y = t.space(dy), dx = t.space(x);
  linear.forward(t.exec(), y, x);
  t.same("out.y", y);
  linear.backward_input(t.exec(), dx, dy);
  t.expect_no_gradient_yet();
  t.same("din.x", dx);
  linear.backward_weight(t.exec(), dy, x);
  t.same_gradients();
}

void run_norm(Trial& t) {
  const Norm norm{t.parameter("weight"), t.facts()["eps"]};
  const Tensor x = t.tensor("in.x"), dy = t.tensor("dout.y"), dx = t.space(x);
  Norm::Saved saved;
  t.same("out.y", norm.forward(t.exec(), x, saved));
  norm.backward_input(t.exec(), dx, dy, saved, false);
  t.expect_no_gradient_yet();
  t.same("din.x", dx);
  norm.backward_weight(t.exec(), saved);
  t.same_gradients();
}

void run_embedding(Trial& t) {
  const Embedding embedding{t.parameter("weight")};
  const auto ids = t.facts()["ids"].get<std::vector<int32_t>>();
  t.same("out.y", embedding.forward(t.exec(), ids, DType::f64));
  embedding.backward_weight(t.exec(), t.tensor("dout.y"), ids);
  t.same_gradients();
}

void run_mlp(Trial& t) {
  const Mlp mlp{t.linear("gate"), t.linear("up"), t.linear("down")};
  const Tensor x = t.tensor("in.x"), dy = t.tensor("dout.y"), y = t.space(dy), dx = t.space(x);
  for (const bool recomputed : {false, true}) {
    t.label(recomputed ? "recomputed" : "kept");
    Mlp::Saved saved;
    mlp.forward(t.exec(), y, x, ops::Write::overwrite, saved);
    t.same("out.y", y);
    if (recomputed) saved = {}, mlp.restore(t.exec(), x, saved);
    mlp.backward_input(t.exec(), dx, dy, ops::Write::overwrite, saved);
    t.expect_no_gradient_yet();
    t.same("din.x", dx);
    mlp.backward_weight(t.exec(), x, saved);
    t.same_gradients();
  }
}

void run_head(Trial& t) {
  const Tensor h = t.tensor("in.h"), dh = t.space(h);
  const auto targets = t.facts()["targets"].get<std::vector<int32_t>>();
  const double loss = t.facts()["loss"], scale = t.facts()["scale"];
  for (const int64_t chunk : {0, 1, 7, 128}) {
    for (const WeightGradient when : {WeightGradient::now, WeightGradient::later}) {
      t.label(fmt::format("chunk {} {}", chunk, when == WeightGradient::now ? "now" : "later"));
      HeadLoss head;
      head.head = t.linear("weight");
      head.chunk_tokens = chunk;
      std::vector<double> log_probs(targets.size());
      t.near("the loss", head.forward(t.exec(), h, targets, log_probs.data()), loss);
      t.same("out.log_probs", Tensor::from(t.exec(), log_probs, {int64_t(targets.size())}));
      HeadLoss::Saved saved;
      t.near("the trained loss", head.forward_backward(t.exec(), h, targets, scale, dh, when, saved), loss);
      t.same("din.h", dh);
      if (when == WeightGradient::later) t.expect_no_gradient_yet(), head.backward_weight(t.exec(), saved);
      t.same_gradients();
    }
  }
}

// A layer of a model, wired as the model wires it, in both attention forms and with every recomputation.
template <class Layer>
void in_every_way(Trial& t, const Layer& layer) {
  const ModelConfig config = t.config();
  const ModelParts parts = wire_model(config, [&](const std::string& name) { return t.parameter(name); });
  const MicroBatch batch = t.batch();
  const Tensor table = rope_table(t.exec(), config, DType::f64, 256);
  const double alpha = t.facts().value("alpha", 0.0);
  for (const AttentionForm form : {AttentionForm::up_projected, AttentionForm::absorbed}) {
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
      t.label(fmt::format("form {} recompute {}", int(form), int(recompute)));
      PartClock clock;
      const Run run{t.exec(), clock, DType::f64, form, recompute, table, true, alpha};
      layer(run, parts, batch);
      t.same_gradients();
    }
  }
}

void same_routing(Trial& t, const RoutingPlan& routing) {
  t.equal("routes", routing.experts, t.facts()["routes"]);
  std::vector<int64_t> load;
  for (size_t e = 0; e + 1 < routing.plan.offsets.size(); ++e)
    load.push_back(routing.plan.offsets[e + 1] - routing.plan.offsets[e]);
  t.equal("loads", std::vector<std::vector<int64_t>>{load}, t.facts()["load"]);
  t.near("the balance loss", routing.balance_loss, t.facts()["balance"]);
}

void run_mla(Trial& t) {
  in_every_way(t, [&](const Run& run, const ModelParts& parts, const MicroBatch& batch) {
    const Mla& mla = parts.layers[0].attention.mla;
    const Rows rows = rows_of(batch);
    const Tensor x = t.tensor("in.x"), y = t.space(x);
    Mla::Saved saved;
    mla.forward(run, rows, y, x, ops::Write::overwrite, saved);
    t.same("out.y", y);
    mla.drop(run.recompute, saved);
    mla.restore(run, rows, x, saved);
    const Tensor dx = mla.backward_input(run, rows, t.tensor("dout.y"), saved);
    t.expect_no_gradient_yet();
    t.same("din.x", dx);
    mla.backward_weight(run, x, saved);
  });
}

void run_moe(Trial& t) {
  in_every_way(t, [&](const Run& run, const ModelParts& parts, const MicroBatch& batch) {
    const Moe& moe = parts.layers[0].ffn.moe;
    const Tensor x = t.tensor("in.x"), y = Tensor::zeros(t.exec(), DType::f64, {x.rows(), x.cols()});
    Moe::Saved saved;
    moe.forward(run, rows_of(batch), y, x, saved);
    t.same("out.y", y);
    same_routing(t, saved.routing);
    moe.drop(run.recompute, saved);
    moe.restore(run, x, saved);
    const Tensor dx = moe.backward_input(run, t.tensor("dout.y"), saved);
    t.expect_no_gradient_yet();
    t.same("din.x", dx);
    moe.backward_weight(run, x, saved);
  });
}

void run_block(Trial& t) {
  for (const bool at_once : {false, true}) {  // B and W of each piece in turn, or all of B before all of W
    in_every_way(t, [&](const Run& run, const ModelParts& parts, const MicroBatch& batch) {
      const Block& block = parts.layers[0];
      const Rows rows = rows_of(batch);
      Block::Saved saved;
      t.same("out.y", block.forward(run, rows, t.tensor("in.x"), saved));
      if (block.ffn.is_moe()) same_routing(t, saved.ffn.moe.routing);
      if (at_once) return t.same("din.x", block.backward(run, rows, t.tensor("dout.y"), saved));
      const Tensor dx = block.backward_input(run, rows, t.tensor("dout.y"), saved);
      t.expect_no_gradient_yet();
      t.same("din.x", dx);
      block.backward_weight(run, saved);
    });
  }
}

void run_mtp(Trial& t) {
  in_every_way(t, [&](const Run& run, const ModelParts& parts, const MicroBatch& batch) {
    const int64_t depth = t.facts()["depth"];
    const MtpModule& module = parts.mtp[size_t(depth - 1)];
    const MtpRows at = mtp_rows(batch, depth);
    t.equal("rows", at.rows, t.facts()["rows"]);
    const Rows rows = rows_of(at.batch);
    MtpModule::Saved saved;
    t.same("out.y", module.forward(run, rows, t.tensor("in.embedding"), t.tensor("in.hidden"), saved));
    if (module.block.ffn.is_moe()) same_routing(t, saved.block.ffn.moe.routing);
    const MtpModule::Gradients gradients = module.backward(run, rows, t.tensor("dout.y"), saved);
    t.same("din.embedding", gradients.embedding);
    t.same("din.hidden", gradients.hidden);
  });
}

}  // namespace

LayerFindings compare_layers(const std::filesystem::path& directory) {
  static const std::map<std::string, void (*)(Trial&)> runners = {
      {"linear", run_linear}, {"norm", run_norm}, {"embedding", run_embedding}, {"mlp", run_mlp}, {"head", run_head},
      {"mla", run_mla},       {"moe", run_moe},   {"block", run_block},         {"mtp", run_mtp}};
  const SafetensorsReader file(directory / "layers.safetensors");
  LayerFindings findings;
  for (const Json& json : Json::parse(read_file(directory / "layers.json"))) {
    Trial trial(json, file, findings);
    ++findings.cases;
    runners.at(json["kind"])(trial);
  }
  return findings;
}

}  // namespace hadal::oracle
