#include "model/transformer.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "model/step.h"
#include "nn/init.h"
#include "ops/pointwise.h"

namespace hadal {

double LossSums::total(const LossWeights& weights) const {
  double sum = main * weights.main + balance;
  for (size_t k = 0; k < mtp.size() && k < weights.mtp.size(); ++k) sum += mtp[k] * weights.mtp[k];
  return sum;
}

void LossSums::merge(const LossSums& other) {
  main += other.main;
  main_count += other.main_count;
  balance += other.balance;
  mtp.resize(std::max(mtp.size(), other.mtp.size()));
  mtp_count.resize(std::max(mtp_count.size(), other.mtp_count.size()));
  for (size_t k = 0; k < other.mtp.size(); ++k) mtp[k] += other.mtp[k], mtp_count[k] += other.mtp_count[k];
  expert_load.resize(std::max(expert_load.size(), other.expert_load.size()));
  for (size_t l = 0; l < other.expert_load.size(); ++l) {
    expert_load[l].resize(std::max(expert_load[l].size(), other.expert_load[l].size()));
    for (size_t e = 0; e < other.expert_load[l].size(); ++e) expert_load[l][e] += other.expert_load[l][e];
  }
}

struct LatentCache {
  std::vector<LayerCache> layers;
  int64_t length = 0, capacity = 0;
};

struct Transformer::Impl {
  ModelConfig config;
  ModelOptions options;
  Exec exec;
  DType dtype;
  std::vector<std::unique_ptr<Parameter>> parameters;
  std::unordered_map<std::string, Parameter*> by_name;
  ModelParts parts;
  PartClock clock;
  Tensor table;  // rotary table, grown to the highest position seen

  Impl(const ModelConfig& config, const ModelOptions& options, const Exec& exec)
      : config(config), options(options), exec(exec), dtype(activation_dtype(options.precision)) {
    for (const ParameterSpec& spec : parameter_list(config)) {
      parameters.push_back(options.bare ? std::make_unique<Parameter>()
                                        : make_parameter(exec, spec, dtype, options.training));
      parameters.back()->spec = spec;
      by_name[spec.name] = parameters.back().get();
    }
    parts = wire_model(
        config, [this](const std::string& name) { return find(name); }, options.recipe);
    parts.head.chunk_tokens = options.loss_chunk_tokens;
  }

  Parameter* find(const std::string& name) const {
    const auto found = by_name.find(name);
    check(found != by_name.end(), ErrorKind::not_found, "this model has no parameter \"{}\"", name);
    return found->second;
  }

  void cover_positions(int64_t n_positions) {
    if (table && table.dim(0) >= n_positions) return;
    int64_t size = 256;
    while (size < n_positions) size *= 2;
    table =
        rope_table(exec, config, statistics_dtype(dtype), std::min(size, std::max(n_positions, config.max_positions)));
  }

  Run new_run(bool keep, double balance_alpha) {
    clock.start();
    return {exec, clock, dtype, options.attention_form, options.recompute, table, keep, balance_alpha};
  }

