// What a chat request becomes: which template writes it, and what of the request the template sees.
#include "dialogue/prompt.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/testing.h"

namespace hadal {
namespace {

using testing::error_of;
using testing::TempDir;

using testing::has;

const char* const kTool = R"([{"type": "function", "function": {"name": "f", "parameters": {}}}])";

ChatInputs chat_of_json(const std::string& text) {
  int64_t replaced = 0;
  return chat_from_json(text, "here", replaced);
}

TEST(Prompt, AChatWithToolsIsWrittenByTheTemplateForTools) {
  const TempDir directory;
  atomic_write(directory / "tokenizer_config.json",
               R"({"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"},
                                     {"name": "rag", "template": "r{{ documents[0].text }}"}]})");
  const auto text = [&](const std::string& more, const std::string& wanted = "") {
    const std::string request = R"({"messages": [{"role": "user", "content": "x"}])" + more + "}";
    return chat_text(rendered_chat(directory.path(), chat_of_json(request), wanted));
  };
  EXPECT_EQ(text(""), "d");
  EXPECT_EQ(text(std::string(", \"tools\": ") + kTool), "t");
  EXPECT_EQ(text(", \"tools\": []"), "t");  // given, if empty: as transformers
  EXPECT_EQ(text(", \"tools\": null"), "d");
  EXPECT_EQ(text(R"(, "documents": [{"text": "!"}])", "rag"), "r!");
  EXPECT_TRUE(has(error_of([&] { text("", "other"); }), "'default', 'tool_use', 'rag'"));
}

TEST(Prompt, ContentInPartsIsGivenAsItIsWhereTheTemplateTakesListsAndJoinedElsewhere) {
  const TempDir directory;
  const auto text = [&](const std::string& source, const std::string& content) {
    atomic_write(directory / "chat_template.jinja", source);
    const std::string request = R"([{"role": "user", "content": )" + content + "}]";
    return chat_text(rendered_chat(directory.path(), chat_of_json(request)));
  };
  const std::string two = R"([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}])";
  EXPECT_EQ(text("<{{ messages[0].content }}>", two), "<one two>");               // would print a list
  EXPECT_EQ(text("{{ '<' + messages[0]['content'] + '>' }}", two), "<one two>");  // would fail
  EXPECT_EQ(text("<{{ messages[0].content | trim }}>", two), "<one two>");
  EXPECT_EQ(text("{% if messages[0].content is string %}{{ messages[0].content }}{% endif %}", two),
            "one two");                                                                      // loses it
  EXPECT_EQ(text("{% for p in messages[0].content %}{{ p }}{% endfor %}", two), "one two");  // would print a part
  EXPECT_EQ(text("{% for p in messages[0].content %}[{{ p.text }}]{% endfor %}", two), "[one ][two]");
  EXPECT_EQ(text("<{{ messages[0].content }}>", R"(["one", {"text": "two"}])"), "<onetwo>");
  EXPECT_EQ(text("<{{ messages[0].content }}>", "[]"), "<>");
  EXPECT_EQ(text("<{{ messages[0].content }}>", "\"plain\""), "<plain>");
  for (const char* const part : {R"({"type": "image_url", "image_url": {"url": "x"}})", "5", R"({"type": "text"})"}) {
    ErrorKind kind = ErrorKind::internal;
    const std::string said = error_of(
        [&] { text("{{ messages }}", std::string(R"([{"type": "text", "text": "a"}, )") + part + "]"); }, &kind);
    EXPECT_TRUE(has(said, "message 1: part 2")) << said;
    EXPECT_EQ(int(kind), int(ErrorKind::invalid));
  }
  EXPECT_TRUE(has(error_of([&] { text("{{ raise_exception('never') }}", two); }), "never"));
}

TEST(Prompt, ReasoningReachesTheTemplateUnderTheNamesThatTemplatesRead) {
  const TempDir directory;
  atomic_write(directory / "chat_template.jinja",
               "{{ messages[0].reasoning_content }}|{{ messages[0].thinking }}|{{ messages[0].reasoning }}");
  const auto text = [&](const std::string& fields) {
    const std::string request = R"([{"role": "assistant", "content": "x")" + fields + "}]";
    return chat_text(rendered_chat(directory.path(), chat_of_json(request)));
  };
  EXPECT_EQ(text(R"(, "reasoning": "why")"), "why|why|why");
  EXPECT_EQ(text(R"(, "thinking": "why")"), "why|why|");
  EXPECT_EQ(text(R"(, "reasoning_content": "why")"), "why|why|");
  EXPECT_EQ(text(R"(, "thinking": "a", "reasoning": "b")"), "a|a|b");
  EXPECT_EQ(text(R"(, "reasoning_content": null, "reasoning": "b")"), "b|b|b");
  EXPECT_EQ(text(""), "||");
}

