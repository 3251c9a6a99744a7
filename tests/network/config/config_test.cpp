// Reading, overriding, checking and printing configurations.
#include <gtest/gtest.h>

#include <unistd.h>

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/expect_words.h"
#include "base/files.h"
#include "config/config_io.h"
#include "config/phases.h"
#include "config/sweep.h"

namespace hadal {
namespace {

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid) << error.what();
    return error.what();
  }
  return "no error";
}

std::string toml_error(const std::string& text) {
  return error_of([&] { validate(config_from_toml(text, "my.toml")); });
}

TEST(Config, ComesBackFromItsOwnText) {
  Config config;
  config.run = "runs/with \"quotes\" and ünïcode \x7f";
  config.data.sources = {{.name = "a", .paths = {"x.txt", "y z.txt"}, .weight = 0.25}, {.paths = {"b"}}};
  config.optim.lr = 0.1 + 0.2;
  config.optim.lr_schedule = {{CurveShape::linear, 1.0, 100}, {CurveShape::cosine, 0.1, 1.0}};
  config.validation.prompts = {"line\nbreak\t", ""};
  config.data.seed = 18446744073709551615ull % 9223372036854775807ull;
  EXPECT_TRUE(config_differences(config, config_from_toml(config_to_toml(config), "t")).empty());
  EXPECT_TRUE(config_differences(config, config_from_json(config_to_json(config), "j")).empty());
}

TEST(Config, EveryShippedFileIsValid) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(HADAL_SOURCE_DIR) + "/configs")) {
    if (entry.path().extension() != ".toml" || has_phases(entry.path().string())) continue;
    const bool sweep = read_file(entry.path()).find("[[arm]]") != std::string::npos;
    EXPECT_NO_THROW(sweep ? void(load_sweep(entry.path().string())) : validate(load_config(entry.path().string())))
        << entry.path();
    ++files;
  }
  EXPECT_GE(files, 7);
}

TEST(Config, RefusesRulesThatAreNone) {
  const auto source = [](const std::string& more) { return "[[data.sources]]\npaths = [\"x\"]\n" + more; };
  expect_words(toml_error(source("rules = [\"gopher_qualty\"]")), {"rules", "'gopher_qualty'", "'gopher_quality'"});
  expect_words(toml_error("[data]\ndocument_mask = \"document\"\n" + source("rules = [\"c4\"]\nformat = \"alpaca\"")),
               {"rules", "alpaca"});
  expect_words(toml_error(source("[data.sources.limits.gopher_quality]\nmin_words = 90\nmax_words = 80")),
               {"min_words = 90", "max_words = 80"});
  expect_words(toml_error(source("[data.sources.limits.c4]\nmax_word = -1")), {"limits.c4.max_word", "at least 0"});
}

TEST(Config, FilesOfPhasesAndSweepsAreSentToTheirVerbs) {
  expect_words(toml_error("[[arm]]\nname = \"x\"\n"), {"my.toml", "[[arm]]", "hadal sweep my.toml"});
  expect_words(toml_error("[sweep]\nseeds = [1]\n"), {"hadal sweep my.toml"});
}

TEST(Config, RefusesUnknownKeysWithTheNearestKnownOne) {
  expect_words(toml_error("[optim]\nlearning_rat = 1\n"), {"my.toml", "optim.learning_rat", "did you mean"});
  expect_words(toml_error("[model]\nhiden_size = 64\n"), {"model.hiden_size", "model.hidden_size"});
  Config config;
  expect_words(error_of([&] { apply_overrides(config, {"train.step=3"}); }), {"--set train.step=3", "train.steps"});
  expect_words(error_of([&] { apply_overrides(config, {"trian.steps=3"}); }), {"trian", "train"});
}

