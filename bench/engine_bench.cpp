// The engine on a random model of 3 billion weights, as a share of what the machine can do in the same run: decoding
// against the speed at which memory is read (bytes: weights that a step's tokens touch), reading a prompt against
// multiply-adds (FLOPs of the up-projected form).
//   hidden 2048, 8 layers (1 dense of 6144), 64 experts of 1024 in 8 groups, 8 chosen of 4 groups, 1 shared,
//   q_lora 768, kv_lora 512, 16 heads of 128 + 64 / 128, vocabulary 32768
// Weights in BF16 (as tensors, and packed), FP8, int8 and int4. Choices of a random router are nearly even: n tokens
// touch about E (1 - (1 - k/E)^n) experts of a layer.
#include "arch/arch.h"
#include "base/random.h"
#include "bench/harness.h"
#include "engine/engine.h"
#include "model/weight_format.h"
#include "ops/weight.h"

namespace hadal::bench {
namespace {

ModelConfig config_of() {
  ModelConfig c;
  c.vocab_size = 32768, c.hidden_size = 2048, c.n_layers = 8, c.n_dense_layers = 1, c.n_heads = 16;
  c.q_lora_rank = 768, c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128, c.qk_rope_head_dim = 64, c.v_head_dim = 128;
  c.dense_ffn_size = 6144, c.expert_ffn_size = 1024;
  c.n_routed_experts = 64, c.n_shared_experts = 1, c.n_experts_per_token = 8, c.n_groups = 8, c.n_limited_groups = 4;
  c.max_positions = 4096;
  return c;
}

// One run of normal numbers over and over: as good as fresh ones for speed, and there in seconds.
void fill(const Exec& exec, Transformer& model) {
  constexpr int64_t kRun = 1 << 20;
  std::vector<float> run(kRun);
  for (int64_t i = 0; i < kRun; ++i) run[size_t(i)] = float(random_normal(1, stream_id("bench.engine"), uint64_t(i)));
  const auto fill_with = [&](const Tensor& tensor, double scale) {
    const bool half = tensor.dtype() == DType::bf16;
    bf16* const halves = half ? tensor.data<bf16>() : nullptr;
    float* const floats = half ? nullptr : tensor.data<float>();
    const int64_t count = tensor.count();
    exec.compute->parallel_for(count / kRun + 1, [&](int64_t part, int) {
      for (int64_t i = part * kRun; i < std::min(count, (part + 1) * kRun); ++i) {
        const float x = run[size_t((i * 7 + part * 31) % kRun)] * float(scale);
        half ? void(halves[i] = bf16(x)) : void(floats[i] = x);
      }
    });
  };
  for (Parameter* p : model.parameters()) {
    const bool norm = p->spec.kind == ParameterKind::norm;
    for (const Tensor& tensor : {p->value.plain})
      if (tensor) fill_with(tensor, norm ? 0.01 : 0.02);
  }
}

// Bytes of the matrices that a step of so many tokens reads.
double touched_bytes(const Transformer& model, double n_tokens) {
  const ModelConfig& config = model.config();
  const double chosen = double(config.n_experts_per_token) / double(config.n_routed_experts);
  double bytes = 0;
  for (const Parameter* p : model.parameters()) {
    if (!is_matrix_product(p->spec) || p->spec.layer >= config.n_layers) continue;
    const bool experts = p->spec.kind == ParameterKind::routed_expert;
    bytes += double(p->value.bytes()) * (experts ? 1 - std::pow(1 - chosen, n_tokens) : 1.0);
  }
  return bytes;
}

// Seconds of each step of so many texts that are written at once, behind prompts of 16 tokens.
std::vector<double> decode_steps(const Exec& exec, const Transformer& model, int64_t texts, int64_t tokens) {
  Engine engine(exec, model, {.cache_blocks = 4 * texts, .prefix_cache = false});
  RandomStream random{3, stream_id("bench.prompt"), 0};
  for (int64_t t = 0; t < texts; ++t) {
    EngineRequest request;
    for (int i = 0; i < 16; ++i) request.prompt.push_back(int32_t(random.below(32768)));
    request.max_tokens = tokens, request.sampling.seed = uint64_t(t);
    request.sampling.top_k = 40;  // at random all are as likely, and a draw among all would walk through them
    engine.submit(std::move(request));
  }
  std::vector<double> seconds;
  while (true) {
    const double begin = steady_seconds();
    if (!engine.step()) break;
    seconds.push_back(steady_seconds() - begin);
  }
  seconds.erase(seconds.begin());  // the prompts
  return seconds;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + int64_t(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void print_decoding(const Exec& exec, const Transformer& model, const char* name, ReadProbe& probe) {
  for (const int64_t texts : {int64_t(1), int64_t(4), int64_t(16)}) {
    double dram = 0;
    best_seconds([&] { dram = std::max(dram, probe.rate()); });
    const double seconds = median(decode_steps(exec, model, texts, texts == 1 ? 40 : 16));
    best_seconds([&] { dram = std::max(dram, probe.rate()); });
    const double bytes = touched_bytes(model, double(texts));
    std::printf("%-12s decode %2ld texts  %7.1f ms a step  %6.1f tokens/s  %5.1f GB/s  %3.0f%% of DRAM (%.1f GB/s)\n",
                name, long(texts), 1e3 * seconds, double(texts) / seconds, 1e-9 * bytes / seconds,
                100e-9 * bytes / seconds / dram, dram);
    std::fflush(stdout);
  }
}

void print_prefill(const Exec& exec, const Transformer& model, const char* name, const Options& options) {
  Meter meter(exec.compute->pool(), exec.isa, options.sgemm);
  std::vector<int32_t> prompt;
  RandomStream random{4, stream_id("bench.prompt"), 0};
  for (int i = 0; i < 512; ++i) prompt.push_back(int32_t(random.below(32768)));
  const auto result = meter.measure(
      [&] {
        Engine engine(exec, model, {.cache_blocks = 9, .prefix_cache = false});
        EngineRequest request;
        request.prompt = prompt, request.max_tokens = 1;
        engine.submit(request);
        while (engine.step()) {
        }
      },
      options.seconds * 8, [](const auto&) { return true; });
  const FlopCounts flops = count_flops(model.config(), 512);
  const double gflops = 1e-9 * 512 * (flops.linear + flops.attention_causal) / result.seconds;
  std::printf("%-12s prefill 512       %7.1f ms         %6.1f tokens/s  %5.1f GFLOP/s  %3.0f%% of the FP32 peak (%.0f)",
              name, 1e3 * result.seconds, 512 / result.seconds, gflops, 100 * gflops / result.f32, result.f32);
  if (meter.has_pairs()) std::printf("  %3.0f%% of bf16 pairs (%.0f)", 100 * gflops / result.pairs, result.pairs);
  std::printf("\n");
  std::fflush(stdout);
}

struct Variant {
  const char* name;
  WeightFormat weights;
  bool packed;
};

// What --only is compared with.
std::string decode_of(const Variant& variant) { return std::string(variant.name) + " decode"; }
std::string prefill_of(const Variant& variant) { return std::string(variant.name) + " prefill"; }

void measure(const Exec& exec, const Variant& variant, const Options& options) {
  ModelOptions how;
  how.precision = Precision::bf16, how.attention_form = AttentionForm::absorbed, how.weights = variant.weights;
  Transformer model(config_of(), how, exec);
  fill(exec, model);
  model.refresh_values(exec);
  for (Parameter* p : model.parameters()) {
    const auto panels = panel_type(p->spec, variant.weights, how.attention_form);
    if (!panels) continue;
    ops::pack(exec, p->value, *panels);
    p->master.reset();
  }
  if (variant.packed) model.pack(exec);
  ReadProbe probe(exec.compute->pool());
  if (options.chosen(decode_of(variant))) print_decoding(exec, model, variant.name, probe);
  if (options.chosen(prefill_of(variant))) print_prefill(exec, model, variant.name, options);
}

int run(const Options& options) {
  const OwnedExec owned(options.threads, options.exact_isa());
  for (const Variant& variant : {Variant{"bf16", WeightFormat::values, false},
                                 {"bf16 packed", WeightFormat::values, true},
                                 {"fp8", WeightFormat::fp8, true},
                                 {"int8", WeightFormat::int8, true},
                                 {"int4", WeightFormat::int4, true}}) {
    if (options.chosen(decode_of(variant)) || options.chosen(prefill_of(variant)))
      measure(owned.exec, variant, options);
  }
  return 0;
}

}  // namespace
}  // namespace hadal::bench

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "The engine as a share of this machine's measured limits",
                               hadal::bench::run);
}
