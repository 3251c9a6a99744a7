// Files: atomic writes, maps, locks, globs, full and read-only disks.
#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "base/log.h"

namespace hadal {
namespace fs = std::filesystem;
namespace {

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "hadal files ä XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }
  static std::string message(const std::function<void()>& action, ErrorKind kind) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }
  fs::path dir_;
};

TEST_F(Files, WritesAtomicallyAndReadsBackAnyBytes) {
  std::string content(100001, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = char(i * 31);
  atomic_write(dir_ / "a b.bin", content);
  EXPECT_EQ(read_file(dir_ / "a b.bin"), content);
  atomic_write(dir_ / "a b.bin", "new");
  EXPECT_EQ(read_file(dir_ / "a b.bin"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), {}), 1) << "a temporary was left";
}

TEST_F(Files, WhatIsNoFileIsWrittenIntoAndStaysWhatItIs) {
  const fs::path pipe = dir_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string text(200000, 'x');  // more than a pipe holds
  std::ostringstream read;
  std::thread reader([&] { read << std::ifstream(pipe).rdbuf(); });
  atomic_write(pipe, text);
  reader.join();
  EXPECT_EQ(read.str(), text);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), {}), 1);
}

TEST_F(Files, LeavesTheOldFileWhenAWriteIsGivenUp) {
  atomic_write(dir_ / "x", "old");
  {
    AtomicFile file(dir_ / "x");
    file.write("half of the new");
  }
  EXPECT_EQ(read_file(dir_ / "x"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), {}), 1);
}

TEST_F(Files, WritesInPiecesAndPatchesEarlierBytes) {
  AtomicFile file(dir_ / "x");
  file.write("0000");
  file.write("tail");
  file.write_at(0, "head", 4);
  EXPECT_FALSE(fs::exists(dir_ / "x"));
  file.commit();
  EXPECT_EQ(read_file(dir_ / "x"), "headtail");
}

TEST_F(Files, NamesWhatIsMissingOrNotAFile) {
  EXPECT_NE(message([&] { read_file(dir_ / "none"); }, ErrorKind::not_found).find("none"), std::string::npos);
  EXPECT_NE(message([&] { read_file(dir_); }, ErrorKind::io).find("directory"), std::string::npos);
  EXPECT_NE(message([&] { MappedFile map(dir_ / "none"); }, ErrorKind::not_found).find("none"), std::string::npos);
  message([&] { atomic_write(dir_ / "no/such/x", "y"); }, ErrorKind::not_found);
  atomic_write(dir_ / "plain", "");
  EXPECT_NE(message([&] { make_directories(dir_ / "plain" / "sub"); }, ErrorKind::io).find("in the way"),
            std::string::npos);
}

// A file size limit makes write() fail in the middle, as a full disk does.
TEST_F(Files, KeepsTheOldFileWhenTheDiskIsFull) {
  atomic_write(dir_ / "x", "old");
  const fs::path target = dir_ / "x";
  EXPECT_EXIT(
      {
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit;
        limit.rlim_cur = limit.rlim_max = 4096;
        setrlimit(RLIMIT_FSIZE, &limit);
        try {
          atomic_write(target, std::string(100000, 'x'));
        } catch (const Error& error) {
          _exit(error.kind() == ErrorKind::io ? 7 : 8);
        }
        _exit(9);
      },
      ::testing::ExitedWithCode(7), "");
  EXPECT_EQ(read_file(target), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), {}), 1) << "a temporary was left";
}

TEST_F(Files, GoesOnWithoutALogWhoseDiskIsFull) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "/dev/full is not here";
  testing::internal::CaptureStderr();
  Log log(LogLevel::silent);
  log.open_file("/dev/full");
  log.info("this cannot be written, and the run goes on");
  log.info("this neither");
  const std::string text = testing::internal::GetCapturedStderr();
  const size_t first = text.find("going on without it");
  EXPECT_NE(first, std::string::npos) << text;
  EXPECT_EQ(text.find("going on without it", first + 1), std::string::npos) << "said more than once: " << text;
}

TEST_F(Files, MapsFilesAndEmptyFiles) {
  atomic_write(dir_ / "x", "some bytes");
  MappedFile map(dir_ / "x");
  EXPECT_EQ(map.text(), "some bytes");
  MappedFile moved = std::move(map);
  EXPECT_EQ(moved.text(), "some bytes");
  EXPECT_EQ(map.size(), 0u);
  atomic_write(dir_ / "empty", "");
  EXPECT_EQ(MappedFile(dir_ / "empty").size(), 0u);
}

