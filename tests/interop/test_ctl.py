"""tests/interop/test_ctl.py - kcptunctl and the control sockets of a real daemon: who may ask what,
what lists say of live traffic, kicking, draining, and clients that behave badly."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import select
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apps
import pace
import peers
import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Pair:
    """Server s and client c in one daemon."""

    daemon: peers.Daemon
    stats_path: Path
    port: int

    def data(self, *args: str, path: Path | None = None) -> dict[str, Any]:
        done = self.run(*args, "--json", path=path)
        assert done.returncode == 0, f"{args}: {done.stderr}"
        return json.loads(done.stdout)

    def run(self, *args: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.daemon.ctl(*(("-s", str(path)) if path else ()), *args)

    def session(self, profile: str) -> dict[str, Any]:
        (one,) = self.data("sessions", profile)["sessions"]
        return one


@contextmanager
def pair(build: Path, directory: Path, target: str, **more: Any) -> Iterator[Pair]:
    port, server_port = peers.free_port(), peers.free_port()
    stats_path = directory / "stats.sock"
    common = {"key": peers.KEY, "mode": "fast3", "smuxver": 2, **more}
    daemon = peers.Daemon(
        build,
        directory,
        "both",
        {
            "global": {"workers": 2, "stats": stats_path, "watch": False},
            "server s": {"listen": f"127.0.0.1:{server_port}", "target": target, **common},
            "client c": {
                "localaddr": f"127.0.0.1:{port}",
                "remoteaddr": f"127.0.0.1:{server_port}",
                **common,
            },
        },
    )
    try:
        yield Pair(daemon, stats_path, port)
    except BaseException:
        print(daemon.tail())
        daemon.kill()
        raise
    daemon.stop()


# --- who may ask what

READING = ("status", "stats", "sessions", "streams")


def test_two_sockets(build: Path, tmp_path: Path) -> None:
    with pair(build, tmp_path, "127.0.0.1:1") as p:
        for path, mode in ((p.daemon.control, 0o660), (p.stats_path, 0o666)):
            st = path.stat()
            assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == mode
        for command in READING:
            assert p.data(command, path=p.stats_path).keys() == p.data(command).keys()
        changing = [("show", "0.1"), ("kick", "0.1"), ("set", "mtu=1300"), ("loglevel", "debug")]
        changing += [(c,) for c in ("drain", "undrain", "doctor", "reload", "loglevel")]
        for args in changing:
            done = p.run(*args, path=p.stats_path)
            assert done.returncode == 1 and "(denied)" in done.stderr, args
        assert not any(x["draining"] for x in p.data("status")["profiles"])
    assert not p.daemon.control.exists() and not p.stats_path.exists()


def test_which_socket(build: Path, tmp_path: Path) -> None:
    """Without -s: the packaged paths, here in a file system of the test's own; who may not use the
    first one reads from the second."""
    if os.geteuid() != 0:
        pytest.skip("takes a mount namespace")
    script = (
        'mount -t tmpfs none /run && mkdir /run/kcptun && ln -s "$1" /run/kcptun/stats && shift; '
        'exec "$@"'
    )
    with pair(build, tmp_path, "127.0.0.1:1") as p:

        def run(*args: str) -> subprocess.CompletedProcess[str]:
            argv = ["unshare", "-m", "sh", "-c", script, "-", str(p.stats_path)]
            tool = str(build / "tools/kcptunctl")
            return subprocess.run([*argv, tool, *args], capture_output=True, text=True, check=False)

        for command in READING:
            assert run(command).returncode == 0
        for args in (("drain",), ("show", "0.1"), ("doctor",)):
            done = run(*args)
            assert done.returncode == 3 and "/run/kcptun/control: No such file" in done.stderr
            assert "does kcptund run" in done.stderr


def test_sockets_that_are_not_ours(build: Path, tmp_path: Path) -> None:
    """A file in the place of a socket is refused and left alone; a daemon's socket too; a dead
    one's is replaced."""
    file, dead = tmp_path / "file", tmp_path / "dead"
    file.write_text("mine")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(dead))
        s.listen()
    with pair(build, tmp_path, "127.0.0.1:1") as p:
        for key in ("control", "stats"):
            for path, words in ((file, "not a socket"), (p.stats_path, "somebody listens")):
                sections = {"global": {key: path}}
                other = peers.Daemon(build, tmp_path, "other", sections, wait=False)
                assert other.wait(10) == 1
                assert str(path) in other.log() and words in other.log(), other.log()
        assert p.data("status", path=p.stats_path)["pid"] == p.daemon.pid
    assert file.read_text() == "mine"
    again = peers.Daemon(build, tmp_path, "again", {"global": {"stats": dead}}, wait=False)
    again.wait_until("its socket", lambda: peers.listens_on_path(again.pid, str(dead)))
    again.stop()


