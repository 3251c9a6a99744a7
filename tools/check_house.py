#!/usr/bin/env python3
"""Checks the rules of the house that CMake cannot see, and names each breach as file:line.

- a file of a room (src/<wing>/<room>/, or src/<room>/ without a wing) includes only its own room and the rooms in its
  DEPS (CMakeLists.txt); DEPS stand on lower floors; src/ has at most nine doors
- inside a room includes go in no circle, a .cpp and the .h of its name counting as one: a type that two files share
  lives in the lower one
- no file has more than 400 lines, no function more than 60 (C++: by counting braces; Python: by its syntax tree)
- no line has more than 120 columns: of these files, of scripts without a suffix, of CMakeLists.txt and Makefile
- every file opens with a comment that says what it is; a .cpp whose room has a header of the same name may leave that
  to it, and the names of a test file's tests say it for it
- JSON is parsed and printed by base/json.cpp alone: the library's own functions cost seconds in every file that calls
  them

usage: check_house.py [ROOT]
"""
import ast
import itertools
import pathlib
import re
import sys

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_COLUMNS, MAX_DOORS = 400, 60, 120, 9
FOLDERS = ["src", "tests", "bench", "tools", "cmake"]
CPP = {".h", ".cpp", ".cu"}
OPENERS = {".h": "//", ".cpp": "//", ".cu": "//", ".py": ("#", '"""'), ".sh": "#", ".cmake": "#", ".toml": "#"}


def read_rooms(cmake_text):
    """({room: (floor, [deps])}, {folder of src/: room}) from the hadal_room() lines."""
    rooms, folders = {}, {}
    for body in re.findall(r"^hadal_room\(([^)]*)\)", cmake_text, re.M):
        words = body.split()
        floor = int(words[words.index("FLOOR") + 1])
        deps = []
        if "DEPS" in words:
            for word in words[words.index("DEPS") + 1:]:
                if word == "LIBS":
                    break
                deps.append(word)
        rooms[words[0]] = (floor, deps)
        wing = words[words.index("WING") + 1] + "/" if "WING" in words else ""
        folders[wing + words[0]] = words[0]
    return rooms, folders


def check_floors(rooms):
    for room, (floor, deps) in rooms.items():
        for dep in deps:
            if dep not in rooms:
                yield f"CMakeLists.txt: room '{room}' depends on '{dep}', which does not exist"
            elif rooms[dep][0] >= floor:
                yield f"CMakeLists.txt: room '{room}' (floor {floor}) may not depend on '{dep}' (floor {rooms[dep][0]})"


def check_doors(folders):
    doors = sorted({folder.split("/")[0] for folder in folders})
    if len(doors) > MAX_DOORS:
        yield (f"CMakeLists.txt: src/ has {len(doors)} doors ({' '.join(doors)}); at most {MAX_DOORS}: "
               "let a room join a wing")


def room_of(name, folders):
    """The room that the file src/... lies in, or None."""
    parts = name.split("/")[1:-1]
    return folders.get(parts[0] if parts else "") or folders.get("/".join(parts[:2]))


def check_includes(name, text, rooms, folders):
    if not name.startswith("src/"):
        return
    room = room_of(name, folders)
    if room is None:
        yield f"{name}: lies in no room; CMakeLists.txt has {' '.join('src/' + folder for folder in folders)}"
        return
    allowed = {room, *rooms[room][1]}
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not found:
            continue
        target = found.group(1).split("/")[0]
        if target not in rooms:
            yield f'{name}:{number}: include "{found.group(1)}" does not start with a room; write "room/file.h"'
        elif target not in allowed:
            how = "which stands higher" if rooms[target][0] >= rooms[room][0] else "which is not in its DEPS"
            yield f"{name}:{number}: room '{room}' includes '{found.group(1)}' of room '{target}', {how}"


