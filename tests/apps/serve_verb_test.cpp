// hadal serve and hadal chat as a person starts and ends them.
#include <gtest/gtest.h>

#include <algorithm>

#include "apps/command.h"
#include "apps/small_run.h"
#include "apps/terminal.h"
#include "server/server_testing.h"

namespace hadal {
namespace {

class ServeVerb : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    small_ = std::make_unique<SmallRun>();
    if (run_hadal(small_->train("run", "--steps 2")).code != 0) small_.reset();
  }
  static void TearDownTestSuite() { small_.reset(); }
  void SetUp() override { ASSERT_TRUE(small_) << "training failed"; }

  static std::string model() { return "--model " + SmallRun::quoted(small_->run()); }
  static void says(const CommandResult& result, int code, std::initializer_list<const char*> words) {
    EXPECT_EQ(result.code, code) << result.out << result.err;
    for (const char* word : words)
      EXPECT_NE((result.out + result.err).find(word), std::string::npos)
          << "'" << word << "' is not in: " << result.out << result.err;
  }
  static std::unique_ptr<SmallRun> small_;
};
std::unique_ptr<SmallRun> ServeVerb::small_;

// Shell text: waits for the line of the server that writes to $log, and takes its port.
constexpr const char* kWait =
    "pid=$!; for i in $(seq 200); do grep -q http $log && break; sleep 0.05; done; cat $log; "
    "port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/p' $log); ";

TEST_F(ServeVerb, SaysWhereItServesAndEndsWhenTold) {
  const auto result =
      run_hadal("serve " + model() + " --port 0 > $log & " + kWait + "kill -TERM $pid; wait $pid", "log=$(mktemp);");
  says(result, 0,
       {"hadal serves run at http://127.0.0.1:", "in bf16", " cache blocks of ", "texts of up to 64 tokens",
        "once more to leave at once"});
}

// A request whose body is still on its way keeps the first signal waiting.
TEST_F(ServeVerb, ASecondSignalEndsItAtOnce) {
  const auto result = run_hadal(
      "serve " + model() + " --port 0 > $log & " + kWait +
          "bash -c 'exec 3<>/dev/tcp/127.0.0.1/'$port'; printf \"POST /tokenize HTTP/1.1\\r\\nHost: localhost\\r\\n"
          "Content-Length: 9\\r\\n\\r\\n\" >&3; sleep 2' & sleep 0.5; "
          "kill -TERM $pid; sleep 0.3; kill -0 $pid && echo alive; kill -TERM $pid; wait $pid",
      "log=$(mktemp);");
  says(result, 128 + 15, {"alive"});
}

TEST_F(ServeVerb, APortInUseIsSaidWithWhatToDo) {
  const auto result = run_hadal("serve " + model() + " --port 0 > $log & " + kWait + "\"$HADAL\" serve " + model() +
                                    " --port $port; code=$?; kill $pid; wait $pid; exit $code",
                                "log=$(mktemp);");
  says(result, 1, {"is in use by another program", "--port 0 takes any free one"});
}

TEST_F(ServeVerb, RefusesWhatCannotBe) {
  says(run_hadal("serve " + model() + " --port 70000"), 2, {"70000"});
  says(run_hadal("serve " + model() + " --port 0 --host no.such.host.invalid"), 2, {"--host no.such.host.invalid"});
  says(run_hadal("serve " + model() + " --port 0 --api-key-file /nowhere"), 1, {"/nowhere"});
  says(run_hadal("serve " + model() + " --port 0 --api-key-file /dev/null"), 2, {"holds no API key"});
  says(run_hadal("serve " + model() + " --port 0", "HADAL_API_KEY='two words'"), 2, {"HADAL_API_KEY", "one word"});
  says(run_hadal("serve --model /nowhere"), 1, {"/nowhere"});
}

// A receipt that a server gave, by another process; then one of another answer.
TEST_F(ServeVerb, AReceiptComesAgain) {
  const std::string ask =
      "python3 -c \"import json,sys,urllib.request as u; r=json.load(u.urlopen(u.Request('http://127.0.0.1:'+"
      "sys.argv[1]+'/v1/completions', data=json.dumps({'prompt':'the "
      "sea','max_tokens':12,'ignore_eos':True,'receipt':True}).encode(), "
      "headers={'Content-Type':'application/json'}))); json.dump(r['choices'][0]['receipt'], open(sys.argv[2],'w'))\" "
      "$port $log.json; kill -TERM $pid; wait $pid; \"$HADAL\" replay $log.json " +
      model() +
      " --quiet && sed 's/\"seed\": [0-9]*/\"seed\": 5/' $log.json > $log.other && \"$HADAL\" replay $log.other " +
      model() + " --quiet; code=$?; rm -f $log $log.json $log.other; exit $code";
  const auto result = run_hadal("serve " + model() + " --cache fp8 --port 0 > $log & " + kWait + ask, "log=$(mktemp);");
  says(result, 1, {"12 tokens and their log-probabilities came again, to the bit", "DIFFERS after "});
}

