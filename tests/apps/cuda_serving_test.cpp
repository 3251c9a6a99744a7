// Verbs that use a trained model, on the emulated device: what they say is a CPU's with AVX2, to the bit in FP32.
#include <gtest/gtest.h>

#include "apps/cuda_walk.h"
#include "base/isa.h"

namespace hadal {
namespace {

class CudaServing : public CudaVerbs {
 protected:
  void SetUp() override {
    CudaVerbs::SetUp();
    if (IsSkipped()) return;
    if (!isa_available(Isa::avx2)) GTEST_SKIP() << "no AVX2";
    ASSERT_EQ(run_hadal(train("run", "--steps 2" + std::string(kFp32))).code, 0);
  }
  std::string model() const { return " --quiet --model " + q(small.run()) + " "; }
  // The same verb there and here, whose outputs are one.
  std::string same(const std::string& verb, const std::string& before = "") const {
    const auto there = run_hadal(verb + model() + "--device cuda:0", before, kEmulated);
    const auto here = run_hadal(verb + model() + "--isa avx2", before);
    EXPECT_EQ(there.code, 0) << verb << "\n" << there.err;
    EXPECT_EQ(here.code, 0) << verb << "\n" << here.err;
    EXPECT_EQ(there.out, here.out) << verb;
    EXPECT_FALSE(there.out.empty()) << verb;
    return there.out;
  }
};

TEST_F(CudaServing, GradsAreThoseOfTheCpu) {
  const auto there = small.root() / "there", here = small.root() / "here";
  const std::string tokens = "echo '{\"tokens\": [5, 17, 3, 9]}' |";
  const auto device = run_hadal("grads" + model() + "--device cuda:0 --output " + q(there), tokens, kEmulated);
  ASSERT_EQ(device.code, 0) << device.err;
  ASSERT_EQ(run_hadal("grads" + model() + "--isa avx2 --output " + q(here), tokens).code, 0);
  EXPECT_TRUE(read_file(there / "gradients.safetensors") == read_file(here / "gradients.safetensors"));
  EXPECT_EQ(read_file(there / "loss.json"), read_file(here / "loss.json"));
}

TEST_F(CudaServing, EvalAnswersAsTheCpu) {
  const auto task = small.root() / "task.yaml";
  atomic_write(small.root() / "items.jsonl",
               "{\"question\": \"the sea is\", \"choices\": [\" deep\", \" cold\"], \"answer\": 0}\n");
  atomic_write(task, "task: small\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: " +
                         (small.root() / "items.jsonl").string() +
                         "\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: \"{{question}}\"\n"
                         "doc_to_choice: \"{{choices}}\"\ndoc_to_target: \"{{answer}}\"\n"
                         "metric_list:\n  - metric: acc\n");
  same("eval --tasks " + q(task));
}

// A chat of one line, after the model's own template.
TEST_F(CudaServing, ChatAnswersAsTheCpu) {
  const auto exported = small.root() / "exported";
  ASSERT_EQ(run_hadal("export --to hf --dtype fp32 --output " + q(exported) + model()).code, 0);
  atomic_write(exported / "chat_template.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
  const std::string chat = "chat --quiet --max-tokens 6 --temperature 0 --precision fp32 --model " + q(exported);
  const auto there = run_hadal(chat + " --device cuda:0", "printf 'the sea\\n' |", kEmulated);
  const auto here = run_hadal(chat + " --isa avx2", "printf 'the sea\\n' |");
  EXPECT_EQ(there.code, 0) << there.err;
  EXPECT_EQ(there.out, here.out) << here.err;
  EXPECT_FALSE(there.out.empty());
}

// A receipt that a server on the device gave comes again there, and on a CPU.
TEST_F(CudaServing, ServesAndReplaysItsReceipt) {
  const std::string wait =
      "pid=$!; for i in $(seq 600); do grep -q http $log && break; sleep 0.05; done; "
      "port=$(sed -n 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/p' $log); ";
  const std::string ask =
      "python3 -c \"import json,sys,urllib.request as u; r=json.load(u.urlopen(u.Request('http://127.0.0.1:'+"
      "sys.argv[1]+'/v1/completions', data=json.dumps({'prompt':'the "
      "sea','max_tokens':5,'ignore_eos':True,'receipt':True}).encode(), "
      "headers={'Content-Type':'application/json'}))); json.dump(r['choices'][0]['receipt'], open(sys.argv[2],'w'))\" "
      "$port $log.json; kill -TERM $pid; wait $pid; \"$HADAL\" replay $log.json --device cuda:0" +
      model() + "; code=$?; rm -f $log $log.json; exit $code";
  const auto result = run_hadal("serve --port 0 --device cuda:0 --model " + q(small.run()) + " > $log & " + wait + ask,
                                "log=$(mktemp);", kEmulated);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("5 tokens and their log-probabilities came again, to the bit"), std::string::npos)
      << result.out << result.err;
}

// The precision of the reference formulas is a CPU's alone.
TEST_F(CudaServing, RefusesFp64ByName) {
  const auto lines = small.root() / "lines.jsonl";
  atomic_write(lines, "{\"text\": \"the sea\"}\n");
  for (const std::string& verb : {std::string("generate --prompt the"), "score --input " + q(lines),
                                  "trace --tokens 5,17 --output " + q(small.root() / "trace.safetensors")}) {
    const auto result = run_hadal(verb + model() + "--precision fp64 --device cuda:0", "", kEmulated);
    EXPECT_EQ(result.code, 2) << verb << result.err;
    EXPECT_NE(result.err.find("precision fp64 is that of the reference formulas and runs on the CPU alone; cuda:0 "
                              "computes in fp32 and bf16"),
              std::string::npos)
        << verb << result.err;
  }
}

}  // namespace
}  // namespace hadal