def note_arrows(name, text, folders, arrows):
    """Adds to {unit: {unit it includes: file:line}}, a unit being "room/file" without its ending, inside one room."""
    room = room_of(name, folders) if name.startswith("src/") else None
    if room is None:
        return
    folder = next(folder for folder, r in folders.items() if r == room)
    unit = room + name[len("src/" + folder):].rpartition(".")[0]
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s+"([^"]+)\.[^".]+"', line)
        if found and found.group(1).startswith(room + "/") and found.group(1) != unit:
            arrows.setdefault(unit, {}).setdefault(found.group(1), f"{name}:{number}")


def check_circles(arrows):
    """One breach for each include that closes a circle, found by walking the arrows in depth."""
    done, walk = set(), []

    def visit(unit):
        walk.append(unit)
        for target, place in sorted(arrows.get(unit, {}).items()):
            if target in walk:
                circle = walk[walk.index(target):]
                yield f"{place}: closes a circle inside the room: {' -> '.join([*circle, target])}"
            elif target not in done:
                yield from visit(target)
        done.add(walk.pop())

    for unit in sorted(arrows):
        if unit not in done:
            yield from visit(unit)


def blank_out(text):
    """The text with comments and literals replaced by blanks (newlines kept), preprocessor lines too."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^(\s]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\''
        r'|^[ \t]*#(?:\\\n|[^\n])*', re.S | re.M)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def without_brackets(text):
    while True:
        shorter = re.sub(r"\([^()]*\)", " ", text)
        if shorter == text:
            return text
        text = shorter


def opens_function(head):
    """Whether a block outside of functions, with this text before its brace, is a function's body."""
    head = re.sub(r"template\s*<[^{}]*?>\s*(?=[a-zA-Z\[_])", " ", head)
    bare = without_brackets(head)
    if re.search(r"\b(namespace|enum|union|extern)\b", bare) or re.search(r"\b(class|struct)\b",
                                                                          bare) and "(" not in head:
        return False
    if "operator" in bare:
        return True
    if "=" in bare:
        return False
    return "(" in head or not head.strip()


def cpp_functions(text):
    """(first line, last line, head) of every function body."""
    code = blank_out(text)
    depth, inside, start, head_start = 0, None, 0, 0
    for found in re.finditer(r"[{};]", code):
        at, sign = found.start(), found.group(0)
        if sign == "{":
            head = code[head_start:at]
            if inside is None and opens_function(head):
                inside, start = depth, at - len(head.lstrip())
            depth += 1
        elif sign == "}":
            depth -= 1
            if inside is not None and depth == inside:
                yield code.count("\n", 0, start) + 1, code.count("\n", 0, at) + 1, code[start:start + 80].split("{")[0]
                inside = None
        head_start = at + 1


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.end_lineno, node.name


def check_lengths(name, text):
    n_lines = text.count("\n") + (not text.endswith("\n"))
    if n_lines > MAX_FILE_LINES:
        yield f"{name}: {n_lines} lines; a file has at most {MAX_FILE_LINES}"
    suffix = pathlib.PurePath(name).suffix
    functions = cpp_functions(text) if suffix in CPP else python_functions(text) if suffix == ".py" else []
    for first, last, head in functions:
        if last - first + 1 > MAX_FUNCTION_LINES:
            head = " ".join(head.split())
            yield f"{name}:{first}: '{head}' has {last - first + 1} lines; a function has at most {MAX_FUNCTION_LINES}"


def check_columns(name, text):
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_COLUMNS:
            yield f"{name}:{number}: {len(line)} columns; a line has at most {MAX_COLUMNS}"


def is_script(path):
    """Whether a file without a suffix that we know is one whose columns count all the same."""
    if path.name in ("CMakeLists.txt", "Makefile"):
        return True
    with open(path, "rb") as file:
        return path.suffix == "" and file.read(2) == b"#!"


def check_opening(name, text, headers):
    path = pathlib.PurePath(name)
    # A kernel's sources lie in folders of their own below its room.
    if name.endswith("_test.cpp") or path.suffix == ".cpp" and any((up.as_posix(), path.stem) in headers
                                                                   for up in path.parents):
        return
    lines = text.splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    if not lines or not lines[0].startswith(OPENERS[pathlib.PurePath(name).suffix]):
        yield f"{name}:1: a file opens with a comment that says what it is"


def check_json(name, text):
    if pathlib.PurePath(name).suffix not in CPP or name.endswith("/base/json.cpp"):
        return
    for number, line in enumerate(blank_out(text).split("\n"), 1):
        if found := re.search(r"json::parse\(|\.dump\(", line, re.I):
            instead = "json_text" if "dump" in found.group(0) else "parse_json or read_json"
            yield f"{name}:{number}: '{found.group(0)}' costs seconds to compile; {instead} of base/json.h does not"


def check_tree(root):
    """(breaches, number of files looked at)"""
    cmake = (root / "CMakeLists.txt").read_text()
    rooms, folders = read_rooms(cmake)
    breaches = [] if rooms else ["CMakeLists.txt: no hadal_room() found"]
    breaches += check_floors(rooms)
    breaches += check_doors(folders)
    headers = {(p.relative_to(root).parent.as_posix(), p.stem) for folder in ("src", "tests")
               for p in (root / folder).rglob("*.h")}
    n_files, arrows = 0, {}
    inside = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*")))
    for path in itertools.chain(sorted(root.iterdir()), inside):
        if not path.is_file() or "__pycache__" in path.parts:
            continue
        name = path.relative_to(root).as_posix()
        known = path.suffix in OPENERS and "/" in name
        if not known and not is_script(path):
            continue
        text = path.read_text(encoding="utf-8")
        n_files += 1
        breaches += check_columns(name, text)
        if known:
            breaches += check_includes(name, text, rooms, folders)
            note_arrows(name, text, folders, arrows)
            breaches += check_lengths(name, text)
            breaches += check_opening(name, text, headers)
            breaches += check_json(name, text)
    breaches += check_circles(arrows)
    return breaches, n_files


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent
    breaches, n_files = check_tree(root)
    for breach in breaches:
        print(breach)
    print(f"house: {n_files} files, {len(breaches)} breaches")
    return 1 if breaches or n_files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
