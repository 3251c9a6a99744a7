// The files of a model directory that say how to chat and how to generate.
#include "text/chat_files.h"
#include "base/testing.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "text/generation_config.h"
#include "text/text_testing.h"

namespace hadal {
namespace {

using testing::error_of;
using testing::TempDir;

using testing::has;

std::string rendered(const ChatTemplate& chat) { return chat_text(chat.render_variables("{}")); }

TEST(ChatFiles, TheTemplateStandsInTheTokenizersConfigOrInItsOwnFile) {
  TempDir directory;
  EXPECT_FALSE(read_chat_template(directory.path()).has_value());
  atomic_write(directory / "tokenizer_config.json",
               R"({"bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "</s>", "pad_token": null,
      "add_bos_token": true, "chat_template": "{{ bos_token }}config{{ eos_token }}{{ pad_token is defined }}"})");
  EXPECT_EQ(rendered(*read_chat_template(directory.path())), "<s>config</s>False");
  atomic_write(directory / "special_tokens_map.json", R"({"pad_token": {"content": "<p>"}, "bos_token": "other"})");
  EXPECT_EQ(rendered(*read_chat_template(directory.path())), "otherconfig</s>True");  // the map goes before
  atomic_write(directory / "chat_template.jinja", "own {{ bos_token }}\n");
  EXPECT_EQ(rendered(*read_chat_template(directory.path())), "own other");
  EXPECT_EQ(rendered(*read_chat_template(directory.path(), {.tools = true})), "own other");
}

// Whoever saves a model's tokenizer saves its words whole.
TEST(ChatFiles, TheirFilesGoWithTheTokenizer) {
  TempDir from, to;
  testing::small_tokenizer().save(from.path());
  EXPECT_EQ(Tokenizer::load(from.path()).files().size(), 2u);
  std::filesystem::create_directories(from / "additional_chat_templates");
  atomic_write(from / "chat_template.jinja", "d");
  atomic_write(from / "additional_chat_templates/tool_use.jinja", "t");
  const Tokenizer loaded = Tokenizer::load(from.path());
  EXPECT_EQ(loaded.content_hash(), testing::small_tokenizer().content_hash()) << "they change no token";
  loaded.save(to.path());
  EXPECT_EQ(rendered(*read_chat_template(to.path())), "d");
  EXPECT_EQ(rendered(*read_chat_template(to.path(), {.tools = true})), "t");
  testing::small_tokenizer().save(to.path());
  EXPECT_TRUE(read_chat_files(to.path()).templates.empty()) << "another tokenizer's are none of ours";
}

TEST(ChatFiles, FilesOfTheirOwnStandForThoseOfTheConfig) {
  TempDir directory;
  const auto of = [&](const std::string& name, bool tools = false) {
    return rendered(*read_chat_template(directory.path(), {name, tools}));
  };
  atomic_write(directory / "tokenizer_config.json", R"({"chat_template": "config"})");
  std::filesystem::create_directory(directory / "additional_chat_templates");
  EXPECT_EQ(of(""), "config");
  atomic_write(directory / "additional_chat_templates/tool_use.jinja", "tools");
  EXPECT_EQ(of(""), "tools");  // the only one
  atomic_write(directory / "additional_chat_templates/rag.jinja", "rag");
  EXPECT_EQ(of("", true), "tools");
  ErrorKind kind = ErrorKind::internal;
  EXPECT_TRUE(has(error_of([&] { of(""); }, &kind), "'rag', 'tool_use'"));
  EXPECT_EQ(int(kind), int(ErrorKind::not_found));
  atomic_write(directory / "chat_template.jinja", "own");
  EXPECT_EQ(of(""), "own");
  EXPECT_EQ(of("", true), "tools");
  EXPECT_EQ(of("rag", true), "rag");
  EXPECT_TRUE(has(error_of([&] { of("../x"); }), "'default', 'rag', 'tool_use'"));
  atomic_write(directory / "additional_chat_templates/default.jinja", "later");
  EXPECT_EQ(of("default"), "later");
}

TEST(ChatFiles, OneOfSeveralIsChosenAsTransformersDoes) {
  TempDir directory;
  const auto chosen = [&](const std::string& templates, const std::string& name, bool tools) {
    atomic_write(directory / "tokenizer_config.json", "{\"chat_template\": " + templates + "}");
    return rendered(*read_chat_template(directory.path(), {name, tools}));
  };
  const std::string list = R"([{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"},
                               {"name": "rag", "template": "r"}])";
  const std::string object = R"({"rag": "r", "tool_use": "t", "default": "d"})";
  for (const std::string& templates : {list, object}) {
    EXPECT_EQ(chosen(templates, "", false), "d");
    EXPECT_EQ(chosen(templates, "", true), "t");
    EXPECT_EQ(chosen(templates, "rag", true), "r");
    EXPECT_EQ(chosen(templates, "default", true), "d");
    EXPECT_TRUE(has(error_of([&] { chosen(templates, "x", true); }), "'rag'"));
  }
  EXPECT_EQ(chosen(R"([{"name": "default", "template": "d"}])", "", true), "d");
  EXPECT_EQ(chosen(R"([{"name": "tool_use", "template": "t"}])", "", false), "t");
  EXPECT_EQ(chosen(R"({"rag": "r"})", "", true), "r");
  EXPECT_EQ(chosen(R"([{"name": "a", "template": "1"}, {"name": "a", "template": "2"}])", "a", false), "2");
  EXPECT_EQ(chosen(R"({"tool_use": "t", "rag": "r"})", "", true), "t");
  EXPECT_TRUE(has(error_of([&] { chosen(R"({"tool_use": "t", "rag": "r"})", "", false); }), "'tool_use', 'rag'"));
  for (const char* const none : {"[]", "{}", "null"}) {
    atomic_write(directory / "tokenizer_config.json", std::string("{\"chat_template\": ") + none + "}");
    EXPECT_FALSE(read_chat_template(directory.path()).has_value()) << none;
  }
}

