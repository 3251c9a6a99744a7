#include "train/layout_check.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/random.h"
#include "comm/byte_text.h"
#include "comm/rank_threads.h"
#include "comm/transport_over.h"
#include "config/config_io.h"
#include "nn/init.h"
#include "ops/pointwise.h"
#include "train/layout_comparison.h"
#include "train/micro_batches.h"
#include "train/rank_place.h"
#include "train/resources.h"
#include "train/run_checkpoint.h"
#include "train/step.h"
#include "train/whole_tensors.h"

namespace hadal {
namespace {

using Record = std::vector<StepRecord>;
using Routes = std::vector<std::vector<RouteReplay>>;  // [step][micro-batch]

std::vector<double> numbers_of(const Exec& exec, const Tensor& tensor) {
  const Tensor wide = tensor.to(exec, DType::f64);
  return std::vector<double>(wide.data<double>(), wide.data<double>() + wide.count());
}

data::Batch made_up_batch(const LayoutCase& c, int64_t step) {
  data::Batch batch;
  batch.masked = c.config.data.document_mask == DocumentMask::document;
  RandomStream random{c.seed, stream_id("layout check"), uint64_t(step)};
  const int64_t n = c.lengths.empty() ? c.config.train.batch_sequences : int64_t(c.lengths.size());
  for (int64_t s = 0; s < n; ++s) {
    const int64_t length = c.lengths.empty() ? 2 + int64_t(random.below(uint64_t(c.config.data.sequence_length - 1)))
                                             : c.lengths[size_t(s)];
    data::Sequence sequence;
    for (int64_t i = 0; i < length; ++i)
      sequence.tokens.push_back(int32_t(random.below(uint64_t(c.config.model.vocab_size))));
    sequence.targets.assign(sequence.tokens.begin() + 1, sequence.tokens.end());
    sequence.targets.push_back(-1);
    for (int32_t& target : sequence.targets)
      if (random.below(8) < c.untrained_eighths) target = -1;  // targets are spread unevenly over micro-batches
    const int64_t first = length / 3;
    sequence.passages = {{.start = 0, .length = first}, {.start = first, .length = length - first}};
    if (batch.masked && first > 0) sequence.targets[size_t(first - 1)] = -1;
    if (c.weighted)
      for (const data::Passage& passage : sequence.passages)
        sequence.weights.insert(sequence.weights.end(), size_t(passage.length),
                                passage.start == 0 ? 0.5f : float(s + 1));
    batch.sequences.push_back(std::move(sequence));
  }
  return batch;
}

void note_result(const StepResult& result, StepRecord& record) {
  const auto note = [&](const std::string& kind, std::vector<double> numbers) {
    record.quantities.push_back({kind, "", std::move(numbers)});
  };
  check(result.skipped.empty(), ErrorKind::failed, "step {} was skipped: {}", result.step, result.skipped);
  note("loss", {result.loss});
  note("MTP loss", result.mtp_loss);
  note("balance loss", {result.balance_loss});
  note("gradient norm", {result.norms.global});
  note("norms of layers", result.norms.per_layer);
  for (const auto& layer : result.load) note("expert load", std::vector<double>(layer.begin(), layer.end()));
}

std::string weight_kind(const std::string& parameter) {
  return parameter.ends_with("moe.bias") ? "selection bias" : "weight";
}

// "m.NAME" to kind, NUL, parameter: as tensors are called on their way to the first rank.
std::string quantity_of_state(const std::string& name) {
  const size_t dot = name.find('.');
  const char* kind = name[0] == 'm' ? "first moment" : name[0] == 'v' ? "second moment" : "moving average";
  return kind + std::string(1, '\0') + name.substr(dot + 1);
}

// Gradients, masters and moments, whole, on the first rank.
void note_state(const Exec& exec, RankPlace& place, const Parameters& held, Optimizer& optimizer, StepRecord& record) {
  const std::vector<ParameterSpec>& specs = place.placement().specs();
  const DType wide = wide_dtype(held);
  const auto gradient = [](const ParameterSpec& spec) { return std::string("gradient") + '\0' + spec.name; };
  const auto weight = [](const ParameterSpec& spec) { return weight_kind(spec.name) + '\0' + spec.name; };
  TensorFile file;
  for (const ParameterSpec& spec : specs)
    if (spec.trained) file.tensors.push_back({gradient(spec), wide, spec.shape});
  for (const ParameterSpec& spec : specs) file.tensors.push_back({weight(spec), wide, spec.shape});
  const auto add = [&](const std::string& name, const OwnedRange& own, const Tensor& elements) {
    const Parameter& parameter = *own.parameter;
    for (TensorPart& part : parts_of(name, parameter.spec.shape, {parameter.box, own.begin, elements}))
      file.parts.push_back(std::move(part));
  };
  for (Parameter* parameter : held) {
    const OwnedRange own = owned_by(optimizer, *parameter);
    if (own.count() == 0) continue;
    if (parameter->spec.trained) add(gradient(parameter->spec), own, own.of(parameter->grad));
    add(weight(parameter->spec), own, own.master());
  }
  TensorFile state = optimizer_file(specs, held, optimizer);
  for (SafetensorsEntry& entry : state.tensors)
    file.tensors.push_back({quantity_of_state(entry.name), entry.dtype, entry.shape});
  for (TensorPart& part : state.parts)
    file.parts.push_back({quantity_of_state(part.name), part.row, part.col, part.elements});
  for (const NamedTensor& one : bring_together(exec, place.world(), file)) {
    const size_t end = one.name.find('\0');
    record.quantities.push_back({one.name.substr(0, end), one.name.substr(end + 1), numbers_of(exec, one.tensor)});
  }
}

// What every rank computes with, on the first.
std::vector<std::vector<HeldValue>> values_of_all(const Exec& exec, RankPlace& place, const Parameters& parameters) {
  ByteWriter writer;
  for (const Parameter* parameter : parameters) writer(numbers_of(exec, parameter->value.plain));
  Group& group = place.world();
  std::vector<ConstBytes> to(size_t(group.size()));
  to[0] = std::as_bytes(std::span(writer.text));
  std::vector<Message> received;
  group.start_all_to_all(to, received).wait();
  std::vector<std::vector<HeldValue>> all;
  if (!group.leads()) return all;
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    const Message& message = received[size_t(rank)];
    const std::string text(reinterpret_cast<const char*>(message.data.get()), size_t(message.bytes));
    ByteReader reader(text);
    std::vector<HeldValue> values;
    for (const ParameterSpec& spec : place.placement().specs()) {
      const auto holding = place.placement().holding_of(spec, rank);
      if (!holding) continue;
      values.push_back({spec.name, holding->box, {}});
      reader(values.back().numbers);
    }
    all.push_back(std::move(values));
  }
  return all;
}

// Routers' scores lie between 0 and 1: no token chooses an expert whose score is lower by more, unless it must.
void take_tokens_from_last_experts(const Exec& exec, const Parameters& parameters) {
  for (Parameter* parameter : parameters) {
    if (parameter->spec.kind != ParameterKind::router_bias) continue;
    std::vector<double> moves(size_t(parameter->master.count()));
    moves.back() = -1.25;
    ops::shift(exec, parameter->master, moves);
    refresh_value(exec, *parameter);
  }
}

// One rank of a run. Routes are recorded where there are none, else replayed.
void run_rank(const LayoutCase& c, Precision precision, const Exec& exec, RankPlace& place, Routes& routes, bool replay,
              Record& record) {
  Config config = c.config;
  config.train.precision = precision;
  // Narrow moments round at a hundred times what is allowed. In FP64 they are FP64.
  if (precision != Precision::bf16) config.optim.moments = MomentFormat::fp32;
  config.loss_scale.initial = 256;  // gradients of models as narrow as these overflow at the usual one
  std::optional<LossScaler> scaler;
  if (LossScaler::is_used(config)) scaler.emplace(config.loss_scale);
  Transformer model(config.model, model_options(config, true), exec, place.share());
  model.initialize(exec, c.seed);
  const Parameters parameters = model.parameters();
  if (c.idle_expert) take_tokens_from_last_experts(exec, parameters);
  Group& group = place.world();
  std::unique_ptr<Sharding> sharding;
  if (group.size() > 1) sharding = std::make_unique<Sharding>(exec, place.placement(), parameters, place.transport());
  const auto optimizer = sharding ? std::make_unique<Optimizer>(*sharding, config.optim, exec)
                                  : std::make_unique<Optimizer>(parameters, config.optim, exec);
  for (int64_t step = 1; step <= c.steps; ++step) {
    const data::Batch batch = made_up_batch(c, step);
    std::vector<RouteReplay> of_step = replay ? routes[size_t(step - 1)] : std::vector<RouteReplay>();
    for (RouteReplay& one : of_step) one.replay = true;
    const StepResult result = train_step(exec, model, *optimizer, config, batch, step,
                                         {.scaler = scaler ? &*scaler : nullptr, .place = &place, .routes = &of_step});
    if (scaler) unscale_gradients(exec, parameters, result.loss_scale);
    StepRecord own;
    if (group.leads()) note_result(result, own);
    note_state(exec, place, parameters, *optimizer, own);
    if (step % 2 == 1 || step == c.steps) {  // others arrive while the next step needs them, as in training
      if (sharding) sharding->await_values(exec);
      own.values = values_of_all(exec, place, parameters);
    }
    if (!group.leads()) continue;
    record.push_back(std::move(own));
    if (!replay) routes.push_back(std::move(of_step));
  }
}

Record run_alone(const LayoutCase& c, Precision precision, const Exec& exec, Routes& routes, bool replay) {
  Record record;
  RankPlace alone(c.config.model, {}, std::make_shared<SelfTransport>());
  run_rank(c, precision, exec, alone, routes, replay, record);
  return record;
}

// On the first rank the record, elsewhere nothing.
Record run_layout(const LayoutCase& c, const Exec& exec, const Routes& routes, bool replay,
                  const std::shared_ptr<Transport>& processes) {
  Record of_first;
  const ParallelConfig& parallel = c.config.parallel;
  const int n = int(parallel.ranks());
  const auto body = [&](std::shared_ptr<Transport> transport) {
    if (c.wrap) transport = c.wrap(transport);
    RankPlace place(c.config.model, parallel, transport);
    const OwnedExec own = place_of_rank(exec, n);
    Record record;
    Routes of_rank = replay ? routes : Routes();
    run_rank(c, c.config.train.precision, own.exec, place, of_rank, replay, record);
    if (transport->rank() == 0) of_first = std::move(record);
    place.world().barrier();  // nothing of this case is under way when the next begins
  };
  if (!processes) {
    run_rank_threads(n, [&](std::shared_ptr<Transport> transport) { body(as_if_far(std::move(transport))); });
  } else if (processes->rank() < n) {
    body(first_ranks(processes, n));
  }
  return of_first;
}

// What the one rank's steps made run.
LayoutExercise exercised_by(const LayoutCase& c, const Record& record) {
  LayoutExercise e;
  e.least_targets = INT64_MAX;
  const Config& config = c.config;
  for (int64_t step = 1; step <= c.steps; ++step) {
    const auto parts = micro_batches(made_up_batch(c, step), config.train.micro_batch_sequences);
    e.micro_batches = int64_t(parts.size());
    for (const MicroBatch& part : parts) {
      const int64_t targets = count_targets({part}, 0)[0];
      e.least_targets = std::min(e.least_targets, targets), e.most_targets = std::max(e.most_targets, targets);
    }
    bool idle = false;
    for (const auto& [kind, parameter, numbers] : record[size_t(step - 1)].quantities) {
      if (kind == "MTP loss")
        e.mtp_depths = std::count_if(numbers.begin(), numbers.end(), [](double x) { return x > 0; });
      if (kind == "gradient norm") e.clipped_steps += config.optim.clip > 0 && numbers[0] > config.optim.clip;
      if (kind == "expert load") idle = idle || std::count(numbers.begin(), numbers.end(), 0.0) > 0;
    }
    e.idle_steps += idle;
  }
  e.steps = c.steps;
  e.micro_batches_of_a_rank = (e.micro_batches + config.parallel.dp - 1) / config.parallel.dp;
  e.masked = config.data.document_mask == DocumentMask::document;
  e.recompute = chosen_recompute(config.train);
  e.clip = config.optim.clip;
  return e;
}

}  // namespace

LayoutFindings check_layout(const LayoutCase& c, const Exec& exec, const std::shared_ptr<Transport>& transport) {
  validate(c.config.model);
  const Precision precision = c.config.train.precision;
  check(precision != Precision::automatic && precision != Precision::mxfp8, ErrorKind::invalid,
        "a check of layouts needs a precision that has a bound: fp64, fp32, bf16, fp16 or fp8, not {}",
        enum_name(precision));
  Placement(c.config.model, c.config.parallel);  // refused before any rank starts
  Routes routes;
  Record exact, one;
  const bool narrow = precision != Precision::fp64 && precision != Precision::fp32;
  if (narrow) exact = run_alone(c, Precision::fp64, exec, routes, false);
  one = run_alone(c, precision, exec, routes, !exact.empty());
  const bool replay = precision != Precision::fp64;  // no rounding flips a route there: routers are compared too
  const Record many = run_layout(c, exec, routes, replay, transport);
  if (transport && transport->rank() != 0) return {};
  LayoutFindings findings = compare_records(precision, one, many, exact);
  findings.exercised = exercised_by(c, one);
  return findings;
}

}  // namespace hadal
