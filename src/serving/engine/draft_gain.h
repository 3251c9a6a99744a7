// What drafts of MTP modules gain when weights are read from memory: decoding is as fast as its bytes.
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "config/model_config.h"
#include "nn/parameter.h"

namespace hadal {

inline constexpr int64_t kMostDrafts = 8;  // of one text in one step

// Drafts by their place, [0] the first of a text in a step: how many were tried, and how many of these were right, as
// all before them were.
struct DraftCounts {
  std::array<int64_t, kMostDrafts> tried = {}, right = {};
  void add(int64_t n_tried, int64_t n_right);  // of one text in one step
  int64_t all_tried() const;
  int64_t all_right() const;
};

// The weights that n tokens are multiplied with, in elements: all that are no experts', and of E experts, of which each
// token chooses k, E (1 - (1 - k/E)^n) (uniform choices).
struct TouchedWeights {
  double always = 0, experts = 0, chosen = 0;  // chosen: k/E
  double by(double n_tokens) const;
};
// Of the model's layers and its head; of one more layer, its MTP module's, and the head.
TouchedWeights touched_weights(const ModelConfig& config);
TouchedWeights touched_weights_of_draft(const ModelConfig& config);
// The same in bytes, by the forms in which products read them.
TouchedWeights touched_bytes(const ModelConfig& config, const Parameters& parameters);
TouchedWeights touched_bytes_of_draft(const ModelConfig& config, const Parameters& parameters);

// For n texts with k drafts each, of which the one at place j is right, as all before it, in a share r_j of steps:
//   gain = tokens / (weights read / weights read without drafts),  tokens = 1 + r_1 + ... + r_k
//   weights read = model(n (1 + k)) + modules, each of which reads module(n tokens), and once it is chained on itself
//   (drafts beyond the modules) module(n) for each draft
class DraftGain {
 public:
  explicit DraftGain(const ModelConfig& config);                            // lists all weights: once
  double operator()(std::span<const double> right, int64_t n_texts) const;  // right: r_1 .. r_k; 1 for none
  // How many gain most by what was seen: 1 until that suffices to judge by. A place that was not seen often enough
  // counts as if each draft were right as often as the first.
  int64_t choose(const DraftCounts& seen, int64_t n_texts) const;

 private:
  int64_t n_modules_;
  TouchedWeights model_, module_;
};

}  // namespace hadal