TEST_F(Files, LocksOutASecondHolderAndNamesTheFirst) {
  {
    FileLock lock(dir_ / "lock", "run directory");
    EXPECT_TRUE(lock.held());
    const std::string text = message([&] { FileLock second(dir_ / "lock", "run directory"); }, ErrorKind::invalid);
    EXPECT_NE(text.find("run directory"), std::string::npos) << text;
    EXPECT_NE(text.find(std::to_string(getpid())), std::string::npos) << text;
  }
  FileLock again(dir_ / "lock");
  EXPECT_TRUE(again.held());
}

TEST_F(Files, ListsFilesByPathDirectoryAndPattern) {
  for (const char* name : {"b.txt", "a.txt", "c.md", "sub/d.txt", "sub/deep/e.txt", ".hidden.txt", "odd[1].txt"}) {
    fs::create_directories((dir_ / name).parent_path());
    atomic_write(dir_ / name, "x");
  }
  auto names = [&](const std::string& pattern) {
    std::vector<std::string> found;
    for (const auto& path : list_files((dir_ / pattern).string())) found.push_back(fs::relative(path, dir_).string());
    return found;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names("a.txt"), (Names{"a.txt"}));
  EXPECT_EQ(names("*.txt"), (Names{"a.txt", "b.txt", "odd[1].txt"}));
  EXPECT_EQ(names("odd[1].txt"), (Names{"odd[1].txt"}));
  EXPECT_EQ(names("**/*.txt"), (Names{"a.txt", "b.txt", "odd[1].txt", "sub/d.txt", "sub/deep/e.txt"}));
  EXPECT_EQ(names("sub"), (Names{"sub/d.txt", "sub/deep/e.txt"}));
  EXPECT_EQ(names("s*/[a-d].txt"), (Names{"sub/d.txt"}));
  message([&] { list_files((dir_ / "*.zip").string()); }, ErrorKind::not_found);
  message([&] { list_files((dir_ / "zip").string()); }, ErrorKind::not_found);
  message([&] { list_files(""); }, ErrorKind::invalid);
}

TEST_F(Files, FollowsLinksOnceAndNamesThoseToNothing) {
  for (const char* name : {"tree/a.txt", "tree/sub/b.txt", "src/c.txt", "src/deep/d.txt"}) {
    fs::create_directories((dir_ / name).parent_path());
    atomic_write(dir_ / name, "x");
  }
  fs::create_directory_symlink("../src", dir_ / "tree" / "lnk");
  fs::create_directory_symlink(".", dir_ / "tree" / "again");        // back to where it stands
  fs::create_directory_symlink("..", dir_ / "tree" / "sub" / "up");  // and to what is above
  fs::create_directory_symlink("sub", dir_ / "tree" / "also");       // what is there under its own name
  fs::create_symlink("../src/c.txt", dir_ / "tree" / "file");
  fs::create_symlink("nowhere", dir_ / "tree" / "gone.txt");
  std::vector<std::string> left_out;
  const auto names = [&](const std::string& pattern) {
    std::vector<std::string> found;
    left_out.clear();
    for (const auto& path : list_files((dir_ / pattern).string(), &left_out))
      found.push_back(fs::path(path).lexically_relative(dir_ / "tree").string());
    return found;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names("tree"), (Names{"a.txt", "file", "lnk/c.txt", "lnk/deep/d.txt", "sub/b.txt"}));
  EXPECT_EQ(left_out, (Names{"'" + (dir_ / "tree/gone.txt").string() + "' is a link to nothing"}));
  EXPECT_EQ(names("tree/**/*.txt"), (Names{"a.txt", "lnk/c.txt", "lnk/deep/d.txt", "sub/b.txt"}));
  EXPECT_EQ(left_out.size(), 1u);
  EXPECT_EQ(names("tree/lnk"), (Names{"lnk/c.txt", "lnk/deep/d.txt"}));
  EXPECT_EQ(names("tree/*/*.txt"), (Names{"again/a.txt", "also/b.txt", "lnk/c.txt", "sub/b.txt"}));
  EXPECT_NE(message([&] { list_files((dir_ / "tree/g*").string()); }, ErrorKind::not_found).find("link to nothing"),
            std::string::npos);
}

TEST_F(Files, KnowsTheFreeSpaceEvenOfAPathThatIsNotThereYet) {
  struct statvfs status {};
  ASSERT_EQ(statvfs(dir_.c_str(), &status), 0);
  const double expected = double(status.f_bavail) * double(status.f_frsize), slack = 256 << 20;  // others write, too
  EXPECT_NEAR(double(free_disk_bytes(dir_)), expected, slack);
  EXPECT_NEAR(double(free_disk_bytes(dir_ / "not" / "yet")), expected, slack);
}

}  // namespace
}  // namespace hadal