TEST(Config, AppliesDottedOverridesInOrder) {
  Config config;
  apply_overrides(
      config, {"optim.lr=1e-4", "train.precision=bf16", "data.sources.0.paths=[\"a.txt\"]", "data.sources.0.weight=2",
               "model.yarn.factor=40", "train.steps=1e3", "data.add_bos=true", "optim.lr=2e-4"});
  EXPECT_DOUBLE_EQ(config.optim.lr, 2e-4);
  EXPECT_EQ(config.train.precision, Precision::bf16);
  ASSERT_EQ(config.data.sources.size(), 1u);
  EXPECT_EQ(config.data.sources[0].paths, std::vector<std::string>{"a.txt"});
  EXPECT_DOUBLE_EQ(config.data.sources[0].weight, 2);
  EXPECT_DOUBLE_EQ(config.model.yarn.factor, 40);
  EXPECT_EQ(config.train.steps, 1000);
  EXPECT_TRUE(config.data.add_bos);
  expect_words(error_of([&] { apply_overrides(config, {"data.sources.7.weight=1"}); }), {"beyond its end"});
  expect_words(error_of([&] { apply_overrides(config, {"data.sources.x.weight=1"}); }), {"list"});
  expect_words(error_of([&] { apply_overrides(config, {"optim.lr.peak=1"}); }), {"optim.lr"});
  expect_words(error_of([&] { apply_overrides(config, {"optim.lr"}); }), {"KEY=VALUE"});
}

TEST(Config, NamesTheWrongTypeAndTheRightOne) {
  expect_words(toml_error("[train]\nsteps = \"many\"\n"), {"train.steps", "many", "whole number"});
  expect_words(toml_error("[train]\nsteps = 1.5\n"), {"train.steps", "1.5", "whole number"});
  expect_words(toml_error("[data]\nadd_bos = 1\n"), {"data.add_bos", "true or false"});
  expect_words(toml_error("[data]\nseed = -1\n"), {"data.seed", "-1", "at least 0"});
  expect_words(toml_error("[optim]\nlr = nan\n"), {"optim.lr", "finite"});
  expect_words(toml_error("model = 3\n"), {"model", "table"});
  expect_words(toml_error("[train\nsteps = 1\n"), {"my.toml", "line 1"});
  expect_words(toml_error("run = 2020-01-01\n"), {"run", "date"});
}

TEST(Config, RefusesLossScalesThatWouldRoundOrContradict) {
  const auto wrong = [](const std::string& keys) {
    return toml_error("[train]\nprecision = \"fp16\"\n[loss_scale]\n" + keys + "\n");
  };
  EXPECT_EQ(wrong("initial = 1024\ngrowth_steps = 3\nuse = \"always\""), "no error");
  EXPECT_EQ(wrong("initial = 1\ngrowth = 1\ncap = 1"), "no error");
  expect_words(wrong("initial = 0"), {"loss_scale.initial = 0", "power of two", "such as 1:"});
  expect_words(wrong("initial = 3"), {"loss_scale.initial = 3", "power of two", "such as 4:"});
  expect_words(wrong("initial = -2"), {"loss_scale.initial = -2", "power of two"});
  expect_words(wrong("initial = nan"), {"loss_scale.initial", "finite"});
  expect_words(wrong("initial = inf"), {"loss_scale.initial", "finite"});
  expect_words(wrong("growth = 3"), {"loss_scale.growth = 3", "power of two"});
  expect_words(wrong("growth = 0.5"), {"loss_scale.growth = 0.5", "at least 1"});
  expect_words(wrong("backoff = 1"), {"loss_scale.backoff = 1", "below 1"});
  expect_words(wrong("floor = 8\ncap = 4"), {"loss_scale.floor = 8", "loss_scale.cap = 4"});
  expect_words(wrong("initial = 4\nfloor = 8"), {"loss_scale.initial = 4", "loss_scale.floor = 8"});
  expect_words(wrong("cap = 1024"), {"loss_scale.initial = 65536", "loss_scale.cap = 1024"});
  expect_words(wrong("growth_steps = 0"), {"loss_scale.growth_steps = 0", "1 .."});
  expect_words(wrong("hysteresis = 0"), {"loss_scale.hysteresis = 0", "1 .."});
  expect_words(wrong("use = \"bf16\""), {"loss_scale.use", "fp16, always"});
  expect_words(wrong("intial = 4"), {"loss_scale.intial", "loss_scale.initial"});
}

