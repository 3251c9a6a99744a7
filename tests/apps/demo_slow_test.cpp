// The demonstration ends in its time, and says so when that was too little.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "base/random.h"

namespace hadal {
namespace {

// Twelve times the same eight thousand letters: xz needs them once, a small model in seconds learns none of it.
std::string repeated_noise() {
  RandomStream random{7, stream_id("test.noise"), 0};
  std::string block;
  for (int i = 0; i < 8000; ++i) block += char('a' + random.below(26));
  std::string text;
  for (int i = 0; i < 24; ++i) text += block;
  return text;
}

TEST(Demo, EndsInItsTimeAndSaysWhatItDidNotReach) {
  const SmallRun small;
  atomic_write(small.text(), repeated_noise());
  const std::string demo = "demo --text " + SmallRun::quoted(small.text()) + " --run " + SmallRun::quoted(small.run()) +
                           " -q --set data.sequence_length=32 --set train.batch_sequences=1 --set validation.samples=0"
                           " --set tokenizer.vocab_size=300 --set data.holdout=tail --set data.holdout_fraction=0.5 ";
  const auto said = run_hadal(demo + "--minutes 0.1");
  ASSERT_EQ(said.code, 0) << said.err;
  EXPECT_NE(said.out.find("ran out of time: "), std::string::npos) << said.out;
  EXPECT_NE(said.out.find("xz -9e"), std::string::npos) << said.out;
  const auto done = steps_of(small.run());
  EXPECT_GT(done.size(), 20u);
  double seconds = 0;
  for (const auto& step : done) seconds += step["seconds"].get<double>();
  EXPECT_LT(seconds - done.back()["seconds"].get<double>(), 9)
      << "no step begins when nine tenths of the time are over";
}

// A model of some steps, served by the program that trained it: a reply streams.
TEST(Demo, ServesWhatItHasTrained) {
  const SmallRun small;
  atomic_write(small.text(), repeated_noise());
  const std::string ask =
      "pid=$!; for i in $(seq 2400); do grep -q http://127 $log && break; sleep 0.1; done; "
      "port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/p' $log); python3 -c \"import sys, urllib.request as u\n"
      "print(u.urlopen(u.Request('http://127.0.0.1:'+sys.argv[1]+'/v1/completions', data=b'{\\\"prompt\\\": "
      "\\\"abc\\\", \\\"max_tokens\\\": 5, \\\"ignore_eos\\\": true, \\\"stream\\\": true}')).read().decode())\" "
      "$port; kill -TERM $pid; wait $pid; code=$?; rm -f $log; exit $code";
  const auto said =
      run_hadal("demo --text " + SmallRun::quoted(small.text()) + " --run " + SmallRun::quoted(small.run()) +
                    " -q --steps 4 --set data.sequence_length=32 --set train.batch_sequences=1 --set "
                    "validation.samples=0 --set tokenizer.vocab_size=300 --serve --port 0 > $log & " +
                    ask,
                "log=$(mktemp);");
  ASSERT_EQ(said.code, 0) << said.out << said.err;
  EXPECT_NE(said.out.find("\"finish_reason\":\"length\""), std::string::npos) << said.out;
  EXPECT_NE(said.out.find("data: [DONE]"), std::string::npos) << said.out;
}

}  // namespace
}  // namespace hadal
