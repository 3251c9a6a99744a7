// hadal generate and inspect with prompts, lines and directories that a careless or hostile user gives.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>

#include "apps/model_verbs.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "grammar/backend.h"

namespace hadal {
namespace {

using nlohmann::json;

TEST_F(ModelVerbs, GenerateTakesAnyPromptThatFits) {
  EXPECT_EQ(verb("generate", "").code, 0);  // from nothing, as far as the model's 64 positions go
  EXPECT_EQ(verb("generate", "--prompt '' --max-tokens 3").code, 0);
  EXPECT_EQ(verb("generate", "--prompt the --max-tokens 0").out, "the\n");
  const auto bytes = verb("generate", "--prompt \"$(printf '\\377\\200the')\" --max-tokens 3");
  EXPECT_EQ(bytes.code, 0) << bytes.err;
  EXPECT_EQ(bytes.out.rfind("\xff\x80the", 0), 0u);
  const auto ids = verb("generate", "--prompt \"$(printf '\\377')\" --max-tokens 3 --json");
  EXPECT_LE(parse_json<json>(ids.out, "what it said")["tokens"].size(), 3u) << ids.err;
}

TEST_F(ModelVerbs, WeightsInFewerBitsWriteScoreAndAreProven) {
  const auto lines = small_->root() / "few bits.jsonl";
  atomic_write(lines, "{\"text\": \"the cat and the dog and the cat\"}\n");
  const std::string input = " --input " + SmallRun::quoted(lines);
  for (const std::string weights : {"fp8", "int8", "int4"}) {
    const auto cost = verb("score", "--quiet --cost --weights " + weights + input);
    EXPECT_EQ(cost.code, 0) << cost.err;
    EXPECT_EQ(cost.err.rfind("weights as " + weights + ": ", 0), 0u) << cost.err;
    EXPECT_NE(cost.err.find(" bits per byte, as values "), std::string::npos) << cost.err;
    EXPECT_TRUE(parse_json<json>(cost.out, "scores")["bits_per_byte"].is_number());
    EXPECT_EQ(verb("generate", "--prompt the --max-tokens 4 --quiet --weights " + weights).code, 0);
    const auto proof = run_hadal("check engine --quiet --requests 2 --prompt-tokens 20 --max-tokens 8 --weights " +
                                 weights + " --model " + SmallRun::quoted(small_->run()));
    EXPECT_EQ(proof.code, 0) << proof.out << proof.err;
  }
  refused(verb("score", "--weights values --cost" + input), 2, {"--cost", "--weights stored", "--cache fp8"});
  refused(verb("score", "--weights int3" + input), 2, {"int3", "int4"});
  refused(verb("generate", "--precision fp64 --weights int8 --prompt the"), 1, {"int8", "fp32 or bf16"});
}

TEST_F(ModelVerbs, ACacheInFp8WritesScoresAndIsProven) {
  const auto lines = small_->root() / "cache.jsonl";
  atomic_write(lines, "{\"text\": \"the cat and the dog and the cat\"}\n");
  const std::string input = " --input " + SmallRun::quoted(lines);
  const auto cost = verb("score", "--quiet --cost --cache fp8" + input);
  EXPECT_EQ(cost.code, 0) << cost.err;
  EXPECT_EQ(cost.err.rfind("weights as stored, cache as fp8: ", 0), 0u) << cost.err;
  EXPECT_EQ(cost.out.find(verb("score", "--quiet --attention-form absorbed" + input).out), std::string::npos)
      << "the same as with values: " << cost.out;
  EXPECT_EQ(cost.out, verb("score", "--quiet --attention-form absorbed --cache fp8" + input).out);
  EXPECT_EQ(verb("score", "--quiet --cost --weights values --cache fp8" + input).code, 0);
  EXPECT_EQ(verb("generate", "--prompt the --max-tokens 4 --quiet --cache fp8").code, 0);
  const auto proof =
      run_hadal("check engine --quiet --requests 2 --prompt-tokens 20 --max-tokens 8 --cache fp8 --model " +
                SmallRun::quoted(small_->run()));
  EXPECT_EQ(proof.code, 0) << proof.out << proof.err;
  for (const char* words : {"absorbed form, cache in fp8): every id", "the forward that scores"})
    EXPECT_NE(proof.out.find(words), std::string::npos) << proof.out;
  refused(verb("score", "--cache fp8 --attention-form up_projected" + input), 2, {"fp8", "choose the absorbed form"});
  refused(verb("score", "--cache int8" + input), 2, {"int8", "fp8"});
  refused(verb("generate", "--precision fp64 --cache fp8 --prompt the"), 1, {"fp8", "fp32 or bf16"});
}

TEST_F(ModelVerbs, AnAverageThatWasNotKeptIsRefusedWithTheWayToOne) {
  EXPECT_EQ(verb("generate", "--prompt the --max-tokens 2 --ema").code, 0);
  ASSERT_EQ(run_hadal(small_->train("plain", "--steps 1 --set optim.ema_decay=0")).code, 0);
  const auto exported = SmallRun::quoted(small_->run("exported"));
  ASSERT_EQ(verb("export", "--to hf --quiet --output " + exported).code, 0);
  const auto lines = small_->root() / "for an average.jsonl";
  atomic_write(lines, "{\"text\": \"the sea\"}\n");
  for (const std::string& asked :
       {std::string("generate --prompt the "), "score --input " + SmallRun::quoted(lines) + " ",
        std::string("eval --tasks recall ")}) {
    refused(run_hadal(asked + "--quiet --ema --model " + SmallRun::quoted(small_->run("plain"))), 1,
            {"optimizer.safetensors", "no 'ema.", "optim.ema_decay above 0"});
    refused(run_hadal(asked + "--quiet --ema --model " + exported), 1,
            {"exported", "an exported model keeps no moving average"});
  }
}

TEST_F(ModelVerbs, GenerateRefusesWhatCannotBeBeforeItPrints) {
  refused(verb("generate", "--prompt the --max-tokens 64"), 2, {"64 positions"});
  refused(verb("generate", "--prompt \"$(yes xyz | head -n 80)\""), 2, {"64 positions"});
  refused(verb("generate", "--prompt-tokens 5,300"), 2, {"300", "299"});
  refused(verb("generate", "--prompt-tokens 5 --prompt x"), 2, {"--prompt-tokens"});
  refused(verb("generate", "--temperature -1"), 2, {"temperature"});
  refused(verb("generate", "--temperature nan"), 2, {"temperature"});
  refused(verb("generate", "--top-p 0"), 2, {"top_p"});
  refused(run_hadal("generate --model /nowhere"), 1, {"/nowhere"});
  refused(run_hadal("generate --model " + SmallRun::quoted(small_->config())), 2, {"a file"});
  refused(run_hadal("generate --model " + SmallRun::quoted(small_->root())), 1, {"checkpoints"});
}

TEST_F(ModelVerbs, AChatIsThePromptThatItsTemplateWrites) {
  refused(verb("generate", "--message hello"), 1, {"chat template"});
  const auto directory = small_->root() / "chat";
  ASSERT_EQ(run_hadal("export --model " + SmallRun::quoted(small_->run()) + " --to hf --dtype fp32 --output " +
                      SmallRun::quoted(directory))
                .code,
            0);
  atomic_write(
      directory / "chat_template.jinja",
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}a:{% endif %}");
  atomic_write(directory / "generation_config.json", "{\"eos_token_id\": 0, \"do_sample\": false}");
  const std::string model = "generate --json --max-tokens 8 --model " + SmallRun::quoted(directory) + " ";
  const auto said = run_hadal(model + "--message 'the sea'");
  ASSERT_EQ(said.code, 0) << said.err;
  EXPECT_NE(said.err.find("temperature=0"), std::string::npos) << said.err;  // its makers' word, and told
  const auto written = run_hadal(model + "--temperature 0 --prompt 'user: the sea\na:'");
  EXPECT_EQ(said.out, written.out) << written.err;
  const auto listed = run_hadal(model + "--chat -", R"(echo '[{"role":"user","content":"the sea"}]' |)");
  EXPECT_EQ(listed.out, said.out) << listed.err;
  const auto with =
      run_hadal(model + "--chat -", R"(echo '{"messages":[{"role":"user","content":"the sea"}],"x":1}' |)");
  EXPECT_EQ(with.out, said.out) << with.err;
  const auto python = run_hadal(model + "--chat -", R"(echo '{"messages":[{"role":"user","content":"cut","n":NaN,)"
                                                    R"("content":"the sea"}],"x":1e400,"y":"\udead"}' |)");
  EXPECT_EQ(python.out, said.out) << python.err;
  EXPECT_NE(python.err.find("1 lone surrogates"), std::string::npos) << python.err;
  atomic_write(directory / "other.jinja", "user: {{ messages[0].content }}\na:");
  const auto other =
      run_hadal(model + "--message 'the sea' --chat-template " + SmallRun::quoted(directory / "other.jinja"));
  EXPECT_EQ(other.out, said.out) << other.err;
  const auto shown = run_hadal(model + "--message 'the sea' --show-prompt");
  EXPECT_NE(shown.out.find("{\"prompt\":\"user: the sea\\na:\",\"tokens\":["), std::string::npos) << shown.out;
  const auto system = run_hadal(model + "--message 'the sea' --system 'be brief' --show-prompt");
  EXPECT_NE(system.out.find("system: be brief\\nuser: the sea"), std::string::npos) << system.out << system.err;
  atomic_write(directory / "prompt.txt", "user: the sea\na:");
  const std::string file = SmallRun::quoted(directory / "prompt.txt");
  EXPECT_EQ(run_hadal(model + "--temperature 0 --prompt-file " + file).out, said.out);
  EXPECT_EQ(run_hadal(model + "--temperature 0 --prompt-file -", "cat " + file + " |").out, said.out);
  const auto request = run_hadal(
      "generate --json --model " + SmallRun::quoted(directory) + " --chat -",
      R"(echo '{"messages":[{"role":"user","content":"the sea"}],"max_tokens":8,"temperature":0,"stream":true}' |)");
  EXPECT_EQ(request.out, said.out);
  EXPECT_NE(request.err.find("not followed: stream"), std::string::npos) << request.err;
  refused(run_hadal(model + "--prompt x --system y"), 2, {"--message"});
  refused(run_hadal(model + "--prompt x --prompt-file " + file), 2, {"--prompt-file"});
  refused(run_hadal(model + "--prompt-file /nowhere"), 1, {"/nowhere"});
  refused(run_hadal(model + "--message hi --chat-template rag"), 1, {"'rag'", "'default'"});
  refused(run_hadal(model + "--prompt hi --chat-template default"), 2, {"--message"});
  const auto marked = run_hadal(model + "--chat -", R"(printf '\357\273\277[{"role":"user","content":"the sea"}]' |)");
  EXPECT_EQ(marked.out, said.out) << marked.err;
  refused(run_hadal(model + "--chat -", "echo '{}' |"), 2, {"messages"});
  refused(run_hadal(model + "--chat /nowhere"), 1, {"/nowhere"});
  refused(run_hadal(model + "--message hi --prompt ho"), 2, {"--message"});
  std::filesystem::remove_all(directory);
}

TEST_F(ModelVerbs, WhatAChatLeavesUnusedIsSaid) {
  const auto directory = small_->root() / "chat notes";
  std::filesystem::create_directory(directory);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "model.json", "model.safetensors"})
    std::filesystem::copy(list_checkpoints(small_->run() / "checkpoints").back() / name, directory / name);
  atomic_write(directory / "chat_template.jinja", "{{ messages[0].content }}");
  const std::string model =
      "generate --json --max-tokens 8 --temperature 0 --model " + SmallRun::quoted(directory) + " ";
  const auto misspelt = run_hadal(
      model + "--chat -",
      R"(echo '{"messages":[{"role":"user","content":"the sea"}],"temprature":0,"store":true,"model":"m"}' |)");
  EXPECT_EQ(misspelt.out, run_hadal(model + "--message 'the sea'").out);
  EXPECT_NE(misspelt.err.find("not followed: store"), std::string::npos) << misspelt.err;
  EXPECT_NE(misspelt.err.find("mentions: temprature\n"), std::string::npos) << misspelt.err;
  atomic_write(directory / "chat_template.jinja", "{# nothing #}");
  refused(run_hadal(model + "--message hi"), 2, {"the chat template wrote nothing"});
  std::filesystem::remove_all(directory);
}

