// Draws curves with block characters.
#include "train/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "base/error.h"
#include "base/table.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "optim/curves.h"
#include "train/resources.h"

namespace hadal {

namespace {

constexpr int kRows = 6;

}  // namespace

std::string draw_values(const std::string& title, const std::vector<double>& values) {
  static const char* const kBlocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const double high = *std::max_element(values.begin(), values.end()),
               low = *std::min_element(values.begin(), values.end());
  std::string out = fmt::format("{}: {:.4g} at the start, {:.4g} at the end, between {:.4g} and {:.4g}\n", title,
                                values.front(), values.back(), low, high);
  if (high == low) return out + "\n";
  for (int row = kRows - 1; row >= 0; --row) {
    out += row == kRows - 1 ? fmt::format("{:>10.3g} ┤", high)
           : row == 0       ? fmt::format("{:>10} ┤", 0)
                            : fmt::format("{:>10} │", "");
    for (double value : values) {
      const int eighths = std::clamp(int(value / high * kRows * 8 + 0.5) - row * 8, 0, 8);
      out += kBlocks[eighths];
    }
    out += "\n";
  }
  return out + "\n";
}

std::string draw_plan(const Config& config, int64_t columns) {
  check(
      config.train.steps > 0, ErrorKind::invalid,
      "train.steps = 0 takes as many steps as data.epochs give, which shows once the text is tokenised: say --steps N");
  const int64_t steps = config.train.steps, width = std::min(columns, steps);
  auto sampled = [&](const std::function<double(int64_t)>& f) {
    std::vector<double> values;
    for (int64_t i = 0; i < width; ++i) values.push_back(f(width == 1 ? 1 : 1 + i * (steps - 1) / (width - 1)));
    return values;
  };
  const int64_t sequences = total_sequences(config.train, 1, steps);
  std::string out =
      fmt::format("{} steps, {} sequences of {} tokens, {} tokens in all (at most: packing may leave padding)\n\n",
                  format_count(steps), format_count(sequences), format_count(config.data.sequence_length),
                  format_count(sequences * config.data.sequence_length));
  out += draw_values("learning rate", sampled([&](int64_t step) { return learning_rate(config.optim, step, steps); }));
  out += draw_values("batch (sequences)",
                     sampled([&](int64_t step) { return double(batch_sequences(config.train, step)); }));
  if (config.model.n_mtp > 0)
    out += draw_values("MTP weight lambda", sampled([&](int64_t step) { return mtp_weight(config.train, step); }));
  if (config.model.selection_bias && config.model.n_routed_experts > 0) {
    out += draw_values("bias speed gamma", sampled([&](int64_t step) { return bias_speed(config.train, step); }));
  }
  return out;
}

std::string draw_memory(Config config, const Exec& exec, uint64_t available_bytes) {
  const int64_t vocabulary = config.model.vocab_size > 0 ? config.model.vocab_size : config.tokenizer.vocab_size;
  try {
    resolve(config, vocabulary, exec, available_bytes);
  } catch (const Error& error) {
    return fmt::format("memory: {}\n", error.what());
  }
  const MemoryPlan plan = plan_memory(config, model_options(config, true), exec.compute->n_threads());
  Table table({"memory", "bytes"});
  for (const auto& [what, bytes] : plan.parts())
    if (bytes > 0) table.add({what, format_bytes(double(bytes))});
  table.add_rule();
  table.add({"in all", format_bytes(double(plan.total()))});
  const int64_t ranks = config.parallel.ranks();
  return table.text() +
         fmt::format("{}{}, micro-batches of {} sequences, recompute {}, a vocabulary of {}; {} available\n",
                     ranks > 1 ? fmt::format("all {} ranks together, ", ranks) : "", enum_name(config.train.precision),
                     config.train.micro_batch_sequences, enum_name(config.train.recompute),
                     format_count(config.model.vocab_size), format_bytes(double(available_bytes)));
}

}  // namespace hadal
