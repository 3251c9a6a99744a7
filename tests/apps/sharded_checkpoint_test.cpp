// A checkpoint in shards, as those of large models are: every verb reads it as it reads the same state in one file, and
// a run whose other checkpoint is one file goes on from it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_writer.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

TensorFile tensors_of(const fs::path& checkpoint, const char* stem) {
  const SafetensorsReader reader(checkpoint / tensor_file_name(stem, 0, 1));
  TensorFile file;
  for (const SafetensorsEntry& entry : reader.entries()) {
    file.tensors.push_back({entry.name, entry.dtype, entry.shape});
    const Tensor tensor = reader.tensor(entry.name);
    file.parts.push_back({entry.name, 0, 0, tensor.view({tensor.rows(), tensor.cols()})});
  }
  return file;
}

// Writes a checkpoint of one file each again, in shards of 20 kB.
void cut_into_shards(const fs::path& checkpoint) {
  const auto name = checkpoint.filename().string();
  CheckpointContent content{std::stoll(name.substr(name.find('_') + 1)),
                            tensors_of(checkpoint, kModelStem),
                            tensors_of(checkpoint, kOptimizerStem),
                            {}};
  for (const auto& entry : fs::recursive_directory_iterator(checkpoint)) {
    const std::string file = fs::relative(entry.path(), checkpoint).string();
    if (entry.is_regular_file() && file != "manifest.json" && !file.ends_with(".safetensors"))
      content.texts[file] = read_file(entry.path());
  }
  const OwnedExec owned(1);
  CheckpointWriter(checkpoint.parent_path(), std::make_shared<SelfTransport>(),
                   {.keep = 9, .asynchronous = false, .shard_bytes = 20'000})
      .save(owned.exec, content);
}

std::map<std::string, std::string> files_of(const fs::path& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), directory).string()] = read_file(entry.path());
  return files;
}

class ShardedCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto trained = run_hadal(small_.train("single", "--steps 4"));
    ASSERT_EQ(trained.code, 0) << trained.err;
    fs::copy(small_.run("single"), small_.run("sharded"), fs::copy_options::recursive);
    cut_into_shards(last("sharded"));
    ASSERT_EQ(list_checkpoints(small_.run("sharded") / "checkpoints").size(), 2u) << "the other is in one file";
    ASSERT_FALSE(fs::exists(last("sharded") / "model.safetensors"));
  }
  fs::path last(const char* run) const { return list_checkpoints(small_.run(run) / "checkpoints").back(); }
  // What a verb says of both, which must be the same.
  std::string same(const std::string& before, const std::string& after) const {
    std::string said[2];
    for (const bool sharded : {false, true}) {
      const auto run = SmallRun::quoted(small_.run(sharded ? "sharded" : "single"));
      const auto result = run_hadal(before + " --model " + run + " " + after);
      EXPECT_EQ(result.code, 0) << result.err;
      said[sharded] = result.out;
    }
    EXPECT_EQ(said[0], said[1]);
    return said[1];
  }

  SmallRun small_;
};

TEST_F(ShardedCheckpoint, EveryVerbReadsIt) {
  const std::string settings = "--prompt 'the sea' --max-tokens 12 --seed 3 ";
  EXPECT_NE(same("generate", settings), same("generate", settings + "--ema"));
  for (const char* run : {"single", "sharded"}) {
    const auto out = SmallRun::quoted(small_.root() / ("exported " + std::string(run)));
    const auto exported = run_hadal("export --model " + SmallRun::quoted(small_.run(run)) +
                                    " --to hf --dtype fp32 --quiet --output " + out);
    EXPECT_EQ(exported.code, 0) << exported.err;
  }
  EXPECT_EQ(files_of(small_.root() / "exported sharded"), files_of(small_.root() / "exported single"));
  const auto inspect = [&](const char* run) {
    const auto result = run_hadal("inspect --json " + SmallRun::quoted(last(run)));
    return parse_json(result.out, "what it said: " + result.err);
  };
  auto single = inspect("single"), sharded = inspect("sharded");
  EXPECT_EQ(single["files"], 1);
  EXPECT_GT(sharded["files"], 2);
  for (const char* own : {"name", "files"}) single.erase(own), sharded.erase(own);
  EXPECT_EQ(single, sharded);
}

TEST_F(ShardedCheckpoint, ARunGoesOnFromItInAnotherLayout) {
  for (const char* run : {"single", "sharded"}) {
    const auto more = run_hadal(small_.train(run, "--steps 6 --layout dp=2"));
    ASSERT_EQ(more.code, 0) << more.err;
  }
  EXPECT_EQ(files_of(last("sharded")), files_of(last("single")));
}

TEST_F(ShardedCheckpoint, WhatIsWrongWithAShardNamesIt) {
  const fs::path copy = small_.root() / "copy";
  fs::copy(last("sharded"), copy);
  const auto in_a_model = run_hadal("train " + SmallRun::quoted(copy));
  EXPECT_EQ(in_a_model.code, 2);
  EXPECT_NE(in_a_model.err.find("holds a model (model.safetensors.index.json)"), std::string::npos) << in_a_model.err;
  for (const char* stem : {kModelStem, kOptimizerStem}) {
    const TensorFiles files = TensorFiles::open(last("sharded"), stem);
    const std::string name = files.file_of(files.names().back());
    const std::string bytes = read_file(last("sharded") / name);
    fs::resize_file(last("sharded") / name, bytes.size() - 1);
    const auto result = run_hadal(small_.train("sharded", "--steps 5"));
    EXPECT_EQ(result.code, 1);
    EXPECT_NE(result.err.find(name), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("truncated"), std::string::npos) << result.err;
    atomic_write(last("sharded") / name, bytes);
  }
}

}  // namespace
}  // namespace hadal