// generation_config.json: what can be followed is, unless the user says otherwise, and what cannot is named.
TEST_F(ModelVerbs, TheMakersSettingsAreFollowedOrNamed) {
  const auto directory = small_->root() / "makers";
  ASSERT_EQ(run_hadal("export --model " + SmallRun::quoted(small_->run()) + " --to hf --dtype fp32 --output " +
                      SmallRun::quoted(directory))
                .code,
            0);
  const std::string model = "generate --json --prompt 'the sea' --model " + SmallRun::quoted(directory) + " ";
  const auto file = directory / "generation_config.json";
  const auto as_makers = [&](const std::string& settings, const std::string& more = "") {
    atomic_write(file, "{\"eos_token_id\": 299, " + settings + "}");
    return run_hadal(model + "--seed 5 " + more);
  };
  const auto as_user = [&](const std::string& options) {
    atomic_write(file, "{\"eos_token_id\": 299}");
    return run_hadal(model + "--seed 5 " + options);
  };
  const std::vector<std::pair<std::string, std::string>> same = {
      {"\"min_p\": 0.9, \"max_new_tokens\": 9", "--min-p 0.9 --max-tokens 9"},
      {"\"repetition_penalty\": 3.0, \"max_length\": 20, \"do_sample\": false",
       "--repetition-penalty 3 --temperature 0 "},
      {"\"top_k\": 3, \"temperature\": 0.5, \"max_new_tokens\": 9", "--top-k 3 --temperature 0.5 --max-tokens 9"},
      {"\"stop_strings\": [\"e\", \"is\"], \"max_new_tokens\": 40", "--stop e --stop is --max-tokens 40"}};
  for (const auto& [settings, options] : same) {
    const auto theirs = as_makers(settings);
    std::string limit = settings.find("max_length") == std::string::npos ? "" : "--max-tokens ";
    if (!limit.empty())  // 20 in all, the prompt's own included
      limit += std::to_string(parse_json<nlohmann::json>(theirs.out, "what it said")["tokens"].size());
    EXPECT_EQ(theirs.out, as_user(options + limit).out) << settings << theirs.err;
    EXPECT_EQ(as_makers(settings, "-q").err, "") << "notes can be silenced";
  }
  const auto said =
      as_makers("\"suppress_tokens\": [50, 51], \"num_beams\": 4, \"repetition_penalty\": 1.1, \"max_new_tokens\": 3");
  for (const char* name :
       {"suppress_tokens", "num_beams", "repetition_penalty=1.1", "max_new_tokens=3", "does not follow"})
    EXPECT_NE(said.err.find(name), std::string::npos) << name << ": " << said.err;
  EXPECT_NE(as_makers("\"max_length\": 20").err.find("max_length=20 ("), std::string::npos);
  EXPECT_NE(
      as_makers("\"max_length\": 1").err.find("max_length=1 of generation_config.json is no more than the prompt's"),
      std::string::npos);
  EXPECT_EQ(as_makers("\"temperature\": 0.3, \"max_new_tokens\": 7", "--temperature 1.5 --max-tokens 9").out,
            as_user("--temperature 1.5 --max-tokens 9").out)
      << "the user's word stands before theirs";
  std::filesystem::remove_all(directory);
}

