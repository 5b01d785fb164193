"""tests/interop/test_sender_report.py - the report on senders: one cell measured for real, and
tables and drawing made from it again."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

REPORT = Path(__file__).resolve().parents[1] / "bench/sender_report.py"


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid() or not os.path.exists("/dev/net/tun"):
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain("this needs root and /dev/net/tun")


def run(*args: str) -> str:
    argv = ["/usr/bin/python3", str(REPORT), *args]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_cells_and_what_is_made_of_them(build: Path, tmp_path: Path) -> None:
    data, svg, docs = tmp_path / "r.json", tmp_path / "r.svg", tmp_path / "r.md"
    chosen = ("--quick", "--parts", "bulk; echo", "--rows", "1 %", "--programs", "ours")
    out = run("--build", str(build), *chosen, "--json", str(data), "--svg", str(svg))
    bulk, echo = json.loads(data.read_text())["results"]
    assert bulk["failed"] == echo["failed"] == ""
    assert 0 < bulk["mbit_s"] < 95  # how much depends on what else the machine does
    assert bulk["wire_per_byte"] > 1
    assert len(bulk["queue"]) > 200
    assert echo["p99_ms"] >= echo["p50_ms"] >= 100
    assert out.count("| 1 % |") == 5
    ElementTree.parse(svg)
    docs.write_text("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n")
    run("--from", str(data), "--docs", str(docs))
    text = docs.read_text()
    assert "old" not in text
    assert out.strip() in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
