// hadal inspect: V3's released tensors, a config.json, and Hugging Face directories with their scales and tokenizer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/files.h"
#include "base/json.h"
#include "exchange/hf_testing.h"
#include "exchange/released_tensors.h"
#include "picture/well_formed.h"
#include "storage/safetensors.h"

namespace hadal {
namespace {

using json = nlohmann::json;

const std::string kV3 = std::string(HADAL_SOURCE_DIR) + "/configs/deepseek-v3-671b.toml";
const std::string kSeeds = std::string(HADAL_SOURCE_DIR) + "/tests/fuzz/seeds/hf_config_fuzz/";

json inspected(const std::string& arguments) {
  const auto result = run_hadal("inspect " + arguments + " --json");
  EXPECT_EQ(result.code, 0) << result.err;
  return parse_json<json>(result.out, "what it said");
}

void expect_released_v3(const json& said) {
  EXPECT_EQ(said["tensor_count"], 91991);
  EXPECT_EQ(said["tensor_bytes"], 688'574'839'360);
  int64_t bytes = 0;
  std::set<std::string> names;
  for (const auto& tensor : said["tensors"]) {
    bytes += tensor["bytes"].get<int64_t>();
    names.insert(tensor["name"]);
  }
  EXPECT_EQ(bytes, 688'574'839'360);
  EXPECT_EQ(names.size(), 91991u);
  EXPECT_EQ(names.count("model.layers.61.shared_head.head.weight"), 1u);
}

TEST(Inspect, ListsTheReleasedTensorsOfDeepSeekV3) {
  expect_released_v3(inspected(kV3 + " --tensors"));
  expect_released_v3(inspected(kSeeds + "deepseek_v3.json --tensors"));
  const auto shown = run_hadal("inspect " + kV3 + " --tensors");
  ASSERT_EQ(shown.code, 0) << shown.err;
  for (const char* words :
       {"91,991 tensors, 688,574,839,360 B of data", "model.layers.3.mlp.experts.{0..255}.down_proj.weight_scale_inv",
        "[5, 56]", "model.layers.61.embed_tokens.weight", "F8_E4M3", "does not fit"})
    EXPECT_NE(shown.out.find(words), std::string::npos) << words;
  EXPECT_EQ(inspected(kV3 + " --tensors --dtype bf16")["stored"].count("F8_E4M3"), 0u);
}

// Whatever the widths of columns are.
std::string squeezed(const std::string& table) {
  std::string text;
  for (const char c : table)
    if (c != ' ' || (!text.empty() && text.back() != ' ' && text.back() != '\n')) text += c;
  return text;
}

// The report's layout: 2048 ranks, a DualPipe of 16, experts over 64.
TEST(Inspect, ShowsTheReportsLayoutBeforeAnythingIsAllocated) {
  const std::string layout = " --layout dp=128,pp=16,ep=64,schedule=dualpipe";
  const json said = inspected(kV3 + layout)["layout"];
  EXPECT_EQ(said["ranks"], 2048);
  EXPECT_EQ(said["parameters"], 671'026'419'200);
  EXPECT_EQ(said["mtp_parameters"], inspected(kV3)["mtp_parameters"]);
  EXPECT_EQ(said["micro_batches"], 120);
  ASSERT_EQ(said["pipeline_seats"].size(), 16u);
  int64_t layers = 0;
  for (const auto& seat : said["pipeline_seats"]) {
    ASSERT_EQ(seat["stages"].size(), 2u);
    for (const auto& stage : seat["stages"])
      layers += stage["end_layer"].get<int64_t>() - stage["first_layer"].get<int64_t>();
  }
  EXPECT_EQ(layers, 2 * 61) << "every layer lies on the two ranks of a pair";
  const auto text = run_hadal("inspect " + kV3 + layout);
  EXPECT_NE(text.out.find("671,026,419,200 parameters"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("0: embedding, layers 0-3; 15: layer 60, head"), std::string::npos) << text.out;
  // Who is where: a row for each pipeline seat, a group along each axis.
  const std::string table = squeezed(text.out);
  for (const char* words : {"0-127 0: embedding, layers 0-3; 15: layer 60, head 0 0-127 0-255, 4 each\n",
                            "1920-2047 0: embedding, layers 0-3; 15: layer 60, head 15 0-127 0-255, 4 each\n",
                            "pipeline 16 128 0, 128 .. 1920 127, 255 .. 2047\n", "experts 64 32 0-63 1984-2047\n"})
    EXPECT_NE(table.find(words), std::string::npos) << words << text.out;
  const auto refused = run_hadal("inspect " + kV3 + " --layout dp=100,ep=64");
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("ep = 4 fits"), std::string::npos) << refused.err;
}

json ranges(const std::string& text) { return parse_json<json>(text, "ranges"); }

// Which heads, rows and experts a rank holds, by its seat.
TEST(Inspect, ShowsTheBoxesOfALayout) {
  const std::string layout = " --layout dp=2,tp=4,pp=2,ep=8";
  const json boxes = inspected(kV3 + layout)["layout"]["boxes"];
  std::map<std::string, json> of;
  for (const json& box : boxes) of[box["parameter"]] = box;
  EXPECT_EQ(of["embedding"]["held_by_seat"], ranges("[[0,32320],[32320,64640],[64640,96960],[96960,129280]]"));
  EXPECT_EQ(of["embedding"]["holders"], 2 * 2) << "data ranks of the first stage and of the last, whose MTP reads it";
  EXPECT_EQ(of["layers.*.attention.kv_b"]["unit"], "heads");
  EXPECT_EQ(of["layers.*.attention.kv_b"]["held_by_seat"], ranges("[[0,32],[32,64],[64,96],[96,128]]"));
  EXPECT_EQ(of["layers.*.attention.o"]["held_by_seat"], of["layers.*.attention.kv_b"]["held_by_seat"]);
  EXPECT_EQ(of["layers.*.ffn.down"]["unit"], "columns");
  EXPECT_EQ(of["layers.*.moe.experts.up"]["held_by_seat"][7], ranges("[224,256]"));
  EXPECT_EQ(of["layers.*.moe.experts.up"]["holders"], 1);
  EXPECT_FALSE(of.contains("layers.*.moe.router"));
  const auto text = run_hadal("inspect " + kV3 + layout);
  const std::string table = squeezed(text.out);
  for (const char* words :
       {"layers.*.attention.q_b [24576, 1536] tensor heads 0-31 | 32-63 | 64-95 | 96-127 2 ranks\n",
        "layers.*.moe.experts.gate [256, 2048, 7168] experts experts 0-31 | 32-63 | .. | 224-255 1 rank\n",
        "whole on every rank of their stages: layers.*.attention_norm, layers.*.attention.q_a, "})
    EXPECT_NE(table.find(words), std::string::npos) << words << text.out;
  EXPECT_NE(
      run_hadal("inspect " + kV3 + " --layout dp=2").out.find("each rank holds the parameters of its stages whole"),
      std::string::npos);
}

// Of each kind of traffic what the squares of its matrix say, added up.
std::map<std::string, int64_t> amounts_in(const std::string& svg) {
  std::map<std::string, int64_t> amounts;
  std::string kind;
  static const std::regex part(R"(>(\w+): [0-9,]+ bytes</text>|→ [0-9-]+: ([0-9,]+) bytes</title>)");
  for (std::sregex_iterator it(svg.begin(), svg.end(), part), end; it != end; ++it) {
    std::string digits = (*it)[2];
    digits.erase(std::remove(digits.begin(), digits.end(), ','), digits.end());
    if ((*it)[1].matched) kind = (*it)[1];
    if (!digits.empty()) amounts[kind] += std::stoll(digits);
  }
  return amounts;
}

TEST(Inspect, DrawsWhoIsWhereAndWhoSendsWhomHowMuch) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "hadal inspect layout.svg";
  const std::string small = std::string(HADAL_SOURCE_DIR) + "/configs/shakespeare.toml";
  for (const std::string& what :
       {small + " --layout dp=2,pp=2,cp=2,tp=2,ep=4", kV3 + " --layout dp=128,pp=16,ep=64,schedule=dualpipe"}) {
    const json said = inspected(what + " --svg '" + file.string() + "'")["layout"];
    const std::string svg = read_file(file);
    EXPECT_EQ(xml_fault(svg), "") << what;
    EXPECT_LT(svg.size(), 400'000u);
    const std::map<std::string, int64_t> amounts = amounts_in(svg);
    ASSERT_EQ(amounts.size(), said["sent_in_a_step"].size());
    for (const auto& [kind, bytes] : amounts) {
      const double wanted = said["sent_in_a_step"][kind]["bytes"].get<double>();
      EXPECT_NEAR(double(bytes), wanted, kind == "experts" ? 1e-6 * wanted : 0.5) << what << " " << kind;
    }
  }
  EXPECT_NE(read_file(file).find("15: layer 60, head"), std::string::npos);
  const auto text = run_hadal("inspect " + small + " --layout dp=2,ep=2 --svg '" + file.string() + "'");
  for (const char* words : {"sent in a step", "gradients", "experts", "routed evenly", "picture    "})
    EXPECT_NE(text.out.find(words), std::string::npos) << words << text.out;
  ASSERT_EQ(run_hadal("inspect " + small + " --layout dp=2,pp=2,ep=2 --svg '" + file.string() + "'").code, 0);
  EXPECT_EQ(read_file(file), read_file(HADAL_SOURCE_DIR "/docs/pictures/layout.svg")) << "the documentation's picture";
  EXPECT_NE(run_hadal("inspect --help").out.find("--svg"), std::string::npos);
  EXPECT_EQ(run_hadal("inspect " + kSeeds + "deepseek_v3.json --svg x.svg").code, 2);
  EXPECT_NE(run_hadal("inspect " + small + " --layout dp=10000 --svg x.svg").err.find("8192"), std::string::npos);
  std::filesystem::remove(file);
}

TEST(Inspect, RefusesWhatItIsNot) {
  const auto refused = [](const std::string& arguments, int code, const std::string& words) {
    const auto result = run_hadal("inspect " + arguments);
    EXPECT_EQ(result.code, code) << result.out;
    EXPECT_NE(result.err.find(words), std::string::npos) << result.err;
  };
  refused(kSeeds + "refused_0_model_type.json", 1, "model_type = \"gpt2\"");
  refused(kSeeds + "refused_6_hidden_size.json", 2, "hidden_size = 0");
  refused(kSeeds + "deepseek_v3.json --set model.n_layers=3", 2, "--set");
  refused(kV3 + " --model x", 2, "give one of");
  refused(kV3 + " --dtype int4", 2, "int4");
}

class InspectDirectory : public ::testing::Test {
 protected:
  // A small FP8 model with MTP, every tensor zero, every scale 0.25.
  void SetUp() override {
    HfConfig config;
    config.model = testing::random_hf_model(11);
    config.model.n_mtp = 1, config.model.tie_embeddings = false, config.model.hidden_size = 150;
    config.fp8 = true;
    atomic_write(place() / "config.json", hf_config_to_json(config));
    tensors_ = released_tensors(config);
    write(0.25f);
  }

  void write(float last_scale) const {
    const OwnedExec exec(1);
    std::vector<NamedTensor> named;
    for (const auto& t : tensors_) {
      const DType dtype = t.dtype == "F8_E4M3" ? DType::f8_e4m3 : t.dtype == "F32" ? DType::f32 : DType::bf16;
      Tensor tensor = Tensor::zeros(exec.exec, dtype, t.shape);
      if (t.name.find("_scale_inv") != std::string::npos)
        for (int64_t i = 0; i < tensor.count(); ++i)
          tensor.data<float>()[i] = i + 1 == tensor.count() ? last_scale : 0.25f;
      named.push_back({t.name, tensor});
    }
    save_safetensors(place() / "model.safetensors", named);
  }

  std::filesystem::path place() const { return folder_.root(); }
  std::string quoted() const { return SmallRun::quoted(place()); }

  SmallRun folder_;
  std::vector<ReleasedTensor> tensors_;
};

TEST_F(InspectDirectory, SaysWhatIsStored) {
  int64_t bytes = 0;
  for (const auto& tensor : tensors_) bytes += tensor.bytes;
  for (const std::string& arguments : {quoted(), "--model " + quoted()}) {
    const json said = inspected(arguments + " --tensors");
    EXPECT_EQ(said["tensor_count"], tensors_.size());
    EXPECT_EQ(said["tensor_bytes"], bytes);
    EXPECT_EQ(said["tensors"].size(), tensors_.size());
    EXPECT_EQ(said["fp8_scales"]["zeros"], 0);
    EXPECT_EQ(said["fp8_scales"]["min"], 0.25);
    EXPECT_EQ(said["fp8_scales"]["not_powers_of_two"], 0);
    EXPECT_EQ(said["tokenizer"]["present"], false);
    EXPECT_TRUE(said["memory"]["bf16"]["fits"]);
    EXPECT_GT(said["mtp_parameters"], 0);
  }
  const auto shown = run_hadal("inspect " + quoted() + " --tensors");
  ASSERT_EQ(shown.code, 0) << shown.err;
  for (const char* words : {"FP8 scales: ", "all powers of two (ue8m0)", "a model of token ids", "chat template: none",
                            "fits, with a cache"})
    EXPECT_NE(shown.out.find(words), std::string::npos) << words;
}

TEST_F(InspectDirectory, ShowsTheScalesBeforeItRefusesThem) {
  for (const auto& [scale, words] : {std::pair{std::nanf(""), "NaN "}, {0.0f, "zeros "}}) {
    write(scale);
    const auto shown = run_hadal("inspect " + quoted());
    EXPECT_EQ(shown.code, 1) << shown.out;
    EXPECT_NE(shown.err.find("_scale_inv"), std::string::npos) << shown.err;
    const size_t at = shown.out.find(words);
    ASSERT_NE(at, std::string::npos) << shown.out;
    EXPECT_NE(shown.out[at + std::string(words).size()], '0') << shown.out;
  }
  const auto refused = run_hadal("inspect " + quoted() + " --dtype bf16");
  EXPECT_EQ(refused.code, 2) << refused.out;
}

TEST_F(InspectDirectory, ATokenizerThatCannotBeUsedIsSaidAndTheModelIsStillShown) {
  atomic_write(place() / "tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
  atomic_write(place() / "chat_template.jinja", "{{ messages }}");
  const json said = inspected(quoted());
  EXPECT_TRUE(said["tokenizer"]["present"]);
  EXPECT_TRUE(said["tokenizer"]["chat_template"]);
  EXPECT_NE(said["tokenizer"]["fault"].get<std::string>(), "");
}

}  // namespace
}  // namespace hadal
