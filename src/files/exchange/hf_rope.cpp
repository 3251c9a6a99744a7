// The rotary fields of config.json, old spelling (rope_theta beside rope_scaling) and new (rope_parameters). §1.4.
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "exchange/hf_fields.h"

namespace hadal {

using nlohmann::ordered_json;

namespace {

double yarn_growth(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

// cos and sin are multiplied by this in released code ...
double released_multiplier(const YarnConfig& yarn) {
  return yarn_growth(yarn.factor, yarn.mscale) / yarn_growth(yarn.factor, yarn.mscale_all_dim);
}
// ... and by this in transformers, which takes an absent or zero mscale for "use the factor alone".
double transformers_multiplier(const YarnConfig& yarn, bool has_mscale, bool has_all_dim) {
  const bool both = has_mscale && has_all_dim && yarn.mscale != 0 && yarn.mscale_all_dim != 0;
  return both ? released_multiplier(yarn) : yarn_growth(yarn.factor, 1);
}

bool near(double a, double b) { return std::abs(a - b) <= 1e-6 * std::max(std::abs(a), std::abs(b)); }

std::string rope_kind(const HfFields& rope) {
  const auto old_name = rope.text("type"), new_name = rope.text("rope_type");
  check(!old_name || !new_name || *old_name == *new_name, ErrorKind::invalid,
        "{}: {}type = \"{}\" contradicts {}rope_type = \"{}\"", rope.where(), rope.path(), old_name.value_or(""),
        rope.path(), new_name.value_or(""));
  if (!old_name && !new_name)
    for (const char* key : {"type", "rope_type"}) rope.refuse_null(key, "\"default\" or \"yarn\"");
  const std::string kind = new_name ? *new_name : old_name.value_or("default");
  if (kind != "default" && kind != "yarn")
    rope.unsupported(new_name ? "rope_type" : "type",
                     "models of this family have plain rotary embedding (\"default\") or \"yarn\"");
  return kind;
}

// cos/sin multiplier: mscale / mscale_all_dim as released; attention_factor may state it outright.
void read_mscale(const HfFields& rope, YarnConfig& yarn, bool latent, std::vector<std::string>& notices) {
  const auto mscale = rope.number("mscale"), all_dim = rope.number("mscale_all_dim"),
             stated = rope.number("attention_factor");
  yarn.mscale = mscale.value_or(1.0);  // the released code's defaults: multiplier 0.1 ln(factor) + 1, softmax untouched
  yarn.mscale_all_dim = all_dim.value_or(0.0);
  for (const char* key : {"mscale", "mscale_all_dim"})
    if (rope.has(key) && (*rope.number(key) < 0 || *rope.number(key) > 1e3)) rope.wrong(key, "between 0 and 1000");
  if (stated) {
    if (*stated <= 0 || *stated > 1e3) rope.wrong("attention_factor", "above 0");
    if (mscale || yarn.factor <= 1) {
      if (!near(*stated, released_multiplier(yarn)))
        rope.wrong("attention_factor", fmt::format("{:.9g}, as factor, mscale and mscale_all_dim have it, or absent",
                                                   released_multiplier(yarn)));
    } else {
      const double numerator = *stated * yarn_growth(yarn.factor, yarn.mscale_all_dim);
      yarn.mscale = (numerator - 1) / (0.1 * std::log(yarn.factor));
      if (std::abs(yarn.mscale) < 1e-12) yarn.mscale = 0;
      if (!(yarn.mscale >= 0 && yarn.mscale <= 1e3))  // what the file that we write may say
        rope.wrong("attention_factor",
                   fmt::format("such that mscale, which follows from it and is {:.6g}, lies between "
                               "0 and 1000",
                               yarn.mscale));
    }
    return;
  }
  const double theirs = transformers_multiplier(yarn, mscale.has_value(), all_dim.has_value());
  if (!latent) {  // there is no released code but transformers'
    if (!near(theirs, released_multiplier(yarn))) yarn.mscale = 1, yarn.mscale_all_dim = 0;
    return;
  }
  if (!near(theirs, released_multiplier(yarn)))
    notices.push_back(fmt::format(
        "{}mscale and mscale_all_dim are not both given: cos and sin are multiplied by {:.6g} as in the released code; "
        "transformers multiplies by {:.6g}",
        rope.path(), released_multiplier(yarn), theirs));
}

void read_yarn(const HfFields& rope, HfConfig& config) {
  auto& yarn = config.model.yarn;
  check(rope.contains("original_max_position_embeddings"), ErrorKind::invalid,
        "{}: {}original_max_position_embeddings is missing; \"yarn\" needs the context of pre-training, such as 4096",
        rope.where(), rope.path());
  yarn.original_positions = rope.size("original_max_position_embeddings");
  check(rope.contains("factor"), ErrorKind::invalid, "{}: {}factor is missing; \"yarn\" needs it", rope.where(),
        rope.path());
  // transformers: null means the ratio of the two contexts
  yarn.factor = rope.has("factor") ? *rope.number("factor")
                                   : double(config.model.max_positions) / double(yarn.original_positions);
  if (!(yarn.factor >= 1 && yarn.factor <= 1e6)) rope.wrong("factor", "between 1 and 1000000");
  yarn.beta_fast = rope.number("beta_fast").value_or(32.0);
  yarn.beta_slow = rope.number("beta_slow").value_or(1.0);
  for (const char* key : {"beta_fast", "beta_slow"})
    if (rope.has(key) && !(*rope.number(key) >= 1e-6 && *rope.number(key) <= 1e9)) rope.wrong(key, "above 0");
  if (yarn.beta_fast < yarn.beta_slow)
    fail(ErrorKind::invalid, "{}: {}beta_fast = {} must be at least beta_slow = {}", rope.where(), rope.path(),
         yarn.beta_fast, yarn.beta_slow);
  if (!rope.truth("truncate").value_or(true))
    rope.unsupported("truncate", "the family rounds the ramp's ends to whole pairs");
  read_mscale(rope, yarn, config.model.is_latent(), config.notices);
}

void check_rope_keys(const HfFields& rope, const ordered_json& object, bool yarn, std::vector<std::string>& notices) {
  static constexpr std::array<const char*, 5> kPlain = {"type", "rope_type", "rope_theta", "partial_rotary_factor",
                                                        "factor"};
  static constexpr std::array<const char*, 8> kYarn = {"factor",           "original_max_position_embeddings",
                                                       "beta_fast",        "beta_slow",
                                                       "mscale",           "mscale_all_dim",
                                                       "attention_factor", "truncate"};
  if (rope.has("partial_rotary_factor") && *rope.number("partial_rotary_factor") != 1)
    rope.unsupported("partial_rotary_factor", "the rotary part of a head turns as a whole (1)");
  for (const auto& item : object.items()) {
    bool known = false;
    for (const char* key : kPlain) known = known || item.key() == key;
    if (yarn)
      for (const char* key : kYarn) known = known || item.key() == key;
    if (!known)
      notices.push_back(fmt::format("{}{} is not used by this kind of rotary embedding", rope.path(), item.key()));
  }
}

// One of the two spellings, whole: its kind and YaRN fields into config, its own theta returned.
std::optional<double> read_spelling(const HfFields& fields, const char* key, HfConfig& config) {
  const HfFields rope = fields.section(key);
  config.model.yarn = YarnConfig{};
  const bool yarn = rope_kind(rope) == "yarn";
  if (yarn) read_yarn(rope, config);
  check_rope_keys(rope, fields.at(key), yarn, config.notices);
  rope.refuse_null("rope_theta", "a number");
  return rope.number("rope_theta");
}

std::string yarn_text(const YarnConfig& yarn) {
  std::string text;
  YarnConfig::visit(yarn, [&](const char* name, const auto& value, const char*) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, value);
  });
  return text;
}

ordered_json yarn_json(const YarnConfig& yarn) {
  ordered_json json = {{"factor", yarn.factor},       {"original_max_position_embeddings", yarn.original_positions},
                       {"beta_fast", yarn.beta_fast}, {"beta_slow", yarn.beta_slow},
                       {"mscale", yarn.mscale},       {"mscale_all_dim", yarn.mscale_all_dim}};
  if (!near(transformers_multiplier(yarn, true, true), released_multiplier(yarn)))
    json["attention_factor"] = released_multiplier(yarn);
  return json;
}

}  // namespace