TEST(Config, RefusesImpossibleShapes) {
  const auto wrong = [](const std::string& model) { return toml_error("[model]\n" + model + "\n"); };
  expect_words(wrong("n_experts_per_token = 17"), {"n_experts_per_token = 17", "n_routed_experts = 16"});
  expect_words(wrong("n_groups = 3"), {"n_groups = 3", "must divide", "16"});
  expect_words(wrong("n_groups = 4\nn_limited_groups = 5"), {"n_limited_groups = 5", "1 .. 4"});
  expect_words(wrong("n_groups = 8\nn_limited_groups = 1\nn_experts_per_token = 3"),
               {"n_experts_per_token = 3", "2 experts of 1 groups"});
  expect_words(wrong("n_groups = 16\nn_limited_groups = 8"), {"top2_sum", "at least 2 experts"});
  expect_words(wrong("n_routed_experts = 4097"), {"n_routed_experts = 4097", "0 .. 4096"});
  EXPECT_EQ(wrong("n_routed_experts = 4096"), "no error");
  expect_words(wrong("n_heads = 0"), {"n_heads = 0", "1 .."});
  expect_words(wrong("qk_rope_head_dim = 7"), {"qk_rope_head_dim = 7", "even"});
  expect_words(wrong("hidden_size = 2147483648"), {"hidden_size = 2147483648"});
  expect_words(wrong("hidden_size = 2147483647\nvocab_size = 2147483647\nn_layers = 100000\nn_dense_layers = 0"),
               {"10^16 weights"});
  expect_words(wrong("n_layers = -1"), {"n_layers = -1"});
  expect_words(wrong("n_dense_layers = 5"), {"n_dense_layers = 5", "0 .. 4"});
  expect_words(wrong("score_function = \"relu\""), {"relu", "sigmoid, softmax"});
  expect_words(wrong("routed_scale = 0"), {"routed_scale = 0"});
  expect_words(toml_error("[data]\nsequence_length = 5000\n"), {"sequence_length = 5000", "max_positions = 4096"});
  expect_words(toml_error("[model]\nn_mtp = 8\n[data]\nsequence_length = 8\n"),
               {"sequence_length = 8", "n_mtp + 1 = 9"});
  expect_words(toml_error("[train]\nprecision = \"fp4\"\n"), {"fp4", "fp64, fp32, bf16, fp16, fp8, mxfp8, auto"});
  expect_words(toml_error("[train]\nprecision = \"fp64\"\n[optim]\nmoments = \"bf16\"\n"),
               {"optim.moments = \"bf16\"", "train.precision = \"fp64\"", "leave it out"});
  expect_words(toml_error("[optim]\nlr_schedule = [{shape = \"step\"}]\n"), {"optim.lr_schedule.0.shape", "step"});
}

template <class E>
void expect_names() {
  for (const char* name : EnumNames<E>::all) EXPECT_STREQ(enum_name(parse_enum<E>("value", name)), name);
  EXPECT_FALSE(find_enum<E>("") || find_enum<E>("x"));
}

