// Checkpoints are complete or absent, every damage is named, and old ones go only when a new one stands.
#include <gtest/gtest.h>

#include <unistd.h>
#include <chrono>
#include <cstring>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/expect_error.h"
#include "base/file_size_limit.h"
#include "base/hash.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_writer.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("hadal checkpoint ü " + std::to_string(getpid()));
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  TensorFile file(const std::string& name, float value) {
    const Tensor tensor = Tensor::from<float>(owned_.exec, std::vector<float>(64, value), {8, 8});
    return {{{name, tensor.dtype(), tensor.shape()}}, {{name, 0, 0, tensor}}};
  }
  CheckpointContent content(int64_t step, float value) {
    return {step, file("a.weight", value), file("m.a", value + 1), {{"state.json", "{}"}, {"model.json", "{}"}}};
  }
  CheckpointWriter writer_with(CheckpointWriterOptions options) {
    return CheckpointWriter(root_, std::make_shared<SelfTransport>(), std::move(options));
  }
  // Now, complete or absent.
  void write(const CheckpointContent& content, const char* below = "") {
    CheckpointWriter(root_ / below, std::make_shared<SelfTransport>(), {.keep = 9, .asynchronous = false})
        .save(owned_.exec, content);
  }
  // Three tensors of 256 bytes in each file.
  CheckpointContent content_of_three(int64_t step) {
    CheckpointContent all = content(step, 1);
    for (const char* name : {"b", "c"}) {
      const float value = float(name[0] - 'a' + 1);
      for (TensorFile* of : {&all.model, &all.optimizer}) {
        const TensorFile more =
            file(of == &all.model ? name + std::string(".weight") : std::string("m.") + name, value);
        of->tensors.push_back(more.tensors[0]), of->parts.push_back(more.parts[0]);
      }
    }
    return all;
  }
  void write_sharded(const CheckpointContent& content) {
    writer_with({.keep = 9, .asynchronous = false, .shard_bytes = 600}).save(owned_.exec, content);
  }
  static std::vector<std::string> listed_by(const fs::path& checkpoint) {
    const auto manifest = read_json(checkpoint / "manifest.json");
    std::vector<std::string> names;
    for (const auto& item : manifest["files"].items()) names.push_back(item.key());
    return names;
  }
  static std::string corrupt_message(const fs::path& checkpoint) {
    try {
      verify_checkpoint(checkpoint);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      return error.what();
    }
    return "no error";
  }

  OwnedExec owned_{1};
  fs::path root_;
};

TEST_F(CheckpointTest, ComesBackWholeAndInOrder) {
  for (int64_t step : {5, 100, 20}) write(content(step, float(step)));
  const auto found = list_checkpoints(root_);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].filename(), "step_00000005");
  EXPECT_EQ(found[2].filename(), "step_00000100");
  verify_checkpoint(found[2]);
  const SafetensorsReader reader(found[2] / "model.safetensors");
  EXPECT_EQ(element(reader.tensor("a.weight"), 63), 100);
  remove_old_checkpoints(root_, 2);
  EXPECT_EQ(list_checkpoints(root_).size(), 2u);
  EXPECT_EQ(list_checkpoints(root_)[0].filename(), "step_00000020");
}

TEST_F(CheckpointTest, NamesTruncatedFlippedAndMissingFiles) {
  write(content(1, 1));
  const auto at = list_checkpoints(root_)[0];
  const auto file = at / "optimizer.safetensors";
  const auto bytes = read_file(file);
  fs::resize_file(file, bytes.size() - 1);
  EXPECT_NE(corrupt_message(at).find("truncated"), std::string::npos);
  for (size_t place : {size_t(0), bytes.size() / 2, bytes.size() - 1}) {
    std::string flipped = bytes;
    flipped[place] ^= 4;
    atomic_write(file, flipped);
    const auto message = corrupt_message(at);
    EXPECT_NE(message.find("optimizer.safetensors"), std::string::npos) << message;
    EXPECT_NE(message.find("damaged"), std::string::npos) << message;
  }
  fs::remove(file);
  EXPECT_NE(corrupt_message(at).find("missing"), std::string::npos);
  atomic_write(at / "manifest.json", "{\"format\": 3}");
  EXPECT_NE(corrupt_message(at).find("manifest"), std::string::npos);
  atomic_write(at / "manifest.json", "not json");
  EXPECT_NE(corrupt_message(at).find("JSON"), std::string::npos);
}

