#include "model/transformer.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <unordered_map>

#include "arch/arch.h"
#include "base/error.h"
#include "model/executor.h"
#include "model/flight_bytes.h"
#include "model/latent_cache.h"
#include "model/packing.h"
#include "model/rope_cache.h"
#include "model/weight_format.h"
#include "nn/init.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

bool is_weights_alone(const Action& action) { return action.kind == ActionKind::backward_weight; }

bool is_plain(const Actions& list) {  // Pass::plain_backward
  return std::none_of(list.begin(), list.end(), [](const Action& a) { return is_weights_alone(a) || a.overlaps_next; });
}

}  // namespace

struct Transformer::Impl {
  ModelConfig config;
  ModelOptions options;
  DType dtype;
  std::vector<std::unique_ptr<Parameter>> parameters;
  std::unordered_map<std::string, Parameter*> by_name;
  HeldStages stages;
  Partners partners;
  PipelineLinks links;
  Doing* doing;
  RopeCache rope;

  Impl(const ModelConfig& config, const ModelOptions& options, const Exec& exec, const ModelShare& share)
      : config(config),
        options(options),
        dtype(activation_dtype(options.precision)),
        partners(share.partners),
        links(share.links),
        doing(share.doing) {
    check_precision(options.precision, exec);
    check_attention(config, options);
    check(options.cache == CacheFormat::values || (!partners.tensor && !partners.context), ErrorKind::unsupported,
          "layers that are cut over tensor or context ranks read their keys as values, not in {}",
          enum_name(options.cache));
    for (const ParameterSpec& spec : parameter_list(config)) {
      const std::optional<Box> box = share.box ? share.box(spec) : Box::whole(spec.shape);
      if (!box) continue;
      parameters.push_back(bare_parameter(spec, *box));
      by_name[spec.name] = parameters.back().get();
    }
    const auto find = [this](const std::string& name) { return this->find(name); };
    const auto held = share.stages.empty() ? std::vector<HeldStage>{{0, StagePart::whole(config)}} : share.stages;
    for (const auto& [number, part] : held)
      stages.emplace_back(
          number, std::make_unique<Stage>(config, part, find, options.recipe, options.loss_chunk_tokens, number));
    for (const auto& parameter : parameters) {
      prepare_codes(*parameter, dtype, options.recipe, config, partners.tensor);
      if (!options.bare) give_memory(exec, *parameter, dtype, options.training);
    }
  }

  const Stage& stage() const { return *stages.front().second; }
  LossSums execute(const Actions& actions, const Pass& pass, std::span<const MicroBatch> batches,
                   const FlightHooks& hooks) const {
    return hadal::execute(actions, stages, pass, batches, hooks,
                          stages.size() > 1 || links.activations ? &links : nullptr);
  }

  Parameter* find(const std::string& name) const {
    const auto found = by_name.find(name);
    check(found != by_name.end(), ErrorKind::not_found, "this model has no parameter \"{}\"", name);
    return found->second;
  }

  Tensor rope_for(const Exec& exec, int64_t n_positions) {
    return rope.table(exec, config, statistics_dtype(dtype), n_positions);
  }

  Pass pass(const Exec& exec, PartClock& clock, const Tensor& table) const {
    Pass pass{exec, clock, dtype, options.attention_form, options.recompute, table};
    pass.cache = options.cache;
    pass.partners = partners;
    pass.doing = doing;
    return pass;
  }

  CacheForm cache_form(int64_t n_mtp) const {
    check(n_mtp <= config.n_mtp, ErrorKind::internal, "a cache for {} MTP modules of a model with {}", n_mtp,
          config.n_mtp);
    return {dtype, options.attention_form == AttentionForm::up_projected, config.n_layers + n_mtp, options.cache};
  }

