// libFuzzer: any bytes as a Hugging Face config.json. Only Error may come out; what was read and can be written reads
// back the same.
// room: exchange
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "config/config_io.h"
#include "exchange/hf_config.h"

namespace {

using namespace hadal;

// Fields that the rules leave without effect are not in the file.
ModelConfig with_effect(ModelConfig m) {
  if (m.n_routed_experts == 0) {
    const ModelConfig plain;
    m.n_groups = m.n_limited_groups = 1;
    m.score_function = plain.score_function;
    m.selection_bias = m.normalize_top_k = true;
  }
  if (m.n_groups == 1) m.group_score = GroupScore::top2_sum;
  return m;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  HfConfig config;
  try {
    config = hf_config_from_json({reinterpret_cast<const char*>(data), size}, "fuzzed.json");
  } catch (const Error&) {
    return 0;
  }
  hf_config_limits(config.model);
  std::string written;
  try {
    written = hf_config_to_json(config);
  } catch (const Error&) {
    return 0;
  }
  const HfConfig again = hf_config_from_json(written, "written.json");  // outside of the net: an Error here is a fault
  if (model_config_to_json(with_effect(again.model)) != model_config_to_json(with_effect(config.model))) std::abort();
  if (again.bos_ids != config.bos_ids || again.eos_ids != config.eos_ids || again.fp8 != config.fp8) std::abort();
  return 0;
}
