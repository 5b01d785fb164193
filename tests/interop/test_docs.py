"""tests/interop/test_docs.py - what the documents show as a configuration is one, and what they
show as a command does what they say. Those of kcptun-linkem(1) are run by test_linkem.py, those of
kcptun-client(1) by test_compat.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import apps
import peers
import pytest
from test_process import one_pair

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


# --- commands


def examples(page: str) -> list[str]:
    text = (TREE / "packaging/man" / page).read_text()
    section = re.split(r"^\.SH EXAMPLES?$", text, flags=re.M)[1].split("\n.SH ", 1)[0]
    found = re.findall(r"^\.nf\n(.*?)^\.fi", section, re.M | re.S)
    for roff, plain in (("\\-", "-"), ("\\(aq", "'"), ("\\e", "\\")):
        found = [b.replace(roff, plain) for b in found]
    return found


def shell(text: str, directory: Path, **programs: str) -> str:
    """What the commands print; each of `programs` is run as the words given for it."""
    place = directory / "bin"
    place.mkdir(exist_ok=True)
    for name, words in programs.items():
        program = place / name.replace("_", "-")
        program.write_text(f'#!/bin/sh\nexec {words}\n')
        program.chmod(0o755)
    done = subprocess.run(
        ["sh", "-e", "-c", text],
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=120,
        check=False,
        env={**os.environ, **peers.SANITIZER_ENV, "PATH": f"{place}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_kcptunctl_examples(build: Path, tmp_path: Path) -> None:
    share, drain = examples("kcptunctl.1")
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["server web"] = sections.pop("server s")
        daemon = peers.Daemon(build, tmp_path, "both", sections)
        ctl = f'{build}/tools/kcptunctl -s {daemon.control} "$@"'
        with apps.connect(port, 20) as s:
            apps.ask(s)
            assert 0 <= float(shell(share, tmp_path, kcptunctl=ctl)) <= 1
        shell(drain, tmp_path, kcptunctl=ctl)
        assert daemon.request("sessions")["sessions"] == []
        daemon.stop()


def test_control_protocol_example(build: Path, tmp_path: Path) -> None:
    (example,) = examples("kcptun-control.7")
    sections, _ = one_pair("127.0.0.1:1")
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    command = example.removeprefix("$ ").replace("/run/kcptun/control", str(daemon.control))
    assert str(daemon.control) in command
    answer = json.loads(shell(command, tmp_path))
    assert answer["ok"] and [p["name"] for p in answer["data"]["profiles"]] == ["s", "c"]
    daemon.stop()


@pytest.mark.parametrize("example", examples("kcptun-bench.1"), ids=lambda v: v.split("\n")[0][:60])
def test_bench_examples(build: Path, tmp_path: Path, theirs: None, example: str) -> None:
    """With less time for each, and on as many cores as there are."""
    bench = f'{build}/tools/kcptun-bench "$@" --runs 1 --time 0.3'
    if "--work" not in example:
        bench += " --work echo"
    if (os.cpu_count() or 1) < 12:
        example = re.sub(r"--cpus \S+", "--cpus none", example)
    said = shell(example, tmp_path, kcptun_bench=bench)
    assert "failed" not in said and re.search(r"\d\.\d", said), said
    if "--json" in example:
        assert json.loads((tmp_path / "bench.json").read_text())["results"]
