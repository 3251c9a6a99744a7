// All cross-checks of a configuration. Each message names the key, its value and what would be right.
#include <algorithm>
#include <cmath>

#include <fmt/ranges.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/text_format.h"
#include "config/config_io.h"

namespace hadal {

namespace {

constexpr int64_t kMaxSize = int64_t(1) << 31;

void in_range(const char* key, int64_t value, int64_t low, int64_t high = kMaxSize - 1) {
  check(value >= low && value <= high, ErrorKind::invalid, "{} = {} must lie in {} .. {}", key, value, low, high);
}

void in_range(const char* key, double value, double low, double high, const char* right) {
  check(std::isfinite(value) && value >= low && value <= high, ErrorKind::invalid, "{} = {} must be {}", key, value,
        right);
}

void check_experts(const ModelConfig& m) {
  in_range("model.expert_ffn_size", m.expert_ffn_size, 1);
  in_range("model.n_shared_experts", m.n_shared_experts, 0, 1024);
  in_range("model.n_experts_per_token", m.n_experts_per_token, 1);
  check(m.n_experts_per_token <= m.n_routed_experts, ErrorKind::invalid,
        "model.n_experts_per_token = {} must not exceed model.n_routed_experts = {}", m.n_experts_per_token,
        m.n_routed_experts);
  in_range("model.n_groups", m.n_groups, 1, m.n_routed_experts);
  check(m.n_routed_experts % m.n_groups == 0, ErrorKind::invalid,
        "model.n_groups = {} must divide model.n_routed_experts = {}", m.n_groups, m.n_routed_experts);
  in_range("model.n_limited_groups", m.n_limited_groups, 1, m.n_groups);
  const int64_t reachable = m.n_limited_groups * (m.n_routed_experts / m.n_groups);
  check(m.n_experts_per_token <= reachable, ErrorKind::invalid,
        "model.n_experts_per_token = {} must not exceed the {} experts of {} groups", m.n_experts_per_token, reachable,
        m.n_limited_groups);
  check(m.group_score != GroupScore::top2_sum || m.n_groups == 1 || m.n_routed_experts / m.n_groups >= 2,
        ErrorKind::invalid, "model.group_score = \"top2_sum\" needs at least 2 experts per group, not {}",
        m.n_routed_experts / m.n_groups);
  in_range("model.routed_scale", m.routed_scale, 1e-6, 1e6, "above 0");
}

// Of Llama's attention: what it is told, and that it is told nothing of the latent one, and this nothing of it.
void check_heads(const ModelConfig& m) {
  const ModelConfig nothing_said;
  const auto other = [&](const char* key, const auto& value, const auto& unsaid, const char* kinds) {
    check(value == unsaid, ErrorKind::invalid,
          "model.{} = {} belongs to model.attention = {}, and the attention is \"{}\": leave it out", key, value, kinds,
          enum_name(m.attention));
  };
  if (m.is_latent()) {
    other("n_kv_heads", m.n_kv_heads, nothing_said.n_kv_heads, "\"gqa\"");
    other("head_dim", m.head_dim, nothing_said.head_dim, "\"mha\" and \"gqa\"");
    return;
  }
  other("q_lora_rank", m.q_lora_rank, nothing_said.q_lora_rank, "\"mla\"");
  other("kv_lora_rank", m.kv_lora_rank, nothing_said.kv_lora_rank, "\"mla\"");
  other("qk_nope_head_dim", m.qk_nope_head_dim, nothing_said.qk_nope_head_dim, "\"mla\"");
  other("qk_rope_head_dim", m.qk_rope_head_dim, nothing_said.qk_rope_head_dim, "\"mla\"");
  other("v_head_dim", m.v_head_dim, nothing_said.v_head_dim, "\"mla\"");
  other("latent_norm_eps", m.latent_norm_eps, nothing_said.latent_norm_eps, "\"mla\"");
  if (m.attention == AttentionKind::mha) {
    check(
        m.n_kv_heads == 0 || m.n_kv_heads == m.n_heads, ErrorKind::invalid,
        "model.n_kv_heads = {}, but in model.attention = \"mha\" each of the model.n_heads = {} has keys and values of "
        "its own: leave it out, or choose \"gqa\"",
        m.n_kv_heads, m.n_heads);
  } else {
    check(m.n_kv_heads >= 1 && m.n_kv_heads <= m.n_heads && m.n_heads % m.n_kv_heads == 0, ErrorKind::invalid,
          "model.n_kv_heads = {} must divide model.n_heads = {}: as many query heads share each key/value head",
          m.n_kv_heads, m.n_heads);
  }
  in_range("model.head_dim", m.head_dim, 0, 1 << 20);
  check(m.head_dim > 0 || m.hidden_size % m.n_heads == 0, ErrorKind::invalid,
        "model.head_dim = 0 takes hidden_size / n_heads = {} / {}, which is no whole number: say how large heads are",
        m.hidden_size, m.n_heads);
  check(m.whole_head_dim() % 2 == 0, ErrorKind::invalid, "model.head_dim = {} must be even: it is rotated in pairs",
        m.whole_head_dim());
}

// Roughly, in floating point: sizes that pass may be multiplied in 64 bits ever after.
double attention_weights(const ModelConfig& m) {
  if (!m.is_latent())
    return 2 * double(m.hidden_size) * (double(m.n_heads) + double(m.key_value_heads())) * double(m.whole_head_dim());
  const double hidden = double(m.hidden_size), heads = double(m.n_heads),
               qk = double(m.qk_nope_head_dim) + double(m.qk_rope_head_dim);
  const double nope_v = double(m.qk_nope_head_dim) + double(m.v_head_dim),
               latent = double(m.kv_lora_rank) + double(m.qk_rope_head_dim);
  const double q = m.q_lora_rank > 0 ? double(m.q_lora_rank) * (hidden + heads * qk) : hidden * heads * qk;
  return q + hidden * latent + double(m.kv_lora_rank) * heads * nope_v + heads * double(m.v_head_dim) * hidden;
}

double weights(const ModelConfig& m) {
  const double hidden = double(m.hidden_size), attention = attention_weights(m);
  const double experts = double(m.expert_ffn_size) * (double(m.n_routed_experts) + double(m.n_shared_experts));
  const double ffn = 3 * hidden * std::max(double(m.dense_ffn_size), m.n_routed_experts > 0 ? experts : 0.0);
  return 2 * double(m.vocab_size) * hidden +
         (double(m.n_layers) + double(m.n_mtp)) * (attention + ffn + 2 * hidden * hidden);
}

// Bytes of the activations of one micro-batch, within a factor of a few.
double activations(const Config& c) {
  const auto& m = c.model;
  const double tokens = double(std::max<int64_t>(1, c.train.micro_batch_sequences)) * double(c.data.sequence_length);
  const double heads =
      double(m.n_heads) * double(m.qk_head_dim() + m.rotary_dim() + m.value_head_dim() + m.kv_lora_rank);
  const double inner = std::max(double(m.dense_ffn_size),
                                double(m.expert_ffn_size) * double(m.n_experts_per_token + m.n_shared_experts));
  const double layer =
      double(m.hidden_size) * double(2 + m.n_experts_per_token) + heads + inner + double(m.n_routed_experts);
  return 8 * tokens * (4 * layer * double(m.n_layers + m.n_mtp) + double(m.vocab_size));
}

void check_curve(const std::string& key, const Curve& curve) {
  for (size_t i = 0; i < curve.size(); ++i) {
    const std::string name = fmt::format("{}.{}", key, i);
    in_range((name + ".to").c_str(), curve[i].to, 0, 1e6, "at least 0");
    in_range((name + ".until").c_str(), curve[i].until, 1e-12, 1e15,
             "above 0: a fraction of the run up to 1, or a number of steps");
    check(curve[i].until <= 1 || curve[i].until == std::floor(curve[i].until), ErrorKind::invalid,
          "{}.until = {} must be a whole number of steps, or a fraction up to 1", name, curve[i].until);
    if (i == 0 || (curve[i].until <= 1) != (curve[i - 1].until <= 1)) continue;  // other units: only the run knows
    check(curve[i].until > curve[i - 1].until, ErrorKind::invalid,
          "{}.until = {} must lie after the end of the segment before, {}", name, curve[i].until, curve[i - 1].until);
  }
}

void check_rules(const SourceConfig& source, size_t i) {
  const std::vector<std::string> known(std::begin(kRuleSets), std::end(kRuleSets));
  for (const std::string& set : source.rules)
    check(std::find(known.begin(), known.end(), set) != known.end(), ErrorKind::invalid,
          "data.sources.{}.rules: '{}' is no rule set; did you mean '{}'?", i, set, nearest_name(set, known, 100));
  check(source.rules.empty() || source.format == SourceFormat::text, ErrorKind::invalid,
        "data.sources.{}.rules judge texts, and its format is \"{}\"; 'hadal data check' looks at dialogues", i,
        enum_name(source.format));
  const auto between = [&](const char* what, double low, double high) {
    check(low == 0 || high == 0 || low <= high, ErrorKind::invalid,
          "data.sources.{}.limits.gopher_quality: min_{} = {:g} is above max_{} = {:g}", i, what, low, what, high);
  };
  const GopherQualityConfig& quality = source.limits.gopher_quality;
  between("words", double(quality.min_words), double(quality.max_words));
  between("mean_word", quality.min_mean_word, quality.max_mean_word);
  RulesConfig::visit(source.limits, [&](const char* set, const auto& limits, const char*) {
    std::remove_cvref_t<decltype(limits)>::visit(limits, [&](const char* name, const auto& value, const char*) {
      if constexpr (!std::is_same_v<std::remove_cvref_t<decltype(value)>, bool>)
        in_range(fmt::format("data.sources.{}.limits.{}.{}", i, set, name).c_str(), double(value), 0, 1e9,
                 "at least 0");
    });
  });
}

void check_near_duplicates(const NearDuplicatesConfig& n) {
  NearDuplicatesConfig untouched;
  untouched.across = n.across;
  check(n.across != Across::off || n == untouched, ErrorKind::invalid,
        "data.near_duplicates has settings, and across = \"off\" compares nothing: set across to \"all\" or "
        "\"source\", or leave the section out");
  in_range("data.near_duplicates.threshold", n.threshold, 0.01, 1, "between 0.01 and 1");
  in_range("data.near_duplicates.buckets", n.buckets, 1, 256);
  in_range("data.near_duplicates.hashes", n.hashes, 1, 64);
  in_range("data.near_duplicates.ngram", n.ngram, 1, 64);
  check(
      n.found(n.threshold) >= 0.5, ErrorKind::invalid,
      "data.near_duplicates.threshold = {:g}: {} buckets of {} hashes find {:.1f} % of the pairs that are so similar; "
      "raise it, set more buckets, or fewer hashes",
      n.threshold, n.buckets, n.hashes, 100 * n.found(n.threshold));
}

void check_decontaminate(const DecontaminateConfig& d) {
  DecontaminateConfig untouched;
  check(!d.files.empty() || d == untouched, ErrorKind::invalid,
        "data.decontaminate has settings and no files: name the evaluation files, or leave the section out");
  in_range("data.decontaminate.ngram", d.ngram, 2, 64);
  in_range("data.decontaminate.min_words", d.min_words, 1, 64);
  in_range("data.decontaminate.common_above", d.common_above, 0, 1'000'000);
  check(
      d.min_words <= d.ngram, ErrorKind::invalid,
      "data.decontaminate.min_words = {} is above ngram = {}: items of fewer words than ngram are looked for whole, if "
      "they have min_words",
      d.min_words, d.ngram);
}

void check_data(const DataConfig& d) {
  check_near_duplicates(d.near_duplicates);
  check_decontaminate(d.decontaminate);
  in_range("data.sequence_length", d.sequence_length, 2, int64_t(1) << 24);
  in_range("data.holdout_fraction", d.holdout_fraction, 0, 0.9, "between 0 and 0.9");
  in_range("data.fim_rate", d.fim_rate, 0, 1, "between 0 and 1");
  in_range("data.pack_window", d.pack_window, 1, 1 << 24);
  in_range("data.epochs", d.epochs, 1, 1 << 24);
  check(d.epochs == 1 || d.at_end == AtEnd::stop, ErrorKind::invalid,
        "data.epochs = {} says after how many passes data.at_end = \"stop\" stops, and at_end is \"{}\"", d.epochs,
        enum_name(d.at_end));
  for (size_t i = 0; i < d.sources.size(); ++i) {
    check(!d.sources[i].paths.empty(), ErrorKind::invalid,
          "data.sources.{}.paths is empty: name at least one file, directory or glob", i);
    in_range(fmt::format("data.sources.{}.weight", i).c_str(), d.sources[i].weight, 0, 1e9, "at least 0");
    in_range(fmt::format("data.sources.{}.loss_weight", i).c_str(), d.sources[i].loss_weight, 1e-6, 1e6,
             "above 0 and at most 1e6");
    in_range(fmt::format("data.sources.{}.long_weight", i).c_str(), d.sources[i].long_weight, 0.01, 100,
             "between 0.01 and 100");
    check(d.sources[i].long_weight == 1 || d.sources[i].long_tokens > 0, ErrorKind::invalid,
          "data.sources.{}.long_weight = {:g}, but long_tokens is {}: say from how many tokens on a document is long",
          i, d.sources[i].long_weight, d.sources[i].long_tokens);
    check(d.sources[i].long_weight == 1 || d.sources[i].format == SourceFormat::text, ErrorKind::invalid,
          "data.sources.{}.long_weight = {:g} weighs texts, and its format is \"{}\"", i, d.sources[i].long_weight,
          enum_name(d.sources[i].format));
    check(d.sources[i].format == SourceFormat::text || d.document_mask == DocumentMask::document, ErrorKind::invalid,
          "data.sources.{}.format = \"{}\": dialogues that share a sequence must not see each other: set "
          "data.document_mask = \"document\"",
          i, enum_name(d.sources[i].format));
    check_rules(d.sources[i], i);
  }
}

void check_fp8(const Config& c) {
  const Fp8Config& f = c.fp8;
  const bool mx = c.train.precision == Precision::mxfp8;
  Fp8Config said = f;
  if (said.tile == 128) said.tile = 0;  // as a run in fp8 stores it
  check(is_fp8(c.train.precision) || said == Fp8Config(), ErrorKind::invalid,
        "[fp8] says how train.precision = \"fp8\" multiplies, and the precision is \"{}\": leave it out, or choose fp8",
        enum_name(c.train.precision));
  check(f.tile == 0 || is_fp8_tile(f.tile), ErrorKind::invalid, "fp8.tile = {} must be 128, 64 or 32", f.tile);
  check(!mx || f.tile == 0 || f.tile == 32, ErrorKind::invalid,
        "fp8.tile = {}, but train.precision = \"mxfp8\" multiplies blocks of 32: leave it out, or choose fp8", f.tile);
  for (const auto& [key, scales] : {std::pair("input_scales", f.input_scales),
                                    {"gradient_scales", f.gradient_scales},
                                    {"weight_scales", f.weight_scales}})
    check(
        !mx || scales == Fp8Scales::exact, ErrorKind::invalid,
        "fp8.{} is for train.precision = \"fp8\"; in \"mxfp8\" all scales are powers of two by fp8.mx_scales: leave it "
        "out",
        key);
  check(mx || f.mx_scales == MxScales::round_up, ErrorKind::invalid,
        "fp8.mx_scales = \"{}\" is for train.precision = \"mxfp8\", not \"{}\"", enum_name(f.mx_scales),
        enum_name(c.train.precision));
  for (const std::string& name : f.high)
    check(std::find(kFp8Linears.begin(), kFp8Linears.end(), name) != kFp8Linears.end(), ErrorKind::invalid,
          "fp8.high names \"{}\", which is none of the linears that are multiplied in FP8: {}", name,
          fmt::join(kFp8Linears, ", "));
  for (const std::string& name : f.high)
    check(c.model.is_latent() || (name != "q_a" && name != "kv_b"), ErrorKind::invalid,
          "fp8.high names \"{}\", which model.attention = \"{}\" has not: its queries are \"q_b\", keys and values "
          "\"kv_a\"",
          name, enum_name(c.model.attention));
  in_range("fp8.high_first_layers", f.high_first_layers, 0, c.model.n_layers);
  in_range("fp8.high_last_layers", f.high_last_layers, 0, c.model.n_layers);
  check(f.shadow_every >= 0, ErrorKind::invalid, "fp8.shadow_every = {} must be 0 (never) or a number of steps",
        f.shadow_every);
}

void power_of_two(const char* key, double value) {
  int exponent = 0;
  check(std::isfinite(value) && std::frexp(value, &exponent) == 0.5 && std::abs(exponent) <= 100, ErrorKind::invalid,
        "{} = {} must be a power of two, such as {}: other factors would round gradients", key, value,
        value > 1 && value < 1e30 ? std::exp2(std::round(std::log2(value))) : 1.0);
}

void check_loss_scale(const LossScaleConfig& s) {
  power_of_two("loss_scale.initial", s.initial);
  power_of_two("loss_scale.growth", s.growth);
  power_of_two("loss_scale.backoff", s.backoff);
  power_of_two("loss_scale.floor", s.floor);
  power_of_two("loss_scale.cap", s.cap);
  check(s.growth >= 1, ErrorKind::invalid, "loss_scale.growth = {} must be at least 1", s.growth);
  check(s.backoff < 1, ErrorKind::invalid, "loss_scale.backoff = {} must be below 1", s.backoff);
  check(s.floor <= s.cap, ErrorKind::invalid, "loss_scale.floor = {} must not exceed loss_scale.cap = {}", s.floor,
        s.cap);
  check(s.floor <= s.initial && s.initial <= s.cap, ErrorKind::invalid,
        "loss_scale.initial = {} must lie between loss_scale.floor = {} and loss_scale.cap = {}", s.initial, s.floor,
        s.cap);
  in_range("loss_scale.growth_steps", s.growth_steps, 1, int64_t(1) << 40);
  in_range("loss_scale.hysteresis", s.hysteresis, 1, 1 << 20);
}

void check_training(const Config& c) {
  const auto& t = c.train;
  check(c.model.is_latent() || t.attention_form == AttentionForm::up_projected, ErrorKind::invalid,
        "train.attention_form = \"{}\" is a form of latent attention, and model.attention is \"{}\": leave it out",
        enum_name(t.attention_form), enum_name(c.model.attention));
  check(t.steps != 0 || (c.data.at_end == AtEnd::stop && t.batch_ramp.empty()), ErrorKind::invalid,
        "train.steps = 0 takes as many steps as data.epochs give: set data.at_end = \"stop\", and no train.batch_ramp");
  in_range("train.steps", t.steps, 0, int64_t(1) << 40);
  in_range("train.batch_sequences", t.batch_sequences, 1, 1 << 24);
  in_range("train.micro_batch_sequences", t.micro_batch_sequences, 0, 1 << 24);
  in_range("train.max_skips", t.max_skips, 0);
  in_range("train.bias_update_speed", t.bias_update_speed, 0, 1, "between 0 and 1");
  in_range("train.bias_freeze", t.bias_freeze, 0, 1, "a fraction of the run, 0 to 1");
  in_range("train.balance_alpha", t.balance_alpha, 0, 10, "between 0 and 10");
  check_curve("train.batch_ramp", t.batch_ramp);
  check_curve("train.mtp_weight", t.mtp_weight);
  const auto& o = c.optim;
  in_range("optim.lr", o.lr, 0, 100, "between 0 and 100");
  in_range("optim.beta1", o.beta1, 0, 0.999999, "in [0, 1)");
  in_range("optim.beta2", o.beta2, 0, 0.99999999, "in [0, 1)");
  in_range("optim.eps", o.eps, 1e-30, 1, "above 0 and at most 1");
  in_range("optim.weight_decay", o.weight_decay, 0, 100, "between 0 and 100");
  in_range("optim.clip", o.clip, 0, 1e9, "at least 0 (0 switches clipping off)");
  in_range("optim.ema_decay", o.ema_decay, 0, 0.9999999, "in [0, 1)");
  check(
      o.moments != MomentFormat::bf16 || t.precision != Precision::fp64, ErrorKind::invalid,
      "optim.moments = \"bf16\" does not go with train.precision = \"fp64\", where moments are FP64 too: leave it out");
  check_curve("optim.lr_schedule", o.lr_schedule);
  check_loss_scale(c.loss_scale);
  in_range("checkpoint.every_steps", c.checkpoint.every_steps, 0, int64_t(1) << 40);
  in_range("checkpoint.keep", c.checkpoint.keep, 1);
  const auto& v = c.validation;
  in_range("validation.every_steps", v.every_steps, 0, int64_t(1) << 40);
  in_range("validation.max_bytes", v.max_bytes, 0, int64_t(1) << 60);
  in_range("validation.stride", v.stride, 0, c.data.sequence_length);
  in_range("validation.samples", v.samples, 0, 1000);
  in_range("validation.sample_tokens", v.sample_tokens, 1, 1 << 20);
}

}  // namespace

void validate(const ModelConfig& m, bool vocab_known) {
  in_range("model.vocab_size", m.vocab_size, vocab_known ? 1 : 0);
  in_range("model.hidden_size", m.hidden_size, 1);
  in_range("model.n_layers", m.n_layers, 1, 100000);
  in_range("model.n_dense_layers", m.n_dense_layers, 0, m.n_layers);
  in_range("model.n_heads", m.n_heads, 1, 1 << 20);
  in_range("model.q_lora_rank", m.q_lora_rank, 0);
  in_range("model.kv_lora_rank", m.kv_lora_rank, 1);
  in_range("model.qk_nope_head_dim", m.qk_nope_head_dim, 1, 1 << 20);
  in_range("model.qk_rope_head_dim", m.qk_rope_head_dim, 2, 1 << 20);
  check(m.qk_rope_head_dim % 2 == 0, ErrorKind::invalid,
        "model.qk_rope_head_dim = {} must be even: it is rotated in pairs", m.qk_rope_head_dim);
  in_range("model.v_head_dim", m.v_head_dim, 1, 1 << 20);
  check_heads(m);
  in_range("model.dense_ffn_size", m.dense_ffn_size, 1);
  in_range("model.n_routed_experts", m.n_routed_experts, 0, kMaxExperts);
  in_range("model.n_mtp", m.n_mtp, 0, 64);
  in_range("model.max_positions", m.max_positions, 1);
  if (m.n_routed_experts > 0) check_experts(m);
  in_range("model.rms_eps", m.rms_eps, 0, 1, "between 0 and 1");
  in_range("model.latent_norm_eps", m.latent_norm_eps, 0, 1, "between 0 and 1");
  in_range("model.rope_theta", m.rope_theta, 1.0000001, 1e12, "above 1");
  in_range("model.init_std", m.init_std, 0, 10, "between 0 and 10 (0 takes the default)");
  in_range("model.yarn.factor", m.yarn.factor, 1, 1e6, "at least 1");
  in_range("model.yarn.original_positions", m.yarn.original_positions, 1);
  in_range("model.yarn.beta_fast", m.yarn.beta_fast, 1e-6, 1e9, "above 0");
  in_range("model.yarn.beta_slow", m.yarn.beta_slow, 1e-6, 1e9, "above 0");
  in_range("model.yarn.mscale", m.yarn.mscale, -1e3, 1e3, "between -1000 and 1000");
  in_range("model.yarn.mscale_all_dim", m.yarn.mscale_all_dim, -1e3, 1e3, "between -1000 and 1000");
  check(weights(m) < 1e16, ErrorKind::invalid,
        "model: hidden_size = {}, vocab_size = {}, n_layers = {}, n_routed_experts = {} and the other sizes make more "
        "than 10^16 weights",
        m.hidden_size, m.vocab_size, m.n_layers, m.n_routed_experts);
}

void validate(const Config& config) {
  config_to_json(config);  // refuses what a run could not write down
  validate(config.model, false);
  check_data(config.data);
  check_training(config);
  check_fp8(config);
  validate(config.evaluation, config.optim.ema_decay > 0, config.model.max_positions);
  in_range("tokenizer.vocab_size", config.tokenizer.vocab_size, 1);
  in_range("parallel.dp", config.parallel.dp, 1, 1 << 20, "between 1 and 1048576");
  in_range("parallel.pp", config.parallel.pp, 1, 1 << 12, "between 1 and 4096");
  in_range("parallel.ep", config.parallel.ep, 1, 1 << 12, "between 1 and 4096");
  in_range("parallel.tp", config.parallel.tp, 1, 1 << 12, "between 1 and 4096");
  in_range("parallel.drift_steps", config.parallel.drift_steps, 0, int64_t(1) << 40);
  in_range("parallel.cp", config.parallel.cp, 1, 1 << 12, "between 1 and 4096");
  in_range("tokenizer.split_fused", config.tokenizer.split_fused, 0, 1, "between 0 and 1");
  in_range("tokenizer.training_bytes", config.tokenizer.training_bytes, 0, int64_t(1) << 60);
  check(activations(config) < 1e17, ErrorKind::invalid,
        "data.sequence_length = {} and train.micro_batch_sequences = {} with this model make more than 10^17 bytes of "
        "activations",
        config.data.sequence_length, config.train.micro_batch_sequences);
  check(config.data.sequence_length <= config.model.max_positions, ErrorKind::invalid,
        "data.sequence_length = {} must not exceed model.max_positions = {}", config.data.sequence_length,
        config.model.max_positions);
  check(config.data.sequence_length > config.model.n_mtp + 1, ErrorKind::invalid,
        "data.sequence_length = {} must exceed model.n_mtp + 1 = {}", config.data.sequence_length,
        config.model.n_mtp + 1);
}

}  // namespace hadal
