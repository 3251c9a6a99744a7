#include "train/oracle_layers.h"

#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "config/config_io.h"
#include "model/block_pieces.h"
#include "model/rope_cache.h"
#include "model/stage.h"
#include "model/stream_pieces.h"
#include "nn/head_loss.h"
#include "nn/init.h"
#include "ops/pointwise.h"
#include "storage/safetensors.h"
#include "train/oracle_batch.h"

namespace hadal::oracle {
namespace {

using Json = nlohmann::json;

// One way to run one case: its parameters, and what was found.
class Trial {
 public:
  Trial(const Json& json, const SafetensorsReader& file, const LayerNumbers& numbers, LayerFindings& findings)
      : json_(json), file_(file), numbers_(numbers), findings_(findings), name_(json["name"]) {
    ++findings_.runs;
    const std::string prefix = name_ + "/w.";
    for (const SafetensorsEntry& entry : file.entries()) {
      if (!entry.name.starts_with(prefix)) continue;
      ParameterSpec spec;
      spec.name = entry.name.substr(prefix.size());
      spec.shape = entry.shape;
      for (const char* part : {"norm", "moe.router", "moe.bias"})
        spec.high_precision = spec.high_precision || spec.name.find(part) != std::string::npos;
      spec.high_precision = spec.high_precision || json_["kind"] == "norm";
      auto& parameter = parameters_[spec.name] = make_parameter(exec(), spec, dtype(), true);
      parameter->master.copy_from(file.tensor(entry.name));
      refresh_value(exec(), *parameter);
    }
  }

  const Exec& exec() const { return owned_.exec; }
  DType dtype() const { return numbers_.dtype; }
  const Json& facts() const { return json_["facts"]; }
  ModelConfig config() const { return model_config_from_json(json_text(json_["config"]), name_); }
  MicroBatch batch() const { return parse_batch(json_text(json_["batch"])); }
  void label(const std::string& text) { label_ = text; }
  Parameter* parameter(const std::string& name) const {
    const auto found = parameters_.find(name);
    check(found != parameters_.end(), ErrorKind::not_found, "{} has no weight {}", name_, name);
    return found->second.get();
  }
  Linear linear(const std::string& name) const { return {parameter(name)}; }
  Tensor tensor(const std::string& name) const { return file_.tensor(name_ + "/" + name).to(exec(), dtype()); }
  Tensor wanted(const std::string& name) const { return file_.tensor(name_ + "/" + name).clone(exec()); }
  Tensor space(const Tensor& like) const { return Tensor::empty(exec(), dtype(), {like.rows(), like.cols()}); }
  Tensor ids(const std::vector<int32_t>& values) const {
    return Tensor::from(exec(), values, {int64_t(values.size())});
  }
  Tensor rows_like(const Tensor& x, int64_t cols) const { return Tensor::empty(exec(), dtype(), {x.rows(), cols}); }

  void wrong(const std::string& what) { findings_.failures.push_back(fmt::format("{} [{}]: {}", name_, label_, what)); }
  template <class T>
  void equal(const char* what, const T& ours, const Json& theirs) {
    if (Json(ours) != theirs)
      wrong(fmt::format("{} differ: ours {}, oracle {}", what, json_text(Json(ours)), json_text(theirs)));
  }
  void near(const char* what, double ours, double theirs) {
    if (!(std::abs(ours - theirs) <= numbers_.bound * std::abs(theirs) + numbers_.floor))
      wrong(fmt::format("{} is {:.17g}, oracle {:.17g}", what, ours, theirs));
  }
  void same(const std::string& what, const Tensor& ours) { same_as(what, ours, wanted(what)); }

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
      parameter->expect(-1);
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
    const bool one_sum = json_["kind"] == "linear" && what == "g.weight";
    const double bound = one_sum ? numbers_.sum_bound : numbers_.bound;
    if (difference <= bound * size + numbers_.floor * std::sqrt(double(theirs.count()))) return;
    findings_.tensors_failed += sizable;
    wrong(fmt::format("{}: ||difference|| {:.3e}, ||oracle|| {:.3e}", what, difference, size));
  }

