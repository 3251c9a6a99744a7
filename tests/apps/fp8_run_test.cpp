// FP8 training as a user meets it: it learns, resumes to the bit, says and stores its recipe, refuses another one, and
// what reads the run multiplies the codes that its next step would.
#include <gtest/gtest.h>

#include <cmath>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "checkpoint/checkpoint.h"
#include "exchange/loaded_model.h"
#include "model/weight_format.h"
#include "storage/tensor_files.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string q(const fs::path& path) { return SmallRun::quoted(path); }

class Fp8Run : public ::testing::Test {
 protected:
  static std::string fp8(const std::string& more = "") { return "--set train.precision=fp8 " + more; }
  // The weights and the optimizer's state of the last checkpoint.
  static std::string state_of(const fs::path& run) {
    const auto found = list_checkpoints(run / "checkpoints");
    if (found.empty()) return "none";
    std::string all;
    for (const char* name : {"model.safetensors", "optimizer.safetensors", "state.json"})
      all += sha256_hex(read_file(found.back() / name));
    return all;
  }
  void refused(const std::string& arguments, std::initializer_list<const char*> words) {
    const auto result = run_hadal(arguments);
    EXPECT_EQ(result.code, 2) << result.out << result.err;
    for (const char* word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << "'" << word << "' is not in: " << result.err;
  }
  // Files in FP8 of this run hold the codes and scales that its next forward multiplies, and give them back.
  void expect_codes_of_run_in_files(const std::string& name, int64_t wanted_high = 0) {
    const fs::path exported = small.root() / (name + " exported");
    const auto result =
        run_hadal("export --model " + q(small.run(name)) + " --to hf --dtype fp8 --output " + q(exported));
    ASSERT_EQ(result.code, 0) << result.err;
    const OwnedExec exec(1);
    const auto from_run = load_model(small.run(name), {}, exec.exec);
    const auto from_files = load_model(exported, {.precision = Precision::fp8}, exec.exec);
    const TensorFiles files = TensorFiles::open(exported);
    int64_t compared = 0, stored = 0, high = 0;
    for (const Parameter* parameter : from_run.transformer->parameters()) {
      if (!parameter->codes) {
        const std::string name = parameter->spec.hf_name_of(0);
        if (!is_projection(parameter->spec)) continue;
        ++high;
        EXPECT_EQ(files.entry(name).dtype, DType::bf16) << name;
        continue;
      }
      const Quantised &a = parameter->value.codes,
                      &b = from_files.transformer->parameter(parameter->spec.name).value.codes;
      for (const auto& [x, y] : {std::pair(&a.codes, &b.codes), {&a.scales, &b.scales}}) {
        ASSERT_EQ(x->shape(), y->shape());
        for (int64_t i = 0; i < x->count(); ++i) ASSERT_EQ(element(*x, i), element(*y, i)) << parameter->spec.name;
        compared += x->count();
      }
      if (parameter->spec.n_experts() > 1) continue;
      const std::string stored_name = parameter->spec.hf_name_of(0);
      for (const auto& [x, of] : {std::pair(&a.codes, stored_name), {&a.scales, stored_name + "_scale_inv"}}) {
        const Tensor y = files.tensor(of);
        ASSERT_EQ(x->shape(), y.shape()) << of;
        for (int64_t i = 0; i < x->count(); ++i) ASSERT_EQ(element(*x, i), element(y, i)) << of;
        stored += x->count();
      }
    }
    EXPECT_GT(compared, 5000);
    EXPECT_EQ(high, wanted_high);
    const std::string config = read_file(exported / "config.json");
    EXPECT_EQ(config.find("modules_to_not_convert") != std::string::npos, wanted_high > 0);
    EXPECT_GT(stored, 2000);
  }
  const SmallRun small;
};

TEST_F(Fp8Run, LearnsAsBf16DoesAndKeepsItsBits) {
  ASSERT_EQ(run_hadal(small.train("bf16")).code, 0);
  const auto whole = run_hadal(small.train("whole", fp8()));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const auto high = steps_of(small.run("bf16")), low = steps_of(small.run("whole"));
  ASSERT_EQ(low.size(), 24u);
  ASSERT_EQ(high.size(), 24u);
  const double first = low.front()["loss"], last = low.back()["loss"], other = high.back()["loss"];
  EXPECT_LT(last, 0.9 * first);
  EXPECT_NEAR(last, other, 0.02 * other);
  EXPECT_NE(last, other);
  const std::string log = read_file(small.run("whole") / "log.txt");
  EXPECT_NE(log.find("precision fp8, attention up_projected, recompute norms"), std::string::npos) << log;
  EXPECT_NE(log.find("fp8: tile = 128, input_scales = \"exact\""), std::string::npos) << log;
  EXPECT_NE(read_file(list_checkpoints(small.run("whole") / "checkpoints").back() / "config.toml").find("[fp8]"),
            std::string::npos);

  const std::string bits = state_of(small.run("whole"));
  ASSERT_EQ(run_hadal(small.train("parts", fp8("--stop-after 5"))).code, 0);
  ASSERT_EQ(run_hadal("train " + q(small.run("parts")) + " --quiet --stop-after 11 --threads 1").code, 0);
  ASSERT_EQ(run_hadal("train " + q(small.run("parts")) + " --quiet --threads 2").code, 0);
  EXPECT_EQ(state_of(small.run("parts")), bits) << "stopped and resumed";
  for (const char* recompute : {"none", "all"}) {
    ASSERT_EQ(run_hadal(small.train(recompute, fp8("--set train.recompute=") + recompute)).code, 0);
    EXPECT_EQ(state_of(small.run(recompute)), bits) << "recompute " << recompute;
  }
}

// What is made in another order nowhere has the same bits on many ranks: a pipeline's work, experts on two ranks, and
// ranks of which one has the only micro-batch, which keep whole blocks of masters and so find the same codes.
TEST_F(Fp8Run, RanksKeepItsBits) {
  const auto bits = [&](const std::string& name, const std::string& more) {
    const auto result = run_hadal(small.train(name, fp8("--steps 4 --set train.batch_ramp=[] ") + more));
    EXPECT_EQ(result.code, 0) << result.err;
    return state_of(small.run(name));
  };
  const std::string one = "--set train.batch_sequences=2 ", no_mtp = "--set model.n_mtp=0 ";
  const std::string of_one = bits("one", one);
  EXPECT_EQ(bits("zero", one + "--layout dp=3"), of_one);
  EXPECT_EQ(bits("pipeline", no_mtp + "--layout pp=2"), bits("whole", no_mtp));
  const std::string two = "--set train.batch_sequences=4 --layout ";
  const std::string spread = bits("spread", two + "dp=2,ep=2");
  EXPECT_EQ(spread, bits("replicas", two + "dp=2"));
  EXPECT_NE(spread, of_one);
}

// Schedules that split B from W, with what W reads kept in codes meanwhile: where every stage has each micro-batch's
// gradients in their order, the bits of one rank; DualPipe, whose stages add up two ranks' halves, those of two data
// ranks with these halves, which the control tells from one rank's.
TEST_F(Fp8Run, SchedulesThatSplitBackwardKeepItsBits) {
  for (const std::string precision : {"fp8", "mxfp8"}) {
    const auto bits = [&](const std::string& layout) {
      const std::string name = precision + " " + layout;
      const auto result = run_hadal(
          small.train(name, "--set train.precision=" + precision +
                                " --set model.n_mtp=0 --set model.n_layers=4 --set train.batch_ramp=[] --set "
                                "train.batch_sequences=8 --set train.micro_batch_sequences=1 --steps 3 --layout " +
                                layout));
      EXPECT_EQ(result.code, 0) << result.err;
      return state_of(small.run(name));
    };
    const std::string one = bits("dp=1"), halves = bits("dp=2");
    for (const char* schedule : {"1f1b", "zb1p", "dualpipev"})
      EXPECT_EQ(bits(std::string("pp=2,schedule=") + schedule), one) << precision << " " << schedule;
    EXPECT_EQ(bits("pp=2,schedule=dualpipe"), halves) << precision;
    EXPECT_NE(halves, one) << precision;
  }
}

TEST_F(Fp8Run, EveryKeyOfItsSectionActs) {
  ASSERT_EQ(run_hadal(small.train("usual", fp8("--steps 3"))).code, 0);
  const std::string usual = state_of(small.run("usual"));
  const std::pair<const char*, const char*> keys[] = {
      {"tile", "fp8.tile=32"},
      {"input", "fp8.input_scales=power_of_two"},
      {"gradient", "fp8.gradient_scales=power_of_two"},
      {"weight", "fp8.weight_scales=power_of_two"},
      {"output", "fp8.attention_output=bf16"},
      {"inputs", "fp8.swiglu_inputs=bf16"},
      {"hopper", "fp8.accumulate=hopper"},
      {"promoted", "fp8.accumulate=hopper --set fp8.tile=32"},
      {"never", "fp8.accumulate=hopper_unpromoted --set fp8.tile=32"},
      {"high", "'fp8.high=[\"kv_b\"]'"},
      {"first", "fp8.high_first_layers=1"},
      {"last", "fp8.high_last_layers=1"},
  };
  std::vector<std::string> seen{usual};
  for (const auto& [name, setting] : keys) {
    const auto result = run_hadal(small.train(name, fp8("--steps 3 --set ") + setting));
    ASSERT_EQ(result.code, 0) << result.err;
    seen.push_back(state_of(small.run(name)));
    for (size_t i = 0; i + 1 < seen.size(); ++i) EXPECT_NE(seen[i], seen.back()) << setting;
  }
}

// Looking on changes no bit, on one rank or two; layers take turns, and the report page shows what was seen.
TEST_F(Fp8Run, IsLookedAtWithoutChangingABit) {
  const std::string layout = " --layout dp=2 --threads 2";
  for (const std::string& ranks : {std::string(), layout}) {
    const std::string name = ranks.empty() ? "one" : "two";
    ASSERT_EQ(run_hadal(small.train(name, fp8("--steps 9 --set fp8.shadow_every=0" + ranks))).code, 0);
    const auto seen = run_hadal(small.train(name + " seen", fp8("--steps 9 --set fp8.shadow_every=2" + ranks)));
    ASSERT_EQ(seen.code, 0) << seen.err;
    EXPECT_EQ(state_of(small.run(name + " seen")), state_of(small.run(name)));
    std::vector<std::vector<int64_t>> looks;
    for (const json& line : lines_of(small.run(name + " seen"), "shadow")) {
      looks.push_back({line["step"], line["rank"], line["layer"]});
      EXPECT_EQ(line["products"].size(), line["layer"] == 0 ? 24u : 33u);
      for (const json& product : line["products"]) {
        EXPECT_GT(product["error"], 0.005) << product;
        EXPECT_LT(product["error"], 0.06) << product;
      }
    }
    // The first batches of the ramp are one micro-batch: the other rank has no rows to look at.
    using Looks = std::vector<std::vector<int64_t>>;
    EXPECT_EQ(looks, ranks.empty()
                         ? Looks({{2, 0, 0}, {4, 0, 1}, {6, 0, 2}, {8, 0, 0}})
                         : Looks({{2, 0, 0}, {4, 0, 1}, {4, 1, 1}, {6, 0, 2}, {6, 1, 2}, {8, 0, 0}, {8, 1, 0}}));
  }
  const auto report = run_hadal("report " + q(small.run("two seen")) + " -o " + q(small.root() / "page.html"));
  ASSERT_EQ(report.code, 0) << report.err;
  const std::string page = read_file(small.root() / "page.html");
  for (const char* words : {"<h2>FP8</h2>", "error of dW", "log2(|x| / largest of its tile)", "binades"})
    EXPECT_NE(page.find(words), std::string::npos) << words;
  refused(small.train("one", fp8("--set fp8.shadow_every=-1")), {"fp8.shadow_every = -1"});
  // It may change in a run's life: no bit depends on it.
  EXPECT_EQ(run_hadal(small.train("one", fp8("--steps 10 --set fp8.shadow_every=5"))).code, 0);
}

TEST_F(Fp8Run, AnotherRecipeOrPrecisionIsOnlyTakenWhenAskedFor) {
  ASSERT_EQ(run_hadal(small.train("run", fp8("--stop-after 2"))).code, 0);
  const std::string again = small.train("run", "--stop-after 4 ");
  refused(again + fp8("--set fp8.tile=64 --set fp8.weight_scales=power_of_two"),
          {"fp8.tile: 128 -> 64", "fp8.weight_scales: \"exact\" -> \"power_of_two\"", "--change fp8.tile=VALUE"});
  refused(again, {"train.precision: \"fp8\" -> \"bf16\"", "--change train.precision=VALUE"});
  EXPECT_EQ(run_hadal("train " + q(small.run()) + " --quiet --stop-after 3 --change fp8.tile=64").code, 0);
  EXPECT_EQ(run_hadal("train " + q(small.run()) +
                      " --quiet --stop-after 4 --change fp8.tile=128 --change train.precision=bf16")
                .code,
            0);
  refused(again + fp8(), {"train.precision: \"bf16\" -> \"fp8\"", "--change train.precision=VALUE"});
  EXPECT_EQ(run_hadal("train " + q(small.run()) + " --quiet --stop-after 5 --change train.precision=fp8").code, 0);
}

TEST_F(Fp8Run, RefusesSettingsThatContradict) {
  refused(small.train("run", "--set fp8.tile=64"), {"[fp8]", "train.precision = \"fp8\"", "\"bf16\""});
  refused(small.train("run", fp8("--set fp8.tile=100")), {"fp8.tile = 100", "128, 64 or 32"});
  refused(small.train("run", fp8("--set 'fp8.high=[\"router\"]'")), {"fp8.high", "\"router\"", "kv_b"});
  refused(small.train("run", fp8("--set fp8.high_last_layers=3")), {"fp8.high_last_layers = 3", "0 .. 2"});
  refused(small.train("run", fp8("--set fp8.accumulate=fp22")), {"fp22", "fp32, hopper, hopper_unpromoted"});
  refused(small.train("run", fp8("--set fp8.input_scales=mx")), {"mx", "exact, power_of_two"});
}

// An export holds the codes that the next forward would use, in the run's own tiles and by its rule of scales.
TEST_F(Fp8Run, ExportsTheCodesOfItsNextForward) {
  ASSERT_EQ(run_hadal(small.train("usual", fp8("--steps 4"))).code, 0);
  expect_codes_of_run_in_files("usual");
  ASSERT_EQ(
      run_hadal(small.train("fine", fp8("--steps 4 --set fp8.tile=32 --set fp8.weight_scales=power_of_two"))).code, 0);
  expect_codes_of_run_in_files("fine");
  // What the run keeps high is stored as values, and named in config.json: attention's output of both layers and of the
  // MTP module.
  ASSERT_EQ(run_hadal(small.train("mixed", fp8("--steps 4 --set 'fp8.high=[\"o\"]'"))).code, 0);
  expect_codes_of_run_in_files("mixed", 3);
}

// What is served and scored is what was trained: the engine's log-probabilities are those of the forward of training.
TEST_F(Fp8Run, IsReadInItsOwnPrecision) {
  ASSERT_EQ(run_hadal(small.train("run", fp8("--steps 6"))).code, 0);
  const std::string model = " --model " + q(small.run());
  for (const char* form : {"up_projected", "absorbed"}) {
    const auto proof = run_hadal("check engine --quiet --requests 2 --prompt-tokens 20 --max-tokens 8" + model +
                                 " --attention-form " + form);
    EXPECT_EQ(proof.code, 0) << proof.out << proof.err;
    EXPECT_NE(proof.out.find("fp8"), std::string::npos) << proof.out;
  }
  const auto text = run_hadal("generate" + model + " --prompt 'the sea' --max-tokens 8 --seed 3");
  ASSERT_EQ(text.code, 0) << text.err;
  const std::string input = "printf '{\"text\": \"the sea is deep and cold\"}\\n' |";
  const auto sum = [&](const std::string& precision) {
    const auto scored = run_hadal("score" + model + precision, input);
    EXPECT_EQ(scored.code, 0) << scored.err;
    return parse_json<json>(scored.out, "scores")["sum"].get<double>();
  };
  const double own = sum(""), bf16 = sum(" --precision bf16");
  EXPECT_EQ(sum(" --precision fp8"), own);
  EXPECT_NE(bf16, own);
  EXPECT_NEAR(bf16, own, 0.02 * std::abs(own));
  refused("generate" + model + " --prompt a --max-tokens 2 --weights int8", {"int8", "precision fp8"});
}

// The same in blocks of MX, which go with their own settings alone.
TEST_F(Fp8Run, InBlocksOfMx) {
  const auto mx = [](const std::string& more = "") { return "--set train.precision=mxfp8 " + more; };
  const auto whole = run_hadal(small.train("whole", mx()));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const auto steps = steps_of(small.run("whole"));
  ASSERT_EQ(steps.size(), 24u);
  EXPECT_LT(steps.back()["loss"].get<double>(), 0.9 * steps.front()["loss"].get<double>());
  const std::string log = read_file(small.run("whole") / "log.txt");
  EXPECT_NE(log.find("precision mxfp8, attention up_projected, recompute norms"), std::string::npos) << log;
  EXPECT_NE(log.find("mxfp8: tile = 32, attention_output = \"e5m6\""), std::string::npos) << log;
  EXPECT_NE(log.find("mx_scales = \"round_up\""), std::string::npos) << log;

  const std::string bits = state_of(small.run("whole"));
  ASSERT_EQ(run_hadal(small.train("parts", mx("--stop-after 11"))).code, 0);
  ASSERT_EQ(run_hadal("train " + q(small.run("parts")) + " --quiet --threads 1").code, 0);
  EXPECT_EQ(state_of(small.run("parts")), bits) << "stopped and resumed";
  std::vector<std::string> seen;
  for (const auto& [name, setting] : {std::pair("usual", ""),
                                      {"fp8", "--set train.precision=fp8"},
                                      {"ocp", "--set fp8.mx_scales=ocp"},
                                      {"hopper", "--set fp8.accumulate=hopper"},
                                      {"output", "--set fp8.attention_output=bf16"},
                                      {"high", "--set 'fp8.high=[\"kv_b\"]'"}}) {
    const auto result = run_hadal(small.train(name, mx("--steps 3 ") + setting));
    ASSERT_EQ(result.code, 0) << result.err;
    for (const std::string& other : seen) EXPECT_NE(state_of(small.run(name)), other) << name;
    seen.push_back(state_of(small.run(name)));
  }
  refused(small.train("run", mx("--set fp8.tile=128")), {"fp8.tile = 128", "blocks of 32"});
  refused(small.train("run", mx("--set fp8.weight_scales=power_of_two")), {"fp8.weight_scales", "fp8.mx_scales"});
  refused(small.train("run", fp8("--set fp8.mx_scales=ocp")), {"fp8.mx_scales = \"ocp\"", "mxfp8"});
  refused(small.train("run", mx("--set fp8.mx_scales=down")), {"down", "round_up, ocp"});
  refused(small.train("whole", fp8()), {"train.precision: \"mxfp8\" -> \"fp8\""});
  refused("train " + q(small.run("whole")) + " --change train.precision=fp8 --change fp8.tile=256", {"fp8.tile = 256"});

  const std::string model = " --model " + q(small.run("whole"));
  const auto proof = run_hadal("check engine --quiet --requests 2 --prompt-tokens 20 --max-tokens 8" + model);
  EXPECT_EQ(proof.code, 0) << proof.out << proof.err;
  EXPECT_EQ(run_hadal("generate" + model + " --prompt 'the sea' --max-tokens 8 --seed 3").code, 0);
  const auto sum = [&](const std::string& more) {
    const auto scored = run_hadal("score --bos off" + more, "printf '{\"text\": \"the sea is deep and cold\"}\\n' |");
    EXPECT_EQ(scored.code, 0) << scored.err;
    return parse_json<json>(scored.out, "scores")["sum"].get<double>();
  };
  const double own = sum(model), in_fp8 = sum(model + " --precision fp8");
  EXPECT_EQ(sum(model + " --precision mxfp8"), own);
  EXPECT_NE(in_fp8, own);
  EXPECT_NEAR(in_fp8, own, 0.02 * std::abs(own));
  // Files of other programs have no blocks of 32: FP8 becomes that of the released models; values give the same codes.
  for (const char* dtype : {"fp8", "fp32"})
    ASSERT_EQ(run_hadal("export" + model + " --to hf --dtype " + dtype + " --output " +
                        q(small.root() / (std::string("as_") + dtype)))
                  .code,
              0);
  const json stored = parse_json<json>(read_file(small.root() / "as_fp8" / "config.json"), "config.json");
  EXPECT_EQ(stored["quantization_config"]["weight_block_size"], json({128, 128}));
  const std::string as_trained = " --attention-form up_projected --precision mxfp8 --model ";  // no file says the form
  EXPECT_EQ(sum(as_trained + q(small.root() / "as_fp32")), own);
  EXPECT_NEAR(sum(as_trained + q(small.root() / "as_fp8")), own, 0.02 * std::abs(own));
}

}  // namespace
}  // namespace hadal
