// PyPI's `openai` client, which nobody here wrote, against a server in this process (tests/oracle/openai_client.py).
#include <cstdlib>

#include "server/server_testing.h"

namespace hadal {
namespace {

TEST(OpenAiClient, FindsWhatItExpects) {
  const std::string root = HADAL_SOURCE_DIR, python = root + "/.venv/bin/python";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no .venv in the source directory; ./setup --tests makes it";
  TinyOptions options;
  options.serving.service.key = "sesame";
  Tiny tiny(options);
  const testing::TempDir scratch;
  const std::string command = fmt::format("'{}' '{}/tests/oracle/openai_client.py' {} sesame tiny > '{}' 2>&1", python,
                                          root, tiny.serving->url(), scratch / "out");
  EXPECT_EQ(std::system(command.c_str()), 0) << read_file(scratch / "out");
  EXPECT_NE(read_file(scratch / "out").find("all 12 fine"), std::string::npos) << read_file(scratch / "out");
}

}  // namespace
}  // namespace hadal
