// A file that several write together has the bytes of one that one wrote.
#include "storage/shared_safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/expect_error.h"
#include "base/file_size_limit.h"
#include "base/files.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class SharedSafetensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("hadal shared " + std::to_string(getpid()));
    fs::create_directories(root_);
    for (int i = 0; i < 12; ++i) numbers_.push_back(float(i + 1));
    a_ = Tensor::from<float>(owned_.exec, numbers_, {3, 4});
    b_ = Tensor::from<float>(owned_.exec, numbers_, {12}).to(owned_.exec, DType::f64);
    save_safetensors(root_ / "one", {{"a", a_}, {"b", b_}}, {{"format", "pt"}});
    shared_ = std::make_unique<SharedSafetensors>(
        std::vector<SafetensorsEntry>{{"a", DType::f32, {3, 4}}, {"b", DType::f64, {12}}},
        SafetensorsMetadata{{"format", "pt"}});
  }
  void TearDown() override { fs::remove_all(root_); }

  OwnedExec owned_{1};
  fs::path root_;
  std::vector<float> numbers_;
  Tensor a_, b_;
  std::unique_ptr<SharedSafetensors> shared_;
};

TEST_F(SharedSafetensorsTest, HasTheBytesOfOneWriterWhateverTheParts) {
  const fs::path file = root_ / "shared";
  atomic_write(file, std::string(5000, 'x'));  // longer than what will be there
  shared_->create(file);
  EXPECT_EQ(fs::file_size(file), fs::file_size(root_ / "one"));
  shared_->write(file, {{"b", 0, 7, b_.view({1, 12}).col_range(7, 5)}, {"a", 1, 0, a_.row_range(1, 2)}});
  shared_->write(file, {});
  shared_->write(file,
                 {{"a", 0, 2, a_.row_range(0, 1).col_range(2, 2)}, {"b", 0, 0, b_.view({1, 12}).col_range(0, 7)}});
  EXPECT_NE(read_file(file), read_file(root_ / "one")) << "two elements are missing";
  shared_->write(file, {{"a", 0, 0, a_.row_range(0, 2).col_range(0, 2)}});  // strided rows
  EXPECT_EQ(read_file(file), read_file(root_ / "one"));
}

TEST_F(SharedSafetensorsTest, RefusesWhatDoesNotBelong) {
  const fs::path file = root_ / "shared";
  EXPECT_ERROR(shared_->write(file, {}), ErrorKind::not_found, "shared", "no such file");
  shared_->create(file);
  EXPECT_ERROR(shared_->write(file, {{"c", 0, 0, a_}}), ErrorKind::internal, "'c'", "not in it");
  EXPECT_ERROR(shared_->write(file, {{"a", 1, 0, a_}}), ErrorKind::internal, "from row 1, column 0 of 'a'");
  EXPECT_ERROR(shared_->write(file, {{"a", 0, 1, a_}}), ErrorKind::internal, "from row 0, column 1 of 'a'");
  EXPECT_ERROR(shared_->write(file, {{"b", 0, 0, a_.view({1, 12})}}), ErrorKind::internal, "F32", "F64");
  const FileSizeLimit little(fs::file_size(file) - 1);
  EXPECT_ERROR(shared_->create(file), ErrorKind::io, "shared", "ulimit -f");
  EXPECT_ERROR(SharedSafetensors({{"a", DType::f32, {3, 4}}}).write("/dev/full", {{"a", 0, 0, a_}}), ErrorKind::io,
               "/dev/full", "the disk is full");
}

}  // namespace
}  // namespace hadal