TEST(Config, HeadsAreThoseOfTheAttentionThatHasThem) {
  const auto model = [](const std::string& lines) { return "[model]\nhidden_size = 96\nn_heads = 6\n" + lines; };
  EXPECT_EQ(toml_error(model("attention = \"mha\"")), "no error");
  EXPECT_EQ(toml_error(model("attention = \"mha\"\nn_kv_heads = 6\nhead_dim = 10")), "no error");
  EXPECT_EQ(toml_error(model("attention = \"gqa\"\nn_kv_heads = 3")), "no error");
  EXPECT_EQ(toml_error(model("attention = \"gqa\"\nn_kv_heads = 1\n[fp8]\nhigh = []")), "no error");
  expect_words(toml_error(model("attention = \"gqa\"")), {"model.n_kv_heads = 0", "must divide model.n_heads = 6"});
  expect_words(toml_error(model("attention = \"gqa\"\nn_kv_heads = 4")), {"model.n_kv_heads = 4", "must divide"});
  expect_words(toml_error(model("attention = \"gqa\"\nn_kv_heads = 12")), {"model.n_kv_heads = 12", "must divide"});
  expect_words(toml_error(model("attention = \"mha\"\nn_kv_heads = 3")), {"model.n_kv_heads = 3", "choose \"gqa\""});
  expect_words(toml_error(model("attention = \"mha\"\nhead_dim = 7")), {"model.head_dim = 7", "even"});
  expect_words(toml_error("[model]\nhidden_size = 96\nn_heads = 7\nattention = \"mha\""),
               {"model.head_dim = 0", "96 / 7"});
  // Keys of the other kind, by name.
  expect_words(toml_error(model("n_kv_heads = 3")), {"model.n_kv_heads = 3", "belongs to", "\"gqa\"", "\"mla\""});
  expect_words(toml_error(model("head_dim = 16")), {"model.head_dim = 16", "belongs to", "\"mla\""});
  for (const char* key : {"q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"})
    expect_words(toml_error(model(std::string("attention = \"mha\"\n") + key + " = 18")),
                 {key, "= 18", "belongs to model.attention = \"mla\"", "\"mha\""});
  expect_words(toml_error(model("attention = \"mha\"\nlatent_norm_eps = 1e-3")),
               {"model.latent_norm_eps", "belongs to"});
  expect_words(toml_error(model("attention = \"mha\"\n[train]\nattention_form = \"absorbed\"")),
               {"train.attention_form = \"absorbed\"", "latent attention", "\"mha\""});
  expect_words(toml_error(model("attention = \"mha\"\n[train]\nprecision = \"fp8\"\n[fp8]\nhigh = [\"kv_b\"]")),
               {"fp8.high names \"kv_b\"", "\"mha\""});
}

TEST(Config, EnumerationsHaveOneNameEach) {
  expect_names<ScoreFunction>(), expect_names<GroupScore>(), expect_names<Holdout>(), expect_names<DocumentMask>();
  expect_names<AtEnd>(), expect_names<CurveShape>(), expect_names<MomentFormat>(), expect_names<Precision>();
  expect_names<AttentionForm>(), expect_names<Recompute>(), expect_names<OnNan>(), expect_names<OnBadLine>();
  const Config config =
      config_from_toml("[train]\nprecision = \"auto\"\nrecompute = \"norms\"\n[data]\nholdout = \"tail\"\n", "my.toml");
  EXPECT_EQ(config.train.precision, Precision::automatic);
  EXPECT_EQ(config.train.recompute, Recompute::norms);
  EXPECT_NE(config_to_toml(config).find("holdout = \"tail\"\n"), std::string::npos);
  EXPECT_NE(config_help("train.precision").find("\"fp32\""), std::string::npos);
  expect_words(toml_error("[train]\nrecompute = 1\n"), {"my.toml", "train.recompute = 1", "a string"});
  expect_words(toml_error("[train]\nrecompute = \"some\"\n"), {"recompute = \"some\"", "one of none, norms, all"});
  try {
    parse_enum<Recompute>("recompute", "some");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "recompute \"some\" is not one of none, norms, all, auto");
  }
}