TEST_F(ModelVerbs, WithoutASeedOneIsDrawnFromThePromptAndTold) {
  const auto seed_of = [](const std::string& prompt, const std::string& more = "") {
    const auto said = verb("generate", "--json --max-tokens 12 --prompt " + prompt + more);
    return std::pair(parse_json<nlohmann::json>(said.out, "what it said")["seed"].get<uint64_t>(), said.out);
  };
  const auto [seed, text] = seed_of("a");
  EXPECT_EQ(seed_of("a").second, text);
  EXPECT_NE(seed_of("b").first, seed);
  EXPECT_EQ(seed_of("a", " --seed " + std::to_string(seed)).second, text);
}

TEST_F(ModelVerbs, AStopStringEndsTheTextBeforeIt) {
  const std::string base = "--prompt 'the sea' --max-tokens 60 --seed 4 ";
  const std::string whole = verb("generate", base).out;
  const std::string stop = whole.substr(20, 3);
  const auto cut = verb("generate", base + "--stop " + SmallRun::quoted(stop));
  EXPECT_EQ(cut.out, whole.substr(0, whole.find(stop, 7)) + "\n") << whole;
  const auto json = verb("generate", base + "--json --stop " + SmallRun::quoted(stop));
  EXPECT_TRUE(parse_json<nlohmann::json>(json.out, "what it said")["stopped"].get<bool>()) << json.out;
  refused(verb("generate", base + "--stop ''"), 2, {"stop"});
}

