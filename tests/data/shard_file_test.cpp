#include "data/shard_file.h"

#include "base/expect_error.h"
#include "data/data_testing.h"

namespace hadal::data {
namespace {

ShardInfo info_of(int64_t token_bytes) {
  ShardInfo info;
  info.source = 3, info.unit = 7, info.split = Split::held_out, info.token_bytes = token_bytes;
  info.tokenizer_hash = std::string(64, 'a');
  info.plan = std::string(64, 'b');
  return info;
}

std::vector<uint8_t> bytes_of(const fs::path& path) {
  const std::string text = read_file(path);
  return {text.begin(), text.end()};
}

fs::path write_small(const TempDir& dir, int64_t token_bytes) {
  const fs::path path = dir / "x.shard";
  ShardWriter writer(path, info_of(token_bytes));
  writer.add(std::vector<int32_t>{1, 2, token_bytes == 2 ? 65535 : 100000}, 11, 0x1234);
  writer.add(std::vector<int32_t>{}, 0, 5);
  writer.add(std::vector<int32_t>{9, 8}, 4, 6);
  writer.commit();
  return path;
}

TEST(ShardFile, GivesBackWhatWasWritten) {
  TempDir dir;
  for (int64_t width : {2, 4}) {
    const ShardFile shard = ShardFile::open(write_small(dir, width));
    EXPECT_EQ(shard.info().n_documents, 3);
    EXPECT_EQ(shard.info().n_tokens, 5);
    EXPECT_EQ(shard.info().n_raw_bytes, 15);
    EXPECT_EQ(shard.info().source, 3);
    EXPECT_EQ(shard.info().unit, 7);
    EXPECT_EQ(shard.info().split, Split::held_out);
    EXPECT_EQ(shard.info().plan, std::string(64, 'b'));
    EXPECT_EQ(shard.document(0).hash, 0x1234u);
    EXPECT_EQ(shard.max_token(), width == 2 ? 65535 : 100000);
    std::vector<int32_t> tokens;
    shard.tokens(0, tokens);
    EXPECT_EQ(tokens, (std::vector<int32_t>{1, 2, width == 2 ? 65535 : 100000}));
    shard.tokens(1, tokens);
    EXPECT_TRUE(tokens.empty());
    shard.tokens(2, tokens);
    EXPECT_EQ(tokens, (std::vector<int32_t>{9, 8}));
  }
}

TEST(ShardFile, HasTheBytesThatItsHeaderDescribes) {
  TempDir dir;
  const auto bytes = bytes_of(write_small(dir, 2));
  EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 8), "HADALSHD");
  ASSERT_EQ(bytes.size(), 224u + 10 + 6 + 3 * 32);
  EXPECT_EQ(bytes[8], 1);
  EXPECT_EQ(bytes[12], 2);
  EXPECT_EQ(bytes[16], 3);
  EXPECT_EQ(bytes[24], 5);
  EXPECT_EQ(bytes[224], 1);
  EXPECT_EQ(bytes[228], 0xff);
}

TEST(ShardFile, NoticesEveryFlippedBit) {
  TempDir dir;
  const fs::path path = write_small(dir, 2);
  const auto bytes = bytes_of(path);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] ^= uint8_t(1u << (bit % 8));
    const bool version = bit / 8 >= 8 && bit / 8 < 12;
    EXPECT_ERROR(ShardFile::from_bytes(damaged, "damaged.shard"), version ? ErrorKind::unsupported : ErrorKind::corrupt,
                 "damaged.shard", "hadal data build")
        << "bit " << bit;
  }
  EXPECT_NO_THROW(ShardFile::from_bytes(bytes, "whole.shard"));
}

TEST(ShardFile, NoticesEveryTruncationAndAnythingAppended) {
  TempDir dir;
  const auto bytes = bytes_of(write_small(dir, 4));
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_ERROR(ShardFile::from_bytes({bytes.begin(), bytes.begin() + int64_t(n)}, "short.shard"), ErrorKind::corrupt,
                 "short.shard", "hadal data build")
        << n;
  }
  auto longer = bytes;
  longer.push_back(0);
  EXPECT_ERROR(ShardFile::from_bytes(longer, "long.shard"), ErrorKind::corrupt,
               "'long.shard' is damaged: it has 345 bytes, its header says 344");
}

TEST(ShardFile, ErrorsNameTheFileAndTheRemedy) {
  TempDir dir;
  const fs::path path = write_small(dir, 2);
  std::string text = read_file(path);
  text[230] ^= 4;
  write_text(path, text);
  expect_error(ErrorKind::corrupt, {"x.shard", "checksum", "hadal data build"}, [&] { ShardFile::open(path); });
  write_text(path, text.substr(0, 300));
  expect_error(ErrorKind::corrupt, {"x.shard", "300 bytes", "hadal data build"}, [&] { ShardFile::open(path); });
  write_text(path, std::string(500, 'n'));
  expect_error(ErrorKind::corrupt, {"x.shard", "not a shard"}, [&] { ShardFile::open(path); });
  write_text(path, "");
  expect_error(ErrorKind::corrupt, {"x.shard", "0 bytes"}, [&] { ShardFile::open(path); });
  text[8] = 9;
  write_text(path, text);
  expect_error(ErrorKind::unsupported, {"x.shard", "format 9"}, [&] { ShardFile::open(path); });
}

TEST(ShardFile, ThatIsCutOffWhileInUseEndsInAnErrorThatNamesIt) {
  TempDir dir;
  const fs::path path = dir / "x.shard";
  {
    ShardWriter writer(path, info_of(2));
    for (int d = 0; d < 3; ++d) writer.add(std::vector<int32_t>(40000, 7), 40000, 1);
    writer.commit();
  }
  for (int64_t left : {100000, 5000, 0}) {  // behind the first document, in the middle of it, in the header
    const fs::path copy = dir / "copy.shard";
    fs::copy(path, copy, fs::copy_options::overwrite_existing);
    const ShardFile shard = ShardFile::open(copy);
    std::vector<int32_t> tokens;
    shard.tokens(0, tokens);
    EXPECT_EQ(tokens, std::vector<int32_t>(40000, 7));
    fs::resize_file(copy, uintmax_t(left));
    for (int64_t d : {0, 1, 2})
      expect_error(ErrorKind::corrupt, {"copy.shard", "cut off"}, [&] { shard.tokens(d, tokens); });
  }
}

TEST(ShardFile, ThatIsRemovedOrReplacedWhileInUseStaysAsItWas) {
  TempDir dir;
  const fs::path path = write_small(dir, 2);
  const ShardFile shard = ShardFile::open(path);
  fs::remove(path);
  std::vector<int32_t> tokens;
  shard.tokens(2, tokens);
  EXPECT_EQ(tokens, (std::vector<int32_t>{9, 8}));
  write_text(path, "another");
  shard.tokens(2, tokens);
  EXPECT_EQ(tokens, (std::vector<int32_t>{9, 8}));
}

TEST(ShardFile, LeavesNothingBehindWithoutCommit) {
  TempDir dir;
  {
    ShardWriter writer(dir / "x.shard", info_of(2));
    writer.add(std::vector<int32_t>{1}, 1, 1);
  }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

}  // namespace
}  // namespace hadal::data
