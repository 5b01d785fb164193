"""tests/interop/test_roaming.py - a client whose address or route changes, in namespaces: two ways
lead to the server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apps
import peers
import pytest
from netns import Net

SERVER = "10.99.0.1"


@contextmanager
def two_ways() -> Iterator[Net]:
    """c reaches s's address over two links, the first in use."""
    with Net("c", "s") as net:
        net.wire("c", "way1", "10.91.0.1/24", "s", "way1", "10.91.0.2/24")
        net.wire("c", "way2", "10.92.0.1/24", "s", "way2", "10.92.0.2/24")
        net.ip("s", f"addr add {SERVER}/32 dev lo")
        net.ip("c", f"route add {SERVER}/32 via 10.91.0.2")
        yield net


def start(
    net: Net, build: Path, directory: Path, kind: str, io: str = "auto", **more: object
) -> tuple[peers.Daemon, peers.Process, int, apps.Service]:
    opt = peers.Options(smuxver=2 if kind == "ours" else 1, io=io, more=more)
    target = net.within("s", lambda: apps.Service(apps.echo))
    port, server_port = peers.free_port(), peers.free_port()
    server: peers.Process
    if kind == "ours":
        server = peers.Daemon(
            build,
            directory,
            "server",
            {"server t": {**opt.common(), "listen": f":{server_port}", "target": target.address}},
            wait=False,
            via=net.via("s"),
        )
        server.wait_until("its log", lambda: "is ready" in server.log())
    else:
        argv = [*net.via("s"), "kcptun-server", "-l", f"{SERVER}:{server_port}"]
        argv += ["-t", target.address, "--key", peers.KEY, "--crypt", opt.crypt, "--nocomp"]
        server = peers.TheirProcess("theirs", argv, directory / "theirs.log")
        server.wait_until("its log", lambda: "listening on" in server.log().lower())
    client = peers.Daemon(
        build,
        directory,
        "client",
        {
            "global": {"io": io},
            "client t": {
                **opt.common(),
                "localaddr": f"127.0.0.1:{port}",
                "remoteaddr": f"{SERVER}:{server_port}",
            },
        },
        wait=False,
        via=net.via("c"),
    )
    client.wait_until("its log", lambda: "is ready" in client.log())
    return client, server, port, target


def connect(net: Net, port: int) -> socket.socket:
    return net.within("c", lambda: apps.connect(port, 30))


@pytest.mark.parametrize("io", ("epoll", "io_uring"))
@pytest.mark.parametrize("change", ("route", "address"))
def test_a_session_moves_with_its_client(
    build: Path, tmp_path: Path, change: str, io: str, io_uring_works: bool, scale: float
) -> None:
    """Our server follows: the stream goes on, long before any timeout, and the way back too."""
    if io == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    with two_ways() as net:
        client, server, port, target = start(
            net, build, tmp_path, "ours", io, peertimeout=60, keepalive=20
        )
        with connect(net, port) as s:
            apps.ask(s)
            if change == "address":
                net.ip("c", "addr del 10.91.0.1/24 dev way1")
            net.ip("c", f"route replace {SERVER}/32 via 10.92.0.2")
            peers.wait_for(
                "the move", lambda: "it now leaves from 10.92.0.1" in client.log(), 10
            )
            began = time.monotonic()
            for _ in range(5):
                apps.ask(s)
            assert time.monotonic() - began < 3 * scale
            peers.wait_for("followed", lambda: "moved to 10.92.0.1" in server.log(), 5)
            net.ip("c", "addr add 10.93.0.1/24 dev lo")  # changes nothing for anybody
            time.sleep(0.6)
            apps.ask(s)
        assert client.counters("t")["Rebindings"] == 1
        assert client.counters("t")["ActiveOpens"] == 1
        client.stop()
        server.stop()
        target.close()


def test_another_kind_of_server_gets_a_successor(
    build: Path, tmp_path: Path, scale: float, theirs: None
) -> None:
    """It does not follow, so new streams get a session from the new address at once; a stream on
    the old one goes on while its address is there."""
    with two_ways() as net:
        client, server, port, target = start(net, build, tmp_path, "theirs", keepalive=1)
        with connect(net, port) as s:
            apps.ask(s)
            net.ip("c", f"route replace {SERVER}/32 via 10.92.0.2 src 10.92.0.1")
            peers.wait_for(
                "a successor",
                lambda: client.counters("t")["ActiveOpens"] == 2
                and client.counters("t")["CurrEstab"] == 2,
                10,
            )
            with connect(net, port) as new:
                apps.ask(new)
            apps.ask(s)
        peers.wait_for("its end", lambda: client.counters("t")["CurrEstab"] == 1, 10)
        net.ip("c", "addr del 10.92.0.1/24 dev way2")
        net.ip("c", f"route replace {SERVER}/32 via 10.91.0.2")
        began = time.monotonic()
        peers.wait_for(
            "another one", lambda: client.counters("t")["ActiveOpens"] == 3, 10
        )
        with connect(net, port) as new:
            apps.ask(new)
        assert time.monotonic() - began < 6 * scale
        client.stop()
        server.stop()
        target.close()
