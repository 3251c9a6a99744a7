#!/usr/bin/env python3
"""The negative control of check_house.py: a small house without faults passes; each planted fault is found, at its
line."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_house  # noqa: E402

CMAKE = """
hadal_room(base FLOOR 0 WING machine LIBS fmt::fmt)
hadal_room(text FLOOR 1 DEPS base)
hadal_room(config FLOOR 1 DEPS base LIBS json)
hadal_room(data FLOOR 3 DEPS base text)
"""
LONG_BODY = "".join(f"  x += {i};\n" for i in range(70))


class House(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.write("CMakeLists.txt", CMAKE)
        self.write("src/machine/base/a.h", '// A.\n#include <string>\n#include "base/b.h"\n')
        self.write("src/data/c.cpp",
                   '// C.\n#include "text/d.h"\nnamespace n {\nint f(int x = 1) {\n  return x;\n}\n}\n')

    def tearDown(self):
        self.folder.cleanup()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def breaches(self):
        return check_house.check_tree(self.root)[0]

    def finds(self, *words):
        found = self.breaches()
        self.assertEqual(len(found), 1, found)
        for word in words:
            self.assertIn(word, found[0])

    def test_a_house_in_order_passes(self):
        self.assertEqual(self.breaches(), [])

    def test_an_upward_include_is_found(self):
        self.write("src/machine/base/bad.cpp", '// Bad.\n\n#include "data/c.h"\n')
        self.finds("src/machine/base/bad.cpp:3", "stands higher")

    def test_an_undeclared_include_is_found(self):
        self.write("src/data/bad.cpp", '// Bad.\n  #  include "config/x.h"\n')
        self.finds("src/data/bad.cpp:2", "not in its DEPS")

    def test_an_include_without_a_room_is_found(self):
        self.write("src/data/bad.cpp", '// Bad.\n#include "c.h"\n')
        self.finds("src/data/bad.cpp:2", "room/file.h")

    def test_an_include_that_names_the_wing_is_found(self):
        self.write("src/data/bad.cpp", '// Bad.\n#include "machine/base/a.h"\n')
        self.finds("src/data/bad.cpp:2", "room/file.h")

    def test_a_file_outside_of_every_room_is_found(self):
        for name in ["src/base/bad.cpp", "src/machine/bad.cpp", "src/bad.cpp"]:
            self.write(name, "// Bad.\n")
            self.finds(name, "in no room")
            (self.root / name).unlink()

    def test_a_tenth_door_is_found(self):
        more = "".join(f"hadal_room(r{i} FLOOR 0)\nhadal_room(s{i} FLOOR 0 WING machine)\n" for i in range(5))
        self.write("CMakeLists.txt", CMAKE + more)
        self.assertEqual(self.breaches(), [])
        self.write("CMakeLists.txt", CMAKE + more + "hadal_room(r5 FLOOR 0)\n")
        self.finds("10 doors")

    def test_a_dependency_upward_is_found(self):
        self.write("CMakeLists.txt", CMAKE.replace("text FLOOR 1 DEPS base", "text FLOOR 1 DEPS base config"))
        self.finds("text", "config", "floor 1")

    def test_a_circle_inside_a_room_is_found(self):
        self.write("src/data/low.h", "// Low.\n")
        self.write("src/data/low.cpp", '// Low.\n#include "data/low.h"\n')
        self.write("src/data/sub/mid.h", '// Mid.\n#include "data/low.h"\n')
        self.write("src/data/high.h", '// High.\n#include "data/sub/mid.h"\n#include "data/low.h"\n')
        self.assertEqual(self.breaches(), [])
        self.write("src/data/low.cpp", '// Low.\n#include "data/low.h"\n#include "data/high.h"\n')
        self.finds("data/high -> ", "data/low", "circle")

    def test_a_long_file_is_found(self):
        self.write("tests/data/long_test.cpp", "// Long.\n" + "int x;\n" * 400)
        self.finds("long_test.cpp", "401 lines")

    def test_long_functions_of_every_shape_are_found(self):
        shapes = ["int f(int a) {\n", "template <class T>\nvoid f(T t) {\n", "struct S {\n  void f() const {\n",
                  "S::S(int a) : a_{a}, b_(2) {\n", "bool operator==(const S& a) {\n", "TEST(A, B) {\n"]
        for shape in shapes:
            closing = "}\n};\n" if shape.startswith("struct") else "}\n"
            self.write("src/machine/base/bad.cpp", "// Bad.\n" + shape + LONG_BODY + closing)
            self.finds("src/machine/base/bad.cpp", "at most 60")

    def test_long_tables_classes_and_namespaces_are_no_functions(self):
        rows = "".join(f"  {i},\n" for i in range(70))
        members = "".join(f"  int a{i}() {{ return {i}; }}\n" for i in range(70))
        self.write("src/machine/base/good.cpp", "// Good.\nnamespace n {\nint t[] = {\n" + rows + "};\nstruct S {\n"
                   + members + "};\n}\n")
        self.assertEqual(self.breaches(), [])

    def test_braces_in_texts_and_comments_do_not_count(self):
        self.write("src/machine/base/good.cpp",
                   '// Good {{{\nint f() {\n  return g("{{") + \'{\' + h(R"({)"); /* { */\n}\n' + "int x;\n" * 80)
        self.assertEqual(self.breaches(), [])

    def test_a_long_python_function_is_found(self):
        self.write("tools/bad.py", '"""Bad."""\ndef f():\n' + "    x = 1\n" * 61)
        self.finds("tools/bad.py:2", "'f'")

    def test_a_source_may_leave_its_opening_to_the_header_of_its_name(self):
        self.write("src/machine/base/sub/a.cpp", '#include "base/a.h"\n')
        self.assertEqual(self.breaches(), [])
        self.write("src/text/a.cpp", '#include "base/a.h"\n')
        self.finds("src/text/a.cpp:1", "comment")

    def test_a_long_line_is_found_in_every_kind_of_file(self):
        for name, opening in (("src/data/bad.h", "// Bad.\n"), ("tools/bad.py", '"""Bad."""\n'),
                              ("tools/bad.sh", "# Bad.\n"), ("cmake/bad.cmake", "# Bad.\n"),
                              ("tools/bad", "#!/bin/sh\n"), ("setup", "#!/bin/sh\n"), ("Makefile", "# Bad.\n"),
                              ("tests/CMakeLists.txt", "# Bad.\n")):
            comment = "//" if name.endswith(".h") else "# "
            self.write(name, opening + comment + "ü" * 118 + "\n")
            self.assertEqual(self.breaches(), [], name)
            self.write(name, opening + comment + "ü" * 119 + "\n")
            self.finds(f"{name}:2", "121 columns", "at most 120")
            (self.root / name).unlink()

    def test_a_long_line_of_data_is_no_breach(self):
        self.write("tests/fuzz/seeds/long", "x" * 500)
        self.write("tests/list.txt", "x" * 500)
        self.assertEqual(self.breaches(), [])

    def test_the_json_librarys_own_parser_and_printer_are_found(self):
        self.write("src/machine/base/json.cpp", "// A.\nint i = Json::parse(x).dump();\n")
        self.write("src/data/e.cpp", '// "a.dump()".\nint i = parse_json(x, "json::parse()");\n')
        self.assertEqual(self.breaches(), [])
        for call, instead in (("Json::parse(x)", "parse_json"), ("nlohmann::ordered_json::parse(x)", "parse_json"),
                              ("x.dump()", "json_text")):
            self.write("src/data/e.cpp", f"// E.\nint i = {call};\n")
            self.finds("src/data/e.cpp:2", instead)

    def test_a_file_without_an_opening_comment_is_found(self):
        self.write("src/machine/base/bad.h", "#pragma once\n// Too late.\n")
        self.finds("src/machine/base/bad.h:1", "comment")


if __name__ == "__main__":
    unittest.main()
