// Variants of FP8 training that `hadal precision` trains and measures beside each other. Those that no configuration
// can ask for are rounded, and multiplied as the FP32 values of their codes (nn/rounded.h); the others are what their
// keys of the configuration make of them.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"
#include "model/options.h"

namespace hadal {

struct Variant {
  std::string name;   // on the command line
  std::string title;  // on a page
  std::string how;    // one sentence: what it does, and how
  bool slow = false;  // emulated, many times slower than training: trained when it is named alone
};
const std::vector<Variant>& variants();
// Throws invalid for a name that there is not, naming the nearest.
const Variant& variant_named(const std::string& name);

struct VariantSetup {
  Config config;
  ModelOptions options;  // of a model in training
  std::string missing;   // why it cannot be made here; empty: it can
};
// From a configuration of any precision, whose section [fp8] holds for all of them.
VariantSetup set_up(const Variant& variant, const Config& config);

}  // namespace hadal
