#include "train/reporter.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "base/clock.h"
#include "base/open_device.h"
#include "base/system_info.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "data/corpus.h"
#include "optim/curves.h"
#include "train/resources.h"
#include "train/shadow_lines.h"

namespace hadal {

using nlohmann::ordered_json;

Reporter::Reporter(const std::string& run, bool quiet)
    : log_(quiet ? LogLevel::warn : LogLevel::info), directory_(run), screen_(log_, quiet) {}

namespace {

std::string place_text(const Exec& exec) {
  const std::string cpu = fmt::format("CPU ({}), {} thread(s)", cpu_description(), exec.compute->n_threads());
  const OpenDevice* device = exec.memory->device();
  if (!device) return fmt::format("{}, kernels {}", cpu, isa_name(exec.isa));
  const DeviceInfo info = device->info();
  return fmt::format("{} ({}, driver {}) beside {}", device_name(exec.device), info.name, info.driver, cpu);
}

std::string attention_text(const Config& config) {
  return config.model.is_latent() ? enum_name(config.train.attention_form) : enum_name(config.model.attention);
}

}  // namespace

void Reporter::open_metrics(const DataConfig& data, int64_t step) {
  metrics_ = std::make_unique<MetricsWriter>(directory_.metrics(), step);
  domains_ = data::domains_of(data);
  for (size_t s = 0; s < data.sources.size(); ++s) sources_.push_back(data::source_name(data, s));
}

void Reporter::announce(const Config& config, const Exec& exec, const TrainState& state,
                        const std::vector<std::string>& changed, const std::string& transport) {
  const auto options = model_options(config, true);
  const auto counts = count_parameters(config.model);
  const auto flops = count_flops(config.model, config.data.sequence_length);
  const auto plan = plan_memory(config, options, exec.compute->n_threads());
  const OpenDevice* device = exec.memory->device();
  if (device) of_device_ = exec.memory;
  const int64_t n_ranks = config.parallel.ranks();
  sequences_left_ = total_sequences(config.train, state.step + 1, config.train.steps);
  flops_per_token_ = 3 * (flops.linear + flops.attention_causal + flops.mtp);
  product_flops_ = double(n_ranks) * measure_product_flops(exec, options.precision);
  screen_.say(fmt::format("device {}, precision {}, attention {}, recompute {}", place_text(exec),
                          enum_name(config.train.precision), attention_text(config),
                          enum_name(config.train.recompute)));
  if (is_fp8(config.train.precision))
    screen_.say(fmt::format("{}: {}", enum_name(config.train.precision), fp8_text(config.fp8, config.train.precision)));
  if (n_ranks > 1)
    screen_.say(
        fmt::format("layout {}: {} ranks as {}, each with {} thread(s) and a share of the "
                    "optimizer; micro-batch j of a batch goes to data rank j mod {}",
                    layout_text(config.parallel), n_ranks, transport == "mpi" ? "processes" : "threads of this process",
                    exec.compute->n_threads(), config.parallel.dp));
  screen_.say(fmt::format("model: {} parameters ({} activated per token, head included){}, vocabulary {}",
                          format_count(counts.total), format_count(counts.activated_no_embedding),
                          counts.mtp ? ", and " + format_count(counts.mtp) + " for MTP" : "", config.model.vocab_size));
  screen_.say(fmt::format("memory: about {} of {} available{}; micro-batches of {} sequences",
                          format_bytes(double(needed_there(plan, exec))),
                          format_bytes(double(available_memory(*exec.memory))),
                          device                         ? " on " + device_name(exec.device)
                          : memory_info().cgroup_limited ? " (control group)"
                                                         : "",
                          config.train.micro_batch_sequences));
  screen_.say(
      fmt::format("mfu = tokens/s x {} FLOP per token (3 x forward: products, causal attention, MTP) / {}FLOP/s "
                  "(this machine's best product now, same kernels and precision)",
                  format_si(flops_per_token_), format_si(product_flops_)));
  metrics_->write({{"kind", "start"},
                   {"step", state.step},
                   {"time", iso_time()},
                   {"cpu", cpu_description()},
                   {"threads", exec.compute->n_threads()},
                   {"layout", layout_text(config.parallel)},
                   {"isa", isa_name(exec.isa)},
                   {"device", device_name(exec.device)},
                   {"precision", enum_name(config.train.precision)},
                   {"parameters", counts.total},
                   {"mtp_parameters", counts.mtp},
                   {"activated", counts.activated_no_embedding},
                   {"flops_per_token", flops_per_token_},
                   {"product_flops", product_flops_},
                   {"memory_estimate", needed_there(plan, exec)},
                   {"steps", config.train.steps},
                   {"run", directory_.root().string()},
                   {"sequence_length", config.data.sequence_length}});
  for (const std::string& change : changed) {
    screen_.say(fmt::format("from step {} on: {}", state.step + 1, change));
    metrics_->write({{"kind", "change"}, {"step", state.step}, {"time", iso_time()}, {"change", change}});
  }
}

int64_t Reporter::tokens_left(const Config& config, const TrainState& state) const {
  if (!config.train.batch_ramp.empty()) return sequences_left_ * config.data.sequence_length;
  const double per_step = state.step > 0 ? double(state.tokens) / double(state.step) : 0;
  return int64_t(per_step * double(config.train.steps - state.step));
}

namespace {

// rank_seconds: of the step, of all ranks together.
ordered_json waits_json(const StepWaits& waits, double rank_seconds) {
  ordered_json json = {{"pipeline", waits.pipeline}, {"data", waits.data}, {"experts", waits.experts}};
  for (const TrafficKind kind : kTrafficKinds) {
    const TravelTimes& times = waits.travels[size_t(kind)];
    if (times.under_way > 0)
      json["traffic"][traffic_name(kind)] = {{"waited", times.waited / rank_seconds}, {"hidden", times.hidden()}};
  }
  return json;
}

}  // namespace

void Reporter::step(const Config& config, const data::Batch& batch, const StepResult& result, const TrainState& state,
                    const StepTime& time, PartClock& clock) {
  if (result.step == 1) packing(batch);
  const double seconds = time.seconds;
  sequences_left_ -= result.sequences;
  smoothed_seconds_ = smoothed_seconds_ == 0 ? seconds : 0.9 * smoothed_seconds_ + 0.1 * seconds;
  StepFacts facts;
  facts.total_steps = config.train.steps;
  facts.tokens_done = state.tokens;
  facts.tokens_left = tokens_left(config, state);
  facts.smoothed_loss = state.smoothed_loss;
  facts.seconds = seconds;
  facts.tokens_per_second = double(result.tokens) / std::max(1e-9, seconds);
  facts.mfu = product_flops_ > 0 ? facts.tokens_per_second * flops_per_token_ / product_flops_ : 0;
  facts.memory_bytes = of_device_ ? uint64_t(of_device_->bytes_reserved()) : current_rss_bytes();
  facts.eta_seconds = smoothed_seconds_ * double(config.train.steps - result.step);
  facts.epochs = config.data.at_end == AtEnd::stop ? config.data.epochs : 0;
  if (domains_.several()) facts.domains = domains_.names;
  screen_.step(result, facts);

  ordered_json line = {{"kind", "step"},
                       {"step", result.step},
                       {"loss", result.loss},
                       {"mtp_loss", result.mtp_loss},
                       {"balance_loss", result.balance_loss},
                       {"lr", result.lr},
                       {"lambda", result.lambda},
                       {"gamma", result.gamma},
                       {"grad_norm", result.norms.global},
                       {"sequences", result.sequences},
                       {"tokens", state.tokens},
                       {"seconds", seconds},
                       {"tokens_per_second", facts.tokens_per_second},
                       {"mfu", facts.mfu},
                       {"memory_bytes", facts.memory_bytes},
                       {"load", result.load_max_over_mean}};
  if (config.parallel.ranks() > 1) line["waits"] = waits_json(time.waits, seconds * double(config.parallel.ranks()));
  if (result.dialogues)
    line["trained"] = result.targets, line["padding"] = result.padding, line["epoch"] = result.epoch;
  if (result.loss_scale > 0) line["loss_scale"] = result.loss_scale, line["overflows"] = result.overflows;
  for (size_t d = 0; d < result.domains.size(); ++d)
    if (result.domains[d].targets > 0)
      line["domains"][domains_.names[d]] = {{"loss", result.domains[d].loss}, {"targets", result.domains[d].targets}};
  if (!result.skipped.empty()) line["skipped"] = result.skipped;
  const int64_t every = std::max<int64_t>(1, config.train.steps / 200);
  if (result.step % every == 0 || result.step == 1) {
    line["layer_norms"] = result.norms.per_layer;
    line["expert_load"] = result.load;
    ordered_json parts = ordered_json::object();
    for (const auto& [name, time] : clock.take()) parts[name] = time;
    line["parts"] = parts;
  }
  metrics_->write(line);
}

void Reporter::validation(const Config& config, const TrainState& state, const ValidationResult& result, bool final) {
  screen_.say(fmt::format(
      "validation at step {}: {:.4f} bits per byte ({} held-out bytes, {} windows of {} tokens, stride {}, {})",
      state.step, result.bits_per_byte, format_count(result.bytes), format_count(result.windows),
      config.data.sequence_length, result.stride, format_duration(result.seconds)));
  ordered_json line = {{"kind", "validation"},    {"step", state.step},        {"bits_per_byte", result.bits_per_byte},
                       {"loss", result.loss},     {"bytes", result.bytes},     {"windows", result.windows},
                       {"stride", result.stride}, {"seconds", result.seconds}, {"final", final}};
  std::string told;
  for (size_t d = 0; d < result.domains.size(); ++d) {
    const DomainResult& one = result.domains[d];
    if (one.tokens == 0) continue;
    const double load = load_imbalance(one.load);
    told += fmt::format("{}{} {:.4f}{}", told.empty() ? "" : ", ", domains_.names[d], one.bits_per_byte,
                        load > 0 ? fmt::format(" (load {:.2f})", load) : "");
    line["domains"][domains_.names[d]] = {{"bits_per_byte", one.bits_per_byte},
                                          {"loss", one.loss},
                                          {"tokens", one.tokens},
                                          {"bytes", one.bytes},
                                          {"load", load},
                                          {"expert_load", one.load}};
  }
  if (!told.empty()) screen_.say("by domain, bits per byte: " + told);
  metrics_->write(line);
}

void Reporter::average(const TrainState& state, const ValidationResult& result) {
  screen_.say(fmt::format("moving average at step {}: {:.4f} bits per byte ({})", state.step, result.bits_per_byte,
                          format_duration(result.seconds)));
  metrics_->write({{"kind", "average"},
                   {"step", state.step},
                   {"bits_per_byte", result.bits_per_byte},
                   {"loss", result.loss},
                   {"bytes", result.bytes},
                   {"windows", result.windows},
                   {"seconds", result.seconds}});
}

bool Reporter::lacks_validation(const Config& config, const TrainState& state) const {
  const int64_t every = config.validation.every_steps;
  if (state.step == 0 || state.step >= config.train.steps || every <= 0 || state.step % every != 0) return false;
  return !metrics_->holds({{"kind", "validation"}, {"step", state.step}, {"final", false}});
}

// How the loader packs: the passages of some sequences, by source and length.
void Reporter::packing(const data::Batch& batch) {
  constexpr size_t kSequences = 24;
  ordered_json sequences = ordered_json::array();
  for (size_t s = 0; s < batch.sequences.size() && s < kSequences; ++s) {
    ordered_json passages = ordered_json::array();
    for (const data::Passage& passage : batch.sequences[s].passages)
      passages.push_back({passage.source, passage.length});
    sequences.push_back({{"passages", passages}, {"padding", batch.sequences[s].padding}});
  }
  metrics_->write({{"kind", "packing"}, {"step", 1}, {"sources", sources_}, {"sequences", sequences}});
}

void Reporter::sample(const TrainState& state, const std::string& prompt, const std::string& text) {
  screen_.say(fmt::format("sample at step {}: {}", state.step, prompt + text));
  metrics_->write({{"kind", "sample"}, {"step", state.step}, {"prompt", prompt}, {"text", text}});
}

void Reporter::shadow(const ordered_json& line) {
  metrics_->write(line);
  if (const std::string why = shadow_warning(line); !why.empty()) screen_.warn(why);
}

void Reporter::failed(const std::string& why) {
  if (!std::filesystem::exists(directory_.log())) return;
  Log file_only(LogLevel::silent);
  file_only.open_file(directory_.log());
  file_only.error("{}", why);
}

void Reporter::end() {
  if (metrics_->failed()) log_.warn("{}: some lines could not be written (full disk?)", directory_.metrics().string());
}

}  // namespace hadal