  const Json& json_;
  const SafetensorsReader& file_;
  const LayerNumbers& numbers_;
  LayerFindings& findings_;
  std::string name_, label_;
  OwnedExec owned_{3, numbers_.isa};
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

// What torch makes of FP32 in FP16, bit for bit (NaN aside), and back.
void run_store(Trial& t) {
  const Tensor x = t.wanted("in.x"), y = t.wanted("out.y"), ours = x.to(t.exec(), DType::f16);
  const auto* found = static_cast<const uint16_t*>(ours.raw());
  const auto* theirs = static_cast<const uint16_t*>(y.raw());
  for (int64_t i = 0; i < x.count(); ++i)
    if (found[i] != theirs[i])
      return t.wrong(fmt::format("{:a} becomes {:04x}, torch says {:04x}", element(x, i), found[i], theirs[i]));
  const Tensor back = y.to(t.exec(), DType::f32);
  for (int64_t i = 0; i < x.count(); ++i)
    if (double(back.data<float>()[i]) != element(y, i))
      return t.wrong(
          fmt::format("{:04x} becomes {:a} instead of {:a}", theirs[i], back.data<float>()[i], element(y, i)));
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
  const Tensor ids = t.ids(t.facts()["ids"].get<std::vector<int32_t>>());
  t.same("out.y", embedding.forward(t.exec(), ids, t.dtype()));
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
  const Tensor targets = t.ids(t.facts()["targets"].get<std::vector<int32_t>>());
  const Tensor losses = Tensor::empty(t.exec(), statistics_dtype(t.dtype()), {targets.count()});
  const HeadLoss::Rows rows{h, targets, losses};
  const double loss = t.facts()["loss"], scale = t.facts()["scale"];
  for (const int64_t chunk : {0, 1, 7, 128}) {
    for (const WeightGradient when : {WeightGradient::now, WeightGradient::later}) {
      t.label(fmt::format("chunk {} {}", chunk, when == WeightGradient::now ? "now" : "later"));
      HeadLoss head;
      head.head = t.linear("weight");
      head.chunk_tokens = chunk;
      head.forward(t.exec(), rows);
      t.near("the loss", sum_of_losses(losses), loss);
      const Tensor log_probs = losses.clone(t.exec());
      ops::scale(t.exec(), log_probs, -1.0);
      t.same("out.log_probs", log_probs);
      head.forward_backward(t.exec(), rows, scale, dh, when);
      t.near("the trained loss", sum_of_losses(losses), loss);
      t.same("din.h", dh);
      if (when == WeightGradient::later) t.expect_no_gradient_yet(), head.backward_weight(t.exec(), rows, scale);
      t.same_gradients();
    }
  }
}

// A part of a model, wired as the model wires it, in both attention forms and with every recomputation.
template <class Layer>
void in_every_way(Trial& t, const StagePart& part, const Layer& layer) {
  const ModelConfig config = t.config();
  const auto find = [&](const std::string& name) { return t.parameter(name); };
  const ModelLayers layers = wire_layers(config, part, find);
  const Tensor table = rope_table(t.exec(), config, statistics_dtype(t.dtype()), 256);
  for (const AttentionForm form : {AttentionForm::up_projected, AttentionForm::absorbed}) {
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
      t.label(fmt::format("form {} recompute {}", int(form), int(recompute)));
      PartClock clock;
      Pass pass{t.exec(), clock, t.dtype(), form, recompute, table};
      pass.keep = true;
      pass.balance_alpha = t.facts().value("alpha", 0.0);
      layer(pass, layers);
      t.same_gradients();
    }
  }
}

constexpr StagePart kFirstLayer{0, 1, false, false};

void same_routing(Trial& t, const Routing& routing) {
  const int32_t* experts = routing.routes.experts.data<int32_t>();
  t.equal("routes", std::vector<int32_t>(experts, experts + routing.routes.experts.count()), t.facts()["routes"]);
  std::vector<int64_t> load;
  const int32_t* offsets = routing.plan.offsets.data<int32_t>();
  for (int64_t e = 0; e + 1 < routing.plan.offsets.count(); ++e) load.push_back(offsets[e + 1] - offsets[e]);
  t.equal("loads", std::vector<std::vector<int64_t>>{load}, t.facts()["load"]);
  t.near("the balance loss", routing.balance_losses ? sum_of_losses(routing.balance_losses) : 0.0,
         t.facts()["balance"]);
}

void run_mla(Trial& t) {
  in_every_way(t, kFirstLayer, [&](const Pass& pass, const ModelLayers& layers) {
    const Mla& mla = layers.blocks[0].mla;
    Flight flight(t.exec(), t.batch(), {});
    const Rows rows = flight.rows(0, 0);
    const Tensor x = t.tensor("in.x"), y = t.space(x);
    BlockSaved::Attention of;
    mla.forward(pass, rows, y, x, ops::Write::overwrite, of.mla);
    t.same("out.y", y);
    mla.keep(pass, of.mla);
    mla.restore(pass, rows, x, of.mla);
    const Tensor dx = mla.backward_input(pass, rows, t.tensor("dout.y"), of.dy, of.mla).wait();
    t.expect_no_gradient_yet();
    t.same("din.x", dx);
    mla.backward_weight(pass, x, of.mla);
  });
}

// The steps of a MoE layer, one after another, without the norm and the residual around them.
void run_moe(Trial& t) {
  in_every_way(t, kFirstLayer, [&](const Pass& pass, const ModelLayers& layers) {
    const Moe& moe = layers.blocks[0].moe;
    Flight flight(t.exec(), t.batch(), {});
    const Tensor x = t.tensor("in.x"), dy = t.tensor("dout.y"), dx = Tensor::zeros(t.exec(), t.dtype(), x.shape());
    const Tensor y = Tensor::zeros(t.exec(), t.dtype(), {x.rows(), x.cols()});
    Routing routing;
    Experts::Saved experts;
    Mlp::Saved shared;
    moe.route(pass, flight.rows(0, 0), x, routing);
    if (moe.has_shared()) moe.shared.forward(t.exec(), y, x, ops::Write::add, shared);
    const ExpertRows sent = moe.dispatch(pass, x, routing);
    moe.combine(pass, y, moe.experts.forward(t.exec(), sent, experts), routing);
    t.same("out.y", y);
    same_routing(t, routing);
    if (pass.recompute == Recompute::all) experts.gate_up.reset(), shared.gate_up.reset();
    moe.experts.restore(t.exec(), sent, experts);
    const Experts::Gradients d =
        moe.experts.backward_input(t.exec(), sent, moe.combine_backward(pass, dy, routing), experts);
    if (moe.has_shared()) {
      moe.shared.restore(t.exec(), x, shared);
      moe.shared.backward_input(t.exec(), dx, dy, ops::Write::add, shared);
    }
    moe.dispatch_backward(pass, dx, d, routing, ops::Write::add);
    moe.route_backward(pass, dx, routing);
    t.expect_no_gradient_yet();
    t.same("din.x", dx);
    moe.experts.backward_weight(t.exec(), {&sent, 1}, {&experts, 1});
    if (moe.has_shared()) moe.shared.backward_weight(t.exec(), x, shared);
    moe.router.backward_weight(t.exec(), routing.dlogits, x);
  });
}

void run_block(Trial& t) {
  const ModelConfig config = t.config();
  const auto find = [&](const std::string& name) { return t.parameter(name); };
  const Stage stage(config, kFirstLayer, find);
  for (const bool at_once : {false, true}) {  // B and W of each piece in turn, or all of B before all of W
    in_every_way(t, kFirstLayer, [&](const Pass& pass, const ModelLayers& layers) {
      Flight flight(t.exec(), t.batch(), stage.flight_sizes());
      Tensor& h = flight.streams[0].h;
      h = t.tensor("in.x");
      stage.forward(pass, flight);
      t.same("out.y", h);
      if (layers.blocks[0].is_moe()) same_routing(t, flight.blocks[0].moe.routing);
      h = t.tensor("dout.y");
      if (at_once) {
        stage.backward(pass, flight);
        return t.same("din.x", h);
      }
      stage.backward_input(pass, flight);
      t.expect_no_gradient_yet();
      t.same("din.x", h);
      stage.backward_weight(pass, flight);
    });
  }
}

// The pieces of one MTP depth without embedding and head: join, block, final norm; B and W split and in turn.
void run_mtp(Trial& t) {
  const int64_t depth = t.facts()["depth"];
  const StagePart part{0, 0, false, true};
  for (const bool at_once : {false, true}) {
    in_every_way(t, part, [&](const Pass& pass, const ModelLayers& wired) {
      // What is looked up is given: a table whose row i is the embedding of the depth's row i.
      ModelLayers layers = wired;
      ParameterSpec spec;
      spec.name = "given", spec.shape = t.tensor("in.embedding").shape();
      const auto given = make_parameter(t.exec(), spec, t.dtype(), true);
      given->master.copy_from(t.tensor("in.embedding"));
      refresh_value(t.exec(), *given);
      layers.embedding.weight = given.get();
      const MtpLayers& mtp = layers.mtp[size_t(depth - 1)];
      std::vector<std::unique_ptr<Piece>> pieces;
      pieces.push_back(join_piece(layers, depth));
      append_block_pieces(mtp.block, {depth, 0, t.config().n_layers, 0}, pieces);
      pieces.push_back(final_norm_piece(layers, depth));
      std::erase_if(pieces, [&](const auto& piece) { return !piece->runs(pass, true); });  // nothing passes on
      const FlightSizes sizes{int64_t(layers.mtp.size()), 1, 1, t.config().n_routed_experts};
      Flight flight(t.exec(), t.batch(), sizes);
      Stream &stream = flight.streams[size_t(depth)], &before = flight.streams[size_t(depth - 1)];
      t.equal("rows", mtp_rows(t.batch(), depth).rows, t.facts()["rows"]);
      std::vector<int32_t> ids(size_t(stream.n_rows()));
      std::iota(ids.begin(), ids.end(), 0);
      stream.tokens = t.ids(ids);
      // The state before, at the rows that this depth reads.
      const Tensor hidden = t.tensor("in.hidden");
      before.state = Tensor::zeros(t.exec(), t.dtype(), {before.n_rows(), hidden.cols()});
      before.d_state = before.state.clone(t.exec());
      ops::add_rows(t.exec(), before.state, hidden, stream.rows_in);
      for (const auto& piece : pieces) piece->forward(pass, flight);
      t.same("out.y", stream.state);
      if (mtp.block.is_moe()) same_routing(t, flight.blocks[0].moe.routing);
      stream.d_state = t.tensor("dout.y");
      for (size_t i = pieces.size(); i-- > 0;) {
        pieces[i]->backward_input(pass, flight);
        if (i == 0) t.same("din.embedding", stream.join.d_embedding);
        if (at_once) pieces[i]->backward_weight(pass, flight);
      }
      const Tensor d_hidden = Tensor::empty(t.exec(), t.dtype(), {hidden.rows(), hidden.cols()});
      ops::gather_rows(t.exec(), d_hidden, before.d_state, stream.rows_in);
      t.same("din.hidden", d_hidden);
      if (at_once) return;
      t.expect_no_gradient_yet();
      for (size_t i = pieces.size(); i-- > 0;) pieces[i]->backward_weight(pass, flight);
    });
  }
}

}  // namespace

LayerFindings compare_layers(const std::filesystem::path& directory, const LayerNumbers& numbers) {
  static const std::map<std::string, void (*)(Trial&)> runners = {
      {"linear", run_linear}, {"norm", run_norm}, {"embedding", run_embedding}, {"mlp", run_mlp}, {"head", run_head},
      {"mla", run_mla},       {"moe", run_moe},   {"block", run_block},         {"mtp", run_mtp}, {"store", run_store}};
  const SafetensorsReader file(directory / "layers.safetensors");
  LayerFindings findings;
  for (const Json& json : read_json<Json>(directory / "layers.json")) {
    Trial trial(json, file, numbers, findings);
    ++findings.cases;
    runners.at(json["kind"])(trial);
  }
  return findings;
}

}  // namespace hadal::oracle