TEST_F(CheckpointTest, LargeFilesAreWrittenInShardsAndEachIsChecked) {
  write_sharded(content_of_three(1));
  write(content_of_three(2));
  const auto found = list_checkpoints(root_);
  ASSERT_EQ(found.size(), 2u);
  const std::vector<std::string> listed = {"model-00001-of-00002.safetensors",
                                           "model-00002-of-00002.safetensors",
                                           "model.json",
                                           "model.safetensors.index.json",
                                           "optimizer-00001-of-00002.safetensors",
                                           "optimizer-00002-of-00002.safetensors",
                                           "optimizer.safetensors.index.json",
                                           "state.json"};
  EXPECT_EQ(listed_by(found[0]), listed);
  EXPECT_EQ(listed_by(found[1]),
            (std::vector<std::string>{"model.json", "model.safetensors", "optimizer.safetensors", "state.json"}));
  EXPECT_EQ(locate_model(found[0]).directory, found[0]);
  for (const std::string& name : listed) {
    const bool optimizers = name.starts_with("optimizer");
    const std::string bytes = read_file(found[0] / name);
    fs::resize_file(found[0] / name, bytes.size() - 1);
    EXPECT_ERROR(verify_checkpoint(found[0]), ErrorKind::corrupt, name.c_str(), "truncated");
    EXPECT_ERROR(verify_checkpoint_sizes(found[0]), ErrorKind::corrupt, name.c_str(), "truncated");
    const auto part = optimizers ? CheckpointPart::optimizer : CheckpointPart::model;
    EXPECT_ERROR(verify_checkpoint(found[0], part), ErrorKind::corrupt, name.c_str());
    verify_checkpoint(found[0], optimizers ? CheckpointPart::model : CheckpointPart::optimizer);
    atomic_write(found[0] / name, bytes);
    verify_checkpoint(found[0]);
  }
  fs::remove(found[0] / listed[1]);
  EXPECT_ERROR(verify_checkpoint(found[0]), ErrorKind::corrupt, listed[1].c_str(), "missing");
}

TEST_F(CheckpointTest, FilesOfAnotherFormNeverStayBesideTheNewOnes) {
  fs::create_directories(root_ / "step_00000001.partial");
  atomic_write(root_ / "step_00000001.partial" / "model.safetensors", "of a save that was killed");
  write_sharded(content_of_three(1));
  const auto at = list_checkpoints(root_)[0];
  EXPECT_FALSE(fs::exists(at / "model.safetensors"));
  const TensorFiles files = TensorFiles::open(at);
  EXPECT_EQ(files.n_files(), 2);
  EXPECT_EQ(element(files.tensor("c.weight"), 63), 3);
  write(content_of_three(1));  // the same step again, in one file
  EXPECT_FALSE(fs::exists(at / "model.safetensors.index.json"));
  EXPECT_EQ(TensorFiles::open(at, kOptimizerStem).n_files(), 1);
}

TEST_F(CheckpointTest, AnUnfinishedOneIsNeverTaken) {
  write(content(1, 1));
  fs::create_directories(root_ / "step_00000002.partial");
  EXPECT_EQ(list_checkpoints(root_).size(), 1u);
  remove_old_checkpoints(root_, 1);
  EXPECT_FALSE(fs::exists(root_ / "step_00000002.partial"));
}

TEST_F(CheckpointTest, AFullDiskLeavesTheOldOneIntact) {
  write(content(1, 1));
  FileSizeLimit little(300);
  std::string message = "no error";
  try {
    write(content(2, 2));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    message = error.what();
  }
  little.end();
  EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
  const auto found = list_checkpoints(root_);
  ASSERT_EQ(found.size(), 1u);
  verify_checkpoint(found[0]);
  EXPECT_FALSE(fs::exists(root_ / "step_00000002.partial"));
}