  // One forward of a stream over the next tokens of texts; returns the logits that are wanted.
  Tensor generate(const Exec& exec, const LatentCache& cache, std::span<const Extension> texts, int64_t stream,
                  const std::function<void(Flight&)>& begin, const std::function<void(Flight&)>& end) {
    check(!texts.empty(), ErrorKind::invalid, "extend needs at least one text");
    check(!partners.tensor && !partners.context, ErrorKind::unsupported,
          "a model whose layers are cut over tensor or context ranks generates nothing; load it whole");
    const ExtensionRows rows = rows_of(texts, cache, config);
    PartClock clock;
    Pass pass = this->pass(exec, clock, rope_for(exec, rows.n_positions));
    pass.generates = stream;
    Tensor logits;
    FlightHooks hooks;
    hooks.begin = [&](Flight& flight, int64_t) {
      const auto on_place = [&](const std::vector<int32_t>& list) {
        return list.empty() ? Tensor() : Tensor::from(exec, list, {int64_t(list.size())});
      };
      flight.cache = {&cache, on_place(rows.cache_rows), on_place(rows.blocks)};
      flight.wanted = on_place(rows.wanted);
      begin(flight);
    };
    hooks.after_forward = [&](Flight& flight, int64_t) {
      logits = flight.logits;
      end(flight);
    };
    clock.start();
    execute(forward_only(1), pass, std::span(&rows.batch, 1), hooks);
    return logits;
  }

  std::vector<Packing> to_pack(const Exec& exec, int64_t n_mtp) const {
    Parameters all;
    for (const auto& parameter : parameters) all.push_back(parameter.get());
    return weights_to_pack(exec, all, stage().layers(), config, options, n_mtp);
  }

  Tensor prepare(const Exec& exec, std::span<const MicroBatch> batches, std::span<const RouteReplay> routes) {
    int32_t last = 0;
    for (const MicroBatch& batch : batches) {
      check_batch(batch, config);
      for (const int32_t position : batch.positions) last = std::max(last, position);
    }
    const int64_t n_moe = stage().flight_sizes().n_moe;
    check(routes.empty() || routes.size() == batches.size(), ErrorKind::invalid,
          "routes of {} micro-batches are replayed over {}", routes.size(), batches.size());
    for (const RouteReplay& one : routes)
      check(!one.replay || int64_t(one.experts.size()) == n_moe, ErrorKind::invalid,
            "replayed routes hold {} MoE layers, the model has {}", one.experts.size(), n_moe);
    return rope_for(exec, 1 + last);
  }
};

Transformer::Transformer(const ModelConfig& config, const ModelOptions& options, const Exec& exec,
                         const ModelShare& share)
    : impl_(std::make_unique<Impl>(config, options, exec, share)) {}
Transformer::~Transformer() = default;

const ModelConfig& Transformer::config() const { return impl_->config; }
const ModelOptions& Transformer::options() const { return impl_->options; }
const Stage& Transformer::stage() const { return impl_->stage(); }
Parameter& Transformer::parameter(const std::string& name) const { return *impl_->find(name); }

Parameters Transformer::parameters() const {
  Parameters result;
  for (const auto& parameter : impl_->parameters) result.push_back(parameter.get());
  return result;
}

void Transformer::initialize(const Exec& exec, uint64_t seed) {
  for (const auto& parameter : impl_->parameters) initialize_parameter(exec, *parameter, seed);
}

void Transformer::refresh_values(const Exec& exec) {
  for (const auto& parameter : impl_->parameters) refresh_value(exec, *parameter);
}

int64_t Transformer::packed_bytes(const Exec& exec, int64_t n_mtp) const {
  int64_t bytes = 0;
  for (const Packing& one : impl_->to_pack(exec, n_mtp)) bytes += one.bytes(exec);
  return bytes;
}

void Transformer::pack(const Exec& exec, int64_t n_mtp) {
  check(!impl_->options.training, ErrorKind::internal, "a model in training keeps its weights as tensors");
  for (const Packing& one : impl_->to_pack(exec, n_mtp)) {
    one.pack(exec);
    exec.memory->trim();  // of the form before; panels have other sizes, so nothing would take it again
  }
}

void Transformer::begin_step(int64_t n_micro_batches) {
  if (n_micro_batches >= 0) return begin_step(one_stage(n_micro_batches));
  for (const auto& parameter : impl_->parameters) parameter->expect(-1);
}

void Transformer::begin_step(const Actions& actions) {
  std::map<Parameter*, int64_t> contributions;
  for (const auto& [number, stage] : impl_->stages) {
    const int64_t n = std::count_if(actions.begin(), actions.end(), [own = number](const Action& action) {
      return action.stage == own && action.kind == ActionKind::forward;
    });
    stage->count_contributions(n, contributions);
  }
  for (const auto& [parameter, count] : contributions) parameter->expect(count);
}

