#include "study/variants.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "train/resources.h"

namespace hadal {
namespace {

struct Entry {
  Variant variant;
  std::vector<std::string> overrides = {"train.precision=fp8"};
  std::function<void(GemmRecipe&)> change = {};  // of every linear that is multiplied in FP8; none: as configured
};

void all_exact(GemmRecipe& r) { r.x_scale = r.dy_scale = ScaleRule::exact; }

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = {
      {{"report", "the report's recipe", "FP8 as [fp8] says, by the kernels of training"}},
      {{"dy128", "dy in 128 x 128", "Dgrad's dy in blocks of 128 tokens; rounded, FP32 products"},
       {"train.precision=fp8"},
       [](GemmRecipe& r) { r.study.gradient = kSquareTile; }},
      {{"retiled", "Wgrad re-tiled from exact scales",
        "Wgrad's x is made of Fprop's codes, all scales exact; rounded, FP32 products"},
       {"train.precision=fp8"},
       [](GemmRecipe& r) { all_exact(r), r.study.retiled = true; }},
      {{"tensor", "one scale per tensor",
        "of activations, gradients and weights (of experts one per matrix); rounded, FP32 products"},
       {"train.precision=fp8"},
       [](GemmRecipe& r) { all_exact(r), r.activation = r.token = r.weight = r.study.gradient = kWholeTile; }},
      {{"unpromoted", "Hopper without promotion", "sums of a tensor core of Hopper, never promoted to FP32", true},
       {"train.precision=fp8", "fp8.accumulate=hopper_unpromoted"}},
      {{"output-e4m3", "attention output in E4M3", "what attention's backward reads is kept in E4M3 instead of E5M6"},
       {"train.precision=fp8", "fp8.attention_output=e4m3"}},
      {{"mx", "MX", "blocks of 1 x 32 with E8M0 scales"}, {"train.precision=mxfp8"}},
      {{"floor", "a floor of 1e-4", "no tile of activations or gradients below 1e-4; rounded, FP32 products"},
       {"train.precision=fp8"},
       [](GemmRecipe& r) { r.study.floor = AmaxFloor::released; }},
      {{"bf16", "BF16", "no FP8 at all"}, {"train.precision=bf16"}},
  };
  return all;
}

void round_all(Recipe& recipe, const std::function<void(GemmRecipe&)>& change) {
  for (GemmRecipe Recipe::*entry : Recipe::fp8_linears()) {
    GemmRecipe& r = recipe.*entry;
    if (r.fprop != Format::fp8) continue;  // kept high
    r.fprop = r.dgrad = r.wgrad = Format::rounded;
    change(r);
  }
}

}  // namespace

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all = [] {
    std::vector<Variant> result;
    for (const Entry& entry : entries()) result.push_back(entry.variant);
    return result;
  }();
  return all;
}

const Variant& variant_named(const std::string& name) {
  std::vector<std::string> names;
  for (const Variant& variant : variants()) {
    if (variant.name == name) return variant;
    names.push_back(variant.name);
  }
  const std::string near = nearest_name(name, names);
  fail(ErrorKind::invalid, "no variant '{}'; {}", name,
       near.empty() ? fmt::format("choose among {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near));
}

VariantSetup set_up(const Variant& variant, const Config& config) {
  const auto found = std::find_if(entries().begin(), entries().end(),
                                  [&](const Entry& entry) { return entry.variant.name == variant.name; });
  check(found != entries().end(), ErrorKind::internal, "a variant '{}' that is none", variant.name);
  VariantSetup result{config, {}, {}};
  try {
    apply_overrides(result.config, found->overrides);
  } catch (const Error& error) {  // a format that this build does not have
    result.missing = error.what();
    return result;
  }
  result.config.train.attention_form = AttentionForm::up_projected;  // the absorbed form rounds heads, not products
  result.config.train.recompute = Recompute::none;
  result.options = model_options(result.config, true);
  if (found->change) round_all(result.options.recipe, found->change);
  return result;
}

}  // namespace hadal