// The run that is served is loaded once more and put in its place.
TEST_F(ServeVerb, OtherWeightsAreServedWhenAClientWithTheKeyAsks) {
  const std::string directory = SmallRun::quoted(small_->run().parent_path());
  const std::string ask =
      "python3 -c \"import json,sys,urllib.request as u; f=lambda p,b,k: json.load(u.urlopen(u.Request("
      "'http://127.0.0.1:'+sys.argv[1]+p, data=json.dumps(b).encode(), headers={'Content-Type':'application/json',"
      "'Authorization':'Bearer '+k}))); c=lambda: f('/v1/completions',{'prompt':'the sea','max_tokens':9,'seed':1,"
      "'ignore_eos':True},'sesame')['choices'][0]; a=c(); print(f('/v1/weights',{'directory':'run'},'sesame')); b=c(); "
      "print('the same text', a['text']==b['text'], a['weights_version'], b['weights_version'])\" $port; "
      "kill -TERM $pid; wait $pid; rm -f $log";
  const auto result = run_hadal(
      "serve " + model() + " --weights int8 --port 0 --allow-updates " + directory + " > $log & " + kWait + ask,
      "export HADAL_API_KEY=sesame; log=$(mktemp);");
  says(result, 0, {"'weights_version': 1, 'directory': 'run', 'running': 'finish'", "the same text True 0 1"});
  says(run_hadal("serve " + model() + " --port 0 --allow-updates " + directory), 2,
       {"so there must be one", "--api-key"});
  says(run_hadal("serve " + model() + " --port 0 --allow-updates /nowhere", "HADAL_API_KEY=x"), 2,
       {"--allow-updates /nowhere must be a directory"});
}

// Reads the first event of a stream, cuts the file off, and prints what else the stream says but for texts.
constexpr const char* kCutsOff = R"(import json, os, sys, urllib.request
body = {"prompt": "x", "max_tokens": 8000, "ignore_eos": True, "stream": True}
stream = urllib.request.urlopen(urllib.request.Request(
    "http://127.0.0.1:%s/v1/completions" % sys.argv[1], data=json.dumps(body).encode()))
stream.readline()
os.truncate(sys.argv[2], 1000)
print("".join(line.decode() for line in stream if b'"text"' not in line))
)";

// Who streams hears why, and so does who started it.
TEST_F(ServeVerb, EndsWhereTheModelsFileIsCutOff) {
  TinyOptions options;
  options.positions = 8192;
  const testing::TempDir model;
  write_tiny_model(model.path(), options);
  atomic_write(model / "cuts_off.py", kCutsOff);
  const auto quoted = [&](const char* name) { return SmallRun::quoted(model / name) + " "; };
  const auto result = run_hadal("serve --model " + SmallRun::quoted(model.path()) + " --port 0 > $log & " + kWait +
                                    "python3 " + quoted("cuts_off.py") + "$port " + quoted("model.safetensors") +
                                    "; wait $pid; code=$?; rm -f $log; exit $code",
                                "log=$(mktemp);");
  says(result, 1, {"\"error\"", "data: [DONE]"});
  const std::string why = "model.safetensors: has 1000 bytes, ";
  EXPECT_NE(result.out.find(why), std::string::npos) << "the peer: " << result.out;
  EXPECT_NE(result.err.find(why), std::string::npos) << "the screen: " << result.err;
}

// Runs record the form that they were trained in; other directories do not, and serving takes the one with the small
// cache. hadal score says what serving would.
TEST_F(ServeVerb, AttentionIsAbsorbedWhereNoOtherFormIsRecorded) {
  const testing::TempDir tiny;
  write_tiny_model(tiny.path(), {});
  const std::string few = "check engine --quiet --requests 1 --prompt-tokens 8 --max-tokens 3 ";
  says(run_hadal(few + model()), 0, {"up_projected form"});
  says(run_hadal(few + "--model " + SmallRun::quoted(tiny.path())), 0, {"absorbed form"});
  says(run_hadal(few + "--attention-form up_projected --model " + SmallRun::quoted(tiny.path())), 0,
       {"up_projected form"});
  atomic_write(tiny / "texts.jsonl", "{\"text\": \"the sea is deep and cold\"}\n");
  const auto score = [&](const std::string& more) {
    return run_hadal("score --quiet --precision bf16 --model " + SmallRun::quoted(tiny.path()) + " --input " +
                     SmallRun::quoted(tiny / "texts.jsonl") + more)
        .out;
  };
  EXPECT_EQ(score(""), score(" --attention-form absorbed"));
  EXPECT_NE(score(""), score(" --attention-form up_projected"));
}

