// The phases of small walks: a base, an extension under YaRN that keeps the moments, and one more from the average.
#pragma once
#include <fmt/format.h>

#include <string>

namespace hadal {

// To be appended to SmallRun's configuration; steps of each.
inline std::string three_phases(int base, int longer, int last) {
  return fmt::format(R"(
[[phase]]
name = "base"
kind = "pretrain"
[phase.train]
steps = {}
[[phase]]
name = "longer"
kind = "extend"
moments = "keep"
[phase.data]
sequence_length = 64
[phase.train]
steps = {}
batch_sequences = 3
[phase.model]
max_positions = 128
yarn = {{ factor = 4.0, original_positions = 32 }}
[[phase]]
name = "last"
kind = "pretrain"
start = "average"
[phase.train]
steps = {}
)",
                     base, longer, last);
}

// Behind them: the second once more without YaRN.
inline constexpr const char* kControlPhase = "[[phase]]\nname = \"plain\"\ncontrol_of = \"longer\"\n";

}  // namespace hadal
