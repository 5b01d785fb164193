"""tests/interop/test_mismatch.py - ends whose settings differ: what our end says about it once, and
counts. The other end is the packaged peer, in both roles, or one of ours."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apps
import peers
import pytest

SOON_S = 20.0


def other(**change: Any) -> peers.Options:
    """Options with the fields changed; what is no field goes to `more`."""
    fields = {k: v for k, v in change.items() if k in peers.Options.__dataclass_fields__}
    more = {k: v for k, v in change.items() if k not in fields}
    return replace(peers.Options(), more=more, **fields)


def hasty(opt: peers.Options) -> peers.Options:
    """Gives up soon, for tunnels that do not work."""
    return replace(opt, ours_only={"peertimeout": 3})


class Knocking:
    """An application that connects again and again and says something, whatever comes of it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                with apps.connect(self.port, 2) as s:
                    s.sendall(b"is there anybody?" * 20)
                    s.settimeout(1)
                    s.recv(1)
            self._stop.wait(0.1)

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)


@contextlib.contextmanager
def knocked(
    build: Path,
    directory: Path,
    client: tuple[str, peers.Options],
    server: tuple[str, peers.Options],
) -> Iterator[peers.Tunnel]:
    with apps.Service(apps.echo) as target:
        with peers.tunnel(build, directory, target.address, client, server) as t:
            with Knocking(t.port):
                yield t


def expect(daemon: peers.Daemon, counters: tuple[str, ...], text: str) -> None:
    """One of the counters rises, and the log says the text, once for all sessions of a source."""
    peers.wait_for(
        f"one of {counters}",
        lambda: any(daemon.counters("t")[c] for c in counters),
        SOON_S,
    )
    peers.wait_for(text, lambda: text in daemon.log(), 5)
    (profile,) = daemon.request("status")["profiles"]
    (found,) = [f for f in profile["findings"] if text in f["text"]]
    assert found["count"] >= 1 and 0 <= found["last_s"] <= found["first_s"]
    assert found["from"].startswith(("127.0.0.1:", "[::ffff:127.0.0.1]:"))
    (tunnel,) = daemon.request("doctor")["tunnels"]
    again = next(f for f in tunnel["findings"] if f["kind"] == found["kind"])
    assert again["text"] == found["text"] and again["count"] >= found["count"]


# --- our server, their client

SERVER_ROWS = {
    "key": ({}, {"key": "another"}, "MismatchKey", "none of its datagrams opens: key or crypt"),
    "crypt": ({}, {"crypt": "salsa20"}, "MismatchKey", "none of its datagrams opens"),
    "none": ({"crypt": "none"}, {}, "MismatchKey", "none of its datagrams opens"),
    "packed": ({}, {"nocomp": False}, "MismatchComp", "it compresses, while nocomp = true here"),
    "plain": ({"nocomp": False}, {}, "MismatchComp", "it does not compress, while nocomp = false"),
    "smux 1": ({"smuxver": 2}, {}, "MismatchSmux", "it speaks version 1 of smux, while smuxver"),
    "smux 2": ({}, {"smuxver": 2}, "MismatchSmux", "it speaks version 2 of smux, while smuxver"),
    "packed smux 2": (
        {"nocomp": False},
        {"nocomp": False, "smuxver": 2},
        "MismatchSmux",
        "it speaks version 2 of smux",
    ),
    "auto, packed": ({"smuxver": "auto"}, {"nocomp": False}, "MismatchComp", "it compresses"),
}


@pytest.mark.parametrize("row", SERVER_ROWS)
def test_what_our_server_says(build: Path, tmp_path: Path, theirs: None, row: str) -> None:
    here, there, counter, text = SERVER_ROWS[row]
    with knocked(build, tmp_path, ("theirs", other(**there)), ("ours", hasty(other(**here)))) as t:
        expect(t.server, (counter,), text)
        assert t.server.log().count(text) == 1
        counters = t.server.counters("t")
        assert counters["StreamsOpened"] == 0


# --- our client, their server

