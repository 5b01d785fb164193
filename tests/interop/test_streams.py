"""tests/interop/test_streams.py - what one TCP stream keeps of its nature on the way through the
tunnel."""

from __future__ import annotations

import errno
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apps
import peers
import pytest

Handler = Callable[[socket.socket], None]


@pytest.fixture(params=("epoll", "io_uring"))
def io(request: pytest.FixtureRequest, io_uring_works: bool) -> str:
    if request.param == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    return request.param


@contextmanager
def ours(
    build: Path,
    directory: Path,
    handler: Handler,
    io: str = "auto",
    rcvbuf: int = 0,
    **more: object,
) -> Iterator[tuple[peers.Tunnel, apps.Service]]:
    opt = peers.Options(smuxver=2, io=io, more=more)
    with apps.Service(handler, rcvbuf=rcvbuf) as target:
        with peers.tunnel(build, directory, target.address, ("ours", opt), ("ours", opt)) as t:
            yield t, target


def digest_answer(data: bytes) -> bytes:
    return hashlib.sha256(data).digest() + struct.pack("<Q", len(data))


def test_half_close_by_the_application(build: Path, tmp_path: Path, io: str) -> None:
    data = apps.content(3, 3 << 20)
    with ours(build, tmp_path, apps.half_close, io) as (t, _):
        with apps.connect(t.port) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            assert apps.recv_all(s) == digest_answer(data)


def test_half_close_of_a_first_short_stream(build: Path, tmp_path: Path, io: str) -> None:
    """SYN, data and FIN leave together, before anything came back from the server."""
    with ours(build, tmp_path, apps.half_close, io) as (t, _):
        with apps.connect(t.port) as s:
            s.sendall(b"GET")
            s.shutdown(socket.SHUT_WR)
            assert apps.recv_all(s) == digest_answer(b"GET")


def test_half_close_by_the_target(build: Path, tmp_path: Path, io: str) -> None:
    got: list[bytes] = []

    def handler(s: socket.socket) -> None:
        s.sendall(b"that is all")
        s.shutdown(socket.SHUT_WR)
        got.append(apps.recv_all(s))

    data = apps.content(4, 3 << 20)
    with ours(build, tmp_path, handler, io) as (t, _):
        with apps.connect(t.port) as s:
            assert apps.recv_all(s) == b"that is all"
            s.sendall(data)
        peers.wait_for("the target's end-of-file", lambda: got, 20)
    assert got[0] == data


def test_reset_by_the_application(build: Path, tmp_path: Path, io: str) -> None:
    seen: list[type] = []

    def handler(s: socket.socket) -> None:
        s.sendall(apps.recv_exactly(s, 4))
        try:
            s.recv(1)
            seen.append(EOFError)
        except ConnectionResetError:
            seen.append(ConnectionResetError)

    with ours(build, tmp_path, handler, io) as (t, _):
        s = apps.connect(t.port)
        apps.ask(s)
        apps.reset(s)
        peers.wait_for("the target to see the end", lambda: seen, 10)
    assert seen == [ConnectionResetError]


def test_reset_by_the_target(build: Path, tmp_path: Path, io: str) -> None:
    def handler(s: socket.socket) -> None:
        s.sendall(apps.recv_exactly(s, 4))
        apps.recv_exactly(s, 4)
        apps.reset(s)

    with ours(build, tmp_path, handler, io) as (t, _):
        with apps.connect(t.port, 10) as s:
            apps.ask(s)
            s.sendall(b"bye!")
            with pytest.raises(ConnectionResetError):
                s.recv(1)


def test_target_that_refuses(build: Path, tmp_path: Path, io: str, scale: float) -> None:
    opt = peers.Options(smuxver=2, io=io)
    refusing = f"127.0.0.1:{peers.free_port()}"
    with peers.tunnel(build, tmp_path, refusing, ("ours", opt), ("ours", opt)) as t:
        start = time.monotonic()
        with apps.connect(t.port, 20) as s:
            with pytest.raises(ConnectionResetError):
                s.sendall(b"anybody?")
                if s.recv(1) == b"":
                    raise EOFError("an orderly end, where nothing was ever connected")
        assert time.monotonic() - start < 5 * scale
        peers.wait_for(
            "the count of failed dials", lambda: t.server.counters("t")["DialErrors"] == 1, 5
        )