TEST_F(ModelVerbs, GenerateWritesTheSameWithAnyDrafts) {
  const std::string base = "--prompt 'the sea' --max-tokens 50 --seed 4 --drafts ";
  const std::string none = verb("generate", base + "0").out;
  for (const char* drafts : {"1", "2", "8", "auto"}) EXPECT_EQ(verb("generate", base + drafts).out, none) << drafts;
  refused(verb("generate", base + "9"), 2, {"--drafts", "9", "8"});
}

TEST_F(ModelVerbs, GenerateWritesTheFormThatIsAskedFor) {
  const auto schema = small_->root() / "schema.json";
  const std::string by_schema = "--json-schema " + SmallRun::quoted(schema);
  const auto with_schema = [&](const std::string& text) {
    atomic_write(schema, text);
    return verb("generate", by_schema + " --prompt 'a ' --max-tokens 50");
  };
  refused(verb("generate", "--regex a " + by_schema), 2, {"--json-schema and --regex", "give one"});
  refused(verb("generate", "--json-schema /nowhere.json"), 1, {"/nowhere.json"});
  refused(with_schema("{\"type\": "), 2, {"schema.json", "not valid JSON"});
  refused(with_schema(R"({"type": "object", "not": {}})"), 2, {"schema.json", "not"});
  if (!why_no_grammars().empty()) GTEST_SKIP() << why_no_grammars();
  refused(verb("generate", "--regex '(a'"), 2, {"--regex cannot be followed"});
  const auto written = verb("generate", "--prompt 'a ' --max-tokens 40 --json --regex '[bc]{4}-[0-9]'");
  const json said = parse_json<json>(written.out, "what it said");
  EXPECT_TRUE(std::regex_match(said["text"].get<std::string>(), std::regex("[bc]{4}-[0-9]"))) << written.out;
  EXPECT_TRUE(said["stopped"].get<bool>());
  const auto object = with_schema(
      R"({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 7}}, "required": ["n"]})");
  EXPECT_EQ(object.err, "") << object.err;
  const int n = parse_json<json>(object.out.substr(2), "what it wrote")["n"].get<int>();
  EXPECT_TRUE(n >= 3 && n <= 7) << object.out;
  const auto cut = verb("generate", "--max-tokens 3 --regex '[a-c]{30}'");
  EXPECT_EQ(cut.code, 0);
  EXPECT_NE(cut.err.find("the text is not whole"), std::string::npos) << cut.err;
}