CLIENT_ROWS = {
    "key": ({}, {"key": "another"}, ("PeerUnheard",), "nothing ever came back from it"),
    "crypt": ({"crypt": "xor"}, {}, ("PeerUnheard",), "nothing ever came back from it"),
    "packed": ({}, {"nocomp": False}, ("PeerDrops", "MismatchComp"), "nocomp"),
    "plain": ({"nocomp": False}, {}, ("PeerDrops", "MismatchComp"), "nocomp"),
    "smux 1": ({"smuxver": 2}, {}, ("PeerDrops", "MismatchSmux"), "smuxver"),
    "smux 2": ({}, {"smuxver": 2}, ("PeerDrops", "MismatchSmux"), "smuxver"),
}


@pytest.mark.parametrize("row", CLIENT_ROWS)
def test_what_our_client_says(build: Path, tmp_path: Path, theirs: None, row: str) -> None:
    here, there, counters, text = CLIENT_ROWS[row]
    with knocked(build, tmp_path, ("ours", hasty(other(**here))), ("theirs", other(**there))) as t:
        expect(t.client, counters, text)


def test_what_our_client_says_of_a_server_it_only_asks(
    build: Path, tmp_path: Path, theirs: None
) -> None:
    """With smuxver = auto it begins with a question, and gives that up before any session ends."""
    here, there = other(smuxver="auto"), other(key="another")
    with knocked(build, tmp_path, ("ours", here), ("theirs", there)) as t:
        expect(t.client, ("PeerUnheard",), "nothing ever came back from it")


# --- FEC, both roles: the tunnel works, and our end says what differs

FEC_ROWS = {
    "shape": ({"datashard": 5, "parityshard": 2}, {}, "another shape (10+3) than datashard = 5"),
    "none there": ({}, {"datashard": 0, "parityshard": 0}, "it sends no FEC, while datashard = 10"),
    "none here": ({"datashard": 0, "parityshard": 0}, {}, "it sends FEC, while datashard = 0"),
}


@pytest.mark.parametrize("ours", ("client", "server"))
@pytest.mark.parametrize("row", FEC_ROWS)
def test_fec(build: Path, tmp_path: Path, theirs: None, row: str, ours: str) -> None:
    here, there, text = FEC_ROWS[row]
    near, far = ("ours", other(**here)), ("theirs", other(**there))
    client, server = (near, far) if ours == "client" else (far, near)
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(build, tmp_path, target.address, client, server) as t:
            for seed in (1, 2, 3):
                apps.exchange(t.port, 300000, 300000, seed)
            daemon = t.client if ours == "client" else t.server
            expect(daemon, ("MismatchFEC",), text)
            assert daemon.log().count(text) == 1
            assert daemon.counters("t")["MismatchFEC"] == 1
            daemon.wait_acknowledged()


# --- a server that takes either version


@pytest.mark.parametrize(
    "ver, kind, nocomp",
    ((1, "theirs", True), (2, "theirs", False), (1, "ours", False), (2, "ours", True)),
)
def test_auto(build: Path, tmp_path: Path, theirs: None, ver: int, kind: str, nocomp: bool) -> None:
    client = other(smuxver=ver, nocomp=nocomp, conn=2, keepalive=1)
    server = other(smuxver="auto", nocomp=nocomp, keepalive=1)
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(build, tmp_path, target.address, (kind, client), ("ours", server)) as t:
            apps.run_load(t.port, apps.Load(bulk=1 << 20, short_streams=20))
            assert t.server.counters("t")["ProtoErrors"] == 0
            t.server.wait_acknowledged()