// Neither keys nor what people write stand in what the server prints, whatever is asked of it.
TEST_F(ServeVerb, PrintsNoSecrets) {
  const std::string ask =
      "for key in sesame-right sesame-wrong; do for body in '{\"prompt\": \"my private words\", \"max_tokens\": 3}' "
      "'{\"prompt\": \"my private words\", \"max_tokens\": -3}' '{my private words'; do python3 -c \"import sys,"
      "urllib.request as u, urllib.error as e\ntry: print(u.urlopen(u.Request('http://127.0.0.1:'+sys.argv[1]+"
      "'/v1/completions', data=sys.argv[3].encode(), headers={'Authorization': 'Bearer '+sys.argv[2]})).status)\n"
      "except e.HTTPError as error: print(error.code)\" $port $key \"$body\"; done; done; kill -TERM $pid; wait $pid; "
      "cat $log; rm -f $log";
  const auto result = run_hadal("serve " + model() + " --port 0 > $log 2>&1 & " + kWait + ask,
                                "export HADAL_API_KEY=sesame-right; log=$(mktemp);");
  says(result, 0, {"hadal serves", "200\n400\n400\n401\n401\n401\n"});
  for (const char* secret : {"sesame", "private"})
    EXPECT_EQ((result.out + result.err).find(secret), std::string::npos) << result.out << result.err;
  const auto refused = run_hadal("serve " + model() + " --port 0", "HADAL_API_KEY='two words'");
  EXPECT_EQ((refused.out + refused.err).find("two words"), std::string::npos) << "a key that is refused is not shown";
}

// In a terminal: Ctrl-C stops an answer and not the chat, and the line before comes again by the arrow.
TEST_F(ServeVerb, AChatInATerminalStopsAnswersAndRemembersLines) {
  TinyOptions options;
  options.positions = 1 << 16;
  options.generation_config = R"({"eos_token_id": [399]})";
  const testing::TempDir model;
  write_tiny_model(model.path(), options);
  Terminal terminal(
      {HADAL_BINARY_DIR "/hadal", "chat", "--quiet", "--temperature", "0", "--threads", "1", "--model", model.path()});
  terminal.until("> ");
  for (const char* line : {"why is it so?\n", "\x1b[A\n"}) {
    terminal.type(line);
    terminal.until("why is it so?\r\n");  // typed, or brought back
    terminal.at_least(20);                // it answers
    terminal.type("\x03");
    terminal.until("[stopped]");
    terminal.until("> ");
    terminal.until_edited();
  }
  terminal.type("half a line\x03");  // gives up the line
  terminal.until("> ");
  terminal.until_edited();
  terminal.type("/quit\n");
  EXPECT_EQ(terminal.exit_status(), 0);
}

// With too little memory it says the least that can, which can.
TEST_F(ServeVerb, TakesNoMoreMemoryThanItMay) {
  const auto refused = run_hadal("serve " + model() + " --port 0 --memory 100KiB");
  says(refused, 2, {"KiB: the weights take ", "the cache of one short text", "the least that can serve is "});
  const size_t at = refused.err.find("can serve is ") + 13;
  const std::string least = refused.err.substr(at, refused.err.find("KiB", at) - at);
  const auto with = [&](const std::string& options) {
    return run_hadal("serve " + model() + " --port 0 " + options + " > $log & " + kWait + "kill -TERM $pid; wait $pid",
                     "log=$(mktemp);");
  };
  says(with("--memory " + least + "KiB"), 0, {", 1 cache blocks of ", "texts of up to 64 tokens"});
  says(run_hadal("serve " + model() + " --port 0 --memory " + std::to_string(std::stoll(least) - 1) + "KiB"), 2,
       {"the least that can serve is "});
  says(with("--memory 4GiB"), 0, {", 4 cache blocks of "});
  says(run_hadal("serve " + model() + " --port 0 --memory " + least + "KiB --cache-bytes 1GiB"), 2,
       {"--cache-bytes 1"});
}

TEST_F(ServeVerb, AChatNeedsATemplate) {
  says(run_hadal("chat " + model(), "echo hi |"), 1, {"no chat template", "hadal generate"});
}

TEST_F(ServeVerb, AChatFollowsItsLines) {
  const std::string run = small_->run().string();
  for (const auto& step : std::filesystem::directory_iterator(run + "/checkpoints"))
    atomic_write(step.path() / "chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
  const auto result = run_hadal("chat " + model() + " --max-tokens 3 --seed 1",
                                "printf '/help\\nhello\\n/again\\n/nix\\n/new\\n/quit\\n' |");
  says(result, 0, {"/again another answer", "unknown: /nix"});
}

}  // namespace
}  // namespace hadal
