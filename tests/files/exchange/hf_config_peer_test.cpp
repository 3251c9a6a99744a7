// transformers reads the config.json that we write, and we read the one that it writes: the same fields, rotary
// frequencies, factors.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "exchange/hf_config.h"
#include "exchange/hf_peer.h"
#include "exchange/hf_testing.h"

namespace hadal {
namespace {

using SortedJson = nlohmann::json;
using testing::expect_same;

class HfConfigPeer : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = (std::filesystem::temp_directory_path() / "hadal_hf_config_XXXXXX").string();
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void run_peer(const std::string& arguments) {
    const std::string root = HADAL_SOURCE_DIR;
    const std::string command =
        "'" + root + "/.venv/bin/python' '" + root + "/tests/oracle/hf_config_peer.py' " + arguments;
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  std::vector<SortedJson> said() const {
    std::vector<SortedJson> lines;
    std::ifstream file(directory_ + "/said.jsonl");
    for (std::string line; std::getline(file, line);) lines.push_back(parse_json<SortedJson>(line, "a line"));
    return lines;
  }

  std::string directory_;
};

TEST_F(HfConfigPeer, TransformersUnderstandsWhatWeWrite) {
  std::vector<HfConfig> written;
  for (const char* name :
       {"deepseek_v3", "deepseek_v3_1", "deepseek_v2", "deepseek_v2_lite", "moonlight", "kimi_k2", "transformers_v3"})
    written.push_back(hf_config_from_json(testing::hf_seed(name), name));
  for (uint64_t seed = 0; seed < 200; ++seed) {
    HfConfig config;
    config.model = testing::random_hf_model(seed);
    config.dtype = seed % 2 ? "float32" : "bfloat16";
    if (seed % 3 == 0) config.bos_ids = {0}, config.eos_ids = {1, 2};
    written.push_back(config);
  }
  for (size_t n = 0; n < written.size(); ++n) {
    const auto place = std::filesystem::path(directory_) / "models" / std::to_string(n);
    std::filesystem::create_directories(place);
    std::ofstream(place / "config.json") << hf_config_to_json(written[n]);
  }
  ASSERT_NO_FATAL_FAILURE(run_peer("load '" + directory_ + "/models' '" + directory_ + "/said.jsonl'"));
  const auto lines = said();
  ASSERT_EQ(lines.size(), written.size());
  for (size_t n = 0; n < written.size(); ++n) {
    SCOPED_TRACE(hf_config_to_json(written[n]));
    expect_same(written[n], lines[n]);
    const SortedJson& quant = lines[n]["quantization"];
    EXPECT_EQ(quant.is_object(), written[n].fp8);
    if (written[n].fp8) {
      EXPECT_EQ(quant["weight_block_size"], SortedJson({128, 128}));
    }
    if (written[n].fp8_ue8m0) {
      EXPECT_EQ(quant["scale_fmt"], "ue8m0");
    }
    if (HasFailure()) return;
  }
}

TEST_F(HfConfigPeer, WeUnderstandWhatTransformersWrites) {
  constexpr size_t kModels = 300;
  ASSERT_NO_FATAL_FAILURE(run_peer(fmt::format("save '{0}/models' {1} '{0}/said.jsonl'", directory_, kModels)));
  const auto lines = said();
  ASSERT_EQ(lines.size(), kModels);
  for (size_t n = 0; n < kModels; ++n) {
    const std::string path = fmt::format("{}/models/{}/config.json", directory_, n);
    SCOPED_TRACE(read_file(path));
    const HfConfig config = hf_config_from_json(read_file(path), path);
    expect_same(config, lines[n]);
    EXPECT_TRUE(config.notices.empty()) << config.notices[0];
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace hadal
