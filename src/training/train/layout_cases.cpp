// The models and batches that layouts are checked on: a configuration made narrow, and cases drawn from a seed.
#include <algorithm>
#include <array>
#include <numeric>

#include "base/random.h"
#include "config/config_io.h"
#include "schedule/pipeline.h"
#include "train/layout_check.h"

namespace hadal {

Config shrunk_in_width(Config config) {
  ModelConfig& m = config.model;
  const auto at_most = [](int64_t& value, int64_t limit) { value = std::min(value, limit); };
  if (!m.is_latent()) m.head_dim = std::min<int64_t>(m.whole_head_dim(), 8);
  at_most(m.hidden_size, 48);
  if (m.is_latent()) {
    at_most(m.q_lora_rank, 20);
    at_most(m.kv_lora_rank, 16);
    at_most(m.qk_nope_head_dim, 8);
    at_most(m.qk_rope_head_dim, 4);
    at_most(m.v_head_dim, 8);
  }
  at_most(m.dense_ffn_size, 56);
  at_most(m.expert_ffn_size, 12);
  if (m.vocab_size == 0 || m.vocab_size > 131) m.vocab_size = 131;  // odd, and more than a line of 128
  m.init_std = 0.15;  // narrow layers need larger weights for gradients of a usual size
  // A gradient that is nothing but rounding makes a step of rounding's size: Adam's division would make it a whole one.
  config.optim.eps = std::max(config.optim.eps, 1e-4);
  at_most(config.data.sequence_length, 24);
  at_most(m.max_positions, 4096);
  if (config.train.balance_alpha > 0) config.train.balance_alpha = 0.01;
  return config;
}

LayoutCase layout_case_of(const Config& config, const ParallelConfig& parallel, Precision precision) {
  LayoutCase c;
  c.config = shrunk_in_width(config);
  c.config.parallel = parallel;
  TrainConfig& train = c.config.train;
  train.precision = precision;
  train.micro_batch_sequences = 1;
  train.batch_sequences = 2 * parallel.dp * parallel.pp + 1;  // as many for each as make the ranks uneven
  train.batch_ramp.clear();
  if (train.recompute == Recompute::none || train.recompute == Recompute::automatic) train.recompute = Recompute::all;
  c.config.data.document_mask = DocumentMask::document;
  constexpr double kBites = 0.05;  // far below the norms of models this narrow
  double& clip = c.config.optim.clip;
  clip = clip > 0 ? std::min(clip, kBites) : kBites;
  c.idle_expert = true;
  return c;
}

namespace {

// Axes of more than one rank, by the case's number: every pair of the five meets in a pair, in triples and in fours.
struct Cut {
  bool dp, pp, ep, tp, cp;
};
constexpr std::array<Cut, 25> kCuts = {{
    {1, 1, 0, 0, 0}, {1, 0, 1, 0, 0}, {1, 0, 0, 1, 0}, {1, 0, 0, 0, 1}, {0, 1, 0, 1, 0},  //
    {0, 1, 0, 0, 1}, {0, 0, 1, 1, 0}, {0, 0, 1, 0, 1}, {0, 0, 0, 1, 1}, {1, 1, 1, 0, 0},  //
    {1, 1, 1, 1, 0}, {1, 1, 1, 0, 1}, {1, 1, 0, 1, 1}, {1, 0, 1, 1, 1}, {0, 1, 1, 1, 1},  //
    {0, 1, 1, 1, 0}, {0, 1, 1, 0, 1}, {1, 0, 0, 0, 0}, {0, 1, 0, 0, 0}, {1, 1, 1, 0, 0},  //
    {0, 0, 0, 1, 0}, {0, 0, 0, 0, 1}, {1, 1, 1, 1, 0}, {1, 1, 1, 0, 1}, {0, 1, 0, 1, 1},
}};

ParallelConfig drawn_layout(int64_t number, RandomStream& random) {
  const auto one_of = [&](std::initializer_list<int64_t> values) {
    return values.begin()[random.below(values.size())];
  };
  const Cut& cut = kCuts[size_t(number) % kCuts.size()];
  const bool many = int(cut.dp) + int(cut.pp) + int(cut.tp) + int(cut.cp) > 2;  // 16 ranks at most
  ParallelConfig p;
  if (cut.dp) p.dp = many ? 2 : one_of({2, 2, 3, 4});
  if (cut.tp) p.tp = 2;
  if (cut.cp) p.cp = many ? 2 : one_of({2, 2, 3});
  if (cut.ep) {
    p.ep = p.dp * p.tp * p.cp;  // or a divisor of it, so that experts have replicas
    if (p.ep % 2 == 0 && p.ep > 2 && random.below(2)) p.ep /= 2;
    if (p.ep % 2 == 0 && p.ep > 2 && random.below(2)) p.node_ranks = p.ep / 2;
  }
  if (!cut.pp) return p;
  const std::vector<std::string> schedules = schedule_names();
  p.schedule = schedules[random.below(schedules.size())];
  p.pp = many ? 2 : one_of({2, 2, 3, 4});
  if (p.schedule == "dualpipe") p.pp += p.pp % 2;
  if (p.schedule == "interleaved") p.pp = 2, p.chunks = many ? 2 : one_of({2, 3});
  if (p.schedule == "dualpipev") p.pp = 2;
  return p;
}

int64_t stages_of(const ParallelConfig& p) { return p.pp * p.chunks * (p.schedule == "dualpipev" ? 2 : 1); }

}  // namespace

namespace {

// A third of the cases have Llama's attention in place of the latent one.
void draw_attention(uint64_t seed, int64_t number, Config& config) {
  RandomStream random{seed, stream_id("layout case, attention") + uint64_t(config.train.precision), uint64_t(number)};
  ModelConfig& m = config.model;
  const uint64_t kind = random.below(6);
  if (kind > 1) return;
  const ModelConfig unsaid;
  m.attention = kind == 0 ? AttentionKind::gqa : AttentionKind::mha;
  m.q_lora_rank = unsaid.q_lora_rank;
  m.head_dim = 2 * int64_t(1 + random.below(4));
  if (m.attention == AttentionKind::gqa) {
    m.n_kv_heads = std::max(int64_t(1 + random.below(3)), config.parallel.tp);
    m.n_heads = m.n_kv_heads * int64_t(1 + random.below(3));
  }
  config.train.attention_form = AttentionForm::up_projected;
}

}  // namespace

LayoutCase random_layout_case(uint64_t seed, int64_t number, Precision precision) {
  RandomStream random{seed, stream_id("layout case"), uint64_t(number)};
  const auto one_of = [&](std::initializer_list<int64_t> values) {
    return values.begin()[random.below(values.size())];
  };
  LayoutCase c;
  c.seed = seed * 1000 + uint64_t(number);
  Config& config = c.config;
  ModelConfig& m = config.model;
  config.parallel = drawn_layout(number, random);
  m.n_layers = std::max<int64_t>(one_of({2, 3}), stages_of(config.parallel));
  m.n_dense_layers = one_of({0, 1});
  m.n_heads = std::max(one_of({1, 2, 4}), config.parallel.tp);
  m.q_lora_rank = one_of({0, 12, 20});
  const int64_t nodes = config.parallel.node_ranks > 0 ? config.parallel.ep / config.parallel.node_ranks : 1;
  m.n_groups = std::max(one_of({1, 2, 4}), nodes);
  m.n_limited_groups = std::max<int64_t>(1, m.n_groups / 2);
  m.n_routed_experts = m.n_groups * one_of({3, 4, 8});
  m.n_routed_experts *= config.parallel.ep / std::gcd(config.parallel.ep, m.n_routed_experts);
  m.n_shared_experts = one_of({0, 1, 2});
  m.n_experts_per_token = one_of({1, 2, 3});
  m.n_mtp = one_of({0, 1, 2});
  m.tie_embeddings = random.below(4) == 0;
  m.routed_scale = 2.5;
  config.train.batch_sequences = one_of({1, 3, 7, 9, 16});
  config.train.micro_batch_sequences = one_of({1, 1, 2, 3});
  config.train.recompute = Recompute(random.below(3));
  config.train.attention_form = AttentionForm(random.below(2));
  config.train.balance_alpha = random.below(2) ? 0.01 : 0;
  config.train.precision = precision;
  config.train.steps = 1000;
  config.data.document_mask = random.below(2) ? DocumentMask::document : DocumentMask::none;
  config.optim.clip = random.below(4) ? 0.05 : 0;
  config.optim.ema_decay = random.below(3) ? 0 : 0.9;
  config.optim.moments = precision == Precision::bf16 && random.below(2) ? MomentFormat::bf16 : MomentFormat::fp32;
  draw_attention(seed, number, config);
  config = shrunk_in_width(config);
  if (precision == Precision::fp8) config.fp8.tile = one_of({128, 64, 32});
  return c;
}

std::string layout_case_text(const LayoutCase& c) {
  const ModelConfig& m = c.config.model;
  return fmt::format(
      "{}: {}, {} layers ({} dense), {} experts in {} groups, {} MTP, {} sequences by {}, recompute {}, {}, mask {}, "
      "clip "
      "{}",
      layout_text(c.config.parallel), enum_name(m.attention), m.n_layers, m.n_dense_layers, m.n_routed_experts,
      m.n_groups, m.n_mtp, c.config.train.batch_sequences, c.config.train.micro_batch_sequences,
      enum_name(c.config.train.recompute), enum_name(c.config.train.attention_form),
      enum_name(c.config.data.document_mask), c.config.optim.clip);
}

}  // namespace hadal
