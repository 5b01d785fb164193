"""tests/interop/test_deal.py - streams that keep apart: in mode auto an interactive stream finds a
session without bulk by itself, which ends when nobody needs it. No path is slow here: what counts
is where streams are."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apps
import peers
import pytest

RATE = 1 << 20  # of bulk, bytes a second: enough to be told, and little work
TOLD = 256 << 10  # bytes after which bulk must have been told


def by_first_byte(s: socket.socket) -> None:
    """A target for streams of all kinds: d fetches, u brings, the rest is returned."""
    kind = s.recv(1)
    if kind == b"d":
        apps.source(s)
    elif kind == b"u":
        apps.sink(s)
    elif kind:
        s.sendall(kind)
        apps.echo(s)


class Bulk:
    """A stream that carries as much as it can, in one direction."""

    def __init__(self, port: int, down: bool) -> None:
        self.socket = apps.connect(port)
        self.socket.sendall(b"d" if down else b"u")
        work = apps.sink if down else apps.source
        self.thread = threading.Thread(target=work, args=(self.socket,), daemon=True)
        self.thread.start()

    def __enter__(self) -> Bulk:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(apps.TIMEOUT_S)
        apps.reset(self.socket)  # what is on its way is not waited for


class Pair:
    def __init__(self, client: peers.Daemon, server: Any, port: int) -> None:
        self.client, self.server, self.port = client, server, port

    def sessions(self, daemon: peers.Daemon | None = None) -> list[dict[str, Any]]:
        return (daemon or self.client).request("sessions")["sessions"]

    def streams(self) -> list[dict[str, Any]]:
        return self.client.request("streams")["streams"]

    def place_of(self, s: socket.socket) -> str:
        """The session a connection's stream is in, once it is there."""
        local = "127.0.0.1:%d" % s.getsockname()[1]

        def look() -> str | None:
            return next((x["session"] for x in self.streams() if x["local"] == local), None)

        return peers.wait_for("the stream", look, 20)

    def state(self, session: str) -> str:
        return next((x["state"] for x in self.sessions() if x["id"] == session), "gone")

    @contextmanager
    def bulk(self, down: bool) -> Iterator[str]:
        """A bulk stream, told as such, and its session."""
        with Bulk(self.port, down) as bulk:
            place = self.place_of(bulk.socket)

            def told() -> bool:
                here = [x for x in self.sessions() if x["id"] == place]
                return bool(here) and here[0]["in_bytes"] + here[0]["out_bytes"] >= TOLD

            peers.wait_for("bulk to get going", told, 30)
            yield place


@contextmanager
def pair(
    build: Path,
    directory: Path,
    kind: str = "ours",
    workers: int = 1,
    server: dict[str, Any] | None = None,
    **client: Any,
) -> Iterator[Pair]:
    port, server_port = peers.free_port(), peers.free_port()
    to = f"127.0.0.1:{server_port}"
    opt = peers.Options(mode="auto", smuxver=2, sndwnd=256, rcvwnd=256, workers=workers)
    slow = {"ratelimit": RATE}
    with ExitStack() as on_way_out:
        target = on_way_out.enter_context(apps.Service(by_first_byte))
        if kind == "ours":
            opt.ours_only = {**slow, **(server or {})}
            where = {"listen": to, "target": target.address}
            far = peers.start_ours("server", build, directory, opt, **where)
        else:
            theirs = peers.Options(mode="fast", smuxver=2)
            far = peers.start_theirs("server", directory, theirs, listen=to, target=target.address)
        on_way_out.callback(far.kill)
        opt.ours_only = {**slow, **client}
        opt.conn = client.get("conn", 1)
        local = f"127.0.0.1:{port}"
        near = peers.start_ours("client", build, directory, opt, localaddr=local, remoteaddr=to)
        on_way_out.callback(near.kill)
        try:
            yield Pair(near, far, port)
        except BaseException:
            print(near.tail(), far.tail())
            raise
        near.stop()
        far.check_log()  # it need not wait for the answers to what bulk left behind


@pytest.mark.parametrize("down,workers", ((True, 1), (False, 2)))
def test_apart(build: Path, tmp_path: Path, down: bool, workers: int) -> None:
    """Beside bulk, in either direction, an interactive stream has a session of its own, which ends
    at both ends while the bulk goes on."""
    with pair(build, tmp_path, workers=workers) as p, p.bulk(down) as place:
        assert p.state(place) == "live"
        with apps.connect(p.port) as s:
            apps.ask(s)
            other = p.place_of(s)
            assert other != place and p.state(other) == "extra"
            assert len(p.sessions(p.server)) == 2
        peers.wait_for("the extra session to end", lambda: len(p.sessions()) == 1, 60)
        assert p.state(place) == "live"
        peers.wait_for("the server to know", lambda: len(p.sessions(p.server)) == 1, 30)
        assert "its client needs it no more" in p.server.log()
        assert p.client.counters()["DeadPeers"] == p.server.counters()["DeadPeers"] == 0


def test_apart_at_a_kcptun(build: Path, tmp_path: Path) -> None:
    with pair(build, tmp_path, kind="theirs") as p, p.bulk(False) as place:
        with apps.connect(p.port) as s:
            apps.ask(s)
            assert p.state(p.place_of(s)) == "extra"
            assert p.state(place) == "live"


def test_other_modes_deal_in_turn(build: Path, tmp_path: Path) -> None:
    """kcptun's modes: round robin, whatever streams do."""
    with pair(build, tmp_path, mode="fast", conn=2) as p, p.bulk(True) as place:
        with ExitStack() as held:
            places = []
            for _ in range(4):
                s = held.enter_context(apps.connect(p.port))
                apps.ask(s)
                places.append(p.place_of(s))
        assert places[1] == places[3] == place
        assert places[0] == places[2] != place
        assert [x["state"] for x in p.sessions()] == ["live", "live"]


def test_server_allows_no_more(build: Path, tmp_path: Path) -> None:
    """Then streams share what there is."""
    with pair(build, tmp_path, server={"maxsessions": 1}) as p, p.bulk(True) as place:
        for _ in range(2):
            with apps.connect(p.port) as s:
                apps.ask(s)
                assert p.place_of(s) == place
        assert p.client.log().count("no extra session") == 1


def test_reload(build: Path, tmp_path: Path) -> None:
    """An extra session in use becomes one of the client's own, or lasts as long as its streams."""
    with pair(build, tmp_path) as p, p.bulk(True), apps.connect(p.port) as s:

        def change(**keys: Any) -> None:
            before = p.client.log().count("configuration in force")
            p.client.sections["client t"].update(keys)
            p.client.conf_path.write_text(peers.ini(p.client.sections))
            assert p.client.ctl("reload").returncode == 0
            assert p.client.log().count("configuration in force") > before

        apps.ask(s)
        place = p.place_of(s)
        assert p.state(place) == "extra"
        change(conn=2)
        assert p.state(place) == "live"
        change(conn=1)
        assert p.state(place) == "extra"
        change(mode="fast")
        apps.ask(s)
        assert p.state(place) == "draining"
        s.close()
        peers.wait_for("its end", lambda: p.state(place) == "gone", 30)
