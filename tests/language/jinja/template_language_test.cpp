// The language of templates: what it has of Python and Jinja, and that what it lacks fails when it is reached.
#include <gtest/gtest.h>

#include "jinja/template_testing.h"

namespace hadal {
namespace {

using testing::has;
using testing::refusal;
using testing::rendered;

TEST(TemplateLanguage, WhatIsUnknownFailsByNameWhenItIsReachedAndNotBefore) {
  const std::pair<const char*, const char*> cases[] = {
      {"{% include 'x' %}", "include"},
      {"{% import 'x' as y %}", "import"},
      {"{% from 'x' import y with context %}", "from"},
      {"{% extends 'x' %}", "extends"},
      {"{% autoescape true %}{% endautoescape %}", "autoescape"},
      {"{{ x|pprint }}", "'pprint' is not supported"},
      {"{{ x|from_json }}", "no filter 'from_json'"},
      {"{{ x is nosuch }}", "no test 'nosuch'"},
      {"{{ (x|trim.upper()) }}", "no filter 'trim.upper'"},
      {"{{ x is nosuch('a', 1) }}", "no test 'nosuch'"},
      {"{% set y %}a{% endset %}{{ y|nosuch|trim }}", "no filter 'nosuch'"},
      {"{% filter nosuch %}a{% endfilter %}", "no filter 'nosuch'"},
      {"{% set y | nosuch %}a{% endset %}", "no filter 'nosuch'"},
      {"{{ namespace }}", "function"},
      {"{{ [1]|map('nosuch')|list }}", "nosuch"},
      {"{{ [1]|select('nosuch')|list }}", "nosuch"},
      {"{{ '\\N{BULLET}' }}", "\\N{...}"},
      {"{{ 170141183460469231731687303715884105728 }}", "127 bits"},
      {"{{ 'x'.encode() }}", "encode"},
      {"{{ strftime_now('x')|random }}", "random"}};
  for (const auto& [source, name] : cases) {
    EXPECT_TRUE(has(refusal(source, ErrorKind::unsupported), name)) << source;
    const std::string branch = std::string("{% if x %}") + source + "{% else %}fine{% endif %}";
    EXPECT_EQ(rendered(branch), "fine") << source;
    EXPECT_TRUE(has(refusal(branch, ErrorKind::unsupported, "{\"x\": 1}"), name)) << source;
    EXPECT_EQ(rendered(std::string("{% macro m() %}") + source + "{% endmacro %}fine"), "fine") << source;
  }
  const std::pair<const char*, const char*> calls[] = {
      {"{{ nosuch() }}", "'nosuch' is undefined"},
      {"{{ 'a'.nosuch() }}", "no attribute 'nosuch'"},
      {"{{ {}.nosuch.b }}", "no attribute 'nosuch'"},
      {"{{ [].__class__.__base__ }}", "'__class__' of a list is private"},
      {"{{ [].append(1) }}", "immutable"},
      {"{{ messages.nosuch() }}", "'messages' is undefined"}};
  for (const auto& [source, part] : calls) {
    EXPECT_TRUE(has(refusal(source, ErrorKind::invalid), part)) << source;
    EXPECT_EQ(rendered(std::string("{% if x %}") + source + "{% else %}fine{% endif %}"), "fine") << source;
  }
  EXPECT_EQ(rendered("{{ [].nosuch }}{{ [].__class__ is defined }}{{ {'_a': 1}._a }}{{ x.y if x }}"), "False1");
}

// Templates of single texts: Jinja's own settings, and what is undefined is no text.
TEST(TemplateLanguage, TextsKeepTheirWhiteSpaceAndRefuseWhatIsUndefined) {
  const auto text = [](const std::string& source) {
    return chat_text(ChatTemplate::parse_text(source).render_variables(R"({"a": "x", "list": [1, 2]})"));
  };
  EXPECT_EQ(text("  {% if a %}\n b{% endif %}\n"), "  \n b\n");
  EXPECT_EQ(text("  {%- if a -%}\n b{% endif %}\n"), "b\n");
  EXPECT_EQ(rendered("  {% if a %}\n b{% endif %}\n", R"({"a": 1})"), " b");
  EXPECT_EQ(text("{{ b is defined }}{{ b | default('none') }}{{ list }}"), "Falsenone[1, 2]");
  for (const char* const source : {"{{ b }}", "{% if b %}{% endif %}", "{% for x in b %}{% endfor %}", "{{ b == 1 }}",
                                   "{{ b | length }}", "{{ a.b }}", "{{ 'x' if not b }}"})
    EXPECT_TRUE(has(testing::error_of([&] { text(source); }), source[3] == 'a' ? "'b'" : "'b' is undefined")) << source;
}

TEST(TemplateLanguage, TagsOfExtensionsThatTransformersDoesNotSwitchOnAreRefused) {
  for (const char* const tag : {"do", "trans", "debug"})
    EXPECT_TRUE(has(refusal(std::string("{% if x %}{% ") + tag + " %}{% endif %}", ErrorKind::unsupported), tag));
}

TEST(TemplateLanguage, CallsUnpackTheirArguments) {
  EXPECT_EQ(rendered("{% macro m(a, b=2, c=3) %}{{ a }}{{ b }}{{ c }} {% endmacro %}{{ m(*[1]) }}{{ m(0, *[5, 6]) }}"
                     "{{ m(**{'a': 7, 'c': 8}) }}{{ m(*[1], c=9) }}{{ m(*'xy', **{'c': 'z'}) }}{{ dict(**{'k': 1}) }}"),
            "123 056 728 129 xyz {'k': 1}");
  EXPECT_EQ(rendered("{{ [3, 1]|sort(**{'reverse': true}) }}{{ 4 is divisibleby(*[2]) }}{{ {(1, 'a'): 'k'}[1, 'a'] }}"),
            "[3, 1]Truek");
  EXPECT_TRUE(has(refusal("{% macro m(a) %}{% endmacro %}{{ m(1, **{'a': 2}) }}", ErrorKind::invalid), "twice"));
  EXPECT_TRUE(has(refusal("{{ dict(a=1, **{'a': 2}) }}", ErrorKind::invalid), "twice"));
  EXPECT_TRUE(has(refusal("{{ dict(**[1]) }}", ErrorKind::invalid), "a dict, not a list"));
  refusal("{{ f(*a, *b) }}", ErrorKind::corrupt);
  refusal("{{ f(*a, b) }}", ErrorKind::corrupt);
}

TEST(TemplateLanguage, CallBlocksGiveAMacroItsCaller) {
  EXPECT_EQ(rendered("{% macro box(title) %}[{{ title }}: {{ caller() }}]{% endmacro %}{% set x = 1 %}"
                     "{% call box('a') %}x is {{ x }}{% endcall %}"),
            "[a: x is 1]");
  EXPECT_EQ(rendered("{% macro each(l) %}{% for i in l %}{{ caller(i, n=loop.index) }}{% endfor %}{% endmacro %}"
                     "{% call(item, n, end='.') each('ab') %}{{ n }}{{ item }}{{ end }}{% endcall %}"),
            "1a.2b.");
  EXPECT_EQ(rendered("{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}"), "False");
  EXPECT_TRUE(has(refusal("{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}", ErrorKind::invalid), "'caller'"));
  EXPECT_TRUE(has(refusal("{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", ErrorKind::invalid), "{% call %}"));
  refusal("{% call m %}{% endcall %}", ErrorKind::corrupt);
}

TEST(TemplateLanguage, BlocksStandInTheirPlaceAndRecursiveLoopsCallThemselves) {
  EXPECT_EQ(rendered("{% set a = 1 %}<{% block x %}{{ a }}{% set a = 2 %}{% endblock x %}>{{ a }}"
                     "{% for i in [1] %}{% block y %}{{ i is defined }}{% endblock %}{% block z scoped %}{{ i }}"
                     "{% endblock %}{% endfor %}{% autoescape false %}{{ '<' }}{% endautoescape %}"),
            "<1>1False1<");
  EXPECT_EQ(rendered("{% for x in tree recursive %}{{ loop.depth }}{{ x.n }}{% if x.c %}({{ loop(x.c) }}){% endif %}"
                     "{% else %}none{% endfor %}",
                     R"({"tree": [{"n": "a", "c": [{"n": "b", "c": [{"n": "c"}]}, {"n": "d"}]}, {"n": "e"}]})"),
            "1a(2b(3c)2d)1e");
  EXPECT_TRUE(has(refusal("{% for x in [1] %}{{ loop([2]) }}{% endfor %}", ErrorKind::invalid), "recursive"));
  EXPECT_TRUE(has(refusal("{% set ns = namespace() %}{% for x in [1] recursive %}{% set ns.l = loop %}{% endfor %}"
                          "{{ ns.l([1]) }}",
                          ErrorKind::invalid),
                  "while it runs"));
  EXPECT_TRUE(has(refusal("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", ErrorKind::invalid), "deeper"));
  refusal("{% block x %}{% endblock %}{% block x %}{% endblock %}", ErrorKind::corrupt);
}

TEST(TemplateLanguage, ValuesAreFormattedAsPythonDoes) {
  const std::pair<const char*, const char*> cases[] = {
      {"{{ '%5.2f|%-6d|%+x|%05d|%o|%e|%g|%c|%r|%5s|%.2s|%%' % (3.14159, 42, 255, -7, 8, 12345.678, 1e-10, 'z', 'q', "
       "'a', 'abc') }}",
       " 3.14|42    |+ff|-0007|10|1.234568e+04|1e-10|z|'q'|    a|ab|%"},
      {"{{ '%(a)s-%(b)03d' % {'a': 'x', 'b': 5} }}{{ '%s'|format(1) }}{{ '%(n)s'|format(n=2) }}{{ '%*d|%.*f' % (4, 7, "
       "1, 2.55) }}",
       "x-00512   7|2.5"},
      {"{{ '{} {} {{}} {0}'.format(1, 2) if false }}{{ '{0}{1}{0}|{a}|{d[k]}|{d.k}|{l[1]}'.format(1, 'b', a=2, d={'k': "
       "3}, l=[4, 5]) }}",
       "1b1|2|3|3|5"},
      {"{{ '{:>5}|{:<5}|{:^5}|{:*^7}|{:05}|{:+}|{:x}|{:#X}|{:,}|{:08,.1f}|{:.3}|{:.1%}|{!r}'.format('a', 'b', 'c', "
       "'d', -7, 3, 255, 255, 1234567, 1234.5, 12.0, 0.256, 'q') }}",
       "    a|b    |  c  |***d***|-0007|+3|ff|0XFF|1,234,567|01,234.5|12.0|25.6%|'q'"},
      {"{{ '{:{w}}|'.format(1, w=3) }}{{ '{a}'.format_map({'a': 1}) }}{{ '{:5}'.format(true) }}{{ '{}'.format(none) }}",
       "  1|1    1None"}};
  for (const auto& [source, expected] : cases) EXPECT_EQ(rendered(source), expected) << source;
  for (const char* const source :
       {"{{ '%s %s' % (1,) }}", "{{ '%d' % 'a' }}", "{{ '%y' % 1 }}", "{{ '%(a)s' % 1 }}", "{{ '{'.format(1) }}",
        "{{ '{}{}'.format(1) }}", "{{ '{a}'.format(1) }}", "{{ '{:d}'.format('a') }}", "{{ '{:.2}'.format(3) }}",
        "{{ '{:y}'.format(3) }}", "{{ '{} {0}'.format(1) }}", "{{ '%999999d' % 1 }}", "{{ '{:9999999}'.format(1) }}"})
    refusal(source, ErrorKind::invalid);
}

TEST(TemplateLanguage, TextsHaveTheMethodsAndFiltersOfPythonAndJinja) {
  const std::pair<const char*, const char*> cases[] = {
      {"{{ 'ab'.center(5, '*') }}|{{ 'ab'.ljust(4) }}|{{ 'ab'.rjust(4, 'é') }}|{{ '-5'.zfill(4) }}",
       "**ab*|ab  |ééab|-005"},
      {"{{ 'aBß'.swapcase() }}{{ 'Straße'.casefold() }}{{ 'a\tb'.expandtabs(4) }}", "AbSSstrassea   b"},
      {"{{ 'abcab'.find('b', 2) }}{{ 'abcab'.rindex('a', 0, 4) }}{{ 'abcab'.count('a', 1) }}{{ 'abc'.startswith('b', "
       "1) }}"
       "{{ 'abc'.endswith('b', 0, -1) }}{{ ''.find('', 1) }}",
       "431TrueTrue-1"},
      {"{{ 'Ab C'.istitle() }}{{ 'ab1'.isidentifier() }}{{ '12'.isnumeric() }}{{ ''.isascii() }}{{ '\n'.isprintable() "
       "}}",
       "TrueTrueTrueTrueFalse"},
      {"{{ [1, 2, 3]|batch(2, 0)|list }}{{ [1, 2, 3]|slice(2)|list }}", "[[1, 2], [3, 0]][[1, 2], [3]]"},
      {"{% for g, l in [{'k': 2}, {'k': 1}, {'k': 2}]|groupby('k') %}{{ g }}:{{ l|length }} {% endfor %}", "1:1 2:2 "},
      {"{{ [{'k': 2}]|groupby('k')|map(attribute='grouper')|list }}", "[2]"},
      {"{{ 'one two three'|truncate(9, leeway=0) }}|{{ 'one two'|truncate(5, true, '.', 0) }}|{{ 'one, "
       "two_2'|wordcount }}",
       "one...|one .|2"},
      {"{{ 'a b/ü'|urlencode }} {{ {'a b': 1, 'c/': 'x'}|urlencode }} {{ 'x'|center(3) }}",
       "a%20b/%C3%BC a+b=1&c%2F=x  x "},
      {"{{ 'upper' is filter }}{{ 'odd' is test }}{{ 'x' is filter }}{{ 3 is sameas 3 }}{{ {}|attr('get') is defined }}"
       "{{ {'a': 1}|attr('a') is defined }}",
       "TrueTrueFalseTrueTrueFalse"},
      {"{% set j = joiner(', ') %}{% for x in 'abc' %}{{ j() }}{{ x }}{% endfor %}{% set c = cycler(1, 2) %}{{ "
       "c.next() }}"
       "{{ c.current }}{{ c.next() }}{{ c.next() }}",
       "a, b, c1221"},
      {"{{ none[1:] }}{{ 'abc'['x':] }}{{ {}[:2] is defined }}{{ 18446744073709551617 }}",
       "False18446744073709551617"}};
  for (const auto& [source, expected] : cases) EXPECT_EQ(rendered(source), expected) << source;
}

TEST(TemplateLanguage, WhatIsJoinedToSafeTextIsEscapedAsMarkupSafeDoes) {
  const std::pair<const char*, const char*> cases[] = {
      {"{{ '<'|safe + '<' }}{{ '<' + '>'|safe }}{{ '<'|safe ~ '<' }}{{ '<\"&>'|e }}", "<&lt;&lt;><<&lt;&#34;&amp;&gt;"},
      {"{{ ('<%s>'|safe) % '<' }}{{ ('{}'|safe).format('<') }}{{ (','|safe).join(['<', '>'|safe]) }}",
       "<&lt;>&lt;&lt;,>"},
      {"{{ ('a'|safe).upper() + '<' }}{{ ('ab'|safe)[0] + '<' }}{{ ('a'|safe)|trim + '<' }}{{ 'a<'|e|e }}{{ "
       "'a<'|e|forceescape }}",
       "A&lt;a&lt;a&lt;a&lt;a&amp;lt;"},
      {"{{ '<'|safe|replace('<', '>') + '<' }}{{ 'x'|safe is escaped }}{{ [x|safe] }}", "><True[Markup('')]"},
      {"{% set y %}{{ '<'|safe }}{% endset %}{{ y + '<' }}{{ ('a'|safe).replace('a', '<') }}", "<<&lt;"}};
  for (const auto& [source, expected] : cases) EXPECT_EQ(rendered(source), expected) << source;
}

}  // namespace
}  // namespace hadal
