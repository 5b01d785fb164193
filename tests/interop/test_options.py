"""tests/interop/test_options.py - what an option does to a running pair, seen from outside: on the
wire, at the applications, in the kernel's tables. Options that have tests elsewhere: conn, key,
crypt and the matrix's (test_matrix.py), oldkey (test_qpp.py), qpp, unix sockets (test_streams.py),
log and loglevel (test_service.py), maxsessions and its like (test_process.py)."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apps
import peers
import pytest
from tap import Tap, frames

NULL = {"crypt": "null", "nocomp": True, "datashard": 0, "parityshard": 0, "smuxver": 2}
NOP, PSH = 3, 2
SO_BINDTODEVICE, SO_RCVBUFS = 25, (socket.SO_RCVBUF, socket.SO_SNDBUF)


@contextmanager
def pair(
    build: Path,
    directory: Path,
    target: str,
    client: dict[str, Any],
    server: dict[str, Any],
    host: str = "127.0.0.1",
    listen: str | None = None,
    tap: bool = False,
) -> Iterator[tuple[peers.Daemon, peers.Daemon, int, Tap]]:
    """Two daemons of ours; client and server: their keys. With tap, the relay is between."""
    server_port, port = peers.free_port(), peers.free_port()
    name = f"[{host}]" if ":" in host else host
    common = {"key": peers.KEY, "mode": "fast3"}
    with ExitStack() as on_way_out:
        far = peers.Daemon(
            build,
            directory,
            "far",
            {
                "server t": {
                    **common,
                    "listen": (listen or f"{name}:%d") % server_port,
                    "target": target,
                    **server,
                }
            },
        )
        on_way_out.callback(far.kill)
        relay = on_way_out.enter_context(Tap(server_port, host))
        to = f"{name}:{relay.port if tap else server_port}"
        near = peers.Daemon(
            build,
            directory,
            "near",
            {
                "client t": {
                    **common,
                    "localaddr": f"127.0.0.1:{port}",
                    "remoteaddr": to,
                    **client,
                }
            },
        )
        on_way_out.callback(near.kill)
        try:
            yield near, far, port, relay
        except BaseException:
            print(near.tail(), far.tail())
            raise
        near.stop()
        far.stop()


def sockets_of(pid: int, kind: int) -> Iterator[socket.socket]:
    """Duplicates of another process's internet sockets of one kind."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{entry}").startswith("socket:"):
                    continue
            except OSError:
                continue
            fd = libc.syscall(438, pidfd, int(entry), 0)  # pidfd_getfd
            if fd < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            with socket.socket(fileno=fd) as s:
                if s.type == kind and s.family in (socket.AF_INET, socket.AF_INET6):
                    yield s
    finally:
        os.close(pidfd)


def session(daemon: peers.Daemon) -> dict[str, Any]:
    (profile,) = daemon.stats()["profiles"]
    assert profile["sessions"], "no session"
    return profile["sessions"][0]


# --- sockets


@pytest.mark.parametrize(
    "host, listen",
    (("127.0.0.1", None), ("127.0.0.1", ":%d"), ("::1", None), ("::1", ":%d")),
    ids=("v4", "v4 by the wildcard", "v6", "v6 by the wildcard"),
)
def test_dscp(build: Path, tmp_path: Path, host: str, listen: str | None) -> None:
    """In the upper six bits of the octet, for both families; the two of ECN stay clear."""
    with apps.Service(apps.duplex) as target:
        with pair(
            build,
            tmp_path,
            target.address,
            {"dscp": 46},
            {"dscp": 10},
            host=host,
            listen=listen,
            tap=True,
        ) as (_, _, port, tap):
            apps.exchange(port, 100000, 100000, 1)
            assert {p.tos for p in tap.between(True)} == {46 << 2}
            assert {p.tos for p in tap.between(False)} == {10 << 2}


@pytest.mark.parametrize("size", (16384, 65536))
def test_sockbuf(build: Path, tmp_path: Path, size: int) -> None:
    """The kernel doubles what is asked for."""
    with apps.Service(apps.echo) as target:
        more = {"sockbuf": size}
        with pair(build, tmp_path, target.address, more, more) as (near, far, port, _):
            with apps.connect(port, 20) as s:
                apps.ask(s)
                for daemon in (near, far):
                    udp = [
                        [s.getsockopt(socket.SOL_SOCKET, name) for name in SO_RCVBUFS]
                        for s in sockets_of(daemon.pid, socket.SOCK_DGRAM)
                    ]
                    assert udp and all(sizes == [2 * size, 2 * size] for sizes in udp), udp


