"""tests/interop/test_bench.py - kcptun-bench: every work runs and yields its numbers, and nothing
is left behind. No number is judged: this machine may be doing anything."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import peers
import pytest

PLOT = Path(__file__).resolve().parent.parent / "bench" / "plot.py"
RATE = {
    "mb_s",
    "cpu_client_s_gb",
    "cpu_server_s_gb",
    "cpu_s_gb",
    "peak_client_mib",
    "peak_server_mib",
    "load_s_gb",
}
VALUES: dict[str, set[str]] = {
    "bulk": RATE,
    "down": RATE,
    "parallel": RATE,
    "sessions": RATE,
    "echo": {"p50_ms", "p99_ms", "echoes", "load_mb_s"},
    "loaded-echo": {"p50_ms", "p99_ms", "echoes", "load_mb_s"},
    "churn": {"conn_s", "cpu_client_us", "cpu_server_us", "p99_ms", "failed"},
    "idle": {
        "rss_client_kib",
        "rss_server_kib",
        "pss_client_kib",
        "pss_server_kib",
        "cpu_client_pct",
        "cpu_server_pct",
    },
    "fairness": {"mb_s", "least_pct", "most_pct", "jain"},
    "starve": {"before_mb_s", "beside_mb_s", "kept_pct"},
}
SHORT = ["--quick", "--time", "0.4", "--sessions", "5", "--streams", "5"]


class Bench:
    def __init__(self, build: Path, directory: Path, scale: float) -> None:
        self.program = build / "tools/kcptun-bench"
        self.json_path = directory / "bench.json"
        self.tmp = directory / "tmp"
        self.tmp.mkdir()
        self.scale = scale
        self.env = {**os.environ, **peers.SANITIZER_ENV, "TMPDIR": str(self.tmp)}

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", str(self.program), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.env,
        )

    def run(self, *args: str, status: int = 0) -> tuple[str, str]:
        p = self.start(*args)
        try:
            out, err = p.communicate(timeout=150 * self.scale)
        finally:
            p.kill()
        assert not peers.SANITIZER.search(err), err
        assert p.returncode == status, err
        assert not list(self.tmp.iterdir()), "something is left in the temporary directory"
        return out, err

    def report(self) -> dict[str, Any]:
        return json.loads(self.json_path.read_text())


@pytest.fixture
def bench(build: Path, tmp_path: Path, scale: float) -> Bench:
    return Bench(build, tmp_path, scale)


def check_result(r: dict[str, Any]) -> None:
    assert not r["failed"], r
    assert len(r["runs"]) == 1, r
    run = r["runs"][0]
    assert set(run) == VALUES[r["work"]], r
    for key, value in run.items():
        if r["work"] == "echo" and key == "load_mb_s":
            assert value is None, "there is no load in an idle tunnel"
            continue
        assert math.isfinite(value), (r["work"], key)
        assert r["median"][key] == r["min"][key] == r["max"][key] == value


def test_every_work(bench: Bench) -> None:
    args = [*SHORT, "--loopback-limit", "--json", str(bench.json_path)]
    out, err = bench.run(*args)
    report = bench.report()
    assert report["complete"] is True
    assert report["settings"]["runs"] == 1 and report["settings"]["idle_sessions"] == 5
    assert {w["work"] for w in report["results"]} == set(VALUES)
    for r in report["results"]:
        check_result(r)
        assert f"\n{r['work']}: " in out
    moved = {r["work"]: r["runs"][0] for r in report["results"]}
    assert moved["bulk"]["mb_s"] > 0 and moved["down"]["mb_s"] > 0
    assert moved["echo"]["echoes"] > 0 and moved["churn"]["conn_s"] > 0
    assert 0 < moved["fairness"]["jain"] <= 1.0001
    for which in ("tcp", "udp"):
        assert len(report["loopback"][which]["runs"]) == 1
    assert err.count("\n") == len(VALUES) + 2, "a line of progress for each measurement"
    assert bench.run("--from", str(bench.json_path))[0] == out


def test_beside_kcptun(bench: Bench, theirs: None) -> None:
    out, _ = bench.run(
        *SHORT,
        *("--work", "bulk,echo", "--crypt", "aes,aes-128-gcm", "--fec", "off"),
        *("--against", "kcptun", "--peer-client", "kcptun", "--peer-server", "kcptun"),
        *("--json", str(bench.json_path)),
    )
    results = bench.report()["results"]
    assert len(results) == 2 * 2 * 4
    for r in results:
        if r["crypt"] == "aes" or r["program"] == "kcptund":
            check_result(r)
        else:
            assert "cipher" in r["skipped"] and not r["runs"] and not r["failed"]
    assert re.search(r"^ +kcptund +kcptun +ratio +kcptun to kcptund +kcptund to kcptun$", out, re.M)


def test_netns(bench: Bench) -> None:
    if subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    bench.run(*SHORT, "--netns", "--work", "bulk,churn", "--json", str(bench.json_path))
    report = bench.report()
    assert report["settings"]["netns"] is True
    for r in report["results"]:
        check_result(r)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped(bench: Bench, number: signal.Signals) -> None:
    """What was measured is kept; no process and no file is left."""
    p = bench.start("--work", "echo,bulk", "--time", "0.3", "--runs", "1000", "--json",
                    str(bench.json_path))  # fmt: skip
    try:
        peers.wait_for(
            "a result",
            lambda: bench.json_path.exists()
            and bench.report()["results"]
            and bench.report()["results"][0]["runs"],
            20,
        )
        ends = peers.wait_for("both ends", lambda: children(p.pid)[1:] and children(p.pid), 10)
        p.send_signal(number)
        out, err = p.communicate(timeout=20 * bench.scale)
    finally:
        p.kill()
    assert p.returncode == 130, err
    assert "did not get to its end" in out and "echo: " in out
    assert bench.report()["complete"] is False
    assert not list(bench.tmp.iterdir())
    assert not [pid for pid in ends if alive(pid)]


def test_killed(bench: Bench) -> None:
    """Whatever happens to it, the ends do not outlive it."""
    p = bench.start("--work", "bulk", "--time", "60")
    try:
        ends = peers.wait_for(
            "both ends", lambda: children(p.pid)[1:] and children(p.pid), 20
        )
    finally:
        p.kill()
        p.communicate()
    peers.wait_for("no ends", lambda: not [pid for pid in ends if alive(pid)], 10)


def test_daemon_that_cannot_start(bench: Bench) -> None:
    args = [*SHORT, "--work", "echo,bulk", "--kcptund", "/bin/false"]
    out, err = bench.run(*args, "--json", str(bench.json_path), status=1)
    assert [len(r["failed"]) for r in bench.report()["results"]] == [1, 1]
    assert out.count("ended at its start") == 2 and "ended at its start" in err


def test_setting_that_the_daemon_refuses(bench: Bench) -> None:
    """The daemon's own words reach the user."""
    _, err = bench.run(*SHORT, "--work", "bulk", "--crypt", "rot13", status=1)
    assert "ended at its start" in err and "crypt" in err


