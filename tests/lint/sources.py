"""tests/lint/sources.py - which files of the tree the lints look at."""

from __future__ import annotations

import subprocess
from pathlib import Path

SKIP_DIRS = {".git", "__pycache__", ".pytest_cache"}


def tracked(root: Path) -> list[Path]:
    """Files git knows or would add; in an unpacked archive, every file outside build
    directories."""
    if (root / ".git").exists():
        cmd = [
            "git",
            "-c",
            f"safe.directory={root}",
            "-C",
            str(root),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]
        done = subprocess.run(cmd, capture_output=True, check=False)
        if done.returncode == 0:
            names = done.stdout.decode().split("\0")
            return sorted({root / n for n in names if n and (root / n).is_file()})
    return sorted(p for p in root.rglob("*") if p.is_file() and not skipped(p.relative_to(root)))


def skipped(rel: Path) -> bool:
    return any(part in SKIP_DIRS or part.startswith("build") for part in rel.parts[:-1])


def c_files(root: Path, suffixes: tuple[str, ...] = (".c", ".h")) -> list[Path]:
    return [p for p in tracked(root) if p.suffix in suffixes]