TEST_F(ModelVerbs, InspectRefusesDirectoriesAndImpossibleSizes) {
  const auto inspect = [](const std::string& rest) { return run_hadal("inspect " + rest); };
  refused(inspect(SmallRun::quoted(small_->root())), 1, {"directory"});  // not the defaults in disguise
  refused(inspect("/nowhere.toml"), 1, {"/nowhere.toml"});
  const std::string config = SmallRun::quoted(small_->config());
  refused(inspect(config + " --set model.vocab_size=2147483647 --set model.hidden_size=2147483647"), 2,
          {"10^16 weights"});
  refused(inspect(config + " --set model.hidden_size=4294967296"), 2, {"4294967296"});
  refused(inspect(config + " --set model.hidden_siz=4"), 2, {"model.hidden_size"});
  refused(run_hadal("train " + config +
                    " --text x --set train.micro_batch_sequences=16777216 --set data.sequence_length=16777216 --set "
                    "model.max_positions=16777216"),
          2, {"activations"});
}

TEST_F(ModelVerbs, PathsThatNoConfigurationCanHoldAreRefused) {
  const auto result =
      run_hadal("train " + SmallRun::quoted(small_->config()) + " --text \"$(printf 'a\\377b')\" --quiet --run " +
                SmallRun::quoted(small_->run("latin")));
  refused(result, 2, {"UTF-8"});
  EXPECT_FALSE(std::filesystem::exists(small_->run("latin")));
}

TEST_F(ModelVerbs, ReportOfWhatIsNoRun) {
  refused(run_hadal("report " + SmallRun::quoted(small_->root())), 1, {"metrics.jsonl"});
  refused(run_hadal("report " + SmallRun::quoted(small_->run()) + " -o /proc/report.html"), 1, {"/proc/report.html"});
}

}  // namespace
}  // namespace hadal