  void prepare(const MicroBatch& batch, const RouteReplay* routes) {
    check_batch(batch, config);
    cover_positions(1 + *std::max_element(batch.positions.begin(), batch.positions.end()));
    if (!routes || !routes->replay) return;
    int64_t n_moe = 0;
    for (int64_t layer = 0; layer < config.n_layers + config.n_mtp; ++layer) n_moe += config.is_moe_layer(layer);
    check(int64_t(routes->experts.size()) == n_moe, ErrorKind::invalid,
          "replayed routes hold {} MoE layers, the model has {}", routes->experts.size(), n_moe);
  }
};

Transformer::Transformer(const ModelConfig& config, const ModelOptions& options, const Exec& exec)
    : impl_(std::make_unique<Impl>(config, options, exec)) {}
Transformer::~Transformer() = default;

const ModelConfig& Transformer::config() const { return impl_->config; }
const ModelOptions& Transformer::options() const { return impl_->options; }
const Exec& Transformer::exec() const { return impl_->exec; }
Parameter& Transformer::parameter(const std::string& name) const { return *impl_->find(name); }

Parameters Transformer::parameters() const {
  Parameters result;
  for (const auto& parameter : impl_->parameters) result.push_back(parameter.get());
  return result;
}

void Transformer::initialize(uint64_t seed) {
  for (const auto& parameter : impl_->parameters) initialize_parameter(impl_->exec, *parameter, seed);
}

void Transformer::refresh_values() {
  for (const auto& parameter : impl_->parameters) refresh_value(impl_->exec, *parameter);
}

void Transformer::zero_gradients() {
  for (const auto& parameter : impl_->parameters)
    if (parameter->grad) parameter->grad.zero();
}

LossSums Transformer::forward_backward(const MicroBatch& batch, const LossWeights& weights, RouteReplay* routes) {
  check(impl_->options.training, ErrorKind::internal, "forward_backward needs a model made with training = true");
  check(int64_t(weights.mtp.size()) == impl_->config.n_mtp, ErrorKind::invalid,
        "{} MTP loss weights for {} MTP modules", weights.mtp.size(), impl_->config.n_mtp);
  impl_->prepare(batch, routes);
  const Run run = impl_->new_run(true, weights.balance);
  LossSums sums = ModelStep(impl_->parts, run, batch, routes).forward_backward(weights);
  impl_->clock.stop();
  return sums;
}

LossSums Transformer::forward(const MicroBatch& batch, std::vector<double>* log_probs, RouteReplay* routes,
                              const Observer& observer) {
  impl_->prepare(batch, routes);
  const Run run = impl_->new_run(false, 0.0);
  LossSums sums = ModelStep(impl_->parts, run, batch, routes, observer).forward(log_probs);
  impl_->clock.stop();
  return sums;
}

std::shared_ptr<LatentCache> Transformer::new_cache(int64_t max_tokens) const {
  const ModelConfig& c = impl_->config;
  check(max_tokens > 0 && max_tokens <= c.max_positions, ErrorKind::invalid,
        "a text of {} tokens does not fit 1 .. model.max_positions = {}", max_tokens, c.max_positions);
  auto cache = std::make_shared<LatentCache>();
  cache->capacity = max_tokens;
  for (int64_t layer = 0; layer < c.n_layers; ++layer) {
    LayerCache entry;
    entry.latent = Tensor::empty(impl_->exec, impl_->dtype, {max_tokens, c.kv_lora_rank});
    entry.rope_key = Tensor::empty(impl_->exec, impl_->dtype, {max_tokens, c.qk_rope_head_dim});
    if (impl_->options.attention_form == AttentionForm::up_projected)
      entry.kv =
          Tensor::empty(impl_->exec, impl_->dtype, {max_tokens, c.n_heads * (c.qk_nope_head_dim + c.v_head_dim)});
    cache->layers.push_back(std::move(entry));
  }
  return cache;
}

std::vector<float> Transformer::extend(LatentCache& cache, std::span<const int32_t> tokens) {
  const int64_t n = int64_t(tokens.size());
  check(n > 0, ErrorKind::invalid, "extend needs at least one token");
  check(cache.length + n <= cache.capacity, ErrorKind::invalid, "{} tokens after {} do not fit a cache of {}", n,
        cache.length, cache.capacity);
  std::vector<int32_t> positions(tokens.size());
  for (int64_t i = 0; i < n; ++i) {
    positions[size_t(i)] = int32_t(cache.length + i);
    check(tokens[size_t(i)] >= 0 && tokens[size_t(i)] < impl_->config.vocab_size, ErrorKind::invalid,
          "token {} is not below the vocabulary's {}", tokens[size_t(i)], impl_->config.vocab_size);
  }
  impl_->cover_positions(cache.length + n);
  const Run run = impl_->new_run(false, 0.0);
  const std::vector<ops::Segment> segments = {{0, n, 0, cache.length + n}};
  Rows rows;
  rows.positions = positions;
  rows.segments = &segments;
  rows.cached = cache.length;
  Tensor x = impl_->parts.embedding.forward(run.exec, tokens, run.dtype);
  for (size_t layer = 0; layer < impl_->parts.layers.size(); ++layer) {
    rows.cache = &cache.layers[layer];
    Block::Saved saved;
    x = impl_->parts.layers[layer].forward(run, rows, x, saved);
  }
  Norm::Saved norm;
  const Tensor h = impl_->parts.final_norm.forward(run.exec, x.row_range(n - 1, 1), norm);
  const Tensor logits = impl_->parts.head.logits(run.exec, h).to(run.exec, DType::f32);
  cache.length += n;
  impl_->clock.stop();
  return {logits.data<float>(), logits.data<float>() + logits.count()};
}

void Transformer::update_selection_bias(const std::vector<std::vector<int64_t>>& global_load, double gamma) {
  std::vector<Parameter*> biases;
  for (const Block& block : impl_->parts.layers)
    if (block.ffn.is_moe()) biases.push_back(block.ffn.moe.bias);
  for (const MtpModule& module : impl_->parts.mtp)
    if (module.block.ffn.is_moe()) biases.push_back(module.block.ffn.moe.bias);
  check(global_load.size() == biases.size(), ErrorKind::invalid, "expert loads of {} MoE layers for a model of {}",
        global_load.size(), biases.size());
  for (size_t l = 0; l < biases.size(); ++l) {
    if (!biases[l] || gamma == 0) continue;
    const Tensor& bias = biases[l]->master;
    check(int64_t(global_load[l].size()) == bias.count(), ErrorKind::invalid, "loads of {} experts for a router of {}",
          global_load[l].size(), bias.count());
    int64_t total = 0;
    for (int64_t load : global_load[l]) total += load;
    const double mean = double(total) / double(bias.count());
    for (int64_t e = 0; e < bias.count(); ++e) {
      const double gap = mean - double(global_load[l][size_t(e)]);
      set_element(bias, e, element(bias, e) + (gap > 0 ? gamma : gap < 0 ? -gamma : 0.0));
    }
    refresh_value(impl_->exec, *biases[l]);
  }
}

PartTimes Transformer::take_part_times() { return {impl_->clock.take()}; }

}  // namespace hadal
