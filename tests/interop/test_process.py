"""tests/interop/test_process.py - the daemon as a program: start, refusal to start, end, many
profiles, counters."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import apps
import peers
import pytest

EX_CONFIG = 78
PATIENT = {"draintime": 600}  # more than any of these tests waits


def server_section(port: int, target: str, **more: Any) -> dict[str, Any]:
    return {
        "listen": f"127.0.0.1:{port}",
        "target": target,
        "key": peers.KEY,
        "mode": "fast3",
        **more,
    }


def client_section(port: int, server_port: int, **more: Any) -> dict[str, Any]:
    return {
        "localaddr": f"127.0.0.1:{port}",
        "remoteaddr": f"127.0.0.1:{server_port}",
        "key": peers.KEY,
        "mode": "fast3",
        **more,
    }


def one_pair(target: str) -> tuple[dict[str, dict[str, Any]], int]:
    """Server and client in one daemon, and the local port."""
    port, server_port = peers.free_port(), peers.free_port()
    return {
        "server s": server_section(server_port, target),
        "client c": client_section(port, server_port),
    }, port


# --- the end


def test_sigterm_with_nothing_open(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["global"] = PATIENT
        daemon = peers.Daemon(build, tmp_path, "both", sections)
        with apps.connect(port, 20) as s:
            apps.ask(s)
        peers.wait_for("streams to end", lambda: daemon.counters("s")["StreamsNow"] == 0, 10)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
        daemon.check_log()


def test_sigterm_drains(build: Path, tmp_path: Path) -> None:
    """Open streams go on and may finish, new connections are refused, then the daemon is gone with
    status 0."""
    server_port, port = peers.free_port(), peers.free_port()
    with apps.Service(apps.echo) as target:
        sections = {"server s": server_section(server_port, target.address)}
        server = peers.Daemon(build, tmp_path, "server", sections)
        sections = {"global": PATIENT, "client c": client_section(port, server_port)}
        client = peers.Daemon(build, tmp_path, "client", sections)
        with apps.connect(port, 20) as s:
            apps.ask(s)
            client.signal(signal.SIGTERM)
            peers.wait_for("no listener", lambda: not peers.bound(client.pid, "tcp", port), 10)
            for _ in range(3):
                apps.ask(s, bytes(200000))
            assert client.running()
        assert client.wait(15) == 0
        client.check_log()
        peers.wait_for("the target's end", lambda: target.open_now() == 0, 15)
        server.stop()


@pytest.mark.parametrize("role,full", (("server", False), ("server", True), ("client", False)))
def test_sigterm_waits_for_nobody_who_is_gone(
    build: Path, tmp_path: Path, role: str, full: bool
) -> None:
    """An end that has stopped, with an idle stream, or with one full of data, takes nothing any
    more; long before its time is over, or the drain's, the other one ends."""
    server_port, port = peers.free_port(), peers.free_port()
    more = {"peertimeout": 600}
    long = {"global": {"draintime": 600}}
    with apps.Service(apps.source if full else apps.echo) as target:
        sections = {**long, "server s": server_section(server_port, target.address, **more)}
        server = peers.Daemon(build, tmp_path, "server", sections)
        sections = {**long, "client c": client_section(port, server_port, **more)}
        client = peers.Daemon(build, tmp_path, "client", sections)
        ends, stops = (server, client) if role == "server" else (client, server)
        with apps.connect(port, 60) as s:
            if full:
                apps.recv_exactly(s, 1 << 20)
            else:
                apps.ask(s)
                server.wait_acknowledged()
            stops.signal(signal.SIGSTOP)
            ends.signal(signal.SIGTERM)
            assert ends.wait(60) == 0
            ends.check_log()
        stops.discard()


