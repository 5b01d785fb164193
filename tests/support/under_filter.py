#!/usr/bin/env python3
"""tests/support/under_filter.py - runs a program under the system-call filter of a service unit, as
the service manager would build it, without one: what the unit lets through passes, what it names
as refused fails with EPERM, and any other call ends the program, so that a test sees it.

under_filter.py UNIT [--refuse NAME]... -- COMMAND...
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import seccomp


def members(group: str) -> set[str]:
    """The calls of a group such as @system-service, with those of the groups inside it."""
    text = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", group],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names: set[str] = set()
    for word in (line.strip() for line in text.splitlines()[1:]):
        if word.startswith("@"):
            names |= members(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return names


def expand(words: list[str]) -> set[str]:
    names: set[str] = set()
    for word in words:
        names |= members(word) if word.startswith("@") else {word}
    return names


def allowed(unit: str) -> set[str]:
    """The first line makes an allow list of it, later ones add, or take away (~)."""
    names = members("@default")
    for line in unit.splitlines():
        key, _, value = line.partition("=")
        if key != "SystemCallFilter":
            continue
        if value.startswith("~"):
            names -= expand(value[1:].split()) - members("@default")
        else:
            names |= expand(value.split())
    return names


def main() -> None:
    split = sys.argv.index("--")
    unit, *options = sys.argv[1:split]
    command = sys.argv[split + 1 :]
    names = allowed(Path(unit).read_text()) | {"execve"}
    rules = seccomp.SyscallFilter(seccomp.KILL_PROCESS)
    for name in sorted(names):
        try:
            rules.add_rule(seccomp.ALLOW, name)
        except RuntimeError:  # a call of another architecture
            pass
    for name in options[1::2]:
        if name not in names:
            rules.add_rule(seccomp.ERRNO(errno.EPERM), name)
    rules.load()
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
