// Who waits while the form of an answer is compiled: those alone whose own must be compiled too, and not for ever.
#include <sys/stat.h>

#include <thread>

#include "server/server_testing.h"

namespace hadal {
namespace {

// A compiler that, while the file "hold" is there, says that it has begun and waits for a word in a pipe.
class HeldCompiler {
 public:
  HeldCompiler() {
    const std::string program = directory_.path() + "/compiler", at = directory_.path();
    atomic_write(program, "#!/bin/sh\nif [ -e '" + at + "/hold' ]; then : > '" + at + "/begun'; read word < '" + at +
                              "/go'; fi\nexec '" HADAL_BINARY_DIR "/hadal' \"$@\"\n");
    ::chmod(program.c_str(), 0755);
    ::mkfifo((at + "/go").c_str(), 0600);
  }
  std::string program() const { return directory_.path() + "/compiler"; }
  void hold() { atomic_write(directory_.path() + "/hold", ""); }
  bool begun() const { return std::filesystem::exists(directory_.path() + "/begun"); }
  void let_go() {
    std::filesystem::remove(directory_.path() + "/hold");
    std::ofstream(directory_.path() + "/go") << "word\n";  // opens when it is read
  }

 private:
  testing::TempDir directory_;
};

Json regex(const std::string& expression) {
  return {{"prompt", "x"}, {"max_tokens", 8}, {"seed", 1}, {"structured_outputs", {{"regex", expression}}}};
}

TEST(Compiling, HoldsUpThoseAloneWhoseFormMustBeCompiledToo) {
  if (!why_no_grammars().empty()) GTEST_SKIP() << why_no_grammars();
  HeldCompiler compiler;
  TinyOptions options;
  options.grammars.program = compiler.program();
  Tiny tiny(options);
  const auto ask_for = [&](const Json& json) { return post(tiny.port(), "/v1/completions", json); };
  ASSERT_EQ(ask_for(regex("[a-e]{3}")).status, 200);
  ASSERT_EQ(ask_for(regex("(a")).status, 400);  // that it cannot be followed is kept too
  compiler.hold();
  std::atomic<int> compiled = 0;
  std::jthread waits([&] { compiled = ask_for(regex("[f-k]{3}")).status; });
  ASSERT_TRUE(soon([&] { return compiler.begun(); }));
  // All of these are answered while it compiles.
  EXPECT_EQ(ask_for(regex("[a-e]{3}")).status, 200);
  EXPECT_EQ(ask_for(regex("(a")).status, 400);
  Json plain = regex("");
  plain.erase("structured_outputs");
  EXPECT_EQ(ask_for(plain).status, 200);
  plain["response_format"] = {{"type", "text"}};
  EXPECT_EQ(ask_for(plain).status, 200);
  EXPECT_EQ(post(tiny.port(), "/v1/responses",
                 {{"input", "why?"}, {"max_output_tokens", 4}, {"text", {{"format", {{"type", "text"}}}}}})
                .status,
            200);
  EXPECT_EQ(compiled, 0);
  compiler.let_go();
  waits.join();
  EXPECT_EQ(compiled, 200);
}

TEST(Compiling, NobodyWaitsForTheFormsOfOthersForEver) {
  if (!why_no_grammars().empty()) GTEST_SKIP() << why_no_grammars();
  TinyOptions options;
  options.serving.service.longest_wait = -1;  // whoever waits at all waits too long
  Tiny tiny(options);
  const Answer late = post(tiny.port(), "/v1/completions", regex("[a-e]{3}"));
  EXPECT_EQ(late.status, 503) << late.body;
  EXPECT_NE(late.error().find("took too long to compile"), std::string::npos) << late.body;
}

}  // namespace
}  // namespace hadal