TEST(Prompt, SettingsOfARequestAreReadOrNamed) {
  const auto of = [](const std::string& text) { return settings_of_request(text, "here"); };
  const RequestSettings all = of(R"({"messages": [], "temperature": 0, "top_p": 0.5, "min_p": 0.1, "top_k": 7,
                                     "seed": 18446744073709551615,
                                     "max_tokens": 9, "stop": ["x"], "stream": true, "n": null,
                                     "enable_thinking": false})");
  EXPECT_EQ(all.temperature, 0.0);
  EXPECT_EQ(all.top_p, 0.5);
  EXPECT_EQ(all.min_p, 0.1);
  EXPECT_EQ(all.top_k, 7);
  EXPECT_EQ(all.seed, 18446744073709551615u);
  EXPECT_EQ(all.max_tokens, 9);
  EXPECT_EQ(all.stop, std::vector<std::string>{"x"});
  EXPECT_EQ(all.unused, (std::vector<std::string>{"stream"}));
  const std::vector<std::string> known = {
      "store",     "metadata",          "service_tier",      "user",          "modalities", "prediction",
      "functions", "verbosity",         "safety_identifier", "function_call", "audio",      "prompt_cache_key",
      "best_of",   "web_search_options"};
  for (const std::string& key : known)
    EXPECT_EQ(of("{\"messages\": [], \"" + key + "\": {}}").unused, std::vector<std::string>{key});
  EXPECT_EQ(of(R"({"messages": [], "stop": "end", "presence_penalty": 1, "frequency_penalty": -0.5})").stop,
            std::vector<std::string>{"end"});
  EXPECT_EQ(of(R"({"messages": [], "max_completion_tokens": 5})").max_tokens, 5);
  EXPECT_FALSE(of("[]").temperature.has_value());
  for (const char* const wrong :
       {R"("temperature": "hot")", R"("max_tokens": 1.5)", R"("max_tokens": -1)", R"("seed": -3)", R"("top_k": true)",
        R"("stop": [1])", R"("presence_penalty": "much")"})
    EXPECT_TRUE(has(error_of([&] { of(std::string("{") + wrong + "}"); }), "here: \"")) << wrong;
}

TEST(Prompt, VariablesOfARequestReachTheTemplateAndSettingsDoNot) {
  const TempDir directory;
  atomic_write(directory / "chat_template.jinja",
               "{{ a }}{{ b }}{{ temperature is defined }}{{ chat_template_kwargs is defined }}");
  const ChatInputs chat =
      chat_of_json(R"({"messages": [{"role": "user"}], "a": 1, "temperature": 1, "chat_template_kwargs": {"b": 2}})");
  EXPECT_EQ(chat_text(rendered_chat(directory.path(), chat)), "12FalseFalse");
  EXPECT_TRUE(has(error_of([] { chat_of_json(R"({"messages": [], "chat_template_kwargs": 5})"); }), "kwargs"));
}

TEST(Prompt, VariablesThatTheTemplateDoesNotMentionAreNamed) {
  const TempDir directory;
  atomic_write(directory / "chat_template.jinja", "{% if enable_thinking %}{{ a.b }}{% endif %}{{ ab }}");
  const auto unused = [&](const std::string& more) {
    return unused_variables(directory.path(), chat_of_json(R"({"messages": [])" + more + "}"));
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(unused(""), Names{});
  EXPECT_EQ(unused(R"(, "enable_thinking": true, "ab": 1, "model": "m", "stream": true, "temperature": 1)"), Names{});
  EXPECT_EQ(unused(R"(, "temprature": 1, "thinking": true, "chat_template_kwargs": {"enable": 1, "a": 2})"),
            (Names{"temprature", "thinking", "enable"}));
  EXPECT_EQ(unused_variables(directory.path(), chat_of("hi")), Names{});
}

TEST(Prompt, ARequestMayLeaveTheModelsTurnUnopened) {
  const TempDir directory;
  atomic_write(directory / "chat_template.jinja", "{{ add_generation_prompt }}");
  const auto text = [&](const std::string& more) {
    return chat_text(rendered_chat(directory.path(), chat_of_json(R"({"messages": [{"role": "user"}])" + more + "}")));
  };
  EXPECT_EQ(text(""), "True");
  EXPECT_EQ(text(R"(, "add_generation_prompt": null)"), "True");
  EXPECT_EQ(text(R"(, "add_generation_prompt": false)"), "False");
  EXPECT_EQ(text(R"(, "chat_template_kwargs": {"add_generation_prompt": false})"), "False");
  EXPECT_TRUE(has(error_of([&] { text(R"(, "add_generation_prompt": "no")"); }), "not true or false"));
}

TEST(Prompt, ASystemMessageGoesBeforeTheOthers) {
  EXPECT_EQ(with_system(chat_of("hi"), "s").messages,
            R"([{"role":"system","content":"s"},{"role":"user","content":"hi"}])");
  EXPECT_TRUE(has(error_of([] { with_system(with_system(chat_of("hi"), "s"), "t"); }), "--system"));
}

TEST(Prompt, ATemplateMayComeInAFile) {
  const TempDir directory;
  EXPECT_TRUE(has(error_of([&] { rendered_chat(directory.path(), chat_of("hi")); }), "no chat template"));
  atomic_write(directory / "tokenizer_config.json", R"({"bos_token": "<s>"})");
  atomic_write(directory / "mine.jinja", "{{ bos_token }}{{ messages[0].content }}{{ add_generation_prompt }}");
  EXPECT_EQ(chat_text(rendered_chat(directory.path(), chat_of("hi"), directory / "mine.jinja")), "<s>hiTrue");
}

}  // namespace
}  // namespace hadal
