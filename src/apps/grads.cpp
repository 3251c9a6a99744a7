// hadal grads: the loss of given texts and the gradient of every parameter, by the trainer's own backward. For people
// who port models: another implementation's gradients can be compared name by name. In fp16 losses are scaled as when
// training begins, and gradients are divided by that scale again, exactly.
//   OUTPUT/gradients.safetensors   F32 (F64 with fp64) under Hugging Face names, experts one by one
//   OUTPUT/loss.json               {"loss", "tokens", "texts", "mtp_losses"}: means over all predicted tokens
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/model_choice.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "dialogue/token_lines.h"
#include "optim/loss_scaler.h"

namespace hadal {
namespace {

struct GradsOptions {
  ModelChoice model;
  std::string input = "-", output, bos = "auto";
  double mtp_weight = 0, balance_alpha = 0;
  CommonOptions common;
};

std::vector<MicroBatch> read_batches(TokenLines& lines) {
  std::vector<MicroBatch> batches;
  while (const auto line = lines.next()) batches.push_back(batch_of_tokens(line->tokens));
  check(!batches.empty(), ErrorKind::invalid, "no line to take a gradient of");
  return batches;
}

// Weights that make sums over all texts the means of the training loss (§2.4).
LossWeights mean_weights(const std::vector<MicroBatch>& batches, int64_t n_mtp, const GradsOptions& o,
                         double loss_scale) {
  LossWeights weights;
  int64_t targets = 0;
  for (const auto& batch : batches) targets += batch.n_tokens();
  weights.main = loss_scale / double(targets);
  for (int64_t k = 1; k <= n_mtp; ++k) {
    int64_t count = 0;
    for (const auto& batch : batches) count += std::max<int64_t>(0, batch.n_tokens() - k);
    weights.mtp.push_back(loss_scale * o.mtp_weight / double(n_mtp) / double(std::max<int64_t>(1, count)));
  }
  weights.balance = loss_scale * o.balance_alpha / double(batches.size());
  return weights;
}

nlohmann::ordered_json losses(const LossSums& sums, size_t texts) {
  nlohmann::ordered_json json = {{"loss", sums.main / double(sums.main_count)},
                                 {"tokens", sums.main_count},
                                 {"texts", texts},
                                 {"mtp_losses", nlohmann::ordered_json::array()}};
  for (size_t k = 0; k < sums.mtp.size(); ++k)
    json["mtp_losses"].push_back(sums.mtp_count[k] > 0 ? sums.mtp[k] / double(sums.mtp_count[k]) : 0.0);
  return json;
}

int run_gradients(const GradsOptions& o) {
  TokenLines lines(o.input);
  auto exec = o.common.exec();
  auto loaded = o.model.open(exec.exec, o.common.quiet);
  lines.begin(loaded, o.bos);
  const auto batches = read_batches(lines);
  std::filesystem::create_directories(o.output);
  Transformer& model = *loaded.model.transformer;
  const double loss_scale = model.options().precision == Precision::fp16 ? LossScaleConfig().initial : 1.0;
  const LossWeights weights = mean_weights(batches, model.config().n_mtp, o, loss_scale);
  model.begin_step(int64_t(batches.size()));
  const LossSums sums = model.forward_backward(exec.exec, batches, weights, {});
  sums.check_routed();
  loaded.model.check_intact();
  unscale_gradients(exec.exec, model.parameters(), loss_scale);
  const auto json = losses(sums, batches.size());
  const auto directory = std::filesystem::path(o.output);
  save_safetensors(directory / "gradients.safetensors", gradient_tensors(model.parameters()),
                   {{"format", "pt"}, {"loss", json_text(json["loss"])}});
  atomic_write(directory / "loss.json", json_text(json) + "\n");
  fmt::print("{}\n", json_text(json));
  return kExitFine;
}

}  // namespace

void add_grads(Verb root, Cli& cli) {
  auto o = std::make_shared<GradsOptions>();
  o->model.load.training = true;
  Verb verb = root.add_verb("grads", "Loss and every parameter's gradient on given texts");
  add_model_options(verb, o->model, {.ema = true});
  verb.add_option("--input", o->input, "JSON lines with \"tokens\" or \"text\"; - is standard input").show_default();
  verb.add_option("--output", o->output, "directory for gradients.safetensors and loss.json").required();
  verb.add_option("--bos", o->bos, "token before a text, as for score").one_of({"auto", "on", "off"}).show_default();
  verb.add_option("--mtp-weight", o->mtp_weight, "lambda of the MTP losses in the gradient")
      .not_negative()
      .show_default();
  verb.add_option("--balance-alpha", o->balance_alpha, "weight of the sequence-wise balance loss")
      .not_negative()
      .show_default();
  add_place_options(verb, o->common);
  verb.add_examples({"echo '{\"tokens\": [5, 17, 3, 9]}' | hadal grads --model DIR --output grads --precision fp32"});
  cli.on(verb, [o] { return run_gradients(*o); });
}

}  // namespace hadal
