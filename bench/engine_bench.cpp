// The engine on a random model of 3 billion weights (bench/random_model.h), as a share of what the machine can do in
// the same run: decoding against the speed at which memory is read (bytes: weights that a step's tokens touch, of the
// experts those that they chose), attention behind 8192 tokens and reading a prompt against multiply-adds (a prompt's
// in FLOPs of the up-projected form). Weights in BF16 (as tensors, and packed), FP8, int8 and int4. Rows of packed
// weights have floors (floor_of), and so has the share of a step that is spent in the forward; the run fails where one
// is missed twice, and where FP8 decodes less than 1.65 times as fast as BF16 of the same run.
//   engine_bench [--model DIR] [--only "int4 decode"] [--threads N] [--isa NAME] [--seconds S] [--peak-candidate X]
// Rows are FORMAT and "decode N texts", "context N texts" or "prefill". DIR is what `engine_worker write` made; without
// it the model is written anew, 6 GB below TMPDIR.
#include <map>
#include <set>

#include "arch/arch.h"
#include "base/random.h"
#include "bench/harness.h"
#include "bench/random_model.h"
#include "engine/engine.h"
#include "engine/generator.h"
#include "exchange/loaded_model.h"
#include "model/latent_cache.h"

namespace hadal::bench {
namespace {

constexpr std::string_view kDecode = "decode", kContext = "context", kPrefill = "prefill";

struct Variant {
  const char* name;
  WeightFormat weights;
  bool packed;
};

// Bytes of the matrices that a step reads whose tokens choose so many experts of each layer.
double touched_bytes(const Transformer& model, double chosen_experts) {
  const ModelConfig& config = model.config();
  double bytes = 0;
  for (const Parameter* p : model.parameters()) {
    if (!is_matrix_product(p->spec)) continue;
    const bool experts = p->spec.kind == ParameterKind::routed_expert;
    bytes += double(p->value.bytes()) * (experts ? chosen_experts / double(config.n_routed_experts) : 1.0);
  }
  return bytes;
}

// An engine with so many unrelated texts behind prompts of 16 tokens, the same at every call.
std::unique_ptr<Engine> engine_writing(const Exec& exec, const Transformer& model, int64_t texts, int64_t tokens,
                                       EngineOptions options = {}) {
  options.cache_blocks = 4 * texts, options.prefix_cache = false;
  auto engine = std::make_unique<Engine>(exec, model, options);
  RandomStream random{3, stream_id("bench.prompt"), 0};
  for (int64_t t = 0; t < texts; ++t) {
    EngineRequest request;
    for (int i = 0; i < 16; ++i) request.prompt.push_back(int32_t(random.below(uint64_t(model.config().vocab_size))));
    request.max_tokens = tokens, request.sampling.seed = uint64_t(t);
    request.sampling.top_k = 40;  // at random all are as likely, and a draw among all would walk through them
    engine->submit(std::move(request));
  }
  return engine;
}

struct Decoding {
  double seconds = 0;  // of a step, the median
  double dram = 0;     // GB/s of reading memory between the steps, the median
  double outside = 0;  // share of the steps that is no forward: planning, drawing, handing out
};

// In turns with memory: neighbours on the machine take their share of it from both.
Decoding decode(const Exec& exec, const Transformer& model, int64_t texts, int64_t tokens, ReadProbe& probe) {
  const auto engine = engine_writing(exec, model, texts, tokens);
  engine->step();  // the prompts
  const EngineCounts before = engine->counts();
  std::vector<double> seconds, dram;
  while (true) {
    const double begin = steady_seconds();
    if (!engine->step()) break;
    seconds.push_back(steady_seconds() - begin);
    dram.push_back(probe.rate());
  }
  const EngineCounts after = engine->counts();
  return {
      median(seconds), median(dram),
      1 - (after.forward_seconds - before.forward_seconds) / std::max(1e-9, after.step_seconds - before.step_seconds)};
}

// How many experts of a layer the same steps choose, on average.
double chosen_experts(const Exec& exec, const Transformer& model, int64_t texts, int64_t tokens) {
  double sum = 0, seen = 0;
  EngineOptions options;
  options.observer = [&](const std::vector<StepRow>& rows, const std::string& name, const Tensor& value) {
    if (!name.ends_with("moe.experts") || int64_t(rows.size()) != texts) return;
    const int32_t* const ids = value.data<int32_t>();
    sum += double(std::set<int32_t>(ids, ids + value.count()).size()), ++seen;
  };
  const auto engine = engine_writing(exec, model, texts, tokens, options);
  while (engine->step()) {
  }
  return sum / seen;
}

struct Row {
  const Variant* variant;
  std::string_view what;  // kDecode, kContext, kPrefill
  int64_t texts;
  std::string name() const {  // what --only is compared with
    return fmt::format("{} {}{}", variant->name, what, texts > 0 ? fmt::format(" {} texts", texts) : "");
  }
};

// The share of its limit that a row must reach; 0: none.
double floor_of(const Row& row, Isa isa) {
  const Variant& variant = *row.variant;
  const bool decodes = row.what == kDecode, reads = row.what == kPrefill;
  const bool integers = variant.weights == WeightFormat::int8 || variant.weights == WeightFormat::int4;
  if (!variant.packed || (decodes && row.texts == 4)) return 0;
  if (decodes && row.texts == 1 && variant.weights == WeightFormat::int4) return isa == Isa::avx2 ? 0.75 : 0.8;
  if (decodes) return 0.9;
  if (reads && integers) return isa == Isa::avx2 ? 0.85 : 1.6;
  return 0.6;
}

double print_decoding(const Exec& exec, const Transformer& model, const Row& row, ReadProbe& probe, Floors& floors) {
  const int64_t texts = row.texts, tokens = texts == 1 ? 60 : 16;
  const Decoding steps = decode(exec, model, texts, tokens, probe);
  const double experts = chosen_experts(exec, model, texts, tokens);
  const double rate = 1e-9 * touched_bytes(model, experts) / steps.seconds;
  std::printf(
      "%-12s decode %2ld texts  %7.1f ms a step  %6.1f tokens/s  %5.1f GB/s  %3.0f%% of DRAM (%.1f GB/s)  "
      "%4.1f experts%s  %.1f%% outside the forward%s\n",
      row.variant->name, long(texts), 1e3 * steps.seconds, double(texts) / steps.seconds, rate, 100 * rate / steps.dram,
      steps.dram, experts,
      floors.judge(row.name(), floor_of(row, exec.isa), {rate / steps.dram}, "what memory gives").c_str(),
      100 * steps.outside, floors.judge(row.name(), 0.97, {1 - steps.outside}, "a step in the forward").c_str());
  return steps.seconds;
}

// A token more of each of so many texts whose tokens before it lie in the cache: any latents will do.
class LongTexts {
 public:
  LongTexts(const Exec& exec, const Transformer& model, int64_t texts, int64_t context)
      : exec_(exec), model_(model), per_text_(cache_blocks_of(context + 1)) {
    cache_ = model.new_cache(exec, texts * per_text_);
    for (LayerCache& layer : cache_->layers)
      for (const Tensor& tensor : {layer.latent.tensor(), layer.rope_key}) tensor.zero();
    for (int64_t i = 0; i < texts * per_text_; ++i) blocks_.push_back(int32_t(i));
    for (int64_t t = 0; t < texts; ++t) tokens_.push_back(int32_t(5 + 17 * t));
  }
  // All of them behind so many tokens.
  void step(int64_t context) {
    std::vector<Extension> extensions;
    for (size_t t = 0; t < tokens_.size(); ++t) {
      const auto blocks = std::span(blocks_).subspan(t * size_t(per_text_), size_t(cache_blocks_of(context + 1)));
      extensions.push_back({std::span(tokens_).subspan(t, 1), context, blocks});
    }
    model_.extend(exec_, *cache_, extensions);
  }

