#include "model/step.h"

#include <algorithm>

#include "base/error.h"
#include "ops/pointwise.h"

namespace hadal {

ModelStep::ModelStep(const ModelParts& parts, const Run& run, const MicroBatch& batch, RouteReplay* routes,
                     Observer observer)
    : parts_(parts),
      run_(run),
      batch_(batch),
      routes_(routes),
      observer_(std::move(observer)),
      saved_(parts.layers.size()),
      depths_(parts.mtp.size()) {
  if (routes_ && !routes_->replay) routes_->experts.clear();
  sums_.mtp.assign(parts.mtp.size(), 0.0);
  sums_.mtp_count.assign(parts.mtp.size(), 0);
}

Rows ModelStep::rows_of(const MicroBatch& batch) {
  Rows rows;
  rows.positions = batch.positions;
  rows.segments = &batch.segments;
  rows.sequences = batch.sequences;
  return rows;
}

Tensor ModelStep::block_input(const MicroBatch& batch) const {
  PartClock::Scope scope(run_.clock, Part::embedding);
  return parts_.embedding.forward(run_.exec, batch.tokens, run_.dtype);
}

void ModelStep::prepare_routes(const Block& block, Block::Saved& saved) {
  if (!block.ffn.is_moe() || !routes_ || !routes_->replay) return;
  check(n_routed_ < routes_->experts.size(), ErrorKind::invalid,
        "replayed routes hold {} MoE layers, the model has more", routes_->experts.size());
  saved.ffn.moe.routing.experts = routes_->experts[n_routed_];
  saved.ffn.moe.routing.forced = true;
}

void ModelStep::record_routes(const Block& block, const Block::Saved& saved) {
  if (!block.ffn.is_moe()) return;
  const RoutingPlan& routing = saved.ffn.moe.routing;
  std::vector<int64_t> load(size_t(block.ffn.moe.rule.n_experts));
  for (size_t e = 0; e < load.size(); ++e) load[e] = routing.plan.offsets[e + 1] - routing.plan.offsets[e];
  sums_.expert_load.push_back(std::move(load));
  sums_.balance += routing.balance_loss;
  if (routes_ && !routes_->replay) routes_->experts.push_back(routing.experts);
  ++n_routed_;
}

// A depth that no segment is long enough for.
void ModelStep::skip_depth(const Block& block) {
  if (!block.ffn.is_moe()) return;
  sums_.expert_load.emplace_back(size_t(block.ffn.moe.rule.n_experts), 0);
  if (routes_ && !routes_->replay) routes_->experts.emplace_back();
  ++n_routed_;
}

void ModelStep::see(const std::string& name, const Tensor& value) const {
  if (observer_) observer_(name, value);
}

void ModelStep::see_block(size_t layer, const Block& block, const Block::Saved& saved, const Tensor& y) const {
  if (!observer_) return;
  const std::string name = fmt::format("layers.{}.", layer);
  if (block.ffn.is_moe()) {
    const RoutingPlan& routing = saved.ffn.moe.routing;
    auto experts = routing.experts;  // a copy: views of a Tensor may be written
    see(name + "moe.experts", Tensor::wrap(experts.data(), DType::i32, routing.weights.shape()));
    see(name + "moe.weights", routing.weights);
  }
  see(name + "output", y);
}

Tensor ModelStep::run_block(size_t layer, const Rows& rows, const Tensor& x, Block::Saved& saved) {
  const Block& block = parts_.layers[layer];
  prepare_routes(block, saved);
  const Tensor y = block.forward(run_, rows, x, saved);
  record_routes(block, saved);
  see_block(layer, block, saved, y);
  if (!run_.keep) saved = Block::Saved();
  return y;
}

Tensor ModelStep::forward_layers() {
  const Rows rows = rows_of(batch_);
  Tensor x = block_input(batch_);
  see("embedding", x);
  for (size_t layer = 0; layer < parts_.layers.size(); ++layer) x = run_block(layer, rows, x, saved_[layer]);
  PartClock::Scope scope(run_.clock, Part::norms);
  const Tensor normed = parts_.final_norm.forward(run_.exec, x, final_norm_);
  see("final_norm", normed);
  return normed;
}

Tensor ModelStep::forward_depth(size_t k, const Tensor& previous) {
  const MtpModule& module = parts_.mtp[k];
  Depth& depth = depths_[k];
  depth.rows = mtp_rows(batch_, int64_t(k) + 1);
  if (depth.rows.rows.empty()) {
    skip_depth(module.block);
    return Tensor();
  }
  run_.clock.hold(true);
  const Tensor embedding = block_input(depth.rows.batch);
  const Tensor hidden = Tensor::empty(run_.exec, run_.dtype, {embedding.rows(), embedding.cols()});
  ops::gather_rows(run_.exec, hidden, previous, depth.rows.rows_in);
  prepare_routes(module.block, depth.saved.block);
  const Tensor h = module.forward(run_, rows_of(depth.rows.batch), embedding, hidden, depth.saved);
  record_routes(module.block, depth.saved.block);
  see_block(parts_.layers.size() + k, module.block, depth.saved.block, depth.saved.final_norm.x);
  if (!run_.keep) depth.saved = MtpModule::Saved();
  run_.clock.hold(false);
  return h;
}

namespace {
int64_t count_targets(const std::vector<int32_t>& targets) {
  return std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
}
}  // namespace

LossSums ModelStep::forward(std::vector<double>* log_probs) {
  Tensor h = forward_layers();
  {
    PartClock::Scope scope(run_.clock, Part::head_loss);
    if (log_probs) log_probs->assign(size_t(batch_.n_tokens()), 0.0);
    sums_.main = parts_.head.forward(run_.exec, h, batch_.targets, log_probs ? log_probs->data() : nullptr);
    sums_.main_count = count_targets(batch_.targets);
  }
  for (size_t k = 0; k < depths_.size(); ++k) {
    h = forward_depth(k, h);
    if (!h) continue;
    PartClock::Scope scope(run_.clock, Part::head_loss);
    const std::vector<int32_t>& targets = depths_[k].rows.batch.targets;
    sums_.mtp[k] = parts_.head.forward(run_.exec, h, targets, nullptr);
    sums_.mtp_count[k] = count_targets(targets);
  }
  return std::move(sums_);
}

LossSums ModelStep::forward_backward(const LossWeights& weights) {
  HeadLoss::Saved nothing;  // the head's weight gradient is taken at once
  Tensor h = forward_layers();
  {
    PartClock::Scope scope(run_.clock, Part::head_loss);
    dh_ = Tensor::empty(run_.exec, run_.dtype, {h.rows(), h.cols()});
    sums_.main =
        parts_.head.forward_backward(run_.exec, h, batch_.targets, weights.main, dh_, WeightGradient::now, nothing);
    sums_.main_count = count_targets(batch_.targets);
  }
  for (size_t k = 0; k < depths_.size(); ++k) {
    h = forward_depth(k, h);
    if (!h) continue;
    Depth& depth = depths_[k];
    PartClock::Scope scope(run_.clock, Part::head_loss);
    const std::vector<int32_t>& targets = depth.rows.batch.targets;
    depth.dh = Tensor::empty(run_.exec, run_.dtype, {h.rows(), h.cols()});
    sums_.mtp[k] =
        parts_.head.forward_backward(run_.exec, h, targets, weights.mtp[k], depth.dh, WeightGradient::now, nothing);
    sums_.mtp_count[k] = count_targets(targets);
  }
  h.reset();
  backward_depths();
  backward_layers();
  return std::move(sums_);
}

void ModelStep::backward_depths() {
  for (size_t k = depths_.size(); k-- > 0;) {
    Depth& depth = depths_[k];
    if (!depth.dh) continue;
    run_.clock.hold(true);
    const MtpModule::Gradients gradients =
        parts_.mtp[k].backward(run_, rows_of(depth.rows.batch), std::move(depth.dh), depth.saved);
    depth.dh.reset();
    parts_.embedding.backward_weight(run_.exec, gradients.embedding, depth.rows.batch.tokens);
    add_rows(run_.exec, k == 0 ? dh_ : depths_[k - 1].dh, gradients.hidden, depth.rows.rows_in);
    run_.clock.hold(false);
  }
}

void ModelStep::backward_layers() {
  Tensor dx = Tensor::empty(run_.exec, run_.dtype, {dh_.rows(), dh_.cols()});
  {
    PartClock::Scope scope(run_.clock, Part::norms);
    parts_.final_norm.backward_input(run_.exec, dx, dh_, final_norm_, false);
    parts_.final_norm.backward_weight(run_.exec, final_norm_);
    dh_.reset();
  }
  const Rows rows = rows_of(batch_);
  for (size_t layer = parts_.layers.size(); layer-- > 0;)
    dx = parts_.layers[layer].backward(run_, rows, std::move(dx), saved_[layer]);
  PartClock::Scope scope(run_.clock, Part::embedding);
  parts_.embedding.backward_weight(run_.exec, dx, batch_.tokens);
}

void check_batch(const MicroBatch& batch, const ModelConfig& config) {
  const int64_t n = batch.n_tokens();
  check(n > 0, ErrorKind::invalid, "a micro-batch of no tokens");
  check(int64_t(batch.positions.size()) == n && int64_t(batch.targets.size()) == n, ErrorKind::invalid,
        "a micro-batch of {} tokens has {} positions and {} targets", n, batch.positions.size(), batch.targets.size());
  for (int64_t i = 0; i < n; ++i) {
    const int32_t token = batch.tokens[size_t(i)], target = batch.targets[size_t(i)],
                  position = batch.positions[size_t(i)];
    check(token >= 0 && token < config.vocab_size, ErrorKind::invalid,
          "token {} of the micro-batch is {}, vocabulary is {}", i, token, config.vocab_size);
    check(target >= -1 && target < config.vocab_size, ErrorKind::invalid,
          "target {} of the micro-batch is {}, vocabulary is {}", i, target, config.vocab_size);
    check(position >= 0 && position < config.max_positions, ErrorKind::invalid,
          "position {} of row {} is not below model.max_positions = {}", position, i, config.max_positions);
  }
  int64_t next = 0;
  for (const ops::Segment& s : batch.segments) {
    check(s.q_begin == next && s.k_begin == next && s.n_q > 0 && s.n_k == s.n_q, ErrorKind::invalid,
          "attention segments must follow one another; one begins at row {} where {} was due", s.q_begin, next);
    next += s.n_q;
  }
  check(next == n, ErrorKind::invalid, "attention segments cover {} of {} rows", next, n);
  next = 0;
  for (const ops::RowRange& s : batch.sequences) {
    check(s.begin == next && s.count > 0, ErrorKind::invalid,
          "sequences must follow one another; one begins at row {} where {} was due", s.begin, next);
    next += s.count;
  }
  check(next == n, ErrorKind::invalid, "sequences cover {} of {} rows", next, n);
}

}  // namespace hadal