TEST(Config, RefusesWhatItCouldNotWriteDown) {
  const auto from_json = [](const std::string& text) {
    try {
      config_from_json(text, "my.json");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  expect_words(from_json("{\"data\": {\"seed\": 18446744073709551615}}"),
               {"data.seed", "2^63"});  // TOML has no such number
  expect_words(from_json("{\"optim\": {\"lr\": 1e3807}}"), {"my.json", "beyond what a double can hold"});
  expect_words(from_json("{\"run\": " + std::string(300'000, '[') + std::string(300'000, ']') + "}"), {"nested"});
  Config config;
  config.data.sources = {{.paths = {"a\xff"
                                    "b"}}};
  expect_words(error_of([&] { validate(config); }), {"UTF-8"});
}

TEST(Config, AnOverrideSetsOneKeyOnly) {
  Config config;
  expect_words(error_of([&] { apply_overrides(config, {"optim.lr=2e\xff"}); }),
               {"optim.lr", "number"});           // by config_fuzz
  apply_overrides(config, {"run=3\nsteps = 5"});  // a line break is part of the text, not a second key
  EXPECT_EQ(config.run, "3\nsteps = 5");
}

TEST(Config, CurveSegmentsFollowOneAnother) {
  expect_words(toml_error("[optim]\nlr_schedule = [{ until = 0.5 }, { until = 0.5 }]\n"),
               {"optim.lr_schedule.1.until = 0.5", "after"});
  expect_words(toml_error("[train]\nbatch_ramp = [{ until = 20 }, { until = 10 }]\n"),
               {"train.batch_ramp.1.until = 10", "20"});
  EXPECT_EQ(toml_error("[optim]\nlr_schedule = [{ until = 100 }, { until = 0.9 }]\n"), "no error");
}

TEST(Config, SizesThatMultiplyPast64BitsAreRefused) {
  expect_words(toml_error("[model]\nhidden_size = 2147483647\nvocab_size = 2147483647\n"), {"10^16 weights"});
  expect_words(toml_error("[model]\nn_heads = 1048576\nqk_nope_head_dim = 1048576\nkv_lora_rank = 2147483647\n"),
               {"10^16 weights"});
  expect_words(toml_error("[model]\nmax_positions = 16777216\n[data]\nsequence_length = "
                          "16777216\n[train]\nmicro_batch_sequences = 16777216\n"),
               {"activations"});
}

TEST(Config, ReadsAndWritesDotsInACommaLocale) {
  const auto folder = std::filesystem::temp_directory_path() / ("hadal locale " + std::to_string(getpid()));
  const std::string before = setlocale(LC_ALL, nullptr);
  bool found = setlocale(LC_ALL, "de_DE.UTF-8") != nullptr;
  if (!found) {  // not installed: compile one, where the sources are there
    std::filesystem::create_directories(folder);
    const std::string make = "localedef -i de_DE -f UTF-8 '" + (folder / "de_DE.UTF-8").string() + "' > /dev/null 2>&1";
    setenv("LOCPATH", folder.c_str(), 1);
    found = std::system(make.c_str()) == 0 && setlocale(LC_ALL, "de_DE.UTF-8") != nullptr;
  }
  const std::string half = found ? std::to_string(0.5) : "";
  Config config;
  if (found) config = config_from_toml("[optim]\nlr = 0.25\n", "t");
  const auto text = config_to_toml(config), json = config_to_json(config);
  double from_json = 0;
  if (found) from_json = config_from_json("{\"optim\": {\"lr\": 0.125}}", "j").optim.lr;
  setlocale(LC_ALL, before.c_str());
  unsetenv("LOCPATH");
  std::filesystem::remove_all(folder);
  if (!found) GTEST_SKIP() << "this machine has no locale with a decimal comma and cannot make one";
  EXPECT_EQ(half.substr(0, 3), "0,5");  // the locale is really at work
  EXPECT_EQ(config.optim.lr, 0.25);
  EXPECT_EQ(from_json, 0.125);
  EXPECT_NE(text.find("lr = 0.25\n"), std::string::npos);
  EXPECT_NE(json.find("\"lr\": 0.25"), std::string::npos);
}

TEST(Config, MissingFileIsNamed) {
  try {
    load_config("/nowhere/at all.toml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    expect_words(error.what(), {"/nowhere/at all.toml"});
  }
}

TEST(Config, HelpNamesEveryKey) {
  const auto help = config_help();
  for (const char* key : {"optim.lr_schedule.N.until", "data.sources.N.paths", "model.yarn.mscale_all_dim",
                          "train.bias_update_speed", "validation.stride"}) {
    EXPECT_NE(help.find(key), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace hadal
