// generation_config.json of a Hugging Face model directory: how its makers would have it generate. Absent keys stay
// empty; null counts as absent. Keys that Hadal has no use for are not refused but listed, so that a verb can say what
// it leaves aside; those that change no text (versions, caches, outputs) or have the value that switches them off are
// not even listed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hadal {

struct GenerationConfig {
  std::vector<int32_t> bos_ids, eos_ids;  // one or several; generation ends at any of eos_ids
  std::optional<int32_t> pad_id;
  std::optional<bool> do_sample;  // false: greedy, whatever the temperature
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k, max_new_tokens, max_length;
  std::vector<std::string> stop_strings;
  std::vector<int32_t> suppressed_ids;
  std::vector<std::string> unused;  // names of the other keys that would change the text, in the file's order

  // The temperature to sample with: 0 where the file says do_sample false, else its own; `otherwise` where it says
  // neither.
  double sampling_temperature(double otherwise) const;
};

// Errors (corrupt): not a JSON object, a value of the wrong type or outside its range; the message names the key, value
// and range.
GenerationConfig read_generation_config(const std::string& json);

// Of a directory; nothing when it has no generation_config.json.
std::optional<GenerationConfig> load_generation_config(const std::string& directory);

}  // namespace hadal
