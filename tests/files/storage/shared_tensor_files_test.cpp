// Shards that several write together: the bytes of files that one wrote, and where each tensor is.
#include "storage/shared_tensor_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/expect_error.h"
#include "base/files.h"
#include "storage/tensor_files.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class SharedTensorFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("hadal shared shards " + std::to_string(getpid()));
    fs::create_directories(root_);
    for (int i = 0; i < 24; ++i) numbers_.push_back(float(i + 1));
    for (const char* name : {"c", "a", "b"}) {
      tensors_.push_back({name, Tensor::from<float>(owned_.exec, numbers_, {6, 4})});
      entries_.push_back({name, DType::f32, {6, 4}});
    }
  }
  void TearDown() override { fs::remove_all(root_); }
  TensorPart rows(size_t tensor, int64_t first, int64_t n) const {
    return {tensors_[tensor].name, first, 0, tensors_[tensor].tensor.row_range(first, n)};
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  OwnedExec owned_{1};
  fs::path root_;
  std::vector<float> numbers_;
  std::vector<NamedTensor> tensors_;
  std::vector<SafetensorsEntry> entries_;
};

TEST_F(SharedTensorFilesTest, ShardsHaveTheBytesOfOneWriter) {
  const SharedTensorFiles shared("it", entries_, 200, {{"format", "pt"}});  // 96 bytes each
  EXPECT_EQ(shared.names(),
            (std::vector<std::string>{"it-00001-of-00002.safetensors", "it-00002-of-00002.safetensors"}));
  EXPECT_EQ(shared.index_name(), "it.safetensors.index.json");
  shared.create(root_);
  EXPECT_EQ(files(), (std::vector<std::string>{shared.names()[0], shared.names()[1], shared.index_name()}));
  fs::rename(root_ / shared.names()[1], root_ / "away");
  shared.write(root_, {rows(0, 2, 4), rows(1, 0, 6)});  // opens only what it writes into
  fs::rename(root_ / "away", root_ / shared.names()[1]);
  shared.write(root_, {rows(2, 0, 6), rows(0, 0, 2)});
  for (size_t shard = 0; shard < 2; ++shard) {
    const size_t first = shard * 2, n = 2 - shard;
    save_safetensors(root_ / "one", {tensors_.begin() + long(first), tensors_.begin() + long(first + n)},
                     {{"format", "pt"}});
    EXPECT_EQ(read_file(root_ / shared.names()[shard]), read_file(root_ / "one")) << shard;
  }
  const TensorFiles read = TensorFiles::open(root_, "it");
  EXPECT_EQ(read.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(read.file_of("b"), shared.names()[1]);
  EXPECT_TRUE(read.notices().empty()) << "total_size is right";
}

TEST_F(SharedTensorFilesTest, OneFileHasNoIndexAndNoTensorsHaveNoFile) {
  const SharedTensorFiles shared("it", entries_, 288);
  EXPECT_EQ(shared.names(), std::vector<std::string>{"it.safetensors"});
  shared.create(root_);
  EXPECT_EQ(files(), shared.names());
  EXPECT_EQ(SharedTensorFiles("it", entries_, 287).names().size(), 2u);
  EXPECT_TRUE(SharedTensorFiles("it", {}, 287).names().empty());
}

TEST_F(SharedTensorFilesTest, RefusesWhatDoesNotBelong) {
  const SharedTensorFiles shared("it", entries_, 200);
  EXPECT_ERROR(shared.write(root_, {rows(0, 0, 1)}), ErrorKind::not_found, "it-00001-of-00002.safetensors");
  shared.create(root_);
  EXPECT_ERROR(shared.write(root_, {{"d", 0, 0, tensors_[0].tensor}}), ErrorKind::internal, "'d'");
  EXPECT_ERROR(SharedTensorFiles("it", {entries_[0], entries_[1], entries_[0]}, 100), ErrorKind::internal, "'c'",
               "twice");
}

}  // namespace
}  // namespace hadal