TEST(ChatFiles, ErrorsOfATemplateSayWhichOneItIs) {
  TempDir directory;
  atomic_write(directory / "tokenizer_config.json", R"({"chat_template": {"default": "d", "tool_use": "{% if %}"}})");
  EXPECT_EQ(rendered(*read_chat_template(directory.path())), "d");  // a fault in another one stops no chat
  const std::string message = error_of([&] { read_chat_template(directory.path(), {.tools = true}); });
  EXPECT_TRUE(has(message, "tokenizer_config.json") && has(message, "'tool_use'")) << message;
}

TEST(ChatFiles, WrongFilesAreRefusedWithTheirName) {
  TempDir directory;
  for (const char* const text :
       {"[", "[]", R"({"chat_template": 3})", R"({"chat_template": [{"name": "default"}]})",
        R"({"chat_template": {"default": 5}})", R"({"bos_token": 5})", R"({"chat_template": "{% if %}"})"}) {
    atomic_write(directory / "tokenizer_config.json", text);
    ErrorKind kind = ErrorKind::internal;
    EXPECT_TRUE(has(error_of([&] { read_chat_template(directory.path()); }, &kind), "tokenizer_config.json")) << text;
    EXPECT_EQ(int(kind), int(ErrorKind::corrupt)) << text;
  }
  atomic_write(directory / "tokenizer_config.json", std::string(1000, '['));
  EXPECT_TRUE(has(error_of([&] { read_chat_template(directory.path()); }), "deeper"));
}

