// FP8 training beside what else a run may have: moments in BF16, tensor ranks that cut tiles, a start from FP8 files,
// and exports by names that no file has.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "checkpoint/checkpoint.h"
#include "exchange/loaded_model.h"
#include "storage/safetensors.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

std::string q(const fs::path& path) { return SmallRun::quoted(path); }
std::string fp8(const std::string& more = "") { return "--set train.precision=fp8 " + more; }

// Adam's moments in BF16, as the report has them: another rounding, no other run.
TEST(Fp8Companions, MomentsOfBf16) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("narrow", fp8())).code, 0);
  ASSERT_EQ(run_hadal(small.train("wide", fp8("--set optim.moments=fp32"))).code, 0);
  const auto moments = [&](const char* run) {
    const fs::path last = list_checkpoints(small.run(run) / "checkpoints").back();
    return SafetensorsReader(last / "optimizer.safetensors").entry("v.layers.0.ffn.down").dtype;
  };
  EXPECT_EQ(moments("narrow"), DType::bf16);
  EXPECT_EQ(moments("wide"), DType::f32);
  const double narrow = steps_of(small.run("narrow")).back()["loss"], wide = steps_of(small.run("wide")).back()["loss"];
  EXPECT_NE(narrow, wide);
  EXPECT_NEAR(narrow, wide, 0.02 * wide);
}

// Tensor ranks cut heads and an FFN inside of tiles, and look at what FP8 does to a layer as one rank does.
TEST(Fp8Companions, TensorRanksThatCutTiles) {
  const SmallRun small;
  const std::string more = fp8("--set fp8.shadow_every=2 --set model.v_head_dim=6 --steps 6 ");
  ASSERT_EQ(run_hadal(small.train("one", more)).code, 0);
  const auto result = run_hadal(small.train("cut", more + "--layout tp=2"));
  ASSERT_EQ(result.code, 0) << result.err;
  const double one = steps_of(small.run("one")).front()["loss"], cut = steps_of(small.run("cut")).front()["loss"];
  EXPECT_NEAR(cut, one, 1e-3 * one);
  for (const char* run : {"one", "cut"})
    EXPECT_NE(read_file(small.run(run) / "metrics.jsonl").find("\"flushed\""), std::string::npos) << run;
  const auto odd = run_hadal(small.train("odd", fp8("--layout tp=2")));  // heads of 5 columns
  EXPECT_EQ(odd.code, 2) << odd.err;
  EXPECT_NE(odd.err.find("layers.0.attention.o is cut at column 5"), std::string::npos) << odd.err;
}

// A run that starts from FP8 files of another, and learns nothing in its first step, multiplies the codes that the
// other's next step would: codes of its masters, which are values of codes, are the same.
TEST(Fp8Companions, AStartFromFp8Files) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("first", fp8("--steps 4"))).code, 0);
  const fs::path files = small.root() / "files", tune = small.root() / "tune.toml";
  const auto exported =
      run_hadal("export --model " + q(small.run("first")) + " --to hf --dtype fp8 --output " + q(files));
  ASSERT_EQ(exported.code, 0) << exported.err;
  atomic_write(tune,
               "[data]\nsequence_length = 32\n[train]\nprecision = \"fp8\"\nsteps = 1\nbatch_sequences = 4\n"
               "bias_update_speed = 0.0\n[optim]\nlr = 0.0\nweight_decay = 0.0\n[validation]\nsamples = 0\n");
  const auto result = run_hadal("train " + q(tune) + " --text " + q(small.text()) + " --run " + q(small.run("second")) +
                                " --quiet --model " + q(files));
  ASSERT_EQ(result.code, 0) << result.err;
  const OwnedExec exec(1);
  const auto first = load_model(small.run("first"), {}, exec.exec);
  const auto second = load_model(small.run("second"), {}, exec.exec);
  int64_t compared = 0;
  for (const Parameter* parameter : first.transformer->parameters()) {
    if (!parameter->codes) continue;
    const Quantised &a = parameter->value.codes, &b = second.transformer->parameter(parameter->spec.name).value.codes;
    for (const auto& [x, y] : {std::pair(&a.codes, &b.codes), {&a.scales, &b.scales}}) {
      ASSERT_EQ(x->shape(), y->shape());
      for (int64_t i = 0; i < x->count(); ++i) ASSERT_EQ(element(*x, i), element(*y, i)) << parameter->spec.name;
      compared += x->count();
    }
  }
  EXPECT_GT(compared, 5000);
}

TEST(Fp8Companions, TypesThatNoFileHasAreRefusedByName) {
  for (const std::string dtype : {"mxfp8", "fp16"}) {  // FP16 is called f16 in files
    const auto result = run_hadal("export --model none --to hf --output none --dtype " + dtype);
    EXPECT_EQ(result.code, 2) << result.err;
    for (const std::string& word : {"'" + dtype + "'", std::string("f16"), std::string("fp8")})
      EXPECT_NE(result.err.find(word), std::string::npos) << word << " is not in: " << result.err;
  }
}

}  // namespace
}  // namespace hadal
