// What near duplicates cost in memory, and 20,000 documents beside the comparison of all pairs.
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/near_duplicates_testing.h"

namespace hadal::data {
namespace {

TEST(NearDuplicatesProof, Of20000DocumentsAreThoseFoundByComparingAllPairs) { expect_as_by_comparing_all(20'000, 7); }

// Bytes that a process of its own needed at most, beyond what it began with.
template <class Work>
int64_t bytes_needed(Work work) {
  ::malloc_trim(0);  // what tests before this one left would be used again and not be counted
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(0);
  }
  int status = 0;
  rusage used{};
  ::wait4(child, &status, 0, &used);
  EXPECT_EQ(status, 0);
  return used.ru_maxrss * 1024;
}

TEST(NearDuplicatesProof, ADocumentTakesAtMost200BytesOfMemory) {
  TempDir dir;
  const int64_t n = 1'500'000;
  std::ofstream lines(dir / "a.jsonl", std::ios::binary);
  RandomStream random{3, stream_id("test.memory")};
  for (int64_t d = 0; d < n; ++d) {
    std::string text;
    for (int word = 0; word < 6; ++word) text += (word ? " " : "") + made_word(random);
    lines << json_line(text);
    if (d % 3 == 0) lines << json_line(text + "!");  // alike
  }
  lines.close();
  DataConfig config;
  config.sources = {source_of("a", dir / "a.jsonl")};
  config.near_duplicates.across = Across::all;
  const int64_t nothing = bytes_needed([] {});
  const int64_t needed = bytes_needed([&] {
    const Corpus corpus = Corpus::scan(config, kQuiet);
    if (corpus.near_duplicates().size() < size_t(n) / 4) ::_exit(1);
  });
  const double each = double(needed - nothing - (int64_t(64) << 20)) / double(n + n / 3);
  EXPECT_LE(each, 200);
  fmt::print("{} documents: {:.0f} MB, beyond 64 MB {:.0f} bytes a document\n", n + n / 3,
             double(needed - nothing) / 1e6, each);
}

}  // namespace
}  // namespace hadal::data