def test_a_removed_socket_comes_back(build: Path, tmp_path: Path) -> None:
    """Within seconds, with its mode, and so for both."""
    with pair(build, tmp_path, "127.0.0.1:1") as p:
        both = ((p.daemon.control, 0o660), (p.stats_path, 0o666))
        for path, _ in both:
            path.unlink()
        for path, mode in both:
            again = f"control socket {path}: somebody removed it; it is there again"
            peers.wait_for(again, lambda words=again: words in p.daemon.log(), 60)
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert p.data("status", path=path)["pid"] == p.daemon.pid
    assert not p.daemon.control.exists() and not p.stats_path.exists()


# --- lists


def test_lists(build: Path, tmp_path: Path) -> None:
    """Bytes, states and addresses of a stream under way, seen from both ends."""
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            apps.ask(s, bytes(100000))
            near, far = p.session("c"), p.session("s")
            assert near["conv"] == far["conv"] and near["ours"] and far["ours"]
            assert near["streams"] == far["streams"] == 1
            (mine,) = p.data("streams", near["id"])["streams"]
            assert mine["in_bytes"] == mine["out_bytes"] == 100000
            assert mine["local"] == "%s:%d" % s.getsockname()
            assert mine["session"] == near["id"] and mine["state"] == "open"
            (theirs,) = p.data("streams", "s")["streams"]
            assert theirs["id"] == mine["id"] and theirs["local"] == target.address
            shown = p.data("show", near["id"])
            shown["streams"][0]["age_s"] = mine["age_s"]
            assert shown["session"]["id"] == near["id"] and shown["streams"] == [mine]
            text = p.run("show", near["id"]).stdout
            assert "in_bytes" in text and "%s:%d" % s.getsockname() in text
            status = p.data("status")
            assert [(x["name"], x["sessions"], x["streams"]) for x in status["profiles"]] == [
                ("s", 1, 1),
                ("c", 1, 1),
            ]
        for args in (("sessions", "x"), ("streams", "x"), ("show", "1.99"), ("kick", "7.0")):
            done = p.run(*args)
            assert done.returncode == 1 and "(not-found)" in done.stderr, args
        for bad in ("x", "1", "1.", "1.2x", "1.999999999999999", "99999.1"):
            done = p.run("show", bad)
            assert done.returncode == 1 and "(bad-args)" in done.stderr, bad


def pages(p: Pair, what: str, **args: Any) -> Iterator[list[dict[str, Any]]]:
    """The rows of each page."""
    answer = p.daemon.request(what, **args)
    while "next" in answer:
        assert answer["truncated"] and answer["complete"] and answer[what]
        yield answer[what]
        answer = p.daemon.request(what, **{**args, "after": answer["next"]})
    assert not answer["truncated"]
    yield answer[what]


