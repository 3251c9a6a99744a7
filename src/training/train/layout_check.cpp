#include "train/layout_check.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/random.h"
#include "comm/byte_text.h"
#include "comm/rank_threads.h"
#include "comm/transport_over.h"
#include "config/config_io.h"
#include "nn/box_view.h"
#include "train/rank_place.h"
#include "train/resources.h"
#include "train/run_checkpoint.h"
#include "train/step.h"
#include "train/whole_tensors.h"

namespace hadal {
namespace {

using Numbers = std::vector<double>;

using BoxValues = std::map<std::string, std::pair<Box, Numbers>>;  // by parameter

// What a step leaves, under names "gradient of X", "loss" ...; values are kept for every rank.
struct StepRecord {
  std::vector<std::pair<std::string, Numbers>> quantities;  // kind, NUL, parameter (or nothing)
  std::vector<BoxValues> values;                            // [rank]
};
using Record = std::vector<StepRecord>;
using Routes = std::vector<std::vector<RouteReplay>>;  // [step][micro-batch]

Numbers numbers_of(const Exec& exec, const Tensor& tensor) {
  const Tensor wide = tensor.to(exec, DType::f64);
  return Numbers(wide.data<double>(), wide.data<double>() + wide.count());
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
  const auto note = [&](const std::string& kind, Numbers numbers) {
    record.quantities.emplace_back(kind + '\0', std::move(numbers));
  };
  check(result.skipped.empty(), ErrorKind::failed, "step {} was skipped: {}", result.step, result.skipped);
  note("loss", {result.loss});
  note("MTP loss", result.mtp_loss);
  note("balance loss", {result.balance_loss});
  note("gradient norm", {result.norms.global});
  note("norms of layers", result.norms.per_layer);
  for (const auto& layer : result.load) note("expert load", Numbers(layer.begin(), layer.end()));
}

std::string weight_kind(const std::string& parameter) {
  return parameter.ends_with("moe.bias") ? "selection bias" : "weight";
}

// "m.NAME" to kind and parameter.
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
  for (const NamedTensor& one : bring_together(exec, place.world(), file))
    record.quantities.emplace_back(one.name, numbers_of(exec, one.tensor));
}

// What every rank computes with, on the first.
std::vector<BoxValues> values_of_all(const Exec& exec, RankPlace& place, const Parameters& parameters) {
  ByteWriter writer;
  for (const Parameter* parameter : parameters) writer(numbers_of(exec, parameter->value.plain));
  Group& group = place.world();
  std::vector<ConstBytes> to(size_t(group.size()));
  to[0] = std::as_bytes(std::span(writer.text));
  std::vector<Message> received;
  group.start_all_to_all(to, received).wait();
  std::vector<BoxValues> all;
  if (!group.leads()) return all;
  for (int64_t rank = 0; rank < group.size(); ++rank) {
    const Message& message = received[size_t(rank)];
    const std::string text(reinterpret_cast<const char*>(message.data.get()), size_t(message.bytes));
    ByteReader reader(text);
    BoxValues values;
    for (const ParameterSpec& spec : place.placement().specs()) {
      const auto holding = place.placement().holding_of(spec, rank);
      if (!holding) continue;
      values[spec.name].first = holding->box;
      reader(values[spec.name].second);
    }
    all.push_back(std::move(values));
  }
  return all;
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
  const int n = int(parallel.ranks()), threads = std::max(1, exec.compute->n_threads() / n);
  const auto body = [&](std::shared_ptr<Transport> transport) {
    if (c.wrap) transport = c.wrap(transport);
    RankPlace place(c.config.model, parallel, transport);
    OwnedExec own(threads, exec.isa);
    Record record;
    Routes of_rank = replay ? routes : Routes();
    run_rank(c, c.config.train.precision, own.exec, place, of_rank, replay, record);
    if (transport->rank() == 0) of_first = std::move(record);
    place.world().barrier();  // nothing of this case is under way when the next begins
  };
  if (!processes) {
    run_rank_threads(n, body);
  } else if (processes->rank() < n) {
    body(first_ranks(processes, n));
  }
  return of_first;
}

double norm(const Numbers& numbers) {
  double sum = 0;
  for (const double x : numbers) sum += x * x;
  return std::sqrt(sum);
}

// Relative to what is wanted, or to `least`, if that is larger.
double distance(const Numbers& wanted, const Numbers& found, double least) {
  if (wanted.size() != found.size()) return INFINITY;
  Numbers difference(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) difference[i] = wanted[i] - found[i];
  const double absolute = norm(difference);
  if (!(absolute > 0)) return std::isnan(absolute) ? INFINITY : 0;
  const double size = std::max(norm(wanted), least);
  return size > 0 ? absolute / size : INFINITY;
}

// Rows of the table, in the order in which quantities appear in a step: the first that differs is the nearest to the
// cause.
class Comparison {
 public:
  explicit Comparison(Precision precision) : precision_(precision) {}

  // The largest norm of each kind in a step. What is far smaller may be nothing but rounding (the gradient of a router
  // that chooses one expert, whose weight is then 1): its distance is taken relative to a small share of the largest.
  void begin_step(const StepRecord& one) {
    largest_.clear();
    for (const auto& [name, numbers] : one.quantities) {
      double& largest = largest_[name.substr(0, name.find('\0'))];
      largest = std::max(largest, norm(numbers));
    }
  }