def test_auto_serves_both_at_once(build: Path, tmp_path: Path, theirs: None) -> None:
    """It is the default of servers."""
    server_port, ports = peers.free_port(), (peers.free_port(), peers.free_port())
    with apps.Service(apps.duplex) as target:
        opt = other(smuxver="auto")
        server = peers.start_ours(
            "server", build, tmp_path, opt, listen=f"127.0.0.1:{server_port}", target=target.address
        )
        clients = []
        for ver, port in zip((1, 2), ports):
            (tmp_path / str(ver)).mkdir()
            clients.append(
                peers.start_theirs(
                    "client",
                    tmp_path / str(ver),
                    other(smuxver=ver),
                    localaddr=f"127.0.0.1:{port}",
                    remoteaddr=f"127.0.0.1:{server_port}",
                )
            )
        for seed in (1, 2):
            for port in ports:
                apps.exchange(port, 100000, 100000, seed)
        server.wait_acknowledged()
        for process in (*clients, server):
            process.stop()


# --- a client that finds out


def works(port: int) -> bool:
    try:
        apps.exchange(port, 1000, 1000, 1)
    except (OSError, EOFError):
        return False
    return True


@pytest.mark.parametrize("ver, nocomp", ((1, True), (1, False), (2, True)))
def test_auto_client(build: Path, tmp_path: Path, theirs: None, ver: int, nocomp: bool) -> None:
    """It begins with 2, and goes on with what their server takes."""
    ours = ("ours", other(smuxver="auto", nocomp=nocomp))
    theirs_ = ("theirs", other(smuxver=ver, nocomp=nocomp))
    with apps.Service(apps.duplex) as target:
        with peers.tunnel(build, tmp_path, target.address, ours, theirs_) as t:
            if ver == 1:
                peers.wait_for("version 1", lambda: works(t.port), SOON_S)
                assert "the next session speaks version 1 of smux" in t.client.log()
            opened = t.client.counters("t")["ActiveOpens"]
            for seed in (1, 2, 3):
                apps.exchange(t.port, 300000, 300000, seed)
            assert t.client.counters("t")["ActiveOpens"] <= max(opened, 1)
            assert ("the next session" in t.client.log()) == (ver == 1)


# --- what is no mismatch


def test_nothing_is_said_where_all_agrees(build: Path, tmp_path: Path, theirs: None) -> None:
    names = ("Key", "Smux", "Comp", "FEC")
    for client, server in (("ours", "theirs"), ("theirs", "ours"), ("ours", "ours")):
        directory = tmp_path / (client + server)
        directory.mkdir()
        with apps.Service(apps.duplex) as target:
            with peers.tunnel(
                build,
                directory,
                target.address,
                (client, other()),
                (server, other()),
                mangle={"both": "loss=5,dup=2,reorder=5,corrupt=2,truncate=1"},
            ) as t:
                apps.run_load(t.port, apps.Load(bulk=1 << 20, short_streams=10))
                for kind, end in ((client, t.client), (server, t.server)):
                    if kind != "ours":
                        continue
                    counters = end.counters("t")
                    assert not any(counters["Mismatch" + name] for name in names), counters
                    assert not any(counters[c] for c in ("PeerStalls", "PeerDrops", "PeerUnheard"))


def test_a_scanner_is_no_client(build: Path, tmp_path: Path) -> None:
    """A few datagrams of noise are counted; who goes on is told of, once for its address."""
    port = peers.free_port()
    server = peers.start_ours(
        "server", build, tmp_path, other(), listen=f"127.0.0.1:{port}", target="127.0.0.1:1"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(5):
            s.sendto(b"x" * 100, ("127.0.0.1", port))
        peers.wait_for("5 errors", lambda: server.counters("t")["InCsumErrors"] == 5, 10)
        assert server.counters("t")["MismatchKey"] == 0
        for _ in range(30):
            s.sendto(b"x" * 100, ("127.0.0.1", port))
        peers.wait_for("35 errors", lambda: server.counters("t")["InCsumErrors"] == 35, 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:  # the same address, another port
        for _ in range(30):
            s.sendto(b"x" * 100, ("127.0.0.1", port))
        peers.wait_for("65 errors", lambda: server.counters("t")["InCsumErrors"] == 65, 10)
    assert server.counters("t")["MismatchKey"] == 1
    assert server.log().count("none of its datagrams opens") == 1
    server.stop()
