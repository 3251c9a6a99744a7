// The page at / in a browser, with each kind of model (tests/oracle/page_browser.py).
#include <sys/wait.h>

#include <cstdlib>

#include "server/server_testing.h"

namespace hadal {
namespace {

void browse(const TinyOptions& given, const std::string& kind) {
  const std::string root = HADAL_SOURCE_DIR, python = root + "/.venv/bin/python";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << "no .venv in the source directory; ./setup --tests makes it";
  TinyOptions options = given;
  options.positions = 1024;
  // What the page's settings say counts more; and texts seldom end by themselves.
  options.generation_config = R"({"top_k": 1, "eos_token_id": [399]})";
  options.serving.service.key = "sesame";
  Tiny tiny(options);
  const testing::TempDir scratch;
  const std::string command = fmt::format("'{}' '{}/tests/oracle/page_browser.py' {} sesame {} > '{}' 2>&1", python,
                                          root, tiny.serving->url(), kind, scratch / "out");
  const int status = std::system(command.c_str());
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    GTEST_SKIP() << "no browser; ./setup --tests brings chromium-headless-shell on Debian";
  EXPECT_EQ(status, 0) << read_file(scratch / "out");
}

TEST(Page, ChatsStopsAndRegeneratesAsTheApiAnswers) { browse({}, "chat"); }
TEST(Page, OpensOnCompletionWithoutAChatTemplate) { browse({{.chat = false}}, "text"); }
TEST(Page, WorksWithIdsWithoutATokenizer) { browse({{.tokenizer = false, .chat = false}}, "ids"); }

}  // namespace
}  // namespace hadal