def test_bind(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target:
        with pair(build, tmp_path, target.address, {"bind": "127.0.0.77"}, {}) as (_, far, port, _):
            with apps.connect(port, 20) as s:
                apps.ask(s)
                assert session(far)["remote"].rsplit(":", 1)[0].endswith("127.0.0.77")


def test_interface(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.echo) as target:
        with pair(build, tmp_path, target.address, {"interface": "lo"}, {}) as (near, _, port, _):
            with apps.connect(port, 20) as s:
                apps.ask(s)
                devices = [
                    s.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16)
                    for s in sockets_of(near.pid, socket.SOCK_DGRAM)
                ]
                assert devices == [b"lo\0"]


def test_interface_that_is_not_there(build: Path, tmp_path: Path) -> None:
    more = {"interface": "nosuch0", "dialtimeout": 1}
    with pair(build, tmp_path, "127.0.0.1:1", more, {}) as (near, _, port, _):
        with apps.connect(port, 20) as s:
            with pytest.raises(ConnectionResetError):
                s.recv(1)
        assert near.counters()["DialErrors"] == 1
        assert "bind to interface nosuch0: No such device" in near.log()


def free_range(size: int) -> int:
    """The first of some neighbouring free ports."""
    for _ in range(100):
        first = peers.free_port()
        with ExitStack() as probes:
            try:
                for port in range(first, first + size):
                    probe = probes.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError("no free ports side by side")


def test_port_ranges(build: Path, tmp_path: Path) -> None:
    """The server answers on every port, and every session of a client draws one."""
    first, port = free_range(4), peers.free_port()
    where = f"127.0.0.1:{first}-{first + 3}"
    with apps.Service(apps.echo) as target:
        both = peers.Daemon(
            build,
            tmp_path,
            "both",
            {
                "server s": {"key": "k", "listen": where, "target": target.address},
                "client c": {
                    "key": "k",
                    "localaddr": f"127.0.0.1:{port}",
                    "remoteaddr": where,
                    "conn": 24,
                },
            },
        )
        assert all(peers.bound(both.pid, "udp", first + i) for i in range(4))
        with ExitStack() as open_ones:
            for _ in range(24):
                apps.ask(open_ones.enter_context(apps.connect(port, 20)))
            used = {
                int(s["remote"].rsplit(":", 1)[1])
                for p in both.stats()["profiles"]
                if p["name"] == "c"
                for s in p["sessions"]
            }
        assert used <= set(range(first, first + 4)) and len(used) > 1  # one alone: once in 4^23
        peers.wait_for("streams to end", lambda: both.counters()["StreamsNow"] == 0, 10)
        both.stop()


# --- the multiplexer


def test_framesize(build: Path, tmp_path: Path) -> None:
    with apps.Service(apps.duplex) as target:
        near, far = {**NULL, "framesize": 1000}, {**NULL, "framesize": 30000}
        with pair(build, tmp_path, target.address, near, far, tap=True) as (_, _, port, tap):
            apps.exchange(port, 200000, 200000, 1)
            sizes = [
                [size for cmd, size, _ in frames(tap.stream(up)) if cmd == PSH]
                for up in (True, False)
            ]
            assert sum(sizes[0]) > 200000 and sum(sizes[1]) > 200000
            assert max(sizes[0]) == 1000
            assert 1000 < max(sizes[1]) <= 30000


def test_keepalive(build: Path, tmp_path: Path) -> None:
    """Each end at its own pace, over an idle session; the first NOP of either is its greeting."""
    with apps.Service(apps.echo) as target:
        near, far = {**NULL, "keepalive": 1}, {**NULL, "keepalive": 29}
        with pair(build, tmp_path, target.address, near, far, tap=True) as (_, _, port, tap):
            with apps.connect(port, 20) as s:
                apps.ask(s)

                def nops(up: bool) -> int:
                    return sum(cmd == NOP for cmd, _, _ in frames(tap.stream(up)))

                peers.wait_for("four NOPs", lambda: nops(True) >= 4, 20)
                assert nops(False) <= 1


