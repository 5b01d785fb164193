#!/usr/bin/env python3
"""tests/lint/tree.py - small habits that a machine can hold us to: sizes, guards, tabs, leftovers,
machine paths."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sources import tracked

FILE_LINES = 800
FUNCTION_LINES = 80
# .clang-format keeps code at 120 but never breaks a comment: those may hang over a little
LINE_COLUMNS = {".c": 130, ".h": 130, ".def": 130, ".py": 100}
TEXT_SUFFIXES = {
    ".c",
    ".h",
    ".def",
    ".py",
    ".md",
    ".ini",
    ".build",
    ".txt",
    ".yml",
    ".sh",
    ".service",
    ".conf",
    "",
}
# put together from halves, so that this file does not find itself
LEFTOVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(wo" r"rk|ro" r"ot|ho" r"me/\w+|Us" r"ers/\w+)/")
TOP_LEVEL = {
    ".ci",
    ".clang-format",
    ".clang-tidy",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "conf",
    "core",
    "crypto",
    "daemon",
    "docs",
    "fec",
    "meson.build",
    "meson_options.txt",
    "packaging",
    "tests",
    "tools",
}


def guard_of(rel: str) -> str:
    """daemon/io.h -> DAEMON_IO_H; the last two parts of the path name a header."""
    return re.sub(r"\W", "_", "/".join(rel.split("/")[-2:])).upper()


def long_functions(rel: str, lines: list[str]) -> list[str]:
    """Functions open and close with a brace in the first column (.clang-format sees to that)."""
    bad, start = [], 0
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            size = number - start - 1
            if size > FUNCTION_LINES:
                bad.append(f"{rel}:{start}: function of {size} lines, at most {FUNCTION_LINES}")
            start = 0
    return bad


def check_c(rel: str, text: str, lines: list[str]) -> list[str]:
    bad = [f"{rel}:{n}: tab" for n, line in enumerate(lines, 1) if "\t" in line]
    if len(lines) > FILE_LINES:
        bad.append(f"{rel}: {len(lines)} lines, at most {FILE_LINES}")
    if rel.endswith(".c"):
        bad += long_functions(rel, lines)
    if rel.endswith(".h"):
        guard = guard_of(rel)
        if f"#ifndef {guard}\n#define {guard}\n" not in text:
            bad.append(f"{rel}: header guard {guard} missing")
    if not re.match(r"/\* " + re.escape(rel) + r" - ", text):
        bad.append(f'{rel}:1: a file opens with "/* {rel} - purpose"')
    return bad


def check_text(rel: str, suffix: str, text: str) -> list[str]:
    lines = text.splitlines()
    bad = []
    wide = False  # tables laid out by hand, one row a line
    for number, line in enumerate(lines, 1):
        wide = "clang-format off" in line or (wide and "clang-format on" not in line)
        if line != line.rstrip() and suffix != ".md":
            bad.append(f"{rel}:{number}: blanks at the end of the line")
        if not wide and len(line) > LINE_COLUMNS.get(suffix, 10**9):
            bad.append(f"{rel}:{number}: {len(line)} columns, at most {LINE_COLUMNS[suffix]}")
        if MACHINE_PATH.search(line):
            bad.append(
                f"{rel}:{number}: a path of one machine: {MACHINE_PATH.search(line).group(0)}"
            )
        if LEFTOVER.search(line):
            bad.append(
                f"{rel}:{number}: {LEFTOVER.search(line).group(0)}: do it, or write an issue"
            )
    if text and not text.endswith("\n"):
        bad.append(f"{rel}: no newline at the end")
    if "\r" in text:
        bad.append(f"{rel}: carriage returns")
    if suffix in (".c", ".h"):
        bad += check_c(rel, text, lines)
    return bad


def self_test() -> list[str]:
    body = "\n".join(["    x();"] * (FUNCTION_LINES + 1))
    probes = (  # file, text, a part of the complaint ("" = none)
        ("core/a.c", "/* core/a.c - a */\n", ""),
        ("core/a.c", "/* core/a.c - a */\n\tint x;\n", "tab"),
        ("core/a.c", f"/* core/a.c - a */\nvoid f(void)\n{{\n{body}\n}}\n", "function of"),
        ("core/a.c", "/* core/a.c - a */\n" + "int x;\n" * FILE_LINES, "at most"),
        ("core/a.h", "/* core/a.h - a */\n#ifndef A_H\n#define A_H\n#endif\n", "header guard"),
        ("core/a.c", "int x;\n", "opens with"),
        ("core/a.c", "/* core/a.c - TO" "DO */\n", "do it"),
        ("docs/a.md", "see /ro" "ot/x/y\n", "one machine"),
    )
    bad = []
    for rel, text, want in probes:
        got = check_text(rel, Path(rel).suffix, text)
        if (want and not any(want in g for g in got)) or (not want and got):
            bad.append(f"tree.py: self-test: {text[:40]!r}: wanted {want!r}, got {got}")
    return bad


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    bad = self_test()
    for path in tracked(root):
        rel = path.relative_to(root).as_posix()
        if rel.split("/")[0] not in TOP_LEVEL:
            bad.append(f"{rel}: not one of the top level's known names")
        if path.suffix not in TEXT_SUFFIXES or "/corpus/" in f"/{rel}":
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            bad.append(f"{rel}: not UTF-8")
            continue
        bad += check_text(rel, path.suffix, text)
    print("\n".join(bad) or "tree: fine")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