@pytest.mark.parametrize(
    "args",
    [
        ["--work", "bulk,juggle"],
        ["--work", "bulk,bulk"],
        ["--work", ""],
        ["--runs", "0"],
        ["--time", "nan"],
        ["--time", "0.1"],
        ["--against", "iperf"],
        ["--fec", "10"],
        ["--fec", "0/3"],
        ["--crypt", "aes\nkey=x"],
        ["--workers", "many"],
        ["--smuxver", "3"],
        ["--kcptund", "/nowhere/kcptund"],
        ["--no-such-option"],
        ["bulk"],
    ],
)
def test_mistakes(bench: Bench, args: list[str]) -> None:
    out, err = bench.run(*args, status=2)
    assert not out and "kcptun-bench: " in err


@pytest.mark.parametrize("cpus", ["0", "0:", "0:x", "1-0:0", "0:0:0:0", "0:4095", "0,:0"])
def test_bad_cpus(bench: Bench, cpus: str) -> None:
    _, err = bench.run("--quick", "--cpus", cpus, status=1)
    assert f"--cpus {cpus}: " in err


def result(work: str, program: str, **values: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "work": work,
        "crypt": "aes",
        "fec": "10/3",
        "io": "auto",
        "workers": 1,
        "program": program,
        "runs": [{}, {}, {}],
        "failed": [],
        "min": {k: v[0] for k, v in values.items()},
        "median": {k: v[1] for k, v in values.items()},
        "max": {k: v[2] for k, v in values.items()},
    }


def made_up() -> dict[str, Any]:
    return {
        "format": 1,
        "version": "1",
        "date": "2026-01-01",
        "command": "kcptun-bench",
        "machine": {"processor": "abacus <&>", "cores": 2, "linux": "6.1", "load": 0.5},
        "complete": True,
        "settings": {
            "time_s": 5.0,
            "runs": 3,
            "mode": "fast3",
            "window": 2048,
            "smuxver": 2,
            "netns": False,
            "cores": None,
        },
        "loopback": {"tcp": {"median": {"mb_s": 2000.0}}},
        "results": [
            result("bulk", "kcptund", mb_s=(800.0, 1000.0, 1100.0), cpu_s_gb=(1.0, 1.5, 2.0)),
            result("bulk", "kcptun", mb_s=(90.0, 100.0, 120.0), cpu_s_gb=(14.0, 15.0, 16.0)),
        ],
    }


def test_tables(bench: Bench) -> None:
    bench.json_path.write_text(json.dumps(made_up()))
    out, _ = bench.run("--from", str(bench.json_path))
    assert re.search(r"^MB/s +1000 \(800 to 1100\) +100 \(90 to 120\) +10\.00$", out, re.M), out
    assert re.search(r"^% of TCP without a tunnel +50\.0 +5\.0 +-$", out, re.M), out
    out, _ = bench.run("--from", str(bench.json_path), "--markdown")
    assert "\n|   | kcptund | kcptun | ratio |\n|---|--:|--:|--:|\n" in out
    assert "\n| CPU s/GB, both | 1.50 (1.00 to 2.00) | 15.00 (14.00 to 16.00) | 0.10 |\n" in out


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "results": 7}'])
def test_files_that_are_no_report(bench: Bench, text: str) -> None:
    """Refused, or shown as far as they go: never a crash."""
    bench.json_path.write_text(text)
    bench.run("--from", str(bench.json_path), status=0 if '"format": 1' in text else 1)


def test_plot(tmp_path: Path) -> None:
    source, target = tmp_path / "bench.json", tmp_path / "bench.svg"
    source.write_text(json.dumps(made_up()))
    subprocess.run([sys.executable, str(PLOT), str(source), str(target)], check=True)
    tree = ElementTree.fromstring(target.read_text())
    space = "{http://www.w3.org/2000/svg}"
    bars = [g.find(space + "rect") for g in tree.iter(space + "g")]
    widths = [float(bar.get("width", "nan")) for bar in bars if bar is not None]
    assert len(widths) == 4
    assert widths[0] == pytest.approx(10 * widths[1], rel=0.02), "from zero, on one scale"
    assert widths[3] == pytest.approx(10 * widths[2], rel=0.02)
    texts = [t.text for t in tree.iter(space + "text")]
    assert any(t and "abacus <&>" in t for t in texts)