@pytest.mark.parametrize("name, smuxver", (("smuxbuf", 1), ("streambuf", 2)))
def test_buffers(build: Path, tmp_path: Path, name: str, smuxver: int) -> None:
    """What an end holds for an application that does not read: smuxbuf for a session of version 1,
    streambuf for a stream of version 2 (the first window is 256 KiB by the protocol)."""
    held = {}
    for size in (65536, 2 << 20):
        directory = tmp_path / str(size)
        directory.mkdir()
        more = {"smuxver": smuxver, "streambuf": 65536, "smuxbuf": 4 << 20, name: size}
        server_port, path = peers.free_port(), directory / "l"
        with apps.Service(apps.source) as target:
            common = {"key": "k", "mode": "fast3", "nocomp": True, "rcvwnd": 32, **more}
            both = peers.Daemon(
                build,
                directory,
                "both",
                {
                    "server s": {
                        **common,
                        "listen": f"127.0.0.1:{server_port}",
                        "target": target.address,
                    },
                    "client c": {
                        **common,
                        "localaddr": path,
                        "remoteaddr": f"127.0.0.1:{server_port}",
                    },
                },
            )
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
                received = lambda d=both: d.counters("c")["BytesReceived"]  # noqa: E731
                peers.wait_for("so much", lambda n=size: received() >= n, 20)
                held[size] = settled_of(both, "c")
            peers.wait_for("the end", lambda d=both: d.counters()["StreamsNow"] == 0, 20)
            both.stop()
    outside = 512 * 1024  # the unix socket, the first window, a frame
    assert held[65536] < 65536 + outside < (2 << 20) <= held[2 << 20] < (2 << 20) + outside


