// One file or shards: the same tensors; and everything that an index can get wrong is refused by name.
#include "storage/tensor_files.h"

#include <fstream>

#include "base/expect_error.h"
#include "exchange/hf_directory.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class TensorFilesTest : public testing::HfDirectory {};

TEST_F(TensorFilesTest, ShardsHoldWhatOneFileHolds) {
  write(3);
  const auto files = TensorFiles::open(root_);
  EXPECT_EQ(files.n_files(), 3);
  ASSERT_EQ(files.names().size(), tensors_.size());
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : tensors_) {
    EXPECT_TRUE(same(files.tensor(name), tensor)) << name;
    EXPECT_EQ(files.file_of(name), index_["weight_map"][name].get<std::string>());
    bytes += uint64_t(tensor.bytes());
  }
  EXPECT_EQ(files.bytes(), bytes);
  EXPECT_TRUE(files.notices().empty());
  const Tensor part = Tensor::zeros(owned_.exec, DType::f32, {5, 10}), strided = part.row_range(1, 3).col_range(2, 6);
  files.read_part("model.embed_tokens.weight", 7, 4, strided);
  EXPECT_EQ(files.bytes_read(), 3u * 6 * sizeof(float));
  for (int64_t r = 0; r < 5; ++r) {
    for (int64_t c = 0; c < 10; ++c) {
      const bool in = r >= 1 && r < 4 && c >= 2 && c < 8;
      EXPECT_EQ(element(part, r * 10 + c),
                in ? element(tensors_["model.embed_tokens.weight"], (6 + r) * 24 + 2 + c) : 0);
    }
  }
  try {
    files.entry("model.embed_tokens.weigh");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("nearest name is 'model.embed_tokens.weight'"), std::string::npos);
  }
}

TEST_F(TensorFilesTest, AnIndexMayNameOneFileAndItsTotalMayCountHeaders) {
  write(1);
  index_["metadata"]["total_size"] = fs::file_size(root_ / shard_name(0));
  write_index();
  EXPECT_TRUE(TensorFiles::open(root_).notices().empty());
  index_["metadata"]["total_size"] = 12345;
  write_index();
  const auto notices = TensorFiles::open(root_).notices();
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_NE(notices[0].find("total_size says 12345"), std::string::npos);
}

TEST_F(TensorFilesTest, TensorsMustStandWhereTheIndexSaysAndNowhereElse) {
  write(2);
  const auto good = index_;
  index_["weight_map"]["lm_head.weight"] = shard_name(index_["weight_map"]["lm_head.weight"] == shard_name(0) ? 1 : 0);
  write_index();
  refused(ErrorKind::corrupt, {"'lm_head.weight'", "does not hold it"});
  index_ = good;
  index_["weight_map"]["model.invented.weight"] = shard_name(0);
  write_index();
  refused(ErrorKind::corrupt, {"'model.invented.weight'", "does not hold it", shard_name(0)});
  index_ = good;
  index_["weight_map"].erase("model.norm.weight");
  write_index();
  refused(ErrorKind::corrupt, {"'model.norm.weight'", "which the index does not list"});
  index_ = good;
  index_["weight_map"]["model.norm.weight"] = shard_name(2);
  write_index();
  refused(ErrorKind::not_found, {shard_name(2), "not in the directory"});
  save_safetensors(root_ / shard_name(2), {{"model.norm.weight", tensors_["model.norm.weight"]}});
  refused(ErrorKind::corrupt, {"'model.norm.weight'", "stands in shard", shard_name(2)});
}

TEST_F(TensorFilesTest, ShardsOutsideOfTheDirectoryAreRefused) {
  write(2);
  const auto good = index_;
  const std::vector<std::string> outside_names = {
      "../model-0.safetensors", "/etc/passwd", "..", ".", "", "sub/model.safetensors", "a\\b", std::string("a\0b", 3)};
  for (const auto& name : outside_names) {
    index_ = good;
    index_["weight_map"]["lm_head.weight"] = name;
    write_index();
    refused(ErrorKind::corrupt, {"'lm_head.weight'", "own directory"});
  }
}

