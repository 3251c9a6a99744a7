// What people see: numbers, durations, tables, progress lines, the log; the same in a locale with decimal commas.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <filesystem>

#include "base/cgroup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/expect_error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/isa.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/system_info.h"
#include "base/table.h"
#include "base/text_format.h"

namespace hadal {
namespace {

TEST(TextFormat, PrintsCountsBytesAndShares) {
  EXPECT_EQ(format_count(671026419200), "671,026,419,200");
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(-1000), "-1,000");
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_bytes(150.0 * 1024 * 1024), "150 MiB");
  EXPECT_EQ(format_si(1234567), "1.23 M");
  EXPECT_EQ(format_si(12), "12");
  EXPECT_EQ(format_percent(0.1234), "12.3 %");
}

TEST(TextFormat, KeepsTheDotInEveryLocale) {
  const char* before = std::setlocale(LC_ALL, nullptr);
  const std::string saved = before ? before : "C";
  for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE"}) {
    if (std::setlocale(LC_ALL, name) != nullptr) break;
  }
  EXPECT_EQ(format_bytes(1536), "1.50 KiB");
  EXPECT_EQ(format_duration(1.5), "1.50s");
  std::setlocale(LC_ALL, saved.c_str());
}

TEST(TextFormat, FindsTheNearestName) {
  const std::vector<std::string> names = {"optim.lr", "optim.beta1", "data.seed"};
  EXPECT_EQ(nearest_name("optim.lrr", names), "optim.lr");
  EXPECT_EQ(nearest_name("optim.beta", names), "optim.beta1");
  EXPECT_EQ(nearest_name("zzzzzzzzz", names), "");
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
}

TEST(Clock, PrintsDurationsForPeople) {
  EXPECT_EQ(format_duration(0.844), "0.84s");
  EXPECT_EQ(format_duration(12.34), "12.3s");
  EXPECT_EQ(format_duration(59.96), "1m00s");
  EXPECT_EQ(format_duration(192), "3m12s");
  EXPECT_EQ(format_duration(2 * 3600 + 5 * 60), "2h05m");
  EXPECT_EQ(format_duration(3 * 86400 + 4 * 3600), "3d04h");
  EXPECT_EQ(iso_time().size(), 20u);
  const double before = steady_seconds();
  EXPECT_LE(before, steady_seconds());
}

TEST(Table, AlignsNumbersRightAndTextLeftByCharacters) {
  Table table({"name", "tokens"});
  table.add({"ä", "1,000"});
  table.add({"longer", "7"});
  table.add_rule();
  table.add({"all", "-"});
  EXPECT_EQ(table.text(),
            "name    tokens\n"
            "------  ------\n"
            "ä        1,000\n"
            "longer       7\n"
            "------  ------\n"
            "all          -\n");
  EXPECT_ERROR(table.add({"too few"}), ErrorKind::internal, "a table row has 1 cells, its head 2");
}

TEST(Progress, DrawsBarPercentRateAndTimeLeft) {
  Progress known("read", 1000, {.unit = "doc", .quiet = true});
  EXPECT_EQ(known.line(500, 10, 0), "read  50 %  500 / 1,000  50 doc/s  10.0s left");
  const std::string bar = known.line(500, 10, 80);
  EXPECT_LE(display_width(bar), 80);
  EXPECT_NE(bar.find("[##"), std::string::npos) << bar;
  EXPECT_EQ(known.line(0, 0, 0), "read   0 %  0 / 1,000");
  Progress unknown("scan", 0, {.unit = "B", .quiet = true});
  EXPECT_EQ(unknown.line(2048, 2, 80), "scan 2.00 KiB  1.00 KiB/s");
}

TEST(Progress, PrintsPlainLinesWhereThereIsNoTerminal) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  {
    Progress progress("work", 10, {.unit = "step", .plain_seconds = 0, .descriptor = ends[1]});
    progress.add(4);
    progress.add(6);
    progress.finish();
  }
  close(ends[1]);
  char buffer[4096];
  const ssize_t got = read(ends[0], buffer, sizeof buffer);
  close(ends[0]);
  const std::string text(buffer, size_t(std::max<ssize_t>(got, 0)));
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_NE(text.find("work  40 %"), std::string::npos) << text;
  EXPECT_NE(text.find("work: 10 in "), std::string::npos) << text;
}

TEST(Log, WritesItsFileWithTimeAndLevel) {
  const auto path = std::filesystem::temp_directory_path() / ("hadal_log_test_" + std::to_string(getpid()));
  {
    Log log(LogLevel::silent);
    log.open_file(path);
    log.info("loss {:.2f}", 1.5);
    log.warn("odd");
  }
  const std::string text = read_file(path);
  std::filesystem::remove(path);
  EXPECT_NE(text.find("info loss 1.50\n"), std::string::npos) << text;
  EXPECT_NE(text.find("warning odd\n"), std::string::npos) << text;
}

TEST(InterruptDeathTest, WhereWorkPollsTheFirstSignalAsksAndTheSecondEnds) {
  EXPECT_EXIT(
      {
        install_signal_handlers();
        const CleanStop polled("stopping soon");
        raise(SIGINT);
        if (!interrupted()) _exit(3);
        raise(SIGTERM);
        _exit(4);
      },
      ::testing::KilledBySignal(SIGTERM), "hadal: stopping soon; once more to leave at once");
}

TEST(InterruptDeathTest, WhereNobodyPollsTheFirstSignalEnds) {
  EXPECT_EXIT(
      {
        install_signal_handlers();
        { const CleanStop polled("stopping soon"); }
        raise(SIGTERM);
        _exit(4);
      },
      ::testing::KilledBySignal(SIGTERM), "");
}

TEST(SystemInfo, KnowsMemoryOfMachineAndProcess) {
  const MemoryInfo info = memory_info();
  EXPECT_GT(info.total, 0u);
  EXPECT_GT(info.available, 0u);
  EXPECT_LE(info.available, info.total);
  EXPECT_GT(current_rss_bytes(), 0u);
  EXPECT_GE(peak_rss_bytes(), current_rss_bytes() / 2);
}

TEST(Cgroup, TakesTheTightestLimitOnTheWayUp) {
  auto limit = [](const std::string& directory) {
    return directory == "/m/a/b" ? 0.0 : directory == "/m/a" ? 2.0 : directory == "/m" ? 3.0 : 99.0;
  };
  EXPECT_EQ(tightest_limit("/m", "/a/b", limit), 2.0);
  EXPECT_EQ(tightest_limit("/m", "", limit), 3.0);
}

TEST(InstructionSets, AreOrderedNamedAndRefusedWhenUnknown) {
  const auto all = available_isas();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.front(), Isa::reference);
  EXPECT_NE(std::find(all.begin(), all.end(), best_isa()), all.end());
  EXPECT_GE(best_isa(), std::min(all.back(), Isa::avx512));  // slow products of bf16 pairs are passed over
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  EXPECT_EQ(parse_isa("reference"), Isa::reference);
  try {
    parse_isa("sse9");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    EXPECT_NE(std::string(error.what()).find("avx2"), std::string::npos);
  }
  EXPECT_FALSE(cpu_description().empty());
}

}  // namespace
}  // namespace hadal
