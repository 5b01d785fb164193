#!/usr/bin/env python3
"""tests/lint/format.py - clang-format 14 has nothing to change in the .c files (other versions
disagree with it, and headers keep the columns of their comments, which it cannot). Exit 77
(skipped) without it, unless CI is set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sources import c_files


def main() -> int:
    root = Path(sys.argv[1]).resolve()
    tool = shutil.which("clang-format-14")
    if not tool:
        print("clang-format-14 is not installed")
        return 1 if os.environ.get("CI") else 77
    names = [str(p.relative_to(root)) for p in c_files(root, (".c",))]
    if not names:
        print("no C files found")
        return 1
    return subprocess.run([tool, "--dry-run", "-Werror", *names], cwd=root, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