 private:
  const Exec& exec_;
  const Transformer& model_;
  int64_t per_text_;
  std::shared_ptr<LatentCache> cache_;
  std::vector<int32_t> blocks_, tokens_;
};

// What 8192 tokens before it cost a step, in turns with the peak: all of it is attention.
void print_context(const Exec& exec, const Transformer& model, const Row& row, Floors& floors) {
  constexpr int64_t kContext = 8192, kShort = 64;
  const ModelConfig& c = model.config();
  LongTexts behind(exec, model, row.texts, kContext);
  std::vector<double> near, far;
  double peak = 0;
  for (int turn = 0; turn < 12; ++turn) {
    const auto timed = [&](int64_t context) { return best_seconds([&] { behind.step(context); }, 0); };
    near.push_back(timed(kShort)), far.push_back(timed(kContext));
    peak = std::max(peak, peak_gflops(exec.compute->pool(), exec.isa, false, far.back(), 0.01));
  }
  const double attention = median(far) - median(near);
  const double latent = double(c.kv_lora_rank), d_qk = latent + double(c.qk_rope_head_dim);
  const double flops = 2 * double(row.texts * c.n_layers * c.n_heads * (kContext - kShort)) * (d_qk + latent);
  const double gflops = 1e-9 * flops / attention;
  std::printf(
      "%-12s behind 8192, %2ld texts  %7.1f ms a step, of which %7.1f for the context: %5.1f GFLOP/s  %3.0f%% of the "
      "FP32 peak (%.0f)%s\n",
      row.variant->name, long(row.texts), 1e3 * median(far), 1e3 * attention, gflops, 100 * gflops / peak, peak,
      floors.judge(row.name(), floor_of(row, exec.isa), {gflops / peak}, "the FP32 peak").c_str());
}

void print_prefill(const Exec& exec, const Transformer& model, const Row& row, const Options& options, Floors& floors) {
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
              row.variant->name, 1e3 * result.seconds, 512 / result.seconds, gflops, 100 * gflops / result.f32,
              result.f32);
  if (meter.has_pairs()) std::printf("  %3.0f%% of bf16 pairs (%.0f)", 100 * gflops / result.pairs, result.pairs);
  // Integers are held to FP32's peak, BF16 and FP8 to that of the products that they use.
  const bool of_pairs =
      meter.has_pairs() && row.variant->weights != WeightFormat::int8 && row.variant->weights != WeightFormat::int4;
  const double share = gflops / (of_pairs ? result.pairs : result.f32);
  std::printf("%s\n",
              floors.judge(row.name(), floor_of(row, exec.isa), {share}, of_pairs ? "bf16 pairs" : "FP32").c_str());
}

std::vector<Row> rows_of(const std::vector<Variant>& variants) {
  std::vector<Row> rows;
  for (const Variant& variant : variants) {
    for (const int64_t texts : {1, 4, 16}) rows.push_back({&variant, kDecode, texts});
    for (const int64_t texts : {1, 16}) rows.push_back({&variant, kContext, texts});
    rows.push_back({&variant, kPrefill, 0});
  }
  return rows;
}

int run(const Options& options) {
  const OwnedExec owned(options.threads, options.exact_isa());
  const TemporaryFolder folder;
  const std::filesystem::path directory = options.model.empty() ? folder.path.string() : options.model;
  if (options.model.empty()) write_random_model(directory, serving_config());
  const std::vector<Variant> variants = {{"bf16", WeightFormat::values, false},
                                         {"bf16 packed", WeightFormat::values, true},
                                         {"fp8", WeightFormat::fp8, true},
                                         {"int8", WeightFormat::int8, true},
                                         {"int4", WeightFormat::int4, true}};
  const Exec& exec = owned.exec;
  ReadProbe probe(exec.compute->pool());
  LoadedModel loaded;  // in the weights of the row before
  const Variant* loaded_in = nullptr;
  std::map<std::string, double> one_text;  // seconds of a step
  Floors floors;
  const auto print = [&](const Row& row) {
    if (loaded_in != row.variant) {
      loaded = {};
      loaded = load_model(
          directory,
          {.precision = Precision::bf16, .attention_form = AttentionForm::absorbed, .weights = row.variant->weights},
          exec);
      loaded_in = row.variant;
      if (row.variant->packed) loaded.transformer->pack(exec);
    }
    const Transformer& model = *loaded.transformer;
    if (row.what == kDecode) {
      const double seconds = print_decoding(exec, model, row, probe, floors);
      if (row.texts == 1) one_text[row.variant->name] = seconds;
    }
    if (row.what == kContext) print_context(exec, model, row, floors);
    if (row.what == kPrefill) print_prefill(exec, model, row, options, floors);
    std::fflush(stdout);
  };
  floors.measure(
      options, rows_of(variants), [](const Row& row) { return row.name(); }, print);
  bool held = true;
  if (one_text.contains("bf16 packed") && one_text.contains("fp8")) {
    const double times = one_text["bf16 packed"] / one_text["fp8"];
    held = times >= 1.65;
    std::printf("\n%s FP8 decodes one text %.2f times as fast as BF16 (floor 1.65)\n", held ? "held" : "FAILED", times);
  }
  return floors.exit_code() == 0 && held ? 0 : 1;
}

}  // namespace
}  // namespace hadal::bench

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "The engine as a share of this machine's measured limits",
                               hadal::bench::run);
}