def test_long_lists(build: Path, tmp_path: Path) -> None:
    """More streams than an answer holds: each page is whole and bounded, kcptunctl has them all,
    and what goes meanwhile moves nothing."""
    with apps.Service(apps.echo) as target:
        with pair(build, tmp_path, target.address) as p:
            streams = [apps.connect(p.port, 20) for _ in range(2100)]
            counters = p.daemon.counters
            peers.wait_for("streams", lambda: counters("s")["StreamsNow"] == 2100, 60)

            def names(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
                assert all(x["state"] in ("open", "connecting") for x in rows)
                return [(x["session"], x["id"]) for x in rows]

            everyone = names(p.data("streams")["streams"])
            assert len(everyone) == len(set(everyone)) == 4200
            assert not p.data("streams")["truncated"]
            assert p.run("streams").stdout.count("\n") == 4201
            found = list(pages(p, "streams"))
            assert len(found) > 1 and max(map(len, found)) <= 4096
            assert sorted(name for rows in found for name in names(rows)) == sorted(everyone)
            seen: list[tuple[str, int]] = []
            for i, rows in enumerate(pages(p, "streams", limit=700, profile="c")):
                assert len(rows) <= 700
                seen += names(rows)
                if i == 1:
                    for s in streams[:50]:
                        s.close()
                    peers.wait_for("ends", lambda: counters("c")["StreamsNow"] <= 2050, 30)
            assert len(seen) == len(set(seen)) and 2050 <= len(seen) <= 2100
            for s in streams[50:]:
                s.close()


def test_pages(build: Path, tmp_path: Path) -> None:
    """Sessions one by one; what is no limit and no mark."""
    with apps.Service(apps.echo) as target:
        with pair(build, tmp_path, target.address) as p:
            conf = p.daemon.conf_path.read_text()
            p.daemon.conf_path.write_text(conf + "conn = 5\n")
            assert p.run("reload").returncode == 0
            streams = [apps.connect(p.port, 20) for _ in range(5)]
            for s in streams:
                apps.ask(s)
            everyone = sorted(x["id"] for x in p.data("sessions")["sessions"])
            assert len(everyone) == 10
            for limit in (1, 3, 20):
                found = list(pages(p, "sessions", limit=limit))
                assert all(len(rows) <= max(limit, 2) for rows in found)
                assert sorted(x["id"] for rows in found for x in rows) == everyone
            one = p.daemon.request("sessions", limit=1)
            assert sum(mark is not None for mark in one["next"]) == 2
            none = p.daemon.request("sessions", after=[None, None])
            assert none["sessions"] == [] and none["complete"] and "next" not in none
            far = p.daemon.request("sessions", after=[[2**62, 0, 0], [0, 2**63 - 1, 0]])
            assert len(far["sessions"]) < 10
            for bad in (
                {"limit": 0},
                {"limit": 4097},
                {"limit": "9"},
                {"limit": -1},
                {"after": []},
                {"after": {}},
                {"after": "x"},
                {"after": [None]},
                {"after": [None, [1, 2]]},
                {"after": [None, [1, 2, -3]]},
                {"after": [None, [1, 2, "3"]]},
                {"after": [None, None, None]},
            ):
                with pytest.raises(peers.Failed, match="bad-args"):
                    p.daemon.request("streams", **bad)
            for s in streams:
                s.close()


# --- kick, drain


def test_kick(build: Path, tmp_path: Path) -> None:
    """The session's streams are reset at once, at both outer ends; the next connection has a new
    session."""
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            old = p.session("c")["id"]
            done = p.run("kick", old)
            assert done.returncode == 0 and "ended" in done.stdout
            with pytest.raises(ConnectionResetError):
                s.recv(1)
        peers.wait_for("the target's end", lambda: target.open_now() == 0, 10)
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            assert p.session("c")["id"] != old
        assert p.run("kick", old).returncode == 1


def test_drain_server(build: Path, tmp_path: Path) -> None:
    """What runs goes on, what is new is reset, the session ends with its last stream."""
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            assert p.data("drain", "s") == {"draining": ["s"]}
            assert [x["draining"] for x in p.data("status")["profiles"]] == [True, False]
            assert p.session("s")["state"] == "draining"
            with pytest.raises(ConnectionResetError):
                with apps.connect(p.port, 20) as new:
                    apps.ask(new)
            apps.ask(s, bytes(300000))
            assert target.accepted == 1
            # its client was told, and dialled anew
            peers.wait_for("another dial", lambda: p.daemon.counters("s")["Disowned"], 10)
        sessions = lambda: p.data("sessions", "s")["sessions"]  # noqa: E731
        peers.wait_for("no session", lambda: not sessions(), 10)
        assert p.data("undrain") == {"draining": []}
        peers.wait_for("service", lambda: answers(p.port), 30, step=0.2)


def answers(port: int) -> bool:
    try:
        with apps.connect(port, 5) as s:
            apps.ask(s)
        return True
    except (OSError, EOFError):
        return False


def test_drain_client(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            assert p.run("drain", "c").stdout == "c drains\n"
            assert not peers.bound(p.daemon.pid, "tcp", p.port)
            with pytest.raises(ConnectionRefusedError):
                apps.connect(p.port, 20)
            apps.ask(s, bytes(300000))
            assert p.run("drain").stdout == "s drains\nc drains\n"
            assert p.run("drain").returncode == 0, "twice is as good as once"
            assert p.run("undrain").stdout == "nothing drains\n"
            peers.wait_for("a listener", lambda: peers.bound(p.daemon.pid, "tcp", p.port), 10)
            with apps.connect(p.port, 20) as new:
                apps.ask(new)
        p.run("drain", "c")
        sessions = lambda: p.data("sessions", "c")["sessions"]  # noqa: E731
        peers.wait_for("no session", lambda: not sessions(), 10)
        assert p.run("drain", "nobody").returncode == 1


# --- the configuration


def change(daemon: peers.Daemon, **keys: Any) -> None:
    daemon.sections["server s"].update(keys)
    daemon.conf_path.write_text(peers.ini(daemon.sections))


def test_reload(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            change(p.daemon, maxsessions=5)
            answer = p.data("reload")
            assert (answer["added"], answer["changed"], answer["kept"]) == (0, 1, 1)
            assert "in force" in p.run("reload").stdout
            conf = p.data("status")["conf"]
            assert conf["ok"] and conf["file"] == str(p.daemon.conf_path) and "error" not in conf
            change(p.daemon, mtu=1)
            done = p.run("reload")
            assert done.returncode == 1 and "mtu" in done.stderr and "128" in done.stderr
            conf = p.data("status")["conf"]
            assert not conf["ok"] and "mtu" in conf["error"]
            assert "NOT TAKEN OVER" in p.run("status").stdout
            found = json.loads(p.run("--json", "doctor").stdout)["findings"]
            assert [f["severity"] for f in found if f["check"] == "conf"] == ["error"]
            apps.ask(s)
            change(p.daemon, mtu=1300)
            assert p.run("reload").returncode == 0
            assert p.data("status")["conf"]["ok"]


def test_text_that_is_no_text(build: Path, tmp_path: Path) -> None:
    """Stray bytes in values, names and paths come back as question marks, never as no answer."""
    with pair(build, tmp_path, "127.0.0.1:1") as p:
        good = p.daemon.conf_path.read_bytes()
        for line in (b"pacing = \xff\n", b"[server \xff]\n"):
            p.daemon.conf_path.write_bytes(good + line)
            done = p.run("reload")
            assert done.returncode == 1 and "?" in done.stderr, done
            conf = p.data("status")["conf"]
            assert not conf["ok"] and "?" in conf["error"], conf
            assert p.run("status").returncode == 0 and "?" in p.run("doctor").stdout
        p.daemon.conf_path.write_bytes(good.replace(b"127.0.0.1:1\n", b"/tmp/\xff\xc3.sock\n"))
        assert p.run("reload").returncode == 0
        assert [x["to"] for x in p.data("status")["profiles"]][0] == "/tmp/??.sock"


def test_set(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            done = p.run("set", "s", "maxsessions=1")
            assert done.returncode == 0 and done.stdout == "set, until the next reload\n"
            assert p.run("set", "keepalive=7").returncode == 0
            overrides = p.data("status")["overrides"]
            assert ("s", "maxsessions", "1") in [
                (o["profile"], o["key"], o["value"]) for o in overrides
            ]
            assert "s: maxsessions = 1" in p.run("status").stdout
            assert p.data("status", path=p.stats_path)["overrides"] == overrides
            refused = (
                ("nonsense=1", "nonsense"),
                ("keepalive=900", "29"),
                ("crypt=aes", "crypt"),  # for new sessions alone
                ("workers=3", "workers"),  # takes a restart
            )
            for setting, words in refused:
                done = p.run("set", setting)
                assert done.returncode == 1 and words in done.stderr, (setting, done.stderr)
            assert p.run("set", "nobody", "keepalive=7").returncode == 1
            assert p.run("set", "keepalive").returncode == 2
            status = p.data("status")
            assert status["overrides"] == overrides
            assert status["conf"]["ok"], "a mistake of ours is none of the file"
            text = p.daemon.conf_path.read_text()
            p.daemon.conf_path.write_text(text + "nonsense = 1\n")
            assert p.run("reload").returncode == 1
            assert p.run("set", "keepalive=8").returncode == 0
            assert "nonsense" in p.data("status")["conf"]["error"], "the file is as bad as before"
            p.daemon.conf_path.write_text(text)
            assert p.run("reload").returncode == 0
            status = p.data("status")
            assert status["overrides"] == [] and status["conf"]["ok"]
            apps.ask(s)


def test_loglevel(build: Path, tmp_path: Path) -> None:
    with pair(build, tmp_path, "127.0.0.1:1") as p:
        assert p.run("loglevel").stdout == "info\n"
        for level in ("debug", "error", "warning", "info"):
            assert p.run("loglevel", level).returncode == 0
            assert p.run("loglevel").stdout == level + "\n"
        assert p.run("loglevel", "loud").returncode == 1
        assert complete(build, "loglevel", "") == ["error", "warning", "info", "debug"]
        assert "keepalive=" in complete(build, "set", "keep")


# --- clients that behave badly


def connect_unix(path: Path) -> socket.socket:
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))  # blocking, so that it waits for its turn
    s.settimeout(10)
    return s


def memory(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024


def members(answer: Any) -> set[str]:
    """Names of all members but the counters, which have large letters."""
    if isinstance(answer, list):
        return set().union(*map(members, answer))
    if not isinstance(answer, dict):
        return set()
    names = {name for name in answer if name.islower()}
    return names.union(*map(members, answer.values()))


def test_every_member_is_described(build: Path, tmp_path: Path) -> None:
    pages = (ROOT / "packaging/man" / name for name in ("kcptun-control.7", "kcptunctl.1"))
    asked, own = (set(re.findall(r"\w+", page.read_text())) for page in pages)
    conf = tmp_path / "bad.ini"
    conf.write_text("[server a]\nmtu = 9\n")
    with apps.Service(apps.echo) as target:
        with pair(build, tmp_path, target.address, mode="auto") as p, apps.connect(p.port, 20) as s:
            apps.ask(s)
            p.data("set", "dscp=1")
            p.run("set", "dscp=64")
            for cmd in ("status", "stats", "sessions", "streams", "doctor", "reload", "loglevel"):
                assert members(p.daemon.request(cmd)) - asked == set(), cmd
            for args in (("doctor",), ("watch", "-n", "1"), ("genkey",), ("check", str(conf))):
                assert members(json.loads(p.run("--json", *args).stdout)) - own == set(), args


def test_deaf_and_greedy_clients(build: Path, tmp_path: Path) -> None:
    """Every place on the stats socket taken by clients that ask and never read: traffic and the
    control socket do not notice, the daemon does not grow without bound."""
    ask = b'{"v":1,"cmd":"stats"}\n' * 4000
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            clients = []
            for _ in range(40):
                c = connect_unix(p.stats_path)
                c.setblocking(False)
                clients.append(c)
            before = memory(p.daemon.pid)
            for _ in range(20):
                for c in clients:
                    try:
                        c.send(ask)
                    except OSError as e:
                        assert e.errno in (errno.EAGAIN, errno.EPIPE, errno.ECONNRESET)
                apps.ask(s, bytes(20000))
                assert p.data("status")["pid"] == p.daemon.pid
            grown = memory(p.daemon.pid) - before
            assert grown < 200 << 20, f"grew by {grown >> 20} MiB"
            assert p.data("stats")["complete"]
            for c in clients:
                c.close()


def test_every_place_is_taken(build: Path, tmp_path: Path) -> None:
    """Who comes then is told so."""
    with pair(build, tmp_path, "127.0.0.1:1") as p, ExitStack() as held:
        for _ in range(32):
            held.enter_context(connect_unix(p.daemon.control))
        for _ in range(5):
            done = p.run("status")
            assert done.returncode == 1 and "too many clients (busy)" in done.stderr, done.stderr
        assert p.run("status", path=p.stats_path).returncode == 0


BAD_REQUESTS = {
    "not JSON": (b"hello\n", "malformed"),
    "huge": (b'{"v":1,"cmd":"' + b"x" * 70000 + b'"}\n', "malformed"),
    "deep": (b"[" * 60000 + b"\n", "malformed"),
    "other version": (b'{"v":2,"cmd":"stats"}\n', "version"),
    "unknown": (b'{"v":1,"cmd":"dance"}\n', "unknown-command"),
    "kick without": (b'{"v":1,"cmd":"kick"}\n', "bad-args"),
    "kick a number": (b'{"v":1,"cmd":"kick","args":{"session":1}}\n', "bad-args"),
    "sessions a word": (b'{"v":1,"cmd":"stats","args":{"sessions":"no"}}\n', "bad-args"),
    "a member twice": (b'{"v":1,"cmd":"stats","cmd":"stats"}\n', "malformed"),
    "profile a list": (b'{"v":1,"cmd":"drain","args":{"profile":[]}}\n', "bad-args"),
}


def test_bad_requests(build: Path, tmp_path: Path) -> None:
    with pair(build, tmp_path, "127.0.0.1:1") as p:
        for name, (request, code) in BAD_REQUESTS.items():
            with connect_unix(p.daemon.control) as s:
                s.sendall(request)
                answer = json.loads(s.makefile().readline())
                assert not answer["ok"] and answer["error"]["code"] == code, name
        assert p.data("status")["pid"] == p.daemon.pid


# --- what needs no daemon, or little of one


def test_check_and_genkey(build: Path, tmp_path: Path) -> None:
    tool = str(build / "tools/kcptunctl")

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tool, *args], capture_output=True, text=True, check=False)

    key_file, conf = tmp_path / "key", tmp_path / "x.ini"
    keys = {run("genkey").stdout for _ in range(3)}
    assert len(keys) == 3 and all(re.fullmatch(r"[\w-]{43}\n", key) for key in keys)
    assert run("genkey", str(key_file)).returncode == 0
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    kept = key_file.read_text()
    again = run("genkey", str(key_file))
    assert again.returncode == 4 and "exists" in again.stderr and key_file.read_text() == kept
    conf.touch(0o600)
    conf.write_text(f"[server a]\nkeyfile = {key_file}\n")
    good = run("check", str(conf))
    assert good.returncode == 0 and good.stdout == f"{conf}: OK, 1 tunnel\n", good.stdout
    conf.write_text("[server a]\nmtu = 9\nsndwnd = x\n")
    bad = run("check", str(conf))
    assert bad.returncode == 1 and bad.stdout.count("error: ") == 2, bad.stdout
    problems = json.loads(run("--json", "check", str(conf)).stdout)
    assert not problems["ok"] and len(problems["problems"]) >= 2
    assert run("check", str(tmp_path / "none")).returncode == 1


def test_watch(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.sink) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            s.sendall(bytes(1000))
            lines = p.run("watch", "c", "-n", "2").stdout.splitlines()
            assert len(lines) == 3 and lines[0].startswith("TIME") and lines[1][:8].count(":") == 2
            tool = str(build / "tools/kcptunctl")
            argv = [tool, "-s", str(p.stats_path), "--json", "-n", "3", "watch", "c"]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watch:
                while watch.poll() is None:
                    s.sendall(bytes(65536))
                rows = [json.loads(row) for row in watch.stdout]
            assert len(rows) == 3 and all(row["sessions"] == row["open"] == 1 for row in rows)
            assert any(row["out_bits"] > 100_000 and row["out_pkts"] > 10 for row in rows[1:])
        assert p.run("watch", "nobody").returncode == 1
        assert p.run("watch", "-n", "0").returncode == 2


# --- terminals


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, argv: list[str], **env: str) -> None:
        ours, theirs = pty.openpty()
        self.fd = ours
        self.text = b""
        keep = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        self.process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**keep, "TERM": "xterm", **env}
        )
        os.close(theirs)

    def read(self, seconds: float) -> bool:
        """False: nothing more comes."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            self.text += os.read(self.fd, 65536)
        except OSError:
            return False
        return True

    def wait_for(self, words: bytes) -> None:
        end = time.monotonic() + pace.limit(20)
        while words not in self.text:
            assert time.monotonic() < end and self.read(0.1), self.text
        self.text = self.text[self.text.index(words) + len(words) :]

    def end(self) -> int:
        while self.read(1) and self.process.poll() is None:
            pass
        while select.select([self.fd], [], [], 0)[0] and self.read(0):
            pass
        os.close(self.fd)
        return self.process.wait(pace.limit(20))


def test_colors_only_on_a_terminal(build: Path, tmp_path: Path) -> None:
    with pair(build, tmp_path, "127.0.0.1:1") as p:
        argv = [str(build / "tools/kcptunctl"), "-s", str(p.daemon.control), "status"]
        assert "\x1b" not in p.run("status").stdout
        for env, colored in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            t = Terminal(argv, **env)
            assert t.end() == 0
            assert b"PROFILE" in t.text and (b"\x1b[1m" in t.text) == colored, env


def test_top(build: Path, tmp_path: Path) -> None:
    """The sessions are there, a key sorts, q ends it and leaves the terminal as it was."""
    if "\n  top " not in subprocess.run(
        [build / "tools/kcptunctl", "--help"], capture_output=True, text=True, check=True
    ).stdout:
        pytest.skip("built without ncurses")
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            env = {"LINES": "24", "COLUMNS": "140"}
            t = Terminal([str(build / "tools/kcptunctl"), "-s", str(p.stats_path), "top"], **env)
            t.wait_for(b"2 sessions")
            t.wait_for(b"REMOTE")
            os.write(t.fd, b"a")
            t.wait_for(b"AGE")
            os.write(t.fd, b"q")
            assert t.end() == 0
            assert b"\x1b[?1049l" in t.text
        assert p.run("--json", "top").returncode == 2
        assert p.run("top").returncode == 4, "no terminal here"


# --- completion


def commands(build: Path) -> list[str]:
    done = subprocess.run(
        [build / "tools/kcptunctl", "--help"], capture_output=True, text=True, check=True
    )
    return re.findall(r"^  ([a-z]+) ", done.stdout, re.M)


def complete(build: Path, *words: str) -> list[str]:
    """What bash would offer for the last of the words."""
    script = (
        f"source {ROOT}/packaging/completion/kcptunctl.bash; "
        'COMP_WORDS=(kcptunctl "$@"); COMP_CWORD=$#; _kcptunctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{build}/tools:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script, "-", *words], capture_output=True, text=True, env=env, check=True
    )
    assert not done.stderr, done.stderr
    return done.stdout.split()


def test_completion(build: Path, tmp_path: Path) -> None:
    known = commands(build)
    assert len(known) > 10 and complete(build, "") == known
    assert complete(build, "st") == [c for c in known if c.startswith("st")]
    assert complete(build, "--so") == ["--socket"]
    with apps.Service(apps.echo) as target, pair(build, tmp_path, target.address) as p:
        socket_option = ("-s", str(p.stats_path))
        assert complete(build, *socket_option, "stats", "") == ["s", "c"]
        assert complete(build, *socket_option, "status", "") == []
        with apps.connect(p.port, 20) as s:
            apps.ask(s)
            ids = {p.session("s")["id"], p.session("c")["id"]}
            assert set(complete(build, *socket_option, "show", "")) == ids
        # as readline cuts it
        assert complete(build, "--socket", "=", str(p.stats_path), "drain", "") == ["s", "c"]
    assert complete(build, "-s", "/nowhere", "drain", "") == []
    keys = complete(build, "set", "")
    assert {"mode=", "maxsessions="} < set(keys) and len(set(keys)) == len(keys)
    assert "include=" not in keys and "mtu=" not in keys
    assert complete(build, "set", "mode=fas") == ["mode=fast", "mode=fast2", "mode=fast3"]
    assert complete(build, "set", "mode", "=", "fas") == ["fast", "fast2", "fast3"]
    assert complete(build, "set", "web", "quiet", "=") == ["true", "false"]


def test_completion_zsh(build: Path, tmp_path: Path) -> None:
    """In a shell that runs: it asks what bash's asks, also where nothing is typed yet."""
    script = ROOT / "packaging/completion"
    begin = f"PATH={build}/tools:$PATH PS1='there%# '; fpath=({script} $fpath)"
    with pair(build, tmp_path, "127.0.0.1:1") as p:
        t = Terminal(["zsh", "-f", "-i"], LINES="24", COLUMNS="200")
        os.write(t.fd, f"{begin}; autoload -Uz compinit; compinit -u -D\n".encode())
        t.wait_for(b"there#" if os.geteuid() == 0 else b"there%")
        os.write(t.fd, f"kcptunctl -s {p.stats_path} drain \t".encode())
        t.wait_for(b"-- server")
        os.write(t.fd, b"\x15kcptunctl set mode=\t")
        t.wait_for(b"mode=fast2")
        os.write(t.fd, b"\x15exit 0\n")
        assert t.end() == 0


def test_every_command_is_described(build: Path) -> None:
    man = (ROOT / "packaging/man/kcptunctl.1").read_text()
    described = re.findall(r"^\.TP\n\.B[RI]? ([a-z]+)", man, re.M)
    assert [c for c in commands(build) if c not in described] == []
    protocol = (ROOT / "packaging/man/kcptun-control.7").read_text()
    asked = set(commands(build)) - {"top", "watch", "check", "convert", "genkey"}
    assert asked <= set(re.findall(r"^\.SS ([a-z]+)", protocol, re.M))