def test_target_that_refuses_their_client(build: Path, tmp_path: Path, theirs: None) -> None:
    opt = peers.Options()
    refusing = f"127.0.0.1:{peers.free_port()}"
    with peers.tunnel(build, tmp_path, refusing, ("theirs", opt), ("ours", opt)) as t:
        with apps.connect(t.port, 10) as s:
            assert s.recv(1) == b""


def test_a_slow_reader_stops_only_itself(build: Path, tmp_path: Path, io: str) -> None:
    """The source may fill its own stream's windows and buffers, and no more; the neighbour does
    not notice."""
    sent = [0]
    quick = threading.Event()

    def handler(s: socket.socket) -> None:
        if apps.recv_exactly(s, 1) == b"e":
            apps.echo(s)
            return
        try:
            while not quick.is_set():
                sent[0] += s.send(bytes(65536))
        except OSError:
            pass

    with ours(build, tmp_path, handler, io) as (t, _):
        with apps.connect(t.port, rcvbuf=65536) as slow, apps.connect(t.port, 20) as other:
            slow.sendall(b"s")
            other.sendall(b"e")
            wait_until_still(sent)
            assert 65536 <= sent[0] < 32 << 20, f"{sent[0]} bytes went into a stream nobody reads"
            for size in (1, 100, 1 << 20):
                apps.ask(other, bytes(size))
            quick.set()
            apps.recv_exactly(slow, min(sent[0], 4 << 20))  # and it goes on where it stopped


def wait_until_still(value: list[int], still_s: float = 1.0, limit_s: float = 20.0) -> None:
    """Until value[0] is above zero and has not grown for still_s."""
    end, last, since = time.monotonic() + limit_s, -1, time.monotonic()
    while time.monotonic() < end:
        if value[0] != last or not last:
            last, since = value[0], time.monotonic()
        elif time.monotonic() - since >= still_s:
            return
        time.sleep(0.02)
    raise AssertionError(f"still growing after {limit_s} s: {value[0]}")


def test_a_slow_target_stops_only_itself(build: Path, tmp_path: Path) -> None:
    release = threading.Event()

    def handler(s: socket.socket) -> None:
        if apps.recv_exactly(s, 1) == b"e":
            apps.echo(s)
            return
        release.wait(60)
        apps.sink(s)

    with ours(build, tmp_path, handler, rcvbuf=65536) as (t, _):
        with apps.connect(t.port) as stuck, apps.connect(t.port, 20) as other:
            stuck.sendall(b"s")
            stuck.setblocking(False)
            sent, quiet_since = 0, time.monotonic()
            while time.monotonic() - quiet_since < 1.0:
                try:
                    sent += stuck.send(bytes(65536))
                    quiet_since = time.monotonic()
                except BlockingIOError:
                    time.sleep(0.01)
                assert sent < 32 << 20, "a stream nobody reads takes everything"
            other.sendall(b"e")
            apps.ask(other, bytes(1 << 20))
            release.set()


def test_unix_sockets_at_both_ends(build: Path, tmp_path: Path, io: str) -> None:
    opt = peers.Options(smuxver=2, io=io)
    port = peers.free_port()
    local, data = tmp_path / "app.sock", apps.content(5, 1 << 20)
    with apps.Service(apps.half_close, path=tmp_path / "target.sock") as target:
        server = peers.start_ours(
            "server", build, tmp_path, opt, listen=f"127.0.0.1:{port}", target=target.address
        )
        client = peers.start_ours(
            "client", build, tmp_path, opt, localaddr=local, remoteaddr=f"127.0.0.1:{port}"
        )
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(str(local))
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            assert apps.recv_all(s) == digest_answer(data)
        client.stop()
        assert not local.exists(), "the socket file stays behind"
        server.stop()


