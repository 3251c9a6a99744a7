// Programs that nobody here wrote against a server in this process: PyPI's `openai` client
// (tests/oracle/openai_client.py), and schemathesis, which reads /openapi.json and asks what it allows and what not.
#include <cstdlib>

#include "server/server_testing.h"

namespace hadal {
namespace {

// What the command, behind .venv's bin/, printed; "" where there is no .venv.
std::string said(const std::string& command, int& status) {
  const std::string bin = std::string(HADAL_SOURCE_DIR) + "/.venv/bin/";
  if (!std::filesystem::exists(bin + "python")) return "";
  const testing::TempDir scratch;
  status = std::system(fmt::format("cd '{}' && '{}'{} > out 2>&1", scratch.path(), bin, command).c_str());
  return read_file(scratch / "out") + "\n";
}

TEST(OpenAiClient, FindsWhatItExpects) {
  TinyOptions options;
  options.serving.service.key = "sesame";
  options.positions = 4096;
  Tiny tiny(options);
  const bool constrained = why_no_grammars().empty();
  int status = 0;
  const std::string out = said(fmt::format("python '{}/tests/oracle/openai_client.py' {} sesame tiny{}",
                                           HADAL_SOURCE_DIR, tiny.serving->url(), constrained ? " --structured" : ""),
                               status);
  if (out.empty()) GTEST_SKIP() << "no .venv in the source directory; ./setup --tests makes it";
  EXPECT_EQ(status, 0) << out;
  EXPECT_NE(out.find(constrained ? "all 22 fine" : "all 18 fine"), std::string::npos) << out;
}

TEST(Schemathesis, FindsNoAnswerThatTheDescriptionDoesNotKnow) {
  TinyOptions options;
  options.serving.service.key = "sesame";
  Tiny tiny(options);
  int status = 0;
  const std::string out =
      said(fmt::format("schemathesis run {}/openapi.json --header 'Authorization: Bearer sesame' --no-color --seed 1 "
                       "--checks not_a_server_error,status_code_conformance,content_type_conformance,"
                       "response_schema_conformance,unsupported_method --max-examples 12 --request-timeout 30",
                       tiny.serving->url()),
           status);
  if (out.empty()) GTEST_SKIP() << "no .venv in the source directory; ./setup --tests makes it";
  EXPECT_EQ(status, 0) << out;
  EXPECT_NE(out.find("Tested: 13"), std::string::npos) << out;
}

}  // namespace
}  // namespace hadal
