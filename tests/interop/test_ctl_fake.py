"""tests/interop/test_ctl_fake.py - kcptunctl against a made-up daemon.

Tables, JSON, exit statuses, and answers that are none.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable

import pytest

SESSION = {
    "profile": "web",
    "id": "0.1",
    "conv": "0000abcd",
    "remote": "192.0.2.1:4000",
    "worker": 0,
    "age_s": 3723,
    "state": "live",
    "streams": 2,
    "srtt_ms": 41,
    "rto_ms": 100,
    "inflight": 7,
    "queued_bytes": 1500,
    "in_bytes": 12_345_678,
    "out_bytes": 9,
}
SESSION_ROW = "web 0.1 192.0.2.1:4000 live 0 01:02:03 2 41 100 7 1.5k 12M 9".split()
STATS = {
    "profiles": [
        {
            "name": "web",
            "role": "server",
            "counters": {"InPkts": 5, "OutPkts": 0, "Zero": 0},
            "sessions": [SESSION],
        },
        {
            "name": "home",
            "role": "client",
            "counters": {"InPkts": 6, "OutPkts": 1, "Zero": 0},
            "sessions": [],
        },
    ],
    "total": {"InPkts": 11, "OutPkts": 1, "Zero": 0},
    "version": "9.9",
    "uptime_s": 90061,
    "workers": 2,
    "io": "epoll",
    "complete": True,
}


def line(o: Any) -> bytes:
    return json.dumps(o).encode() + b"\n"


def ok(data: Any, more: bool = False, id_: Any = 1) -> bytes:
    return line({"v": 1, "id": id_, "ok": True, "data": data, "more": more, "later": {}})


class Fake:
    """Accepts one connection, reads one line, answers with `answer` and closes."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.path, self.answer, self.asked = path, answer, b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        s, _ = self.listener.accept()
        with s:
            while not self.asked.endswith(b"\n"):
                part = s.recv(65536)
                if not part:
                    return
                self.asked += part
            try:
                s.sendall(self.answer)
            except BrokenPipeError:
                pass  # the client had seen enough


Done = subprocess.CompletedProcess[str]
Run = Callable[..., tuple[Done, dict[str, Any]]]