def test_second_sigterm_ends_at_once(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["global"] = PATIENT
        daemon = peers.Daemon(build, tmp_path, "both", sections)
        with apps.connect(port, 20) as s:
            apps.ask(s)
            daemon.signal(signal.SIGTERM)
            peers.wait_for("no listener", lambda: not peers.bound(daemon.pid, "tcp", port), 10)
            daemon.signal(signal.SIGTERM)
            daemon.wait(5)
            assert daemon.popen.returncode >= 0, "died by a signal it did not handle"
        daemon.check_log()


@pytest.mark.parametrize("when", (0.0, 0.005, 0.02, 0.05, 0.1))
def test_sigterm_at_any_moment_of_the_start(build: Path, tmp_path: Path, when: float) -> None:
    sections, _ = one_pair("127.0.0.1:1")
    daemon = peers.Daemon(build, tmp_path, "both", sections, wait=False)
    time.sleep(when)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(10) in (
        0,
        -signal.SIGTERM,
    )  # before main() runs the signal has its default action
    daemon.check_log()


# --- refusing to start


def run_conf(
    build: Path, directory: Path, text: str, *flags: str
) -> subprocess.CompletedProcess[str]:
    path = directory / "probe.ini"
    path.write_text(text)
    return subprocess.run(
        [str(build / "daemon/kcptund"), *flags, "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


BAD_CONFS = {
    "unknown key": (
        "[server a]\nlisten = 127.0.0.1:{port}\ntarget = 127.0.0.1:1\nspeed = 5\n",
        4,
        "speed",
    ),
    "unknown section": ("[sever a]\nlisten = 127.0.0.1:{port}\n", 1, "sever"),
    "value out of range": (
        "[server a]\nlisten = 127.0.0.1:{port}\ntarget = 127.0.0.1:1\nmtu = 9000\n",
        4,
        "1500",
    ),
    "unknown cipher": (
        "[server a]\nlisten = 127.0.0.1:{port}\ntarget = 127.0.0.1:1\ncrypt = aes-256\n",
        4,
        "aes-256",
    ),
    "no number": (
        "[server a]\nlisten = 127.0.0.1:{port}\ntarget = 127.0.0.1:1\nsndwnd = many\n",
        4,
        "sndwnd",
    ),
    "missing key file": (
        "[server a]\nlisten = 127.0.0.1:{port}\ntarget = 127.0.0.1:1\nkeyfile = /nowhere/k\n",
        4,
        "/nowhere/k",
    ),
}


@pytest.mark.parametrize("name", BAD_CONFS)
@pytest.mark.parametrize("flags", ((), ("-t",)))
def test_bad_conf(build: Path, tmp_path: Path, name: str, flags: tuple[str, ...]) -> None:
    text, line, word = BAD_CONFS[name]
    done = run_conf(build, tmp_path, text.format(port=peers.free_port()), *flags)
    assert done.returncode == EX_CONFIG, done.stderr
    complaints = [
        row for row in (done.stderr + done.stdout).splitlines() if f"probe.ini:{line}" in row
    ]
    assert len(complaints) == 1 and word in complaints[0], done.stderr


def test_key_file_that_is_a_directory(build: Path, tmp_path: Path) -> None:
    section = {
        "listen": f"127.0.0.1:{peers.free_port()}",
        "target": "127.0.0.1:1",
        "keyfile": tmp_path,
    }
    done = run_conf(build, tmp_path, peers.ini({"server a": section}))
    assert done.returncode == EX_CONFIG
    assert str(tmp_path) in done.stderr


def test_missing_conf(build: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(build / "daemon/kcptund"), "-c", str(tmp_path / "none.ini")],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == EX_CONFIG
    assert "none.ini" in done.stderr and len(done.stderr.splitlines()) <= 2, done.stderr


def test_a_good_conf_is_checked_and_printed(build: Path, tmp_path: Path) -> None:
    """-T prints what loads to the same again; a secret shows only when asked for."""
    sections, _ = one_pair("127.0.0.1:1")
    assert run_conf(build, tmp_path, peers.ini(sections), "-t").returncode == 0
    hidden = run_conf(build, tmp_path, peers.ini(sections), "-T")
    assert hidden.returncode == 0 and peers.KEY not in hidden.stdout
    shown = run_conf(build, tmp_path, peers.ini(sections), "-T", "--show-secrets")
    assert shown.returncode == 0 and peers.KEY in shown.stdout
    again = run_conf(build, tmp_path, shown.stdout, "-T", "--show-secrets")
    assert again.returncode == 0 and again.stdout == shown.stdout


@pytest.mark.parametrize("kind", (socket.SOCK_DGRAM, socket.SOCK_STREAM))
def test_address_in_use(build: Path, tmp_path: Path, kind: int) -> None:
    port, other = peers.free_port(), peers.free_port()
    udp, tcp = (port, other) if kind == socket.SOCK_DGRAM else (other, port)
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        sections = {
            "server s": server_section(udp, "127.0.0.1:1"),
            "client c": client_section(tcp, udp),
        }
        done = run_conf(build, tmp_path, peers.ini(sections))
    assert done.returncode not in (0, EX_CONFIG) and done.returncode > 0
    lines = [
        row for row in done.stderr.splitlines() if str(port) in row and "in use" in row.lower()
    ]
    assert len(lines) == 1, done.stderr
    assert ("s: listen: " if kind == socket.SOCK_DGRAM else "c: localaddr: ") in lines[0]


# --- profiles, pools, limits


def test_ten_thousand_profiles(build: Path, tmp_path: Path) -> None:
    """They check, and print as what checks again; one address among them that is there twice is
    found. How long that takes is looked at by tests/unit/test_conf_work.c."""

    def check(text: str, *more: str) -> subprocess.CompletedProcess[str]:
        conf = tmp_path / "many.ini"
        conf.touch(0o600)
        conf.write_text(text)
        argv = [build / "daemon/kcptund", "-c", conf, *more]
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, env=peers.SANITIZER_ENV
        )

    def section(i: int, port: int) -> str:
        return f"[server p{i}]\nlisten = :{port}\ntarget = 127.0.0.1:1\nkey = k{i % 7}\n"

    text = "".join(section(i, 1000 + i) for i in range(10000))
    done = check(text, "-t")
    assert done.returncode == 0 and "OK, 10000 tunnels" in done.stdout, done.stdout + done.stderr
    printed = check(text, "-T", "--show-secrets")
    assert printed.returncode == 0 and printed.stdout.count("[server p") == 10000
    again = check(printed.stdout, "-t")
    assert again.returncode == 0 and "OK, 10000 tunnels" in again.stdout
    done = check(text + section(10000, 1000 + 4711), "-t")
    assert done.returncode == EX_CONFIG and "p4711" in done.stderr + done.stdout


def test_a_line_without_end(build: Path, tmp_path: Path) -> None:
    """A megabyte of it in a file that is read anew: a clear answer, and everything as it was."""
    with apps.Service(apps.echo) as target:
        sections, port = one_pair(target.address)
        sections["global"] = {"watch": False}
        daemon = peers.Daemon(build, tmp_path, "both", sections)
        with apps.connect(port, 20) as s:
            apps.ask(s)
            good = daemon.conf_path.read_text()
            daemon.conf_path.write_text(good + "quiet = " + "x" * (1 << 20) + "\n")
            done = daemon.ctl("reload")
            assert done.returncode == 1 and len(done.stderr) < 1000, len(done.stderr)
            line = good.count("\n") + 1
            assert f":{line}: line too long; accepted: up to 65536" in done.stderr
            apps.ask(s)
        daemon.stop()


def test_many_profiles_in_one_daemon(build: Path, tmp_path: Path) -> None:
    """Twenty tunnels with different ciphers in one process; each leads to its own target."""
    ciphers = (
        "aes",
        "aes-128",
        "aes-192",
        "aes-128-gcm",
        "salsa20",
        "blowfish",
        "twofish",
        "cast5",
        "3des",
        "tea",
        "xtea",
        "xor",
        "sm4",
        "none",
        "null",
    )
    targets = [apps.Service(lambda s, n=i: s.sendall(b"%03d" % n)) for i in range(20)]
    try:
        sections: dict[str, dict[str, Any]] = {"global": {"workers": 2}}
        ports = []
        for i, target in enumerate(targets):
            port, server_port = peers.free_port(), peers.free_port()
            more = {"crypt": ciphers[i % len(ciphers)], "smuxver": 1 + i % 2, "nocomp": i % 3 == 0}
            sections[f"server s{i}"] = server_section(server_port, target.address, **more)
            sections[f"client c{i}"] = client_section(port, server_port, **more)
            ports.append(port)
        daemon = peers.Daemon(build, tmp_path, "many", sections)
        for i, port in enumerate(ports):
            with apps.connect(port, 20) as s:
                assert apps.recv_all(s) == b"%03d" % i
        answer = daemon.stats()
        assert [p["name"] for p in answer["profiles"]] == [
            n.split()[1] for n in sections if n != "global"
        ]
        assert all(p["counters"]["StreamsOpened"] == 1 for p in answer["profiles"])
        daemon.stop()
    finally:
        for target in targets:
            target.close()


@pytest.mark.parametrize("workers", (1, 2))
def test_conn_spreads_in_turn(build: Path, tmp_path: Path, workers: int) -> None:
    opt = peers.Options(smuxver=2, conn=4, workers=workers)
    with apps.Service(apps.echo) as target:
        with peers.tunnel(build, tmp_path, target.address, ("ours", opt), ("ours", opt)) as t:
            streams = [apps.connect(t.port, 20) for _ in range(8)]
            for s in streams:
                apps.ask(s)
            for end in (t.client, t.server):
                (profile,) = end.stats()["profiles"]
                assert profile["counters"]["CurrEstab"] == 4
                assert len(profile["sessions"]) == 4
                assert sorted(streams_of(x) for x in profile["sessions"]) == [2, 2, 2, 2], profile[
                    "sessions"
                ]
            for s in streams:
                s.close()


def streams_of(session: dict[str, Any]) -> int:
    return int(session["streams"])


def test_maxsessions_holds(build: Path, tmp_path: Path) -> None:
    """Two sessions are served; two more find no place, are counted, and do not disturb the
    first."""
    near = peers.Options(smuxver=2, conn=4)
    far = peers.Options(smuxver=2, workers=2, ours_only={"maxsessions": 2})
    with apps.Service(apps.echo) as target:
        with peers.tunnel(build, tmp_path, target.address, ("ours", near), ("ours", far)) as t:
            streams = [apps.connect(t.port, 20) for _ in range(4)]
            for s in streams:
                s.sendall(b"ping")
            served = []
            peers.wait_for("two answers", lambda: len(collect(streams, served)) == 2, 10)
            peers.wait_for("refusals", lambda: t.server.counters("t")["RefusedLimit"] > 0, 10)
            assert t.server.counters("t")["CurrEstab"] == 2
            for s in served:
                apps.ask(s, bytes(50000))
            assert len(collect(streams, served)) == 2
            for s in streams:
                s.close()


def collect(streams: list[socket.socket], served: list[socket.socket]) -> list[socket.socket]:
    """Moves the streams that have been answered to served."""
    for s in streams:
        if s not in served:
            s.setblocking(False)
            try:
                if s.recv(4) == b"ping":
                    s.settimeout(20)
                    served.append(s)
            except (BlockingIOError, ConnectionError):
                pass
    return served


def test_maxsessionspersource_holds(build: Path, tmp_path: Path) -> None:
    near = peers.Options(smuxver=2, conn=3)
    far = peers.Options(smuxver=2, ours_only={"maxsessionspersource": 1})
    with apps.Service(apps.echo) as target:
        with peers.tunnel(build, tmp_path, target.address, ("ours", near), ("ours", far)) as t:
            streams = [apps.connect(t.port, 20) for _ in range(3)]
            for s in streams:
                s.sendall(b"ping")
            served: list[socket.socket] = []
            peers.wait_for("an answer", lambda: collect(streams, served), 10)
            peers.wait_for("refusals", lambda: t.server.counters("t")["RefusedLimit"] > 0, 10)
            assert t.server.counters("t")["CurrEstab"] == 1
            for s in streams:
                s.close()


@pytest.mark.parametrize(
    ("keys", "opens"),
    (
        ({"deny": "127.0.0.0/8"}, False),
        ({"allow": "10.0.0.0/8, ::1"}, False),
        ({"allow": "127.0.0.0/8", "deny": "127.0.0.1"}, False),
        ({"allow": "10.0.0.0/8, 127.0.0.1", "deny": "127.0.0.2/31"}, True),
    ),
)
def test_allow_and_deny_hold(
    build: Path, tmp_path: Path, keys: dict[str, str], opens: bool
) -> None:
    near = peers.Options(smuxver=2)
    far = peers.Options(smuxver=2, ours_only=keys)
    with apps.Service(apps.echo) as target:
        with peers.tunnel(build, tmp_path, target.address, ("ours", near), ("ours", far)) as t:
            with apps.connect(t.port, 20) as s:
                s.sendall(b"ping")
                if opens:
                    assert apps.recv_exactly(s, 4) == b"ping"
                else:
                    refused = lambda: t.server.counters("t")["RefusedAccess"]  # noqa: E731
                    peers.wait_for("refusals", refused, 10)
            assert t.server.counters("t")["CurrEstab"] == opens
        assert target.accepted == opens


def test_memory_holds(build: Path, tmp_path: Path) -> None:
    """A reader that stops leaves its session holding more than four fifths of `memory`: what is new
    is refused, what is there loses nothing, and when there is room again, what is new comes in."""
    release, held = threading.Event(), 14 << 20

    def late(s: socket.socket) -> None:
        release.wait(120)
        apps.half_close(s)

    def held_by(daemon: peers.Daemon) -> int:
        return sum(x["readable_bytes"] for x in daemon.request("streams")["streams"])

    def answer(data: bytes) -> bytes:
        return hashlib.sha256(data).digest() + struct.pack("<Q", len(data))

    data = random.Random(4).randbytes(1 << 20) * 20
    server_port, ports = peers.free_port(), [peers.free_port() for _ in range(2)]
    with apps.Service(late, rcvbuf=65536) as target:
        more = {"smuxbuf": held, "smuxver": 1, "nocomp": True}
        far = server_section(server_port, target.address, **more)
        sections = {"global": {"memory": "16M", "workers": 1}, "server s": far}
        server = peers.Daemon(build, tmp_path, "server", sections)
        patient = {"peertimeout": 60, "smuxver": 1, "nocomp": True}
        client = peers.Daemon(
            build,
            tmp_path,
            "client",
            {
                f"client c{i}": client_section(port, server_port, **patient)
                for i, port in enumerate(ports)
            },
        )
        first = apps.connect(ports[0], 60)
        feeder = threading.Thread(target=_send_all, args=(first, data))
        feeder.start()
        peers.wait_for("a full buffer", lambda: held_by(server) > held - 65536, 60)
        second = apps.connect(ports[1], 60)
        second.sendall(b"ping")
        second.shutdown(socket.SHUT_WR)
        peers.wait_for("a refusal", lambda: server.counters("s")["RefusedLimit"] > 0, 20)
        assert server.counters("s")["CurrEstab"] == 1
        release.set()
        assert apps.recv_all(first) == answer(data)
        assert apps.recv_all(second) == answer(b"ping")
        feeder.join()
        client.stop()
        server.stop()


def _send_all(s: socket.socket, data: bytes) -> None:
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)


# --- what it asks of the system


def test_workers_stay_on_their_cores(build: Path, tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    sections, _ = one_pair("127.0.0.1:1")
    sections["global"] = {"workers": 2, "cpus": cpu}
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    daemon.wait_until("its log", lambda: "is ready" in daemon.log())
    threads = {
        (task / "comm").read_text().strip(): os.sched_getaffinity(int(task.name))
        for task in Path(f"/proc/{daemon.pid}/task").iterdir()
    }
    assert threads["worker 0"] == threads["worker 1"] == {cpu}, threads
    daemon.stop()


def test_limit_of_files_is_raised(build: Path, tmp_path: Path) -> None:
    """To what it may be at most."""
    sections, _ = one_pair("127.0.0.1:1")
    daemon = peers.Daemon(build, tmp_path, "both", sections, via=("prlimit", "--nofile=128:4096"))
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    assert soft == hard >= 4096
    daemon.stop()


# --- counters


def test_counters_agree(build: Path, tmp_path: Path) -> None:
    opt = peers.Options(smuxver=2, workers=2, conn=2)
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(build, tmp_path, target.address, ("ours", opt), ("ours", opt)) as t:
            for seed in range(10):
                apps.exchange(t.port, 300000, 200000, seed)
            settled = peers.wait_for("both ends at rest", lambda: at_rest(t), 20)
            near, far = settled
            later = t.client.counters("t")  # what arrived there until then had left here before
            assert near["BytesSent"] == far["BytesReceived"] > 3000000
            assert far["BytesSent"] == near["BytesReceived"] > 2000000
            assert near["StreamsOpened"] == far["StreamsOpened"] == 10
            assert near["StreamsClosed"] == far["StreamsClosed"] == 10
            assert near["StreamsReset"] == far["StreamsReset"] == 0
            assert near["ActiveOpens"] == far["PassiveOpens"] == 2
            assert near["InPkts"] <= far["OutPkts"] and far["InPkts"] <= later["OutPkts"]
            assert (
                near["RetransSegs"]
                == near["FastRetransSegs"] + near["EarlyRetransSegs"] + near["LostSegs"]
            )
            answer = t.client.stats()
            total = answer["total"]
            for name, value in answer["profiles"][0]["counters"].items():
                assert total[name] >= value, name
            json.dumps(answer)


def at_rest(t: peers.Tunnel) -> tuple[dict[str, int], dict[str, int]] | None:
    """Counters of both ends once nothing is open and what one sent the other has."""
    near, far = t.client.counters("t"), t.server.counters("t")
    quiet = near["StreamsNow"] == far["StreamsNow"] == 0
    same = near["BytesSent"] == far["BytesReceived"] and far["BytesSent"] == near["BytesReceived"]
    return (near, far) if quiet and same and near["StreamsOpened"] == 10 else None


def test_total_is_the_sum_of_the_profiles(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.duplex) as target:
        sections, port = one_pair(target.address)
        daemon = peers.Daemon(build, tmp_path, "both", sections)
        apps.exchange(port, 100000, 100000, 1)
        answer = daemon.stats()
        total = answer["total"]
        for name in ("StreamsOpened", "PassiveOpens", "ActiveOpens", "DialErrors"):
            assert total[name] == sum(p["counters"][name] for p in answer["profiles"]), name
        assert {p["role"] for p in answer["profiles"]} == {"server", "client"}
        one = daemon.ctl("stats", "c", "--json")
        assert one.returncode == 0 and [p["name"] for p in json.loads(one.stdout)["profiles"]] == [
            "c"
        ]
        daemon.stop()


def test_ctl_refuses_what_it_does_not_know(build: Path, tmp_path: Path) -> None:
    sections, _ = one_pair("127.0.0.1:1")
    daemon = peers.Daemon(build, tmp_path, "both", sections)
    for args in (("nonsense",), ("stats", "nobody")):
        done = daemon.ctl(*args)
        assert done.returncode != 0 and done.stderr, args
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(str(daemon.control))
        s.sendall(b"}{ \x00\xff" * 40000 + b"\n")
        s.settimeout(5)
        try:
            s.recv(4096)
        except (ConnectionError, TimeoutError):
            pass
    assert daemon.ctl("stats", "--json").returncode == 0
    daemon.stop()
