"""tests/interop/test_qpp.py - permutation pads over the streams of a tunnel. The packaged peer has
none, so both ends are ours; that the bytes are the peers' is for tests/unit/test_qpp.c."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apps
import peers
import pytest


def options(**more: Any) -> peers.Options:
    return peers.Options(smuxver=2, more={"qpp": True, **more})


@pytest.mark.parametrize("generation, io", ((1, "epoll"), (2, "io_uring"), (3, "epoll")))
def test_bytes_arrive(
    build: Path, tmp_path: Path, generation: int, io: str, io_uring_works: bool
) -> None:
    """Over a link that loses packets, so that groups of FEC hold the padded bytes while the stream
    goes on."""
    if io == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    opt = options(qppgeneration=generation)
    opt.io = io
    opt.workers = 2
    opt.nocomp = generation != 2
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(
            build,
            tmp_path,
            target.address,
            ("ours", opt),
            ("ours", opt),
            mangle={"both": "loss=3"},
        ) as t:
            apps.run_load(t.port, apps.Load(bulk=2 << 20, short_streams=20))
            assert t.server.counters("t")["FECRecovered"] > 0


@pytest.mark.parametrize(
    "there", ({"qppgeneration": 1}, {"qppgeneration": 2}, {"qppcount": 67}, {"qpp": False})
)
def test_ends_that_differ_get_garbage(build: Path, tmp_path: Path, there: dict[str, Any]) -> None:
    """Nothing on the wire tells: the stream works, its bytes are others."""
    seen: list[bytes] = []

    def reader(s: Any) -> None:
        seen.append(apps.recv_exactly(s, 64))

    with apps.Service(reader) as target:
        with peers.tunnel(
            build, tmp_path, target.address, ("ours", options()), ("ours", options(**there))
        ) as t:
            with apps.connect(t.port, 20) as s:
                s.sendall(bytes(range(64)))
                peers.wait_for("64 bytes", lambda: seen, 10)
    assert seen[0] != bytes(range(64))


def test_the_wire_carries_what_the_vectors_say(build: Path, tmp_path: Path) -> None:
    """A server without pads shows the bytes as the client with pads sent them."""
    vector = "e94f150bd5923394a725f3907d0b58ff0bda58fdb121d5ff7ef7800488a9937a"
    key = "it's a secrect"
    seen: list[bytes] = []

    def reader(s: Any) -> None:
        seen.append(apps.recv_exactly(s, 32))

    with apps.Service(reader) as target:
        with peers.tunnel(
            build,
            tmp_path,
            target.address,
            ("ours", options(key=key)),
            ("ours", options(key=key, qpp=False)),
        ) as t:
            with apps.connect(t.port, 20) as s:
                s.sendall(bytes(range(32)))
                peers.wait_for("32 bytes", lambda: seen, 10)
    assert seen[0].hex() == vector


def test_a_reader_that_stops_and_goes(build: Path, tmp_path: Path) -> None:
    """The local connection takes a piece now and then: what it left is unpadded again later."""
    data = apps.content(3, 3 << 20)

    def send(s: Any) -> None:
        s.sendall(data)
        s.recv(1)

    with apps.Service(send) as target:
        with peers.tunnel(
            build, tmp_path, target.address, ("ours", options()), ("ours", options())
        ) as t:
            digest, left = hashlib.sha256(), len(data)
            with apps.connect(t.port, 30, rcvbuf=4096) as s:
                while left:
                    part = s.recv(min(left, 37 * 1021))
                    assert part
                    digest.update(part)
                    left -= len(part)
                    if left % 5 == 0:
                        time.sleep(0.002)
            assert digest.digest() == hashlib.sha256(data).digest()


def test_old_key(build: Path, tmp_path: Path) -> None:
    """A client that still has the old key is unpadded with the old key's pads, beside one that
    has the new one."""
    server_port, ports = peers.free_port(), (peers.free_port(), peers.free_port())
    new, old = options(key="the new one", oldkey="the old one"), options(key="the old one")
    with apps.Service(apps.duplex) as target:
        server = peers.start_ours(
            "server", build, tmp_path, new, listen=f"127.0.0.1:{server_port}", target=target.address
        )
        new.more.pop("oldkey")
        clients = [
            peers.start_ours(
                "client",
                build,
                tmp_path,
                opt,
                name=f"client-{port}",
                localaddr=f"127.0.0.1:{port}",
                remoteaddr=f"127.0.0.1:{server_port}",
            )
            for opt, port in zip((new, old), ports)
        ]
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(apps.exchange, p, 1 << 20, 1 << 20, p) for p in ports]:
                done.result()
        for process in (*clients, server):
            process.stop()
