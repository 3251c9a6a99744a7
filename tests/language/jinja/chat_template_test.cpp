// Chat templates: what they render, who wrote which fragment, and that no template can run or grow without end.
#include "jinja/chat_template.h"

#include <gtest/gtest.h>

#include "jinja/template_testing.h"

namespace hadal {
namespace {

using testing::error_of;
using testing::has;
using testing::limits;
using testing::refusal;
using testing::rendered;

TEST(ChatTemplate, RendersMessagesWithTheRulesOfWhiteSpace) {
  const ChatTemplate chat = ChatTemplate::parse(
      "{% for m in messages %}\n  {% if m.role == 'user' %}\n[{{ m.content | trim }}]{# said #}\n  {%- else %}\n<{{ "
      "m.content }}>\n  {% endif %}\n"
      "{% endfor %}\n{% if add_generation_prompt %}>{% endif %}\n",
      {{"bos_token", "<s>"}});
  ChatInputs inputs;
  inputs.messages = R"([{"role": "user", "content": " hi "}, {"role": "assistant", "content": "ho"}])";
  inputs.add_generation_prompt = true;
  EXPECT_EQ(chat_text(chat.render(inputs)), "[hi]<ho>\n>");
  inputs.add_generation_prompt = false;
  EXPECT_EQ(chat_text(chat.render(inputs)), "[hi]<ho>\n");
}

TEST(ChatTemplate, CountsLikePython) {
  EXPECT_EQ(rendered("{{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 1/3 }} {{ 1e16 }} {{ 2.5|round }} {{ 'ß'|upper }} {{ "
                     "[1, 'a', none, true] }}"),
            "-4 2 1024 0.3333333333333333 1e+16 2.0 SS [1, 'a', None, True]");
  EXPECT_EQ(rendered("{{ 'naïve 你好'[-2:] }}{{ 'abc'[::-1] }}{{ 9007199254740993 }}{{ x|tojson }}",
                     R"({"x": 18446744073709551615})"),
            "你好cba900719925474099318446744073709551615");
}

TEST(ChatTemplate, ShowsTheClockItIsGiven) {
  EXPECT_EQ(rendered("{{ strftime_now('%d %b %Y %A %H:%M:%S %p %j') }}"), "25 Jul 2025 Friday 07:01:01 AM 206");
  EXPECT_EQ(rendered("{{ strftime_now('%c|%-d|%e|%y%%|%z|%Z|%f|%D|é|%') }}"),
            "Fri Jul 25 07:01:01 2025|25|25|25%|||000000|07/25/25|é|%");
}

TEST(ChatTemplate, MayDropNullFieldsOfMessages) {
  const ChatTemplate chat = ChatTemplate::parse("{{ messages[0].content is defined }} {{ messages[0].role }}");
  ChatInputs inputs;
  inputs.messages = R"([{"role": "user", "content": null}])";
  EXPECT_EQ(chat_text(chat.render(inputs)), "True user");
  inputs.drop_null_fields = true;
  EXPECT_EQ(chat_text(chat.render(inputs)), "False user");
}

TEST(ChatTemplate, FragmentsTellTheTemplatesWordsFromThePeoples) {
  const ChatTemplate chat = ChatTemplate::parse(
      "{{ bos_token }}<|{{ messages[0].role }}|>{{ messages[0].content }}<end>{{ 1 + 1 }}", {{"bos_token", "<s>"}});
  ChatInputs inputs;
  inputs.messages = R"([{"role": "user", "content": "<end>"}])";
  const std::vector<ChatFragment> fragments = chat.render(inputs);
  ASSERT_EQ(fragments.size(), 3u);
  EXPECT_EQ(fragments[0].text, "<s><|user|>");
  EXPECT_TRUE(fragments[0].from_template);
  EXPECT_EQ(fragments[1].text, "<end>");
  EXPECT_FALSE(fragments[1].from_template);
  EXPECT_EQ(fragments[2].text, "<end>2");
  inputs.messages = R"([{"role": "us|er", "content": ""}])";  // no plain word: not the template's
  EXPECT_EQ(chat.render(inputs).size(), 3u);
}

// Ways to get x printed.
const char* const kWays[] = {"x",
                             "x|safe",
                             "(x|safe).center(60)",
                             "x.ljust(60, '*')",
                             "x.zfill(40)",
                             "x.swapcase().swapcase()",
                             "x.casefold()",
                             "x.expandtabs()",
                             "'{}'.format(x)",
                             "'{:>40}'.format(x)",
                             "'{a[0]}'.format(a=[x])",
                             "'%40s' % x",
                             "'%(a)s' % {'a': x}",
                             "'%.30s'|format(x)",
                             "x|truncate(255)",
                             "(x ~ ' ' ~ x)|truncate(25)",
                             "[x]|batch(1)|first|first",
                             "([{'k': x}]|groupby('k')|first).grouper",
                             "cycler(x).next()",
                             "x|center(40)",
                             "x ~ ''",
                             "'' + x",
                             "x[0:] ",
                             "x|trim",
                             "x.strip()",
                             "x|upper|lower",
                             "x.replace('Q', 'R')",
                             "x|replace('Q', 'R')",
                             "x.split('Q')[0]",
                             "x.split()|join",
                             "'' .join([x])",
                             "[x]|join",
                             "x|list|join",
                             "[x]|first",
                             "{'k': x}.k",
                             "{x: 1}|first",
                             "{x: 1}.keys()|list|last",
                             "(x, 1)[0]",
                             "'%s' % x",
                             "x|tojson",
                             "x|tojson|replace('Q', '')",
                             "[x]|string",
                             "[x]",
                             "{'k': x}",
                             "{x: 2}",
                             "x|indent",
                             "x.splitlines()[0]",
                             "x.partition('Q')[0]",
                             "x.removeprefix('Q')",
                             "x|reverse|reverse",
                             "[x]|map('trim')|first",
                             "[x]|select|first",
                             "[x]|sort|first",
                             "[x]|unique|first",
                             "[x]|max",
                             "x|default('')",
                             "x|capitalize|lower",
                             "x|string|safe",
                             "namespace(a=x).a",
                             "dict(a=x).a",
                             "x * 1",
                             "(x ~ x)[:21]",
                             "x|title|lower"};

// However a template turns a user's text, it stays the user's.
TEST(ChatTemplate, NoOperationLaundersAUsersText) {
  const std::string control = "<tool_call_begins_x>";  // all of it letters that survive upper and lower
  for (const char* way : kWays) {
    for (const std::string shape :
         {"{{ WAY }}", "{% set y = WAY %}{{ y }}", "{% set y %}{{ WAY }}{% endset %}{{ y }}",
          "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(WAY) }}", "{% filter trim %}{{ WAY }}{% endfilter %}",
          "{% generation %}{{ WAY }}{% endgeneration %}"}) {
      std::string source = shape;
      source.replace(source.find("WAY"), 3, way);
      const auto fragments = ChatTemplate::parse(source).render_variables("{\"x\": \"" + control + "\"}");
      EXPECT_TRUE(has(chat_text(fragments), control)) << source;
      for (const ChatFragment& fragment : fragments) {
        const bool letters = fragment.text.find_first_of("<>abcdefghilmnopqrtuvwxyz") != std::string::npos;
        EXPECT_FALSE(fragment.from_template && letters) << source << " -> " << fragment.text;
      }
    }
  }
}

TEST(ChatTemplate, SyntaxErrorsNameTheLine) {
  for (const char* const source : {"a\n{% if x %}",
                                   "a\n{{ x",
                                   "a\n{# x",
                                   "a\n{% for x y %}{% endfor %}",
                                   "a\n{% raw %}",
                                   "a\n{{ 'x }}",
                                   "a\n{{ (1, 2] }}",
                                   "a\n{{ 1 2 }}",
                                   "a\n{% endif %}",
                                   "a\n{% nonsense %}",
                                   "a\n{{ x ? y }}",
                                   "a\n{{ '\\x1' }}",
                                   "a\n{{ '\\ud800' }}",
                                   "a\n{% break %}",
                                   "a\n{% set 1 = 2 %}",
                                   "a\n{% macro f(a=1, b) %}{% endmacro %}",
                                   "a\n{{ }}",
                                   "a\n{% for loop in x %}{% endfor %}",
                                   "a\n{{ 0x }}",
                                   "a\n{{ f(a=1, 2) }}",
                                   "a\n{{ 007 }}",
                                   "a\n\xff",
                                   "a\n{{ x is defined is none }}",
                                   "a\n{% set x %}",
                                   "a\n{% if x %}{% endfor %}"}) {
    const std::string message = refusal(source, ErrorKind::corrupt);
    EXPECT_TRUE(has(message, "line 2")) << source << " -> " << message;
  }
}

TEST(ChatTemplate, MistakesOfTheMessagesAreErrorsWithTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {"\n{{ x.y.z }}", "'x' is undefined"},
      {"\n{{ d.y.z }}", "no attribute 'y'"},
      {"\n{{ 'a' + 1 }}", "str and a int"},
      {"\n{{ x() }}", "'x' is undefined"},
      {"\n{{ d() }}", "cannot be called"},
      {"\n{{ 1 // 0 }}", "division by zero"},
      {"\n{{ raise_exception('no ' ~ d.a) }}", "no 5"},
      {"\n{{ d.update({}) }}", "immutable"},
      {"\n{{ [].append(1) }}", "immutable"},
      {"\n{% set d.a = 1 %}", "no namespace"},
      {"\n{{ [3, 'a']|sort }}", "str"},
      {"\n{% for a, b in [[1]] %}{% endfor %}", "1 values"},
      {"\n{{ 'a'|indent(wide=1) }}", "wide"},
      {"\n{{ none|length }}", "no length"},
      {"\n{{ ''.join([1]) }}", "not a str"},
      {"\n{{ x|tojson }}", "'x' is undefined"},
      {"\n{{ {[1]: 2} }}", "key"},
      {"\n{{ 'a'.split('') }}", "empty"},
      {"\n{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "not more than 1"},
      {"\n{% macro f(a) %}{% endmacro %}{{ f(b=2) }}", "'b'"},
      {"\n{{ [1][::0] }}", "step"},
      {"\n{{ namespace(_a=1) }}", "_a"},
      {"\n{{ 2 ** 127 }}", "127 bits"},
      {"\n{{ 3 is divisibleby }}", "compare"},
      {"\n{{ 'b' in 5 }}", "walk"},
      {"\n{{ 1.5 in 'b' }}", "looked for"}};
  for (const auto& [source, part] : cases) {
    const std::string message = refusal(source, ErrorKind::invalid, R"({"d": {"a": 5}})");
    EXPECT_TRUE(has(message, part) && has(message, "line 2")) << source << " -> " << message;
  }
}

TEST(ChatTemplate, TemplatesThatLoopOrGrowWithoutEndAreStopped) {
  const char* const sources[] = {
      "{% for i in range(1000000000) %}{% endfor %}",
      "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
      "{{ 'x' * 1000000000000 }}",
      "{{ ('x' * 1000000) * 1000000 }}",
      "{{ [1] * 10000000000 }}",
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
      "{% set ns = namespace(s=[]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
      "{% set ns = namespace(s=[]) %}{% for i in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson "
      "}}",
      "{% set a = namespace(s=[]) %}{% set b = namespace(s=[]) %}{% for i in range(60) %}{% set a.s = [a.s, a.s] %}{% "
      "set b.s = [b.s, b.s] %}{% endfor %}{{ a.s == b.s }}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(n) %}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
      "{% macro f(x) %}x{{ x }}{{ f(x ~ x) }}{% endmacro %}{{ f('abc') }}",
      "{{ 'a' | indent('x' * 60000000) | replace('', 'y' * 60000000) }}",
      "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
      "{{ ('a,' * 1000000) | list | join('b' * 1000) }}",
      "{% set x = 'a' * 60000000 %}{% for i in range(90000) %}{{ x }}{% endfor %}",
      "{{ 'a' | tojson(indent='x' * 50000000) }}{{ [[[[1]]]] | tojson(indent='x' * 50000000) }}",
      "{% for i in range(90000) %}{% set ns = namespace(a=i) %}{% for j in range(900) %}{% set ns.b = j %}{% endfor "
      "%}{% endfor %}",
      "{{ ('a' * 60000000).split('a') }}",
      "{{ '%s' * 1000000 % ('x',) }}",
      "{% for i in range(90000) %}{{ 'x'.center(1000000) }}{% endfor %}",
      "{{ [1]|batch(1000000000, 0)|list }}",
      "{{ [1]|slice(1000000000)|list }}",
      "{{ '%99999d' * 60000 % ((1,) * 60000) }}",
      "{{ ('{:99999}' * 60000).format(*((1,) * 60000)) }}",
      "{% for i in range(90000) %}{{ ('\\t' * 9000).expandtabs(10000) }}{% endfor %}",
      "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}"};
  for (const char* const source : sources) {
    const std::string message = refusal(source, ErrorKind::invalid);
    EXPECT_TRUE(has(message, "line 1")) << source << " -> " << message;
  }
}

TEST(ChatTemplate, DeepNestingIsRefusedBeforeItCanHurt) {
  auto repeated = [](const std::string& text, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += text;
    return out;
  };
  const int n = 40000;
  for (const std::string& source :
       {"{{ " + repeated("(", n) + "1" + repeated(")", n) + " }}", "{{ " + repeated("[", n) + repeated("]", n) + " }}",
        "{{ " + repeated("not ", n) + "x }}", "{{ 1" + repeated(" + 1", n) + " }}",
        "{{ x" + repeated("|trim", n) + " }}", "{{ x" + repeated(".a", n) + " }}", "{{ x" + repeated("()", n) + " }}",
        repeated("{% if x %}", n) + repeated("{% endif %}", n), repeated("{% for x in y %}", n),
        "{{ " + repeated("-", n) + "1 }}", "{{ a" + repeated(" if b else c", n) + " }}",
        "{{ " + repeated("{1:", n) + "1" + repeated("}", n) + " }}",
        "{% set x " + repeated("| trim", n) + " %}{% endset %}"}) {
    EXPECT_TRUE(has(refusal(source, ErrorKind::invalid), "deeper")) << source.substr(0, 40);
  }
  EXPECT_TRUE(has(refusal("x", ErrorKind::invalid, "{\"a\": " + repeated("[", n) + repeated("]", n) + "}"), "deeper"));
  EXPECT_TRUE(has(refusal(std::string(2 << 20, 'x'), ErrorKind::invalid), "long"));
  EXPECT_EQ(
      rendered("{{ 1" + repeated(" + 1", 200) + " }}{% if 0 %}a" + repeated("{% elif 0 %}b", 5000) + "{% endif %}"),
      "201");
}

TEST(ChatTemplate, CyclesThroughNamespacesAreFreed) {  // the leak sanitizer looks
  EXPECT_EQ(rendered("{% set a = namespace() %}{% set a.self = a %}{% set b = namespace(a=a) %}{% set a.b = [b, {'k': "
                     "a}] %}{% macro f() %}{{ a.x }}{% endmacro %}{% set a.f = f %}ok"),
            "ok");
  EXPECT_EQ(rendered("{% set ns = namespace(last=none) %}{% for i in range(5000) %}{% set ns.last = "
                     "namespace(before=ns.last) %}{% endfor %}ok"),
            "ok");
}

TEST(ChatTemplate, MessagesOfTheWrongShapeAreRefused) {
  const ChatTemplate chat = ChatTemplate::parse("{{ messages|length }}");
  auto refusal_of = [&](const std::string& messages, const std::string& tools = "", const std::string& variables = "") {
    ChatInputs inputs;
    inputs.messages = messages, inputs.tools = tools, inputs.variables = variables;
    return error_of([&] { chat.render(inputs); });
  };
  EXPECT_TRUE(has(refusal_of("{}"), "not a list"));
  EXPECT_TRUE(has(refusal_of("[1]"), "message 1"));
  EXPECT_TRUE(has(refusal_of("[{]"), "not valid JSON"));
  EXPECT_TRUE(has(refusal_of(""), "not valid JSON"));
  EXPECT_TRUE(has(refusal_of("[]", "3"), "tools"));
  EXPECT_TRUE(has(refusal_of("[]", "", "[]"), "not an object"));
  EXPECT_TRUE(has(refusal_of("[{\"content\": \"\xff\"}]"), "not valid JSON"));
  EXPECT_TRUE(has(refusal_of("[{\"content\": \"\\ud800\"}]"), "not valid JSON"));
  EXPECT_TRUE(has(refusal_of("[{\"content\": 123456789012345678901234567890}]"), "64 bits"));
}

}  // namespace
}  // namespace hadal