def settled_of(daemon: peers.Daemon, profile: str) -> int:
    """Bytes taken from KCP, once that has stopped."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 1:
        now = daemon.counters(profile)["BytesReceived"]
        if now != last or not now:
            last, since = now, time.monotonic()
        time.sleep(0.05)
    return last


# --- time


def test_acknodelay_needs_no_asking(build: Path, tmp_path: Path) -> None:
    """An interval of two seconds delays no acknowledgement, and nothing else that could go."""
    slow = {"mode": "manual", "interval": 2000, "nodelay": 0, "acknodelay": False}
    with apps.Service(apps.echo) as target:
        with pair(build, tmp_path, target.address, slow, slow) as (near, far, port, _):
            with apps.connect(port, 20) as s:

                def is_short() -> bool:
                    for _ in range(20):
                        apps.ask(s)
                    return all(session(daemon)["srtt_ms"] < 500 for daemon in (near, far))

                peers.wait_for("a short round trip", is_short, 20)


@pytest.mark.parametrize("far", ("ours", "theirs"))
def test_ratelimit(build: Path, tmp_path: Path, far: str, theirs: None) -> None:
    """Over the whole way the server keeps to it, headers and FEC included."""
    rate, size = 200_000, 500_000
    client, server = peers.Options(), peers.Options(ours_only={"ratelimit": rate})
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(build, tmp_path, target.address, (far, client), ("ours", server)) as t:
            start, before = time.monotonic(), t.server.counters("t")["OutBytes"]
            apps.exchange(t.port, 1000, size, 1)
            sent = t.server.counters("t")["OutBytes"] - before
            took = time.monotonic() - start
            assert sent > size and sent <= rate * took * 1.1 + 20000
            t.server.wait_acknowledged()


def test_autoexpire_and_scavengettl(build: Path, tmp_path: Path, theirs: None) -> None:
    """After autoexpire new streams get a new session; the old one goes on for scavengettl, then its
    streams are cut."""
    client = peers.Options(ours_only={"autoexpire": 1, "scavengettl": 3})
    with apps.Service(apps.echo) as target:
        with peers.tunnel(
            build, tmp_path, target.address, ("ours", client), ("theirs", peers.Options())
        ) as t:
            begin = time.monotonic()
            with apps.connect(t.port, 20) as old:
                apps.ask(old)
                opens = lambda: t.client.counters("t")["ActiveOpens"]

                def another() -> bool:
                    with apps.connect(t.port, 20) as s:
                        apps.ask(s)
                    return opens() > 1

                assert opens() == 1
                peers.wait_for("a second session", another, 20, 0.1)
                assert time.monotonic() - begin >= 0.9
                with pytest.raises(ConnectionResetError):
                    apps.ask(old)  # unless a slow machine has used it up
                    if old.recv(1) == b"":
                        raise EOFError("a cut stream looks like one that ended")
                assert time.monotonic() - begin >= 3.9


@pytest.mark.parametrize("closewait", (1, 30))
def test_closewait(build: Path, tmp_path: Path, theirs: None, closewait: int) -> None:
    """Their client has closed a stream for good. Our server lets the target end in its own time,
    which is closewait."""
    gone: list[float] = []  # when

    def waits(s: socket.socket) -> None:
        apps.recv_all(s)
        try:
            while True:
                s.sendall(b"still here")
                time.sleep(0.02)
        except OSError:
            gone.append(time.monotonic())

    server = peers.Options(ours_only={"closewait": closewait})
    with apps.Service(waits) as target:
        with peers.tunnel(
            build, tmp_path, target.address, ("theirs", peers.Options()), ("ours", server)
        ) as t:
            with apps.connect(t.port, 20) as s:
                s.sendall(b"x")
                peers.wait_for("the target", lambda: target.accepted, 10)
                begin = time.monotonic()
            if closewait == 1:
                peers.wait_for("the end", lambda: gone, 20)
                assert 0.9 <= gone[0] - begin < 20
            else:
                time.sleep(3)
                assert not gone
                assert t.server.counters("t")["StreamsNow"] == 1
                target.close()
                peers.wait_for("the end", lambda: not t.server.counters("t")["StreamsNow"], 10)
            t.server.wait_acknowledged()


@pytest.mark.parametrize("far", ("theirs", "ours"))
def test_closewait_of_a_client(build: Path, tmp_path: Path, theirs: None, far: str) -> None:
    """Their server forgets what the target still has to say when it hears that the application has
    said all: our client holds that back. Ours passes it on at once."""

    def answers_late(s: socket.socket) -> None:
        if far == "ours":
            apps.recv_all(s)
        else:
            apps.recv_exactly(s, 1)
            time.sleep(0.3)
        s.sendall(b"late")

    client = peers.Options(ours_only={"closewait": 3600})
    with apps.Service(answers_late) as target:
        with peers.tunnel(
            build, tmp_path, target.address, ("ours", client), (far, peers.Options())
        ) as t:
            for _ in range(2):
                with apps.connect(t.port, 30) as s:
                    s.sendall(b"x")
                    s.shutdown(socket.SHUT_WR)
                    assert apps.recv_all(s) == b"late"
            peers.wait_for("the end", lambda: not t.client.counters("t")["StreamsNow"], 10)
            t.client.wait_acknowledged()


def test_closewait_of_a_client_ends(build: Path, tmp_path: Path, theirs: None) -> None:
    """Nothing is held back for longer than that."""
    client = peers.Options(ours_only={"closewait": 1})
    with apps.Service(apps.recv_all) as target:
        with peers.tunnel(
            build, tmp_path, target.address, ("ours", client), ("theirs", peers.Options())
        ) as t:
            begin = time.monotonic()
            with apps.connect(t.port, 30) as s:
                s.sendall(b"x")
                s.shutdown(socket.SHUT_WR)
                assert apps.recv_all(s) == b""
            assert time.monotonic() - begin >= 0.9
            t.client.wait_acknowledged()


# --- the log


@pytest.mark.parametrize("quiet", (True, False))
def test_quiet(build: Path, tmp_path: Path, quiet: bool) -> None:
    with apps.Service(apps.echo) as target:
        more = {"quiet": quiet}
        with pair(build, tmp_path, target.address, more, more) as (near, far, port, _):
            with apps.connect(port, 20) as s:
                apps.ask(s)
            for daemon in (near, far):
                peers.wait_for("the end", lambda d=daemon: not d.counters("t")["StreamsNow"], 10)
                for word in ("opened", "closed"):
                    if quiet:
                        assert f"stream 3: {word}" not in daemon.log()
                    else:
                        said = lambda w=word, d=daemon: f"stream 3: {w}" in d.log()  # noqa: E731
                        peers.wait_for(word, said, 10)
                assert "session" in daemon.log()


def test_log(build: Path, tmp_path: Path) -> None:
    """Into the file, and nothing elsewhere; SIGHUP opens it again where it was moved away."""
    logs = {name: tmp_path / f"{name}.txt" for name in ("near", "far")}
    port = peers.free_port()
    daemon = peers.Daemon(
        build,
        tmp_path,
        "far",
        {
            "global": {"log": logs["far"]},
            "server t": {
                "key": "k",
                "listen": f"127.0.0.1:{port}",
                "target": "127.0.0.1:1",
            },
        },
    )
    peers.wait_for("the line", lambda: "is ready" in logs["far"].read_text(), 10)
    assert daemon.log() == ""
    logs["far"].rename(logs["near"])
    daemon.signal(1)
    peers.wait_for("the file", logs["far"].exists, 10)
    daemon.stop()
    assert "ended" in logs["far"].read_text()
    assert "ended" not in logs["near"].read_text()
