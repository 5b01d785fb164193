"""tests/interop/test_docs.py - what the documents show as a configuration is one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import peers
import pytest

TREE = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "docs/fleet.md", "packaging/man/kcptun.ini.5"]
SECTION = re.compile(r"^\[(server|client) \S+\]", re.M)


def blocks(path: Path) -> list[str]:
    """Indented blocks and fences of Markdown, or what is between .nf and .fi of a manual page."""
    text = path.read_text()
    if path.suffix != ".md":
        found = re.findall(r"^\.nf\n(.*?)^\.fi", text, re.M | re.S)
        return [b.replace("\\-", "-").replace("\\&", "") for b in found]
    found = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    indented = re.findall(r"(?:^(?:    .*)?\n)+", text, re.M)
    return found + [re.sub(r"^    ", "", b, flags=re.M) for b in indented]


def configurations() -> list[tuple[str, str]]:
    return [
        (f"{page}-{n}", block)
        for page in PAGES
        for n, block in enumerate(b for b in blocks(TREE / page) if SECTION.search(b))
    ]


def test_every_page_shows_some() -> None:
    shown = {name.rsplit("-", 1)[0] for name, _ in configurations()}
    assert shown == set(PAGES)


@pytest.mark.parametrize("name,text", configurations(), ids=lambda v: v if "\n" not in v else "")
def test_configuration_checks(build: Path, tmp_path: Path, name: str, text: str) -> None:
    """Complete as it stands, but for the secret's file, which is nobody's to ship."""
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("correct horse\n")
    conf = tmp_path / "kcptun.ini"
    conf.touch(0o600)
    conf.write_text(re.sub(r"^keyfile = .*$", f"keyfile = {key}", text, flags=re.M))
    done = subprocess.run(
        [build / "daemon/kcptund", "-t", "-c", conf],
        capture_output=True,
        text=True,
        check=False,
        env=peers.SANITIZER_ENV,
    )
    assert done.returncode == 0 and "OK" in done.stdout, f"{name}:\n{done.stdout}{done.stderr}"
