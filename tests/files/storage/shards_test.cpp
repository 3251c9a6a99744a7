// Where a list of tensors is cut into files, what these are called, and how they are found again.
#include "storage/shards.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "storage/tensor_files.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

TEST(Shards, ATensorLargerThanAShardStandsAlone) {
  std::vector<TensorSize> tensors(4);
  for (size_t i = 0; i < 4; ++i) tensors[i] = {std::string(1, char('a' + i)), i == 1 ? 100u : 4u};
  EXPECT_EQ(cut_shards(tensors, 10), (std::vector<std::vector<size_t>>{{0}, {1}, {2, 3}}));
  EXPECT_EQ(cut_shards(tensors, 0).size(), 1u);
  tensors[3].name = "c_scale_inv";
  EXPECT_EQ(cut_shards(tensors, 4), (std::vector<std::vector<size_t>>{{0}, {1}, {2, 3}})) << "scales stay with codes";
}

TEST(Shards, NamesTellWhichFilesTheyAre) {
  EXPECT_EQ(tensor_file_name("model", 0, 1), "model.safetensors");
  EXPECT_EQ(tensor_file_name("optimizer", 4, 12), "optimizer-00005-of-00012.safetensors");
  for (const std::string name :
       {"optimizer.safetensors", "optimizer-00005-of-00012.safetensors", "optimizer.safetensors.index.json"}) {
    EXPECT_TRUE(is_tensor_file(name, "optimizer")) << name;
    EXPECT_FALSE(is_tensor_file(name, "model")) << name;
  }
  for (const char* name : {"model.json", "models.safetensors", "model", "model-card.md"})
    EXPECT_FALSE(is_tensor_file(name, "model")) << name;
}

TEST(Shards, AnIndexComesFirstAndIsReadAsItWasWritten) {
  const fs::path root = fs::temp_directory_path() / ("hadal shards " + std::to_string(getpid()));
  fs::create_directories(root);
  EXPECT_EQ(tensor_file_in(root, "model"), std::nullopt);
  atomic_write(root / "model.safetensors", "");
  EXPECT_EQ(tensor_file_in(root, "model"), root / "model.safetensors");
  EXPECT_EQ(tensor_file_in(root, "optimizer"), std::nullopt);
  const std::map<std::string, std::string> weight_map = {{"a", "model-00002-of-00002.safetensors"},
                                                         {"b", "model-00001-of-00002.safetensors"}};
  const std::string text = tensor_index_text(weight_map, 77);
  atomic_write(root / tensor_index_name("model"), text);
  EXPECT_EQ(tensor_file_in(root, "model"), root / "model.safetensors.index.json");
  const SafetensorsIndex index = parse_safetensors_index(text, "it");
  EXPECT_EQ(index.weight_map, weight_map);
  EXPECT_EQ(index.total_size, 77);
  fs::remove_all(root);
}

}  // namespace
}  // namespace hadal