  void compare(int64_t step, const std::string& kind, const std::string& parameter, const Numbers& one,
               const Numbers& many) {
    const double least = largest_[kind] * (precision_ == Precision::fp64 ? 1e-4 : 1e-2);
    // Each step begins from weights in which the roundings of those before have left something.
    enter(kind, place_text(parameter, step), distance(one, many, least), double(step) * limit_of(kind));
  }

  // Where roundings of the precision itself are large, both are held against the fp64 run. A single number's distance
  // is luck, so a kind's parameters and steps are judged together, by the mean of their squared distances.
  void compare_with(int64_t step, const Numbers& exact, const std::string& kind, const std::string& parameter,
                    const Numbers& one, const Numbers& many) {
    const double least = largest_[kind] * 1e-2, of_one = distance(exact, one, least),
                 of_many = distance(exact, many, least);
    Pool& pool = pools_[kind];
    pool.one += of_one * of_one, pool.many += of_many * of_many, ++pool.n;
    pool.single = pool.single || parameter.empty();
    if (of_many - of_one < pool.most) return;
    pool.most = of_many - of_one;
    pool.worst = place_text(parameter, step);
  }

  void end() {
    for (const auto& [kind, pool] : pools_) {
      // Beside single numbers, which are few, a step of BF16, or the error of a product in FP8; beside all others a
      // thousandth of BF16's.
      const double of_single = precision_ == Precision::fp8 ? 4e-2 : 4e-3;
      const double limit = 1.25 * std::sqrt(pool.one / pool.n) + (pool.single ? of_single : 4e-6);
      enter(kind, pool.worst, std::sqrt(pool.many / pool.n), limit);
    }
  }

  LayoutFindings findings;

 private:
  struct Pool {
    double one = 0, many = 0, n = 0, most = -INFINITY;
    bool single = false;
    std::string worst;
  };
  static std::string place_text(const std::string& parameter, int64_t step) {
    return parameter.empty() ? fmt::format("step {}", step) : fmt::format("{}, step {}", parameter, step);
  }
  void enter(const std::string& kind, const std::string& where, double found, double limit) {
    LayoutRow& row = row_of(kind);
    if (row.worst.empty() || found - limit > row.distance - row.limit) row = {kind, found, limit, where};
    if (found <= limit || !findings.first.empty()) return;
    findings.first = fmt::format("{} ({}) differs by {:.2e}, more than {:.2e}", kind, where, found, limit);
  }
  double limit_of(const std::string& kind) const {
    if (kind == "expert load") return 0;
    if (precision_ == Precision::fp64) return 1e-9;
    // Adam divides by the size of the gradients: where they are rounding alone, so is the update.
    const bool behind_adam = kind.ends_with("moment") || kind.starts_with("weight") || kind == "moving average";
    return behind_adam ? 1e-4 : 1e-5;
  }
  LayoutRow& row_of(const std::string& kind) {
    for (LayoutRow& row : findings.rows)
      if (row.quantity == kind) return row;
    return findings.rows.emplace_back(LayoutRow{kind, 0, 0, ""});
  }
  Precision precision_;
  std::map<std::string, double> largest_;
  std::map<std::string, Pool> pools_;  // by kind
};

// What a box says of a whole parameter.
Numbers part_of_numbers(const std::pair<Box, Numbers>& whole, const Box& box) {
  Numbers copy = whole.second, numbers;
  const Tensor part = part_of(Tensor::wrap(copy.data(), DType::f64, whole.first.size), box);
  for (int64_t row = 0; row < part.rows(); ++row) {
    const double* begin = part.data<double>() + row * part.row_stride();
    numbers.insert(numbers.end(), begin, begin + part.cols());
  }
  return numbers;
}

void compare_step(int64_t step, const StepRecord& one, const StepRecord& many, const StepRecord* exact,
                  Comparison& comparison) {
  check(one.quantities.size() == many.quantities.size(), ErrorKind::internal,
        "one rank's step has {} quantities, the layout's {}", one.quantities.size(), many.quantities.size());
  comparison.begin_step(one);
  for (size_t i = 0; i < one.quantities.size(); ++i) {
    const auto& [name, numbers] = one.quantities[i];
    check(many.quantities[i].first == name, ErrorKind::internal, "quantities come in another order");
    const std::string kind = name.substr(0, name.find('\0')), parameter = name.substr(kind.size() + 1);
    if (exact) {
      comparison.compare_with(step, exact->quantities[i].second, kind, parameter, numbers, many.quantities[i].second);
    } else {
      comparison.compare(step, kind, parameter, numbers, many.quantities[i].second);
    }
  }
  for (size_t rank = 0; rank < many.values.size(); ++rank) {
    for (const auto& [parameter, value] : many.values[rank]) {
      const auto& [box, numbers] = value;
      const auto of = [&, &name = parameter, &box = box](const StepRecord& record) {
        return part_of_numbers(record.values[0].at(name), box);
      };
      const std::string kind = fmt::format("weight on rank {}", rank);
      if (exact) {
        comparison.compare_with(step, of(*exact), kind, parameter, of(one), numbers);
      } else {
        comparison.compare(step, kind, parameter, of(one), numbers);
      }
    }
  }
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
  Comparison comparison(precision);
  for (size_t s = 0; s < one.size(); ++s)
    compare_step(int64_t(s) + 1, one[s], many[s], exact.empty() ? nullptr : &exact[s], comparison);
  comparison.end();
  return comparison.findings;
}

}  // namespace hadal
