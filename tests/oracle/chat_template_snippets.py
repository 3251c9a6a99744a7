"""Random small templates in the language of chat templates: mostly right by construction, sometimes not."""

VARIABLES = {
    "s": "Hello, Wörld", "t": "  a b\tc\n", "e": "", "u": "ßΣ 你好-x", "multi": "one\ntwo\n\nthree",
    "q": "it's \"q\" \\ \u00a0", "i": 3, "j": -7, "z": 0, "f": 2.5, "g": 1e20, "yes": True, "no": False,
    "nothing": None, "big": 9007199254740993, "l": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"],
    "mixed": [1, "a", None, 2.5, [1], {"k": "v"}], "none": [], "nested": [[1, 2], [3, 4]],
    "d": {"a": 1, "B": "two", "c": [1, 2], "items": "mine"}, "empty": {},
    "user": {"name": "Ann", "age": 30, "tags": ["x", "y"]},
    "people": [{"name": "Bob", "age": 5, "ok": True}, {"name": "ann", "age": 50},
               {"name": "Cid", "age": 5, "ok": False}],
}


class Snippets:
    def __init__(self, rng):
        self.r = rng
        self.depth = 0
        self.macros = 0

    def pick(self, *choices):
        return self.r.choice(choices)

    def expression(self, kind=None):
        """An expression that is likely of this kind."""
        if self.r.random() < 0.04:
            kind = None
        kind = kind or self.pick("text", "number", "list", "flag", "dict")
        self.depth += 1
        try:
            if self.depth > 4:
                return getattr(self, kind + "_leaf")()
            return getattr(self, kind)()
        finally:
            self.depth -= 1

    def text_leaf(self):
        return self.pick("s", "t", "e", "u", "multi", "q", "'x'", '"it\'s"', "'\\n'", "user.name", "d['B']", "words[0]",
                         "'a,b,,c'", "'%s'", "''")

    def number_leaf(self):
        return self.pick("i", "j", "z", "f", "1", "2", "10", "0.5", "user['age']", "d.a", "l[1]", "-1", "big", "true",
                         "1_000", "0x1F")

    def list_leaf(self):
        return self.pick("l", "words", "mixed", "none", "nested", "people", "[1, 2]", "['b', 'a']", "(1, 'x')",
                         "user.tags", "[]", "d.c")

    def flag_leaf(self):
        return self.pick("yes", "no", "true", "False", "nothing", "none", "missing", "missing is defined",
                         "s is string", "i > 2")

    def dict_leaf(self):
        return self.pick("d", "empty", "user", "{'k': 1}", "people[0]", "{}", "{'x': [1], 2: 'two'}",
                         "dict(a=1, b='c')")

    def text(self):
        e = self.expression
        return self.pick(
            lambda: f"{e('text')} + {e('text')}", lambda: f"({e()} ~ {e()})",
            lambda: f"{e('text')}|{self.pick('upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'reverse')}",
            lambda: f"({e('text')}).{self.pick('strip', 'lstrip', 'rstrip')}("
                    f"{self.pick('', chr(39) + ' a' + chr(39), chr(39) + 'HdK' + chr(39))})",
            lambda: f"({e('text')}).{self.pick('upper', 'lower', 'title', 'capitalize')}()",
            lambda: f"({e('text')}).replace({self.text_leaf()}, {self.text_leaf()}{self.pick('', ', 1', ', 2')})",
            lambda: f"({e('text')})|replace({self.text_leaf()}, {self.text_leaf()})",
            lambda: f"({e('text')})[{self.slice()}]", lambda: f"{e('list')}|join({self.text_leaf()})",
            lambda: f"({e()})|tojson"
                    f"{self.pick('', '(indent=2)', '(indent=0)', '(sort_keys=true)', '(ensure_ascii=true)')}",
            lambda: f"({e('text')} if {e('flag')} else {e('text')})",
            lambda: f"({e()})|default({e('text')}{self.pick('', ', true')})",
            lambda: f"({e('text')})|indent({self.pick('', '2', 'width=3, first=true', 'blank=true', '2, true, true')})",
            lambda: f"({e('text')}).{self.pick('removeprefix', 'removesuffix')}({self.text_leaf()})",
            lambda: f"{e('list')}|first", lambda: f"({e()})|string",
            lambda: f"({e('list')})[{self.pick('0', '-1', '5', 'i')}]",
            lambda: f"{self.number_leaf()} * {self.text_leaf()}",
            lambda: "'%s-%d' % (" + e() + ", " + e("number") + ")", self.formatted, self.laid_out,
            lambda: f"({e('text')})|{self.pick('safe', 'e', 'forceescape')} {self.pick('+', '~')} {e('text')}",
            lambda: f"{e('text')} + ({e('text')}|safe).{self.pick('strip()', 'upper()', 'replace(s, q)', 'center(9)')}",
            lambda: f"({e('text')})|truncate({self.pick('5', '9, true', '4, end=u[:1]', '12, leeway=0')})",
            lambda: f"({e(self.pick('text', 'dict', 'list'))})|urlencode",
            lambda: f"({e('text')}).join({self.pick('words', 'user.tags', 's', 'mixed')})", self.text_leaf)()

    def formatted(self):
        """A text with values put in."""
        e, pick = self.expression, self.pick
        width = pick("", "4", "9", "03", "010", "+", " ", "-", "-6", "+08", "#", "*", ".2", ".0", "7.3", "-7.1", "#6")
        kind = pick(*"ssdiuxXoeEfFgGcr%")
        value = pick("i", "j", "f", "g", "big", "z", "yes", e("number"), "s", e())
        values = f"(5, {value})" if "*" in width else f"({value},)"
        spec = pick("", "", "5", "<6", ">6", "^7", "*^9", "=+9", "+", " ", "05", "010.2f", ".3", ".1", ".0f", "e", "G",
                    "%", ".1%", "x", "#X", "_b", ",", "012,", ",.2f", "c", "n", "s", ".2s", "é>5", "#o", "{}", ">{}")
        brace = pick("{}", "{0}", "{x}", "{0!r}", "{x!s}", "{0[0]}", "{0.a}", "{d[a]}", "{{}}{}", "{", "}", "{9}")
        return pick(lambda: f"'<%{width}{kind}>' % {values}", lambda: f"'<%{width}{kind}>'|format({value})",
                    lambda: "'%(a)s %(b)5d|%%' % {'a': " + e() + ", 'b': " + value + "}",
                    lambda: f"'{{:{spec}}}'.format({value}, 7)", lambda: f"'<{{x:{spec}}}>'.format(7, x={value})",
                    lambda: f"'{brace}'.format({e()}, x={value}, d=d)", lambda: "'{a}'.format_map(d)",
                    lambda: f"('<{{}}{{!r}}'|safe).format({value}, {e('text')})",
                    lambda: f"('<%s'|safe) % ({value},)")()

    def laid_out(self):
        text, width = self.expression("text"), self.pick("0", "3", "9", "20", "-2", "i")
        fill = self.pick("", ", q[:1]", ", u[3]")
        return self.pick(f"({text}).{self.pick('center', 'ljust', 'rjust')}({width}{fill})",
                         f"({text}).zfill({width})", f"('-' ~ i).zfill({width})", f"({text}).swapcase()",
                         f"({text}).expandtabs({self.pick('', '4', '0', 'tabsize=3')})", f"({text})|center({width})",
                         f"s.casefold()")

    def number(self):
        e = self.expression
        return self.pick(
            lambda: f"{e('number')} {self.pick('+', '-', '*', '/', '//', '%')} {e('number')}",
            lambda: f"{self.pick('i', 'j', 'f', '2', 'user.age', 'l[1]')} ** {self.pick('0', '2', '3', '-1')}",
            lambda: f"({e()})|{self.pick('length', 'count', 'int', 'float')}",
            lambda: f"({e('number')})|{self.pick('abs', 'int', 'float', 'round', 'round(1)', 'round(2)')}",
            lambda: f"-({e('number')})", lambda: f"({e('list')})|{self.pick('sum', 'min', 'max', 'first', 'last')}",
            lambda: f"({e('text')}).{self.pick('find', 'rfind', 'count')}({self.text_leaf()})",
            lambda: f"({e('text')}).{self.pick('find', 'rfind', 'count', 'index', 'rindex')}({self.text_leaf()}, "
                    f"{self.pick('0', '1', '-3', '99', 'i, -1', 'none, 4', '2, 1')})",
            lambda: f"({e('text')})|wordcount", lambda: "loop.index0", lambda: "18446744073709551617",
            lambda: f"({e('text')})|int({self.pick('', '5', 'default=7')})", lambda: f"people|sum(attribute='age')",
            lambda: f"({e('number')} if {e('flag')})",
            lambda: f"({e('number')})|round({self.pick('0', '1')}, '{self.pick('ceil', 'floor', 'common')}')",
            self.number_leaf)()

    def list(self):
        e = self.expression
        return self.pick(
            lambda: f"[{e()}, {e()}]", lambda: f"({e()}, {e()})",
            lambda: f"({e('list')})|" + self.pick("list", "sort", "unique|list", "reverse|list", "sort(reverse=true)",
                                                  "sort(case_sensitive=true)"),
            lambda: f"({e('list')})[{self.slice()}]", lambda: f"{e('list')} + {e('list')}",
            lambda: f"({e('text')}).split(" + self.pick("", "", "','", "' ', 1", "none, 1", self.text_leaf(),
                                                        "maxsplit=1") + ")",
            lambda: f"({e('text')}).rsplit({self.pick('none, 1', chr(39) + 'a' + chr(39) + ', 1', '')})",
            lambda: f"({e('text')}).splitlines({self.pick('', 'true')})",
            lambda: f"({e('text')}).{self.pick('partition', 'rpartition')}({self.pick(*map(repr, 'a,- o'))})",
            lambda: f"({e('dict')}).{self.pick('keys', 'values', 'items')}()|list",
            lambda: f"({e('dict')})|" + self.pick("list", "items|list", "dictsort", "dictsort(reverse=true)",
                                                  "dictsort(by='value')"),
            lambda: f"({e('list')})|map('{self.pick('upper', 'string', 'length', 'int', 'tojson', 'title')}')|list",
            lambda: f"people|map(attribute='{self.pick('name', 'age', 'ok', 'name.0')}'"
                    f"{self.pick('', ', default=0')})|list",
            lambda: f"({e('list')})|{self.pick('select', 'reject')}(" + self.pick(
                "", "'string'", "'number'", "'odd'", "'none'", "'defined'", "'mapping'", "'iterable'") + ")|list",
            lambda: f"people|{self.pick('selectattr', 'rejectattr')}({self.pick(repr('ok'), repr('name'))}" + self.pick(
                "", ", 'defined'", ", 'equalto', 'ann'", ", 'in', words") + ")|map(attribute='name')|list",
            lambda: f"people|sort(attribute='{self.pick('name', 'age', 'age,name')}')|map(attribute='name')|list",
            lambda: f"range({self.number_leaf()}{self.pick('', ', 9', ', 9, 2', ', -3, -2')})|list",
            lambda: f"({e('text')})|list",
            lambda: f"({e('list')})|batch({self.pick('2', '3, 0', '2, none', '1')})|list",
            lambda: f"({e('list')})|slice({self.pick('2', '3, 0', '1', '4')})|list",
            lambda: f"people|groupby({self.pick(repr('age'), repr('ok'), repr('name') + ', case_sensitive=true')}"
                    f"{self.pick('', ', default=0', ', default=true')})|list",
            lambda: "people|groupby('age')|map(attribute='list')|map('length')|list",
            lambda: "people|groupby('age')|map(attribute='grouper')|list",
            lambda: f"dict(**{e('dict')}).items()|list", lambda: f"range(*{self.pick('[3]', '(1, 9, 2)', 'l')})|list",
            self.list_leaf)()

    def flag(self):
        e = self.expression
        test = self.pick("defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number",
                         "integer", "float", "boolean", "true", "false",
                         "odd", "even", "lower", "upper", "divisibleby 3", "equalto 3", "eq(s)", "in words", "in(l)",
                         "gt 2", "sameas none", "callable")
        return self.pick(
            lambda: f"({e()}) is {self.pick('', 'not ')}{test}", lambda: f"{e()} {self.pick('==', '!=')} {e()}",
            lambda: f"{e('number')} {self.pick('<', '>', '<=', '>=')} {e('number')}",
            lambda: f"{self.number_leaf()} < {self.number_leaf()} <= {self.number_leaf()}",
            lambda: f"{e('text')} {self.pick('in', 'not in')} {e('text')}", lambda: f"{e()} in {e('list')}",
            lambda: f"{self.text_leaf()} in {e('dict')}",
            lambda: f"not {e()}", lambda: f"({e('flag')} {self.pick('and', 'or')} {e()})",
            lambda: f"({e('text')}).{self.pick('startswith', 'endswith')}("
                    f"{self.pick(self.text_leaf(), '(' + repr('a') + ', ' + repr('H') + ')')})",
            lambda: f"({e('text')}).{self.pick('isdigit', 'isalpha', 'isalnum', 'isspace', 'isupper', 'islower')}()",
            lambda: f"({e('text')}).{self.pick('istitle', 'isascii', 'isprintable', 'isidentifier', 'isnumeric')}()",
            lambda: f"({e('text')}).{self.pick('startswith', 'endswith')}({self.text_leaf()}, "
                    f"{self.pick('1', '0, 2', '-2')})",
            lambda: f"{self.pick(repr('upper'), repr('nosuch'), 's')} is {self.pick('filter', 'test', 'escaped')}",
            lambda: f"({e('text')}|safe) is escaped",
            lambda: f"d|attr({self.pick(repr('a'), repr('get'), 's')}) is defined",
            lambda: f"{self.pick('l', 'd', 'i', 'yes', 'nothing')} is sameas {self.pick('l', 'd', '3', 'none')}",
            lambda: f"{e('list')} {self.pick('==', '<', '>')} {e('list')}", self.flag_leaf)()

    def dict(self):
        e = self.expression
        return self.pick(lambda: f"{{{self.text_leaf()}: {e()}, 'z': {e()}}}", lambda: f"dict({e('dict')}, n={e()})",
                         lambda: f"{e('dict')}.get({self.text_leaf()}{self.pick('', ', ' + self.number_leaf())})",
                         lambda: f"({e('dict')}).{self.pick('a', 'name', 'zzz', 'copy()', 'x', 'update')}",
                         lambda: f"people[{self.pick('0', '-1', 'z')}]", self.dict_leaf)()

    def slice(self):
        bounds = ["", "0", "1", "-1", "2", "-3", "100", "i", "none"]
        return f"{self.pick(*bounds)}:{self.pick(*bounds)}{self.pick('', '', ':2', ':-1', '::'[:1] + '-2')}"

    def tag(self, inside):
        return "{%" + self.pick("", "", "-", "+") + " " + inside + " " + self.pick("", "", "-", "+") + "%}"

    def data(self):
        return self.pick("", " ", "\n", "  \n  ", "text", " x ", "\n\n", "a\n  ", "{# c #}", "{#- c -#}\n", "\t", "{ ",
                         "} ", "日本")

    def block(self, depth):
        return "".join(self.data() + self.statement(depth) for _ in range(self.r.randint(1, 3))) + self.data()

    def printed(self):
        return "{{" + self.pick("", "", "-") + " " + self.expression() + " " + self.pick("", "", "-") + "}}"

    def statement(self, depth):
        e = self.expression
        if depth > 2:
            return self.printed()
        inner = lambda: self.block(depth + 1)
        target = self.pick("v", "w")
        choices = [
            self.printed, self.printed, self.printed, lambda: self.tag(f"set {target} = {e()}"),
            lambda: self.tag(f"set {target}") + inner() + self.tag("endset"),
            lambda: self.tag(f"if {e('flag')}") + inner() + self.tag("endif"),
            lambda: self.tag(f"if {e('flag')}") + inner() + self.tag(f"elif {e()}") + inner(
                ) + self.tag("else") + inner() + self.tag("endif"),
            lambda: self.tag(f"for x in {e('list')}{self.pick('', ' if x', ' if x is number')}") + self.loop_part(
                ) + inner() + self.tag("endfor"),
            lambda: self.tag(f"for x in {e()}") + self.tag("if loop.index > 2") + self.tag(
                self.pick("break", "continue")) + self.tag("endif") + "{{ x }}"
                + inner() + self.tag("else") + inner() + self.tag("endfor"),
            lambda: self.tag(f"for k, v in ({e('dict')}).items()") + "{{ k }}={{ v }}"
            + self.loop_part() + self.tag("endfor"), lambda: "{% set ns = namespace(n=0) %}"
            + self.tag(f"for x in {e('list')}") + "{% set ns.n = ns.n + 1 %}{% set s = x %}"
            + self.tag("endfor") + "{{ ns.n }}{{ s }}",
            lambda: self.macro(inner), lambda: self.tag(f"with v = {e()}") + inner() + self.tag("endwith"),
            lambda: self.tag(f"filter {self.pick('upper', 'trim', 'length', 'indent(2)|title')}") + inner(
                ) + self.tag("endfilter"),
            lambda: "{%" + self.pick("", "-") + " raw " + self.pick("", "-") + "%}"
            + self.pick("{{ x }}", " {% if %} ", "\n") + self.tag("endraw"),
            lambda: self.tag("generation") + inner() + self.tag("endgeneration"), lambda: self.call_block(inner),
            lambda: self.tag("autoescape false") + inner() + self.tag("endautoescape"), self.template_block,
            lambda: self.tag(f"for x in {e('list')} recursive") + "{{ loop.depth }}{{ x }}" + self.tag(
                "if x is sequence and x is not string and loop.depth < 3") + "({{ loop(x) }})" + self.tag("endif")
            + self.loop_part() + self.tag("endfor"),
            lambda: self.tag(f"if {e('flag')}") + "{{ x|nosuch }}{{ x is nosuch }}{% include 'x' %}"
            + self.tag("else") + inner() + self.tag("endif"),
            lambda: "{% set c = " + self.pick("cycler('a', 1, s)", "joiner()", "joiner('; ')") + " %}" + self.tag(
                f"for x in {e('list')}") + self.pick("{{ c() }}", "{{ c.next() }}{{ c.current }}") + "{{ x }}"
            + self.tag("endfor")]
        return self.pick(*choices)()

    def template_block(self):
        self.macros += 1
        name = f"b{self.macros}"
        return (self.tag(f"block {name}{self.pick('', ' scoped')}") + "{{ s }}{{ v is defined }}{{ x is defined }}"
                + self.block(2) + self.tag(f"endblock{self.pick('', ' ' + name)}"))

    def call_block(self, inner):
        self.macros += 1
        name = f"m{self.macros}"
        body = self.tag(f"macro {name}(a='', b=0)") + "{{ a }}" + self.pick(
            "{{ caller() }}", "{{ caller(1) }}", "{{ caller(1, y=2) }}", "{{ caller is defined }}", "{{ kwargs }}", "")
        signature, arguments = self.pick("", "(x)", "(x, y=3)"), self.pick("", "1", "b=2", "*[1]", "**{'a': s}")
        body += inner() + self.tag("endmacro") + self.tag(f"call{signature} {name}({arguments})")
        return body + "{{ x }}{{ y }}{{ v }}" + inner() + self.tag("endcall")

    def loop_part(self):
        return "{{ loop." + self.pick("index", "index0", "first", "last", "length", "revindex", "revindex0", "previtem",
                                      "nextitem", "cycle('a', 'b')", "changed(x)", "depth") + " }}"

    def macro(self, inner):
        self.macros += 1
        name = f"m{self.macros}"
        body = self.tag(f"macro {name}(a, b={self.expression()})") + "{{ a }}" + inner()
        body += self.pick("", "{{ varargs }}", "{{ kwargs }}") + self.tag("endmacro")
        return body + "{{ " + name + self.pick("('p')", "('p', 'q')", "(b='q', a=1)", "()", "(1, 2, 3)",
                                               "(1, c=2)") + " }}"

    def template(self):
        return self.block(0)
