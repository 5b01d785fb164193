"""tests/interop/test_steer.py - with several workers the datagrams of a running session arrive at
the one that owns it: by the map of an eBPF program, or by connected sockets where the kernel
refuses that.

What is looked at is the share of datagrams that one worker hands over to another: about half of
all without steering, and of two workers' sixteen sessions all are in their place by luck once in
65536 runs.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apps
import peers
import pytest

SESSIONS = 16
BULK = 512 << 10  # some 500 datagrams: more than it takes to be noticed
WINDOW = 128  # so that a slow build under load is not flooded
NOTICED_S = 15.0
TRIES = 4
NO_BPF = ("setpriv", "--bounding-set=-bpf,-sys_admin")
BY_MAP, BY_SOCKETS = "by eBPF", "connected sockets"


@pytest.fixture(params=(BY_MAP, BY_SOCKETS))
def way(request: pytest.FixtureRequest) -> str:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("loading a program, and not being allowed to, takes root")
    return request.param


def client_options() -> peers.Options:
    return peers.Options(smuxver=2, conn=SESSIONS, sndwnd=WINDOW, rcvwnd=WINDOW)


def options(way: str, **more: object) -> peers.Options:
    opt = client_options()
    opt.via = NO_BPF if way == BY_SOCKETS else ()
    for name, value in {"workers": 2, **more}.items():
        setattr(opt, name, value)
    return opt


def start_server(
    build: Path, directory: Path, opt: peers.Options, listen: str, target: str, way: str
) -> peers.Daemon:
    server = peers.start_ours("server", build, directory, opt, listen=listen, target=target)
    peers.wait_for("the line about steering", lambda: "reach their worker" in server.log(), 5)
    if way == BY_MAP and BY_MAP not in server.log():
        server.stop()
        pytest.skip("the kernel refuses the program to root, too")
    assert way in server.log()
    return server


@contextmanager
def client_of(build: Path, directory: Path, remote: str, name: str = "client") -> Iterator[int]:
    """A client with SESSIONS sessions; its local port."""
    port = peers.free_port()
    client = peers.start_ours(
        "client",
        build,
        directory,
        client_options(),
        name=name,
        localaddr=f"127.0.0.1:{port}",
        remoteaddr=remote,
    )
    try:
        yield port
    finally:
        client.stop()


def use_all(port: int, up: int = BULK, down: int = BULK) -> None:
    """Bulk in every session at a time."""
    errors: list[BaseException] = []

    def one(seed: int) -> None:
        try:
            apps.exchange(port, up, down, seed)
        except (OSError, EOFError, AssertionError) as e:
            errors.append(e)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(SESSIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors


def handed(server: peers.Daemon, port: int) -> tuple[int, int]:
    """Datagrams handed over, and all, while every session is used once more."""
    before = server.counters("t")
    use_all(port)
    after = server.counters("t")
    lost = after["MailboxDrops"] - before["MailboxDrops"]
    return after["HandedOver"] - before["HandedOver"] + lost, after["InPkts"] - before["InPkts"]


def expect_steered(server: peers.Daemon, port: int) -> None:
    """On a busy machine a worker may learn late of what its sessions have got."""
    for _ in range(TRIES):
        moved, all_of_them = handed(server, port)
        assert all_of_them > SESSIONS * 300
        if moved < all_of_them / 100:
            return
    raise AssertionError(f"{moved} of {all_of_them} handed over: {server.counters('t')}")


def expect_sessions(server: peers.Daemon, directory: Path, clients: int = 1) -> None:
    """No session began for what came to another worker than its own; but a client that has waited
    for seconds, on a busy machine, dials another."""
    opened = server.counters("t")["PassiveOpens"]
    logs = "".join(path.read_text() for path in directory.glob("client*.log"))
    assert opened == SESSIONS * clients or (
        opened > SESSIONS * clients and "dialling anew" in logs
    ), opened


@pytest.mark.parametrize("io", ("epoll", "io_uring"))
@pytest.mark.parametrize("workers", (2, 3))
def test_sessions_find_their_worker(
    build: Path, tmp_path: Path, way: str, workers: int, io: str, io_uring_works: bool
) -> None:
    if io == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    opt = options(way, workers=workers, io=io)
    where = f"127.0.0.1:{peers.free_port()}"
    with apps.Service(apps.duplex) as target:
        server = start_server(build, tmp_path, opt, where, target.address, way)
        with client_of(build, tmp_path, where) as port:
            use_all(port)
            assert server.counters("t")["HandedOver"] > 0
            expect_steered(server, port)
            expect_sessions(server, tmp_path)
        server.stop()


def test_one_worker_needs_no_steering(build: Path, tmp_path: Path) -> None:
    where = f"127.0.0.1:{peers.free_port()}"
    with apps.Service(apps.duplex) as target:
        server = peers.start_ours(
            "server", build, tmp_path, client_options(), listen=where, target=target.address
        )
        with client_of(build, tmp_path, where) as port:
            use_all(port)
        assert server.counters("t")["HandedOver"] == 0
        assert "reach their worker" not in server.log()
        server.stop()


def have_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("listen", "remotes"),
    (
        ("0.0.0.0:%d", ("127.0.0.1:%d", "127.0.0.2:%d")),
        ("[::1]:%d", ("[::1]:%d",)),
        (":%d", ("127.0.0.1:%d", "[::1]:%d", "127.0.0.3:%d")),
    ),
)
def test_addresses_of_every_family(
    build: Path, tmp_path: Path, way: str, listen: str, remotes: tuple[str, ...]
) -> None:
    """On wildcards the peers use several addresses of ours; the second client's sessions begin
    while those of the first have sockets of their own."""
    if "[" in "".join(remotes) and not have_ipv6():
        pytest.skip("no IPv6 here")
    number = peers.free_port()
    with apps.Service(apps.duplex) as target:
        server = start_server(build, tmp_path, options(way), listen % number, target.address, way)
        for i, remote in enumerate(remotes):
            with client_of(build, tmp_path, remote % number, f"client-{i}") as port:
                use_all(port)
                expect_steered(server, port)
        expect_sessions(server, tmp_path, len(remotes))
        server.stop()


def free_range(size: int) -> int:
    """The first of some neighbouring free ports."""
    for _ in range(100):
        first = peers.free_port()
        try:
            for port in range(first, first + size):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports side by side")


def test_a_range_of_ports(build: Path, tmp_path: Path, way: str) -> None:
    first = free_range(4)
    where = f"127.0.0.1:{first}-{first + 3}"
    with apps.Service(apps.duplex) as target:
        server = start_server(build, tmp_path, options(way), where, target.address, way)
        with client_of(build, tmp_path, where) as port:
            use_all(port)
            expect_steered(server, port)
        server.stop()


def test_moved_sessions_are_steered_again(build: Path, tmp_path: Path, way: str) -> None:
    """All of them get new source ports, several times."""
    where = f"127.0.0.1:{peers.free_port()}"
    with apps.Service(apps.duplex) as target:
        server = start_server(build, tmp_path, options(way), where, target.address, way)
        mangler = peers.Mangler(build, tmp_path, where, {})
        with client_of(build, tmp_path, f"127.0.0.1:{mangler.port}") as port:
            use_all(port)
            for moves in (1, 2, 3):
                mangler.signal(signal.SIGUSR1)
                use_all(port)
                peers.wait_for(
                    f"move {moves}",
                    lambda n=moves: server.counters("t")["Rebindings"] >= n * SESSIONS,
                    NOTICED_S,
                )
                expect_steered(server, port)
            expect_sessions(server, tmp_path)
        mangler.stop()
        server.stop()


def sockets_on(server: peers.Daemon, number: int) -> int:
    return peers.bound(server.pid, "udp", number)


def test_connected_sockets_go_with_their_sessions(build: Path, tmp_path: Path, way: str) -> None:
    number = peers.free_port()
    where = f"127.0.0.1:{number}"
    opt = options(way, more={"keepalive": 1})
    with apps.Service(apps.duplex) as target:
        server = start_server(build, tmp_path, opt, where, target.address, way)
        assert sockets_on(server, number) == 2
        with client_of(build, tmp_path, where) as port:
            use_all(port)
            expect_steered(server, port)
            if way == BY_MAP:
                assert sockets_on(server, number) == 2
            else:
                assert 2 < sockets_on(server, number) <= 2 + SESSIONS
        peers.wait_for(
            "the sessions to end",
            lambda: server.counters("t")["CurrEstab"] == 0 and sockets_on(server, number) == 2,
            60,
        )
        with client_of(build, tmp_path, where, "again") as port:
            use_all(port)
            expect_steered(server, port)
        server.stop()
