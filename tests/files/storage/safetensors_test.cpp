// Safetensors: what is written comes back, its layout is the format's, and every damaged file is refused with its fault
// named.
#include "storage/safetensors.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

class Safetensors : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("hadal_safetensors_" + std::to_string(::getpid()));
    std::filesystem::create_directories(directory_);
    path_ = directory_ / "a file ü.safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void write_raw(const std::string& header, size_t data_bytes, uint64_t claimed = UINT64_MAX) {
    const uint64_t length = claimed == UINT64_MAX ? header.size() : claimed;
    std::ofstream out(path_, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), 8);
    out << header << std::string(data_bytes, '\x01');
  }
  void refused(const std::string& part, ErrorKind kind = ErrorKind::corrupt) {
    try {
      SafetensorsReader reader(path_);
      FAIL() << "accepted; wanted an error with '" << part << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(path_.string()), std::string::npos) << error.what();
    }
  }

  OwnedExec owned_{1, Isa::reference};
  std::filesystem::path directory_, path_;
};

TEST_F(Safetensors, GiveBackEveryDtypeShapeAndMetadata) {
  const Exec& exec = owned_.exec;
  std::vector<NamedTensor> written;
  for (DType dtype :
       {DType::u8, DType::i32, DType::i64, DType::f16, DType::bf16, DType::f32, DType::f64, DType::f8_e4m3}) {
    Tensor tensor = Tensor::empty(exec, dtype, {3, 2, 5});
    auto* bytes = static_cast<uint8_t*>(tensor.raw());
    for (int64_t i = 0; i < tensor.bytes(); ++i) bytes[i] = uint8_t(i * 37 + int(dtype));
    written.push_back({std::string("t.") + dtype_name(dtype), tensor});
  }
  written.push_back({"scalar", Tensor::from<double>(exec, {2.5}, {})});
  written.push_back({"none", Tensor::empty(exec, DType::f32, {4, 0})});
  save_safetensors(path_, written, {{"format", "pt"}, {"quote\"", "line\nline"}});

  SafetensorsReader reader(path_);
  EXPECT_EQ(reader.entries().size(), written.size());
  EXPECT_EQ(reader.metadata().at("format"), "pt");
  EXPECT_EQ(reader.metadata().at("quote\""), "line\nline");
  for (const NamedTensor& named : written) {
    const Tensor read = reader.tensor(named.name);
    EXPECT_EQ(read.dtype(), named.tensor.dtype());
    EXPECT_EQ(read.shape(), named.tensor.shape());
    EXPECT_EQ(std::memcmp(read.raw(), named.tensor.raw(), size_t(named.tensor.bytes())), 0) << named.name;
  }
}

TEST_F(Safetensors, WritingThroughAViewChangesNeitherTheFileNorOtherReaders) {
  save_safetensors(path_, {{"w", Tensor::from<float>(owned_.exec, {1, 2, 3}, {3})}});
  const SafetensorsReader reader(path_), other(path_);
  const Tensor view = reader.tensor("w");
  view.data<float>()[1] = 7;
  EXPECT_EQ(element(reader.tensor("w"), 1), 7);
  EXPECT_EQ(element(other.tensor("w"), 1), 2);
  EXPECT_EQ(element(SafetensorsReader(path_).tensor("w"), 1), 2);
  EXPECT_NO_THROW(reader.check_intact());
}

TEST_F(Safetensors, AlignTheDataAndLeaveNoGaps) {
  const Exec& exec = owned_.exec;
  save_safetensors(path_, {{"byte", Tensor::from<uint8_t>(exec, {1, 2, 3}, {3})},
                           {"wide", Tensor::from<double>(exec, {1, 2}, {2})},
                           {"single", Tensor::from<float>(exec, {1, 2, 3}, {3})}});
  std::ifstream in(path_, std::ios::binary);
  uint64_t length = 0;
  in.read(reinterpret_cast<char*>(&length), 8);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_EQ(std::filesystem::file_size(path_), 8 + length + 16 + 12 + 3);
  SafetensorsReader reader(path_);
  EXPECT_EQ(reader.names(), (std::vector<std::string>{"wide", "single", "byte"}));
  for (const auto& entry : reader.entries())
    EXPECT_EQ(entry.begin % uint64_t(dtype_bytes(entry.dtype)), 0u) << entry.name;
}

TEST_F(Safetensors, WriteStridedRowsAndKeepViewsAliveAfterTheReader) {
  const Exec& exec = owned_.exec;
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 0.f);
  save_safetensors(path_, {{"columns", Tensor::from<float>(exec, values, {3, 4}).col_range(1, 2)}});
  Tensor read;
  {
    SafetensorsReader reader(path_);
    read = reader.tensor("columns");
  }
  std::filesystem::remove(path_);
  EXPECT_EQ(read.shape(), (Shape{3, 2}));
  const float expected[] = {1, 2, 5, 6, 9, 10};
  EXPECT_EQ(std::memcmp(read.raw(), expected, sizeof expected), 0);
}

TEST_F(Safetensors, ReadDataThatTheFileDidNotAlign) {
  std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  write_raw(header, 9);
  SafetensorsReader reader(path_);
  const Tensor b = reader.tensor("b");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.raw()) % 4, 0u);
  uint32_t bits = 0;
  std::memcpy(&bits, b.raw(), 4);
  EXPECT_EQ(bits, 0x01010101u);
}

