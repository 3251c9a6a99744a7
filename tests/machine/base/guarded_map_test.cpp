// A mapped file that is cut off or written over while it is used ends in an Error, never in a signal.
#include "base/guarded_map.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class GuardedMapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / ("hadal guarded map " + std::to_string(getpid()));
    write(std::string(1 << 20, 'x'));
  }
  void TearDown() override { fs::remove(path_); }
  void write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  static std::string message(const GuardedMap& map) {
    try {
      map.check_intact();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      return error.what();
    }
    return "";
  }
  static size_t count(const GuardedMap& map, char letter) {
    size_t n = 0;
    for (char c : map.text()) n += c == letter;
    return n;
  }
  fs::path path_;
};

TEST_F(GuardedMapTest, ReadsTheFile) {
  const GuardedMap map(path_);
  EXPECT_EQ(map.size(), size_t(1) << 20);
  EXPECT_EQ(count(map, 'x'), size_t(1) << 20);
  char piece[4] = {};
  map.read_at(1000, piece, 3);
  EXPECT_STREQ(piece, "xxx");
  EXPECT_EQ(message(map), "");
  EXPECT_ERROR(GuardedMap("/nonexistent/file"), ErrorKind::not_found,
               "cannot read '/nonexistent/file': No such file or directory");
  EXPECT_ERROR(GuardedMap(fs::temp_directory_path()), ErrorKind::io, "it is not a regular file");
}

TEST_F(GuardedMapTest, AFileThatIsCutOffReadsAsZerosAndIsNamed) {
  const GuardedMap map(path_), other(path_);
  fs::resize_file(path_, 5000);
  EXPECT_EQ(count(map, 'x'), 5000u);
  EXPECT_EQ(count(map, '\0'), (size_t(1) << 20) - 5000);
  EXPECT_NE(message(map).find("5000 bytes, 1048576 when it was opened"), std::string::npos) << message(map);
  EXPECT_NE(message(map).find(path_.string()), std::string::npos);
  EXPECT_NE(message(other), "");  // though nobody read it
  char piece[16];
  map.read_at(4000, piece, 16);
  EXPECT_ERROR(map.read_at(4990, piece, 16), ErrorKind::corrupt,
               "ends at byte 5000, 1048576 when it was opened: cut off while in use");
}

TEST_F(GuardedMapTest, ManyThreadsMayMeetTheEndAtOnce) {
  const GuardedMap map(path_);
  fs::resize_file(path_, 0);
  std::vector<std::thread> threads;
  std::vector<size_t> zeros(4);
  for (int t = 0; t < 4; ++t) threads.emplace_back([&, t] { zeros[size_t(t)] = count(map, '\0'); });
  for (auto& thread : threads) thread.join();
  for (size_t n : zeros) EXPECT_EQ(n, size_t(1) << 20);
  EXPECT_NE(message(map), "");
}

TEST_F(GuardedMapTest, AFileThatIsWrittenOverIsNamed) {
  const GuardedMap map(path_);
  fs::last_write_time(path_, fs::last_write_time(path_) + std::chrono::seconds(3));
  EXPECT_NE(message(map).find("written to while in use"), std::string::npos);
}

TEST_F(GuardedMapTest, ARemovedOrReplacedFileStaysAsItWas) {
  const GuardedMap map(path_);
  fs::remove(path_);
  write("another");
  EXPECT_EQ(count(map, 'x'), size_t(1) << 20);
  EXPECT_EQ(message(map), "");
}

TEST_F(GuardedMapTest, WhatIsWrittenThroughItStaysHere) {
  const GuardedMap map(path_), other(path_);
  map.private_data()[5000] = '!';
  EXPECT_EQ(map.data()[5000], '!');
  EXPECT_EQ(count(other, 'x'), size_t(1) << 20);
  std::ifstream file(path_, std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), std::string(1 << 20, 'x'));
  EXPECT_EQ(message(map), "");
  fs::resize_file(path_, 8192);
  map.private_data()[9000] = '!';  // a page that is no longer there, written before it was read
  EXPECT_NE(message(map), "");
}

TEST_F(GuardedMapTest, OneOfManyNamesItsFileAndKeepsItOpenNot) {
  std::vector<std::unique_ptr<GuardedMap>> maps;
  rlimit few{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &few), 0);
  const rlimit before = few;
  few.rlim_cur = 64;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  for (int i = 0; i < 200; ++i) maps.push_back(std::make_unique<GuardedMap>(path_, GuardedMap::Use::many));
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(message(*maps[150]), "");
  fs::resize_file(path_, 5000);
  EXPECT_NE(message(*maps[150]).find(path_.string()), std::string::npos);
  EXPECT_EQ(count(*maps[199], 'x'), 5000u);
  fs::remove(path_);
  EXPECT_EQ(message(*maps[150]), "");  // never read, and the file that was opened is out of reach
  EXPECT_NE(message(*maps[199]), "");
  write("another");
}

TEST(GuardedMapDeathTest, OtherBusErrorsEndTheProgramAsEver) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer takes the signal and reports it";
#endif
  const fs::path path = fs::temp_directory_path() / ("hadal guarded death " + std::to_string(getpid()));
  std::ofstream(path) << std::string(8192, 'y');
  EXPECT_EXIT(
      {
        const GuardedMap guarded(path);  // the handler is there
        const int file = ::memfd_create("plain", 0);
        if (::ftruncate(file, 8192) != 0) _exit(3);
        auto* plain = static_cast<volatile char*>(::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, file, 0));
        if (::ftruncate(file, 0) != 0) _exit(3);
        _exit(plain[4096]);
      },
      ::testing::KilledBySignal(SIGBUS), "");
  fs::remove(path);
}

}  // namespace
}  // namespace hadal