TEST_F(CheckpointTest, WritesInTheBackgroundWhatStoodWhenItWasAsked) {
  CheckpointWriter writer = writer_with({.keep = 2});
  auto c = content(1, 1);
  writer.save(owned_.exec, c);
  for (int64_t i = 0; i < 64; ++i) set_element(c.model.parts[0].elements, i, -1);  // training goes on
  c.step = 2;
  writer.save(owned_.exec, c);
  c.step = 3;
  writer.save(owned_.exec, c);
  writer.finish();
  const auto found = list_checkpoints(root_);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].filename(), "step_00000003");
  CheckpointWriter again = writer_with({.keep = 5});
  auto first = content(9, 1);
  again.save(owned_.exec, first);
  for (int64_t i = 0; i < 64; ++i) set_element(first.model.parts[0].elements, i, -1);
  again.finish();
  EXPECT_EQ(element(SafetensorsReader(root_ / "step_00000009" / "model.safetensors").tensor("a.weight"), 0), 1);
}

TEST_F(CheckpointTest, ABackgroundFailureIsThrownLater) {
  fs::create_directories(root_.parent_path());
  atomic_write(root_, "a file where the directory should be");
  CheckpointWriter writer = writer_with({.keep = 1});
  writer.save(owned_.exec, content(1, 1));
  EXPECT_ERROR(writer.finish(), ErrorKind::io, "a file of that name is in the way");
}

TEST_F(CheckpointTest, AfterABackgroundFailureTheNextSaveWorks) {
  fs::create_directories(root_.parent_path());
  atomic_write(root_, "in the way");
  CheckpointWriter writer = writer_with({.keep = 1});
  writer.save(owned_.exec, content(1, 1));
  EXPECT_ERROR(writer.save(owned_.exec, content(2, 2)), ErrorKind::io,
               "a file of that name is in the way");  // the first one's error, told once
  fs::remove(root_);
  writer.save(owned_.exec, content(3, 3));
  writer.finish();
  writer.finish();
  ASSERT_EQ(list_checkpoints(root_).size(), 1u);
  verify_checkpoint(list_checkpoints(root_)[0]);
  fs::remove_all(root_);
  atomic_write(root_, "in the way again");
  CheckpointWriter leaves = writer_with({.keep = 1});
  leaves.save(owned_.exec,
              content(4, 4));  // destroyed with an error that nobody asked for: no crash, no thread left behind
}

TEST_F(CheckpointTest, WaitsForRoomWhenAskedTo) {
  std::mutex mutex;
  std::vector<std::string> said;
  CheckpointWriter writer = writer_with({.wait_for_room = true, .say = [&](const std::string& text) {
                                           const std::lock_guard lock(mutex);
                                           said.push_back(text);
                                         }});
  FileSizeLimit little(100);
  writer.save(owned_.exec, content(1, 1));
  const auto n_said = [&] {
    const std::lock_guard lock(mutex);
    return said.size();
  };
  while (n_said() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(list_checkpoints(root_).empty());
  little.end();
  writer.finish();
  ASSERT_EQ(list_checkpoints(root_).size(), 1u);
  verify_checkpoint(list_checkpoints(root_)[0]);
  ASSERT_EQ(said.size(), 2u);
  EXPECT_NE(said[0].find("waiting for room"), std::string::npos) << said[0];
}

TEST_F(CheckpointTest, WaitingForRoomEndsWhenAsked) {
  const FileSizeLimit little(100);
  CheckpointWriter writer = writer_with({.asynchronous = false, .wait_for_room = true, .stop = [] { return true; }});
  EXPECT_ERROR(writer.save(owned_.exec, content(1, 1)), ErrorKind::io, "model.safetensors");
  CheckpointWriter leaves = writer_with({.wait_for_room = true});
  leaves.save(owned_.exec, content(2, 2));  // destroyed while it waits: does not hang
}

TEST_F(CheckpointTest, ALimitOnFilesIsNotWaitedForByAdvice) {
  const FileSizeLimit little(100);
  CheckpointWriter writer = writer_with({.asynchronous = false});
  try {
    writer.save(owned_.exec, content(1, 1));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("ulimit -f"), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("checkpoint.on_full"), std::string::npos) << error.what();
  }
}