TEST_F(Safetensors, LeaveTheOldFileUntilCommit) {
  const Exec& exec = owned_.exec;
  save_safetensors(path_, {{"x", Tensor::from<int32_t>(exec, {7}, {1})}});
  {
    SafetensorsWriter writer(path_, {{"x", DType::i32, {1}}, {"y", DType::i32, {1}}});
    writer.write("x", Tensor::from<int32_t>(exec, {8}, {1}));
    EXPECT_ERROR(writer.commit(), ErrorKind::invalid, "1 of 2 tensors were written; 'y' is due");
  }
  EXPECT_EQ(*SafetensorsReader(path_).tensor("x").data<int32_t>(), 7);
  int files = 0;
  for ([[maybe_unused]] const auto& item : std::filesystem::directory_iterator(directory_)) ++files;
  EXPECT_EQ(files, 1) << "a temporary was left behind";
}

TEST_F(Safetensors, RefuseToWriteWhatWasNotDeclared) {
  const Exec& exec = owned_.exec;
  EXPECT_ERROR(SafetensorsWriter(path_, {{"x", DType::f32, {1}}, {"x", DType::f32, {1}}}), ErrorKind::invalid,
               "tensor 'x' is declared twice");
  EXPECT_ERROR(SafetensorsWriter(path_, {{"__metadata__", DType::f32, {1}}}), ErrorKind::invalid,
               "a tensor may not be named '__metadata__'");
  SafetensorsWriter writer(path_, {{"x", DType::f32, {2}}, {"y", DType::f32, {1}}});
  EXPECT_ERROR(writer.write("y", Tensor::from<float>(exec, {1}, {1})), ErrorKind::invalid,
               "tensor 'y' is written where 'x' is due")
      << "order";
  EXPECT_ERROR(writer.write("x", Tensor::from<float>(exec, {1}, {1})), ErrorKind::invalid,
               "tensor 'x' is F32 [1], declared F32 [2]")
      << "shape";
  EXPECT_ERROR(writer.write("x", Tensor::from<double>(exec, {1, 2}, {2})), ErrorKind::invalid,
               "tensor 'x' is F64 [2], declared F32 [2]")
      << "dtype";
  writer.write("x", Tensor::from<float>(exec, {1, 2}, {2}));
  writer.write("y", Tensor::from<float>(exec, {3}, {1}));
  EXPECT_ERROR(writer.write("z", Tensor::from<float>(exec, {3}, {1})), ErrorKind::invalid,
               "tensor 'z' was not declared, or comes after the last one")
      << "too many";
  writer.commit();
}

TEST_F(Safetensors, NameTheNearestTensorWhenOneIsMissing) {
  save_safetensors(path_, {{"layers.0.attention.o", Tensor::from<float>(owned_.exec, {1}, {1})}});
  SafetensorsReader reader(path_);
  try {
    reader.tensor("layers.0.attention.q");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_NE(std::string(error.what()).find("'layers.0.attention.o'"), std::string::npos) << error.what();
  }
}

TEST_F(Safetensors, RefuseFilesThatAreNotSafetensors) {
  { std::ofstream(path_) << "abc"; }
  refused("3 bytes");
  { std::ofstream out(path_); }
  refused("0 bytes");
  { std::ofstream(path_) << "this is a plain text file, not tensors"; }
  refused("claims");
  write_raw("{}", 0, 200'000'000);
  refused("claims");
  write_raw("{\"a\": ", 0);
  refused("not valid JSON");
  write_raw("[]", 0);
  refused("not a JSON object");
  write_raw("{\"\xff\": 1}", 0);
  refused("not valid JSON");
  write_raw(R"({"__metadata__": {"a": 1}})", 0);
  refused("metadata 'a'");
  std::filesystem::remove(path_);
  refused("", ErrorKind::not_found);
}

TEST_F(Safetensors, RefuseDamagedEntries) {
  const auto one = [&](const std::string& entry, const std::string& part, size_t bytes = 8,
                       ErrorKind kind = ErrorKind::corrupt) {
    write_raw("{\"a\":" + entry + "}", bytes);
    refused(part, kind);
  };
  one("3", "not an object");
  one(R"({"dtype":"F32","shape":[2]})", "lacks \"data_offsets\"");
  one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1})", "keys beside");
  one(R"({"dtype":"Q4","shape":[2],"data_offsets":[0,8]})", "dtype 'Q4'", 8, ErrorKind::unsupported);
  one(R"({"dtype":4,"shape":[2],"data_offsets":[0,8]})", "wanted a string");
  one(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})", "not an array");
  one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})", "is -2");
  one(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,8]})", "is 1.5");
  one(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})", "whole number");
  one(R"({"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]})", "overflows");
  one(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})", "not a pair");
  one(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})", "backwards");
  one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})", "12 bytes");
  one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "truncated", 7);
  one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", "trailing", 9);
  one(R"({"dtype":"F32","shape":[2],"data_offsets":[4,12]})", "belong to no tensor", 12);
}

TEST_F(Safetensors, RefuseOverlapsAndRepeatedNames) {
  write_raw(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
      12);
  refused("inside the tensor before it");
  write_raw(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
      8);
  refused("stands twice");
}

TEST_F(Safetensors, RefuseATruncatedFileAtEveryLength) {
  save_safetensors(path_, {{"a", Tensor::from<float>(owned_.exec, {1, 2, 3}, {3})},
                           {"b", Tensor::from<uint8_t>(owned_.exec, {9}, {1})}});
  const auto whole = std::filesystem::file_size(path_);
  for (uintmax_t bytes = whole; bytes-- > 0;) {
    std::filesystem::resize_file(path_, bytes);
    EXPECT_ERROR(SafetensorsReader{path_}, ErrorKind::corrupt, "not a valid safetensors file") << bytes;
  }
}

}  // namespace
}  // namespace hadal