namespace {

// Glm4Moe's class turns half of each head where the file says nothing.
void check_rotary_share(const HfFields& fields, const HfConfig& config) {
  const auto stated = fields.number("partial_rotary_factor");
  if (stated && *stated != 1) fields.unsupported("partial_rotary_factor", "heads turn as a whole (1)");
  if (config.model_type != "glm4_moe" || stated) return;
  check(fields.has("rope_parameters") && fields.section("rope_parameters").has("partial_rotary_factor"),
        ErrorKind::unsupported,
        "{}: partial_rotary_factor is missing, which glm4_moe takes for 0.5; Hadal turns heads as a whole (1)",
        fields.where());
}

}  // namespace

void read_hf_rope(const HfFields& fields, HfConfig& config) {
  check_rotary_share(fields, config);
  std::optional<double> theta = fields.number("rope_theta");
  auto agree = [&](std::optional<double> inner, const char* section) {
    if (!inner) return;
    check(!theta || *theta == *inner, ErrorKind::invalid, "{}: {}.rope_theta = {} contradicts rope_theta = {}",
          fields.where(), section, *inner, theta.value_or(0));
    theta = inner;
  };
  const bool old_spelling = fields.has("rope_scaling"), new_spelling = fields.has("rope_parameters");
  if (old_spelling) agree(read_spelling(fields, "rope_scaling", config), "rope_scaling");
  const std::string first = yarn_text(config.model.yarn);
  if (new_spelling) agree(read_spelling(fields, "rope_parameters", config), "rope_parameters");
  const std::string second = yarn_text(config.model.yarn);
  check(!old_spelling || !new_spelling || first == second, ErrorKind::invalid,
        "{}: rope_scaling ({}) contradicts rope_parameters ({}); they must say the same or one be absent",
        fields.where(), first, second);
  config.model.rope_theta = theta.value_or(10000.0);
  check(config.model.rope_theta >= 1.0000001 && config.model.rope_theta <= 1e12, ErrorKind::invalid,
        "{}: rope_theta = {} must be above 1", fields.where(), config.model.rope_theta);
  if (config.model.is_latent() && !fields.truth("rope_interleave").value_or(!fields.contains("rope_interleave")))
    fields.unsupported("rope_interleave", "released weights of this family are interleaved in pairs (2i, 2i+1)");
}

void write_hf_rope(const ModelConfig& model, ordered_json& json) {
  json["rope_theta"] = model.rope_theta;
  const bool plain = yarn_text(model.yarn) == yarn_text(YarnConfig{});
  ordered_json parameters = {{"rope_type", plain ? "default" : "yarn"}, {"rope_theta", model.rope_theta}};
  if (!model.is_latent() && model.n_routed_experts > 0)
    json["partial_rotary_factor"] = parameters["partial_rotary_factor"] = 1.0;
  json["rope_scaling"] = nullptr;
  if (!plain) {
    const ordered_json yarn = yarn_json(model.yarn);
    json["rope_scaling"] = ordered_json{{"type", "yarn"}};
    json["rope_scaling"].update(yarn);
    parameters.update(yarn);
  }
  json["rope_parameters"] = parameters;
}

}  // namespace hadal