TEST_F(CheckpointTest, ManifestsWithSha256StayReadable) {
  write(content(1, 1));
  const auto checkpoint = list_checkpoints(root_)[0];
  auto manifest = parse_json(read_file(checkpoint / "manifest.json"), "the manifest");
  for (auto& item : manifest["files"].items()) {
    EXPECT_EQ(item.value()["xxh3"].get<std::string>().size(), 32u);
    item.value().erase("xxh3");
    item.value()["sha256"] = sha256_hex(read_file(checkpoint / item.key()));
  }
  atomic_write(checkpoint / "manifest.json", json_text(manifest));
  verify_checkpoint(checkpoint);
  std::string bytes = read_file(checkpoint / "model.safetensors");
  bytes.back() ^= 1;
  atomic_write(checkpoint / "model.safetensors", bytes);
  EXPECT_ERROR(verify_checkpoint(checkpoint), ErrorKind::corrupt, "damaged");
}

TEST_F(CheckpointTest, AModelIsCheckedWithoutTheOptimizersFile) {
  auto c = content(1, 1);
  c.optimizer = c.model;
  write(c);
  const auto checkpoint = list_checkpoints(root_)[0];
  std::string bytes = read_file(checkpoint / "optimizer.safetensors");
  bytes.back() ^= 1;
  atomic_write(checkpoint / "optimizer.safetensors", bytes);
  verify_checkpoint(checkpoint, CheckpointPart::model);
  EXPECT_ERROR(verify_checkpoint(checkpoint), ErrorKind::corrupt, "optimizer.safetensors");
}

TEST_F(CheckpointTest, TheSameStepAgainReplacesTheFirst) {
  for (float value : {1.0f, 2.0f}) write(content(7, value));
  const auto found = list_checkpoints(root_);
  ASSERT_EQ(found.size(), 1u);
  verify_checkpoint(found[0]);
  EXPECT_EQ(element(SafetensorsReader(found[0] / "model.safetensors").tensor("a.weight"), 0), 2);
  for (const auto& entry : fs::directory_iterator(root_)) EXPECT_EQ(entry.path().filename(), "step_00000007");
}

TEST_F(CheckpointTest, CopiesThatSomebodyNamedAreNotTaken) {
  write(content(7, 1));
  for (const char* name : {"step_", "step_00000009 good", "step_00000009.bak", "step_x"})
    fs::copy(root_ / "step_00000007", root_ / name, fs::copy_options::recursive);
  ASSERT_EQ(list_checkpoints(root_).size(), 1u);
  remove_old_checkpoints(root_, 1);
  EXPECT_TRUE(fs::exists(root_ / "step_00000009 good"));
}

TEST_F(CheckpointTest, DeepNestingIsRefusedNotFollowed) {
  const std::string deep = std::string(300'000, '[') + std::string(300'000, ']');
  write(content(1, 1));
  const auto at = list_checkpoints(root_)[0];
  const std::string header = "{\"a\": {\"dtype\": " + deep + "}}";
  std::string file(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(file.data(), &size, 8);
  atomic_write(root_ / "deep", file + header);
  EXPECT_ERROR(SafetensorsReader(root_ / "deep"), ErrorKind::corrupt, "header: nested deeper than 8 levels");
  atomic_write(at / "manifest.json", "{\"format\": " + deep + "}");
  EXPECT_NE(corrupt_message(at).find("manifest"), std::string::npos);
}

TEST_F(CheckpointTest, LocatesAModel) {
  EXPECT_ERROR(locate_model(root_), ErrorKind::not_found, "no such directory");
  write(content(1, 1), "checkpoints");
  write(content(2, 2), "checkpoints");
  const auto at = locate_model(root_);
  EXPECT_EQ(at.directory.filename(), "step_00000002");
  EXPECT_TRUE(at.is_checkpoint);
  EXPECT_EQ(locate_model(at.directory).directory, at.directory);
  fs::create_directories(root_ / "empty");
  EXPECT_ERROR(locate_model(root_ / "empty"), ErrorKind::not_found,
               "neither model.safetensors (or its index) nor checkpoints/step_N is in it");
}

}  // namespace
}  // namespace hadal