LossSums Transformer::forward_backward(const Exec& exec, std::span<const MicroBatch> batches,
                                       const LossWeights& weights, const Wants& wants, const Actions* actions) {
  check(impl_->options.training, ErrorKind::internal, "forward_backward needs a model made with training = true");
  check(int64_t(weights.mtp.size()) == impl_->config.n_mtp, ErrorKind::invalid,
        "{} MTP loss weights for {} MTP modules", weights.mtp.size(), impl_->config.n_mtp);
  const Tensor table = impl_->prepare(exec, batches, wants.routes);
  PartClock own;
  PartClock& clock = wants.clock ? *wants.clock : own;
  Pass pass = impl_->pass(exec, clock, table);
  pass.keep = true;
  pass.timeline = wants.timeline;
  pass.balance_alpha = weights.balance;
  const Actions list = actions ? *actions : one_stage(int64_t(batches.size()));
  pass.later_weights = std::any_of(list.begin(), list.end(), is_weights_alone);
  pass.plain_backward = is_plain(list);
  clock.start();
  FlightHooks hooks;
  hooks.begin = [&](Flight& flight, int64_t m) {
    flight.weights = weights;
    if (!wants.routes.empty()) flight.routes = &wants.routes[size_t(m)];
  };
  LossSums sums = impl_->execute(list, pass, batches, hooks);
  clock.stop();
  return sums;
}

LossSums Transformer::forward_backward(const Exec& exec, const MicroBatch& batch, const LossWeights& weights,
                                       RouteReplay* routes) {
  Wants wants;
  if (routes) wants.routes = std::span(routes, 1);
  return forward_backward(exec, std::span(&batch, 1), weights, wants);
}

LossSums Transformer::forward(const Exec& exec, const MicroBatch& batch, const Wants& wants) const {
  const Tensor table = impl_->prepare(exec, std::span(&batch, 1), wants.routes);
  PartClock own;
  PartClock& clock = wants.clock ? *wants.clock : own;
  const Pass pass = impl_->pass(exec, clock, table);
  FlightHooks hooks;
  hooks.begin = [&](Flight& flight, int64_t) {
    if (!wants.routes.empty()) flight.routes = &wants.routes[0];
    flight.observer = wants.observer;
  };
  hooks.after_forward = [&](Flight& flight, int64_t) {
    if (!wants.log_probs) return;
    const Stream& stream = flight.streams[0];
    wants.log_probs->assign(batch.tokens.size(), 0.0);
    const Tensor losses = host_copy(stream.losses);
    for (int64_t r = 0; r < stream.n_rows(); ++r) {
      const size_t row = stream.split.cut() ? size_t(stream.split.own()[size_t(r)]) : size_t(r);
      if (batch.targets[row] >= 0) (*wants.log_probs)[row] = -element(losses, r);
    }
  };
  clock.start();
  LossSums sums = impl_->execute(forward_only(1), pass, std::span(&batch, 1), hooks);
  clock.stop();
  return sums;
}

std::vector<LossSums> Transformer::forward(const Exec& exec, std::span<const MicroBatch> batches,
                                           const Actions& actions, const FlightObserver& observer) const {
  const Tensor table = impl_->prepare(exec, batches, {});
  PartClock clock;
  const Pass pass = impl_->pass(exec, clock, table);
  std::vector<LossSums> sums(batches.size());
  FlightHooks hooks;
  if (observer)
    hooks.begin = [&](Flight& flight, int64_t) { flight.observer = std::bind_front(observer, std::cref(flight)); };
  hooks.after_forward = [&](Flight& flight, int64_t m) { sums[size_t(m)].merge(flight.sums()); };
  clock.start();
  impl_->execute(actions, pass, batches, hooks);
  clock.stop();
  return sums;
}

std::shared_ptr<LatentCache> Transformer::new_cache(const Exec& exec, int64_t n_blocks, int64_t n_mtp) const {
  return std::make_shared<LatentCache>(make_cache(exec, impl_->config, impl_->cache_form(n_mtp), n_blocks));
}

int64_t Transformer::cache_block_bytes(int64_t n_mtp) const {
  return hadal::cache_block_bytes(impl_->config, impl_->cache_form(n_mtp));
}

Tensor Transformer::extend(const Exec& exec, const LatentCache& cache, std::span<const Extension> texts, Tensor* states,
                           const Observer& observer) const {
  return impl_->generate(
      exec, cache, texts, 0,
      [&](Flight& flight) { flight.wants_states = states != nullptr, flight.observer = observer; },
      [&](Flight& flight) {
        if (states) *states = flight.streams[0].state;
      });
}