def test_a_stale_unix_socket_is_replaced(build: Path, tmp_path: Path) -> None:
    """A daemon that was killed leaves its file; the next one starts all the same."""
    opt = peers.Options(smuxver=2)
    port, local = peers.free_port(), tmp_path / "app.sock"
    addresses = {"localaddr": local, "remoteaddr": f"127.0.0.1:{port}"}
    peers.start_ours("client", build, tmp_path, opt, **addresses).discard()
    assert local.is_socket()
    # what io_uring still held of the dead one ends a moment later
    peers.wait_for("the dead one's end", lambda: refuses(local), 5)
    peers.start_ours("client", build, tmp_path, opt, name="again", **addresses).stop()


@pytest.mark.parametrize("dialtimeout", (60, 1))
def test_a_unix_target_with_a_full_backlog(
    build: Path, tmp_path: Path, dialtimeout: int, scale: float
) -> None:
    """It refuses at once what TCP would try again. All are served when it gets round to them; one
    that never does is told of."""
    path, port, tcp = tmp_path / "target.sock", peers.free_port(), peers.free_port()
    opt = peers.Options(smuxver=2, more={"dialtimeout": dialtimeout})
    with socket.socket(socket.AF_UNIX) as target:
        target.bind(str(path))
        target.listen(1)
        target.settimeout(20 * scale)
        server = peers.start_ours(
            "server", build, tmp_path, opt, listen=f"127.0.0.1:{port}", target=path
        )
        addresses = {"localaddr": f"127.0.0.1:{tcp}", "remoteaddr": f"127.0.0.1:{port}"}
        client = peers.start_ours("client", build, tmp_path, opt, **addresses)
        apps_ends = [apps.connect(tcp, 20) for _ in range(8)]
        for i, s in enumerate(apps_ends):
            s.sendall(b"%d" % i)
        if dialtimeout == 1:
            full = "its queue of connections is full"
            peers.wait_for("the complaint", lambda: full in server.log(), 20)
        else:
            peers.wait_for(
                "the streams", lambda: server.counters("t")["StreamsNow"] == 8, 20
            )
            time.sleep(0.1)
            served = [target.accept()[0] for _ in apps_ends]
            for s in served:
                s.settimeout(20 * scale)
            assert {s.recv(1) for s in served} == {b"%d" % i for i in range(8)}
            for s in served:
                s.close()
        for s in apps_ends:
            s.close()
        client.stop()
        server.stop()


def refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == errno.ECONNREFUSED


def test_many_streams_at_once(build: Path, tmp_path: Path, io: str) -> None:
    """300 streams open together, each alive, then all closed and forgotten."""
    with ours(build, tmp_path, apps.echo, io) as (t, target):
        streams = [apps.connect(t.port, 30) for _ in range(300)]
        for i, s in enumerate(streams):
            s.sendall(b"%06d" % i)
        for i, s in enumerate(streams):
            assert apps.recv_exactly(s, 6) == b"%06d" % i
        assert t.client.counters("t")["StreamsNow"] == 300
        for s in streams:
            s.close()
        peers.wait_for("the targets' ends", lambda: target.open_now() == 0, 20)
        for end in (t.client, t.server):
            peers.wait_for("no streams", lambda e=end: e.counters("t")["StreamsNow"] == 0, 20)


def test_a_closed_application_ends_their_server_s_stream(
    build: Path, tmp_path: Path, theirs: None
) -> None:
    opt = peers.Options()
    with apps.Service(apps.echo) as target:
        with peers.tunnel(build, tmp_path, target.address, ("ours", opt), ("theirs", opt)) as t:
            with apps.connect(t.port) as s:
                apps.ask(s)
            peers.wait_for("the target's end", lambda: target.open_now() == 0, 10)


def test_their_client_sees_the_end_of_ours(build: Path, tmp_path: Path, theirs: None) -> None:
    def one_answer(s: socket.socket) -> None:
        s.sendall(apps.recv_exactly(s, 4) * 1000)

    opt = peers.Options()
    with apps.Service(one_answer) as target:
        with peers.tunnel(build, tmp_path, target.address, ("theirs", opt), ("ours", opt)) as t:
            with apps.connect(t.port, 20) as s:
                s.sendall(b"ping")
                assert apps.recv_all(s) == b"ping" * 1000