TEST_F(TensorFilesTest, LinksAreFollowedWhereverTheyLead) {
  write(2);
  const fs::path store = root_.string() + " store";
  fs::create_directories(store / "deep");
  for (const std::string& name : {shard_name(1), std::string("model.safetensors.index.json")}) {
    fs::rename(root_ / name, store / "deep" / "x");
    fs::create_symlink("deep/x", store / name);  // a link to a link
    fs::create_symlink(store / name, root_ / name);
    EXPECT_EQ(TensorFiles::open(root_).names().size(), tensors_.size()) << name;
    fs::rename(store / "deep" / "x", store / name);
  }
  const fs::path other = root_.string() + " other";
  fs::create_directory_symlink(root_, other);
  EXPECT_EQ(TensorFiles::open(other).names().size(), tensors_.size());
  fs::remove(other);
  fs::remove(store / shard_name(1));
  refused(ErrorKind::not_found, {shard_name(1), "a link to", "nothing is there"});
  fs::remove_all(store);
}

TEST_F(TensorFilesTest, LinksInsideAndThoseOfADownloadCacheAreFollowed) {
  write(2);
  fs::rename(root_ / shard_name(1), root_ / "blob");
  fs::create_symlink("blob", root_ / shard_name(1));
  EXPECT_EQ(TensorFiles::open(root_).names().size(), tensors_.size());
  const fs::path snapshot = root_ / "models--x" / "snapshots" / "0123", blobs = root_ / "models--x" / "blobs";
  fs::create_directories(snapshot);
  fs::create_directories(blobs);
  fs::rename(root_ / "blob", blobs / "abcd");
  for (const char* name : {"config.json", "model.safetensors.index.json", "model-0.safetensors"})
    fs::rename(root_ / name, snapshot / name);
  fs::create_symlink("../../blobs/abcd", snapshot / shard_name(1));
  EXPECT_EQ(TensorFiles::open(snapshot).names().size(), tensors_.size());
}

TEST_F(TensorFilesTest, AnIndexThatIsNotOneIsRefused) {
  write(1);
  const auto says = [&](const std::string& text, const std::string& part) {
    atomic_write(root_ / "model.safetensors.index.json", text);
    refused(ErrorKind::corrupt, {part, "index.json"});
  };
  says("", "not valid JSON");
  says("[]", "not a JSON object");
  says("{\"weight_map\": []}", "no object \"weight_map\"");
  says("{}", "no object \"weight_map\"");
  says("{\"weight_map\": {}}", "empty");
  says("{\"weight_map\": {\"a\": 7}}", "shard of tensor 'a' is 7");
  says("{\"weight_map\": {\"a\": \"x\", \"a\": \"y\"}}", "'a' stands twice");
  says("{\"weight_map\": {\"a\": \"x\"}, \"metadata\": 3}", "\"metadata\" is not an object");
  says("{\"weight_map\": {\"a\": \"x\"}, \"metadata\": {\"total_size\": -1}}", "total_size is -1");
  says("{\"weight_map\": {\"a\": \"x\"}, \"metadata\": {\"total_size\": \"big\"}}", "total_size is \"big\"");
  says(std::string(100000, '['), "nested deeper");
  fs::remove(root_ / "model.safetensors.index.json");
  fs::remove(root_ / shard_name(0));
  EXPECT_ERROR(TensorFiles::open(root_), ErrorKind::not_found,
               "neither model.safetensors nor model.safetensors.index.json is in it");
}

TEST_F(TensorFilesTest, AnIndexBesideAFileThatItDoesNotNameIsAmbiguous) {
  write(2);
  write(0);
  refused(ErrorKind::corrupt, {"lists other files than model.safetensors"});
}

TEST_F(TensorFilesTest, AShardCutOffBeforeOrAfterOpeningIsNamed) {
  write(2);
  const auto shard = root_ / shard_name(1);
  const auto files = TensorFiles::open(root_);
  std::string name;
  uint64_t last = 0;
  for (const auto& [tensor, place] : index_["weight_map"].items())
    if (place == shard_name(1) && files.entry(tensor).end > last) name = tensor, last = files.entry(tensor).end;
  fs::resize_file(shard, fs::file_size(shard) / 2);
  EXPECT_ERROR(TensorFiles::open(root_), ErrorKind::corrupt, "truncated");
  double sum = 0;  // through the map: zeros, not a signal
  const Tensor cut = files.tensor(name);
  for (int64_t i = 0; i < cut.count(); ++i) sum += element(cut, i);
  try {
    files.check_intact();
    ADD_FAILURE() << sum;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_NE(std::string(error.what()).find(shard_name(1)), std::string::npos) << error.what();
  }
  const Tensor read = Tensor::empty(owned_.exec, cut.dtype(), cut.shape());
  EXPECT_ERROR(files.read_part(name, 0, 0, read), ErrorKind::corrupt, "cut off while in use");
}

}  // namespace
}  // namespace hadal