TEST(GenerationConfig, ReadsWhatModelsSayAndListsWhatIsLeftAside) {
  const GenerationConfig config = read_generation_config(
      R"({"_from_model_config": true, "bos_token_id": 0, "eos_token_id": [1, 7], "pad_token_id": -1,
      "do_sample": true, "temperature": 0.6, "top_p": 0.95, "top_k": 50, "max_new_tokens": 100, "min_p": null,
      "transformers_version": "4.46.3", "num_beams": 1, "use_cache": true, "output_scores": false,
      "no_repeat_ngram_size": 3,
      "stop_strings": ["\n\n", "User:"], "suppress_tokens": [5, 6], "forced_bos_token_id": 3, "num_beam_groups": 2,
      "sequence_bias": null, "length_penalty": 1.0, "forced_decoder_ids": []})");
  EXPECT_EQ(config.bos_ids, std::vector<int32_t>{0});
  EXPECT_EQ(config.eos_ids, (std::vector<int32_t>{1, 7}));
  EXPECT_FALSE(config.pad_id || config.min_p || config.max_length);
  EXPECT_EQ(config.temperature, 0.6);
  EXPECT_EQ(config.top_p, 0.95);
  EXPECT_EQ(config.top_k, 50);
  EXPECT_EQ(config.max_new_tokens, 100);
  EXPECT_EQ(config.sampling_temperature(1.0), 0.6);
  EXPECT_EQ(config.unused,
            (std::vector<std::string>{"no_repeat_ngram_size", "forced_bos_token_id", "num_beam_groups"}));
  EXPECT_EQ(config.stop_strings, (std::vector<std::string>{"\n\n", "User:"}));
  EXPECT_EQ(config.suppressed_ids, (std::vector<int32_t>{5, 6}));
  EXPECT_EQ(read_generation_config(R"({"stop_strings": "end"})").stop_strings, std::vector<std::string>{"end"});
  EXPECT_EQ(read_generation_config(R"({"do_sample": false, "temperature": 0.7})").sampling_temperature(1.0), 0.0);
  EXPECT_EQ(read_generation_config("{}").sampling_temperature(0.8), 0.8);
}

TEST(GenerationConfig, WrongTypesAndRangesAreRefusedByKey) {
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"eos_token_id", "\"1\""},
                                                        {"eos_token_id", "-1"},
                                                        {"eos_token_id", "[1, 2.5]"},
                                                        {"eos_token_id", "99999999999999999999"},
                                                        {"bos_token_id", "true"},
                                                        {"pad_token_id", "-2"},
                                                        {"do_sample", "1"},
                                                        {"temperature", "-0.1"},
                                                        {"temperature", "\"warm\""},
                                                        {"top_p", "1.5"},
                                                        {"top_k", "2.5"},
                                                        {"max_new_tokens", "0"},
                                                        {"max_length", "18446744073709551615"},
                                                        {"repetition_penalty", "0"},
                                                        {"stop_strings", "[\"\"]"},
                                                        {"stop_strings", "5"},
                                                        {"suppress_tokens", "[\"a\"]"},
                                                        {"min_p", "[]"}}) {
    ErrorKind kind = ErrorKind::internal;
    const std::string message = error_of([&] { read_generation_config("{\"" + key + "\": " + value + "}"); }, &kind);
    EXPECT_TRUE(has(message, "\"" + key + "\"")) << message;
    EXPECT_EQ(int(kind), int(ErrorKind::corrupt)) << key;
  }
  for (const std::string& text :
       {std::string("["), std::string("[]"), std::string(1000, '['), std::string("{\"a\": \xff}")}) {
    EXPECT_NE(error_of([&] { read_generation_config(text); }), "");
  }
}

TEST(GenerationConfig, ADirectoryMayHaveNone) {
  TempDir directory;
  EXPECT_FALSE(load_generation_config(directory.path()).has_value());
  atomic_write(directory / "generation_config.json", "{\"top_k\": \"x\"}");
  EXPECT_TRUE(has(error_of([&] { load_generation_config(directory.path()); }), "generation_config.json"));
}

}  // namespace
}  // namespace hadal