def start(request: pytest.FixtureRequest, *args: str) -> Done:
    tool = Path(request.config.getoption("--build")).resolve() / "tools/kcptunctl"
    argv = [str(tool), *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def ctl(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    def run(*args: str, answer: bytes) -> tuple[Done, dict[str, Any]]:
        fake = Fake(tmp_path / "s", answer)
        done = start(request, "-s", str(fake.path), *args)
        fake.thread.join(10)
        fake.listener.close()
        fake.path.unlink()
        return done, json.loads(fake.asked) if fake.asked else {}

    return run


def test_tables(ctl: Run) -> None:
    done, asked = ctl("stats", answer=ok(STATS))
    assert done.returncode == 0, done.stderr
    assert asked == {"v": 1, "id": 1, "cmd": "stats"}
    rows = [text.split() for text in done.stdout.splitlines()]
    assert done.stdout.startswith("kcptund 9.9, up 1d 01:01:01, 2 workers, epoll\n")
    assert ["web", "server", "1"] in rows and ["home", "client", "0"] in rows
    assert ["COUNTER", "TOTAL", "web", "home"] in rows
    assert ["InPkts", "11", "5", "6"] in rows and ["OutPkts", "1", "0", "1"] in rows
    assert "Zero" not in done.stdout
    assert SESSION_ROW in rows
    assert not done.stderr


def test_one_profile(ctl: Run) -> None:
    one = {**STATS, "profiles": STATS["profiles"][1:]}
    done, asked = ctl("stats", "home", answer=ok(one))
    assert done.returncode == 0
    assert asked["args"] == {"profile": "home"}
    rows = [text.split() for text in done.stdout.splitlines()]
    assert ["COUNTER", "home"] in rows and ["InPkts", "6"] in rows
    assert "no sessions" in done.stdout


def test_many_profiles_in_several_tables(ctl: Run) -> None:
    blank = {"role": "server", "sessions": []}
    profiles = [{"name": f"p{i}", "counters": {"InPkts": i}, **blank} for i in range(20)]
    done, _ = ctl("stats", answer=ok({**STATS, "profiles": profiles}))
    rows = [text.split() for text in done.stdout.splitlines()]
    assert [r for r in rows if r[:1] == ["COUNTER"]] == [
        ["COUNTER", "TOTAL", *(f"p{i}" for i in range(6))],
        ["COUNTER", *(f"p{i}" for i in range(6, 12))],
        ["COUNTER", *(f"p{i}" for i in range(12, 18))],
        ["COUNTER", "p18", "p19"],
    ]


def test_json(ctl: Run) -> None:
    done, _ = ctl("stats", "--json", answer=ok(STATS))
    assert done.returncode == 0
    assert json.loads(done.stdout) == STATS


def test_json_in_parts(ctl: Run) -> None:
    web, home = STATS["profiles"]
    parts = (
        ok({"profiles": [{**web, "sessions": []}]}, more=True)
        + ok({"profiles": [{"name": "web", "sessions": [SESSION]}, home]}, more=True)
        + ok({**STATS, "profiles": []})
    )
    done, _ = ctl("--json", "stats", answer=parts)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == STATS


def test_empty(ctl: Run) -> None:
    """A daemon that says next to nothing breaks nothing."""
    done, _ = ctl("stats", answer=ok({}))
    assert done.returncode == 0
    assert "no sessions" in done.stdout


def test_control_characters(ctl: Run) -> None:
    profile = {**STATS["profiles"][0], "name": "\x1b[2J"}
    done, _ = ctl("stats", answer=ok({**STATS, "profiles": [profile]}))
    assert done.returncode == 0 and "\x1b" not in done.stdout
    refused = line({"v": 1, "id": 1, "ok": False, "error": {"code": "x", "text": "\x1b[2J"}})
    done, _ = ctl("stats", answer=refused)
    assert done.returncode == 1 and "\x1b" not in done.stderr


def test_refused(ctl: Run) -> None:
    error = {"code": "not-found", "text": "no profile of that name"}
    for id_ in (1, None):
        done, _ = ctl("stats", "x", answer=line({"v": 1, "id": id_, "ok": False, "error": error}))
        assert done.returncode == 1
        assert done.stderr == "kcptunctl: no profile of that name (not-found)\n"
        assert not done.stdout


NO_ANSWERS = {
    "nothing": b"",
    "empty line": b"\n",
    "no JSON": b"x\n",
    "an array": b"[]\n",
    "cut": b'{"v":1,"ok":true',
    "version 2": line({"v": 2, "id": 1, "ok": True, "data": {}}),
    "no data": line({"v": 1, "id": 1, "ok": True}),
    "data no object": ok([]),
    "to another": ok({}, id_=2),
    "to nobody": ok({}, id_=None),
    "more never comes": ok({}, more=True),
    "endless line": b'"' + b"x" * (2 << 20),
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS.keys())
def test_not_an_answer(ctl: Run, answer: bytes) -> None:
    done, _ = ctl("stats", answer=answer)
    assert done.returncode == 3, done.stdout
    assert done.stderr.startswith("kcptunctl: ") and done.stderr.count("\n") == 1
    assert not done.stdout


def test_nobody_there(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    done = start(request, "-s", str(tmp_path / "none"), "stats")
    assert done.returncode == 3
    assert "No such file or directory" in done.stderr
    done = start(request, "-s", "/" + "x" * 200, "stats")
    assert done.returncode == 3 and "too long" in done.stderr


def test_usage(request: pytest.FixtureRequest) -> None:
    not_utf8 = "\udcff"  # the byte ff
    wrong = ((), ("nonsense",), ("stats", "a", "b"), ("--nonsense",), ("-s",), ("stats", not_utf8))
    for args in wrong:
        done = start(request, *args)
        assert done.returncode == 2, args
        assert "usage" in done.stderr or "unknown command" in done.stderr
        assert not done.stdout
    for args in (("-h",), ("--help",), ("-V",), ("--version",)):
        done = start(request, *args)
        assert done.returncode == 0 and "kcptunctl" in done.stdout and not done.stderr


def test_output_lost(request: pytest.FixtureRequest) -> None:
    tool = Path(request.config.getoption("--build")).resolve() / "tools/kcptunctl"
    argv = [str(tool), "-h"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4 and "No space left" in done.stderr