Tensor Transformer::draft(const Exec& exec, const LatentCache& cache, int64_t depth, std::span<const Extension> texts,
                          const Tensor& states, Tensor* own) const {
  const int64_t n_mtp = int64_t(cache.layers.size()) - impl_->config.n_layers;
  check(depth >= 1 && depth <= n_mtp, ErrorKind::internal, "MTP module {} of a cache that was made for {}", depth,
        n_mtp);
  return impl_->generate(
      exec, cache, texts, depth,
      [&](Flight& flight) {  // the rows of the depth, behind the states of the one before
        Stream rows = std::move(flight.streams[0]);
        std::vector<int32_t> same(size_t(rows.n_rows()));
        std::iota(same.begin(), same.end(), 0);
        rows.rows_in = Tensor::from(exec, same, {rows.n_rows()});
        flight.streams.clear();
        flight.streams.resize(size_t(depth + 1));
        flight.streams[size_t(depth - 1)].state = states, flight.streams[size_t(depth)] = std::move(rows);
        flight.wants_states = own != nullptr;
      },
      [&](Flight& flight) {
        if (own) *own = flight.streams[size_t(depth)].state;
      });
}

// bias_i += gamma * sign(mean load - load_i) (§2.4): an expert with more than the mean load is chosen less often in the
// next step, one with less more often, and no loss is bent for it. The size of the gap does not matter, its sign does.
void Transformer::update_selection_bias(const Exec& exec, const std::vector<std::vector<int64_t>>& global_load,
                                        double gamma) {
  const ModelConfig& config = impl_->config;
  const int64_t n_moe = impl_->stage().flight_sizes().n_moe;
  check(int64_t(global_load.size()) == n_moe, ErrorKind::invalid, "expert loads of {} MoE layers for a model of {}",
        global_load.size(), n_moe);
  size_t index = 0;
  for (int64_t layer = 0; layer < config.n_layers + config.n_mtp; ++layer) {
    if (!config.is_moe_layer(layer)) continue;
    const std::vector<int64_t>& load = global_load[index++];
    const auto found = impl_->by_name.find(fmt::format("layers.{}.moe.bias", layer));
    if (found == impl_->by_name.end() || gamma == 0) continue;  // of another rank, or a model without
    Parameter& parameter = *found->second;
    const Tensor& bias = parameter.master;
    check(int64_t(load.size()) == bias.count(), ErrorKind::invalid, "loads of {} experts for a router of {}",
          load.size(), bias.count());
    const auto total = double(std::accumulate(load.begin(), load.end(), int64_t(0)));
    const double mean = total / double(bias.count());
    std::vector<double> moves;
    for (const int64_t one : load) {
      const double gap = mean - double(one);
      moves.push_back(gap > 0 ? gamma : gap < 0 ? -gamma : 0.0);
    }
    ops::shift(exec, bias, moves);
    refresh_value(exec, parameter);
  }
}

int64_t Transformer::moving_bytes(int64_t micro_batch_tokens, int64_t sequence_length, int n_threads,
                                  const Actions& actions, const TokenShares& shares) const {
  // Packed tiles of a matrix product and attention's tiles, per thread.
  constexpr int64_t kWorkspacePerThread = int64_t(640) << 10;
  const ModelOptions& options = impl_->options;
  const DType dtype = impl_->dtype, wide = statistics_dtype(dtype);
  PieceSizes sizes{micro_batch_tokens, dtype, options.attention_form, options.recompute, is_plain(actions)};
  if (shares.tensor * shares.context > 1) {
    const auto part = [&](int64_t n) { return (micro_batch_tokens + n - 1) / n; };
    sizes.rows = part(shares.tensor * shares.context), sizes.queries = part(shares.context);
    sizes.keys = micro_batch_tokens;
  }
  std::map<int64_t, StageBytes> of_stage;
  int64_t largest_forward = 0;
  for (const auto& [number, stage] : impl_->stages) {
    const StageBytes bytes = of_stage[number] = stage->bytes(sizes);
    largest_forward = std::max(largest_forward, bytes.forward);
  }
  const int64_t most = options.training ? most_flight_bytes(actions, of_stage) : largest_forward;
  const int64_t table = std::min(impl_->config.max_positions, std::max<int64_t>(sequence_length, 256)) *
                        impl_->config.rotary_dim() * dtype_bytes(wide);
  return table + n_threads * kWorkspacePerThread + most;
}

}  // namespace hadal
