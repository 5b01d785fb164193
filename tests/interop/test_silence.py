"""tests/interop/test_silence.py - ends that stop for a while, vanish, or start again: who is told
gone, who is not, and how soon."""

from __future__ import annotations

import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import apps
import peers
import pytest
import tap

LONG = 60  # peertimeout of one who must wait


def freeze(processes: list[peers.Process], seconds: float) -> None:
    for process in processes:
        process.signal(signal.SIGSTOP)
    time.sleep(seconds)
    for process in processes:
        process.signal(signal.SIGCONT)


class Bulk:
    """Traffic both ways until stop(), which raises what went wrong."""

    def __init__(self, port: int) -> None:
        self.error: Exception | None = None
        self.rounds = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port,))
        self._thread.start()

    def _run(self, port: int) -> None:
        while not self._end.is_set() and not self.error:
            try:
                apps.exchange(port, 1 << 20, 1 << 20, 3)
                self.rounds += 1
            except (OSError, EOFError, AssertionError) as e:
                self.error = e

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    "io,who,busy",
    [
        ("epoll", "both", True),
        ("io_uring", "both", False),
        ("io_uring", "client", True),
        ("epoll", "server", False),
    ],
)
def test_time_in_which_an_end_did_not_run(
    build: Path,
    tmp_path: Path,
    io: str,
    who: str,
    busy: bool,
    io_uring_works: bool,
    scale: float,
) -> None:
    """Longer than its own patience, shorter than that of an end that runs: no session is given up,
    no stream reset."""
    if io == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    # of one who stops; no other work on the machine may keep the other one from running so long
    short = max(3, round(1.5 * scale))
    stops = {"client": who in ("client", "both"), "server": who in ("server", "both")}
    options = {
        role: peers.Options(
            smuxver=2, io=io, more={"peertimeout": short if stops[role] else LONG, "keepalive": 2}
        )
        for role in stops
    }
    with apps.Service(apps.duplex if busy else apps.echo) as target:
        with peers.tunnel(
            build,
            tmp_path,
            target.address,
            ("ours", options["client"]),
            ("ours", options["server"]),
        ) as t:
            both = {"client": t.client, "server": t.server}
            ends = [both[role] for role in stops if stops[role]]
            if busy:
                bulk = Bulk(t.port)
                time.sleep(0.3)
                freeze(ends, short + 1.2)
                rounds = bulk.rounds
                peers.wait_for("more traffic", lambda: bulk.rounds > rounds + 1 or bulk.error, 60)
                bulk.stop()
            else:
                with apps.connect(t.port, 30) as s:
                    apps.ask(s)
                    freeze(ends, short + 1.2)
                    apps.ask(s)
            for end in (t.client, t.server):
                assert end.counters("t")["DeadPeers"] == 0
            assert t.client.counters("t")["StreamsReset"] == 0


def start_server(
    kind: str, build: Path, directory: Path, target: str, port: int, again: int = 0
) -> peers.Process:
    opt = peers.Options(smuxver=2 if kind == "ours" else 1)
    listen = f"127.0.0.1:{port}"
    if kind == "theirs":
        return peers.start_theirs("server", directory, opt, listen=listen, target=target)
    return peers.start_ours(
        "server", build, directory, opt, name=f"server-{port}-{again}", listen=listen, target=target
    )


def start_client(
    kind: str, build: Path, directory: Path, remote: str, **more: object
) -> tuple[peers.Daemon, int]:
    """One that talks to servers of that kind."""
    port = peers.free_port()
    opt = peers.Options(smuxver=2 if kind == "ours" else 1, more={**more})
    client = peers.start_ours(
        "client", build, directory, opt, localaddr=f"127.0.0.1:{port}", remoteaddr=remote
    )
    return client, port


def is_reset_within(s: socket.socket, seconds: float) -> float:
    """How long it took."""
    begin = time.monotonic()
    s.settimeout(seconds)
    with pytest.raises(ConnectionResetError):
        while s.recv(65536):
            pass
    return time.monotonic() - begin


def test_a_server_that_ends_in_order(build: Path, tmp_path: Path) -> None:
    """It says so, and an idle client is back before anybody asks."""
    server_port = peers.free_port()
    with apps.Service(apps.echo) as target:
        server = start_server("ours", build, tmp_path, target.address, server_port)
        client, port = start_client(
            "ours", build, tmp_path, f"127.0.0.1:{server_port}", peertimeout=60
        )
        with apps.connect(port) as s:
            apps.ask(s)
        server.stop()
        peers.wait_for("told", lambda: "takes no more streams" in client.log(), 5)
        server = start_server("ours", build, tmp_path, target.address, server_port, 1)
        assert isinstance(server, peers.Daemon)
        peers.wait_for("back", lambda: server.counters("t")["CurrEstab"] == 1, 20, 0.1)
        with apps.connect(port) as s:
            apps.ask(s)
        client.stop()
        server.stop()


@pytest.mark.parametrize("busy", (True, False))
@pytest.mark.parametrize("kind", ("ours", "theirs"))
def test_a_server_that_starts_again(
    build: Path, tmp_path: Path, kind: str, busy: bool, scale: float, theirs: None
) -> None:
    """Killed without a word and back at once: a stream of its former life is reset, and a session
    is there before anybody asks for one."""
    server_port = peers.free_port()
    with apps.Service(apps.source if busy else apps.echo) as target:
        server = start_server(kind, build, tmp_path, target.address, server_port)
        client, port = start_client(kind, build, tmp_path, f"127.0.0.1:{server_port}")
        with apps.connect(port) as s:
            if busy:
                apps.digest_of_stream(s, 1 << 20)
            else:
                apps.ask(s)
            server.kill()
            server = start_server(kind, build, tmp_path, target.address, server_port, 1)
            try:
                if busy:
                    s.sendall(b"x")
            except ConnectionError:
                pass  # the new one took so long to start that the reset is there already
            else:
                took = is_reset_within(s, 30 * scale)
                assert took < (5 if busy else 12) * scale
        peers.wait_for(
            "a session dialled unasked",
            lambda: client.log().count("session dialled") >= 2
            and client.counters("t")["CurrEstab"] == 1,
            10,
        )
        with apps.connect(port) as s:
            if busy:
                apps.digest_of_stream(s, 1 << 20)
            else:
                apps.ask(s)
        client.stop()
        server.stop()


def test_a_server_behind_a_way_that_is_cut(build: Path, tmp_path: Path, scale: float) -> None:
    """No ICMP tells: the client looks for another session within seconds, keeps the one it has,
    and when the way is mended in time, no stream has noticed."""
    server_port = peers.free_port()
    with apps.Service(apps.echo) as target:
        server = start_server("ours", build, tmp_path, target.address, server_port)
        way = peers.Mangler(build, tmp_path, f"127.0.0.1:{server_port}", {})
        client, port = start_client(
            "ours", build, tmp_path, f"127.0.0.1:{way.port}", peertimeout=40
        )
        with apps.connect(port, 60) as s:
            apps.ask(s)
            way.signal(signal.SIGSTOP)
            s.sendall(b"ping")
            began = time.monotonic()
            peers.wait_for("doubt", lambda: "no answer for" in client.log(), 20)
            assert time.monotonic() - began < 4 * scale
            time.sleep(1)
            way.signal(signal.SIGCONT)
            assert apps.recv_exactly(s, 4) == b"ping"
            apps.ask(s)
        assert client.counters("t")["DeadPeers"] == 0
        for process in (client, way, server):
            process.stop()


class Deaf:
    """A server that takes datagrams and says nothing."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]


def test_the_next_server_takes_over_and_gives_back(
    build: Path, tmp_path: Path, scale: float
) -> None:
    ports = [peers.free_port(), peers.free_port()]
    with apps.Service(apps.echo) as target:
        servers = [start_server("ours", build, tmp_path, target.address, p) for p in ports]
        deaf = Deaf()
        client, port = start_client(
            "ours",
            build,
            tmp_path,
            f"{deaf.address}, 127.0.0.1:{ports[0]}, 127.0.0.1:{ports[1]}",
            failback=1,
        )

        def by_the_second() -> socket.socket | None:
            s = apps.connect(port, 30)
            apps.ask(s)
            if servers[0].counters("t")["StreamsNow"]:
                return s
            s.close()  # it took so long on a busy machine that the third was asked, too
            return None

        # the first is deaf, so the second serves
        with peers.wait_for("the second", by_the_second, 20, 0.5) as s:
            servers[0].kill()
            s.sendall(b"x")
            assert is_reset_within(s, 30 * scale) < 6 * scale
        began = time.monotonic()
        with apps.connect(port, 30) as s:
            apps.ask(s)
        assert time.monotonic() - began < 4 * scale
        assert client.counters("t")["Failovers"] >= 1
        with apps.connect(port, 30) as kept:
            apps.ask(kept)
            servers[0] = start_server("ours", build, tmp_path, target.address, ports[0], 1)
            peers.wait_for(
                "back to the second",
                lambda: servers[0].counters("t")["CurrEstab"] == 1,
                30,
                0.2,
            )
            with apps.connect(port, 30) as s:
                apps.ask(s)
                assert servers[0].counters("t")["StreamsNow"] == 1
                apps.ask(kept)  # its session goes on
                assert servers[1].counters("t")["StreamsNow"] == 1
        peers.wait_for(
            "the session of the third ends with its stream",
            lambda: client.counters("t")["CurrEstab"] <= 2
            and "it gets no more" in client.log(),
            20,
            0.2,
        )
        client.stop()
        for server in servers:
            server.stop()
        deaf.socket.close()


def test_nobody_answers(build: Path, tmp_path: Path, scale: float) -> None:
    """Connections are let go after dialtimeout; the client ends in time all the same."""
    deaf = Deaf()
    client, port = start_client(
        "ours", build, tmp_path, f"{deaf.address}, 127.0.0.1:{peers.free_port()}", dialtimeout=1
    )
    with apps.connect(port, 30) as s:
        is_reset_within(s, 20 * scale)
    assert client.counters("t")["DialErrors"] == 1
    client.stop()
    deaf.socket.close()


def test_kick_at_a_server(build: Path, tmp_path: Path) -> None:
    """The client of an idle session learns of it at once, even if what the session itself had to
    say is lost."""
    port, server_port = peers.free_port(), peers.free_port()
    opt = peers.Options(
        crypt="null", datashard=0, parityshard=0, more={"peertimeout": 600, "keepalive": 29}
    )
    with apps.Service(apps.echo) as target, tap.Tap(server_port) as way, ExitStack() as stack:
        far = {"listen": f"127.0.0.1:{server_port}", "target": target.address}
        near = {"localaddr": f"127.0.0.1:{port}", "remoteaddr": f"127.0.0.1:{way.port}"}
        server = peers.start_ours("server", build, tmp_path, opt, **far)
        stack.callback(server.discard)
        client = peers.start_ours("client", build, tmp_path, opt, **near)
        stack.callback(client.discard)
        with apps.connect(port) as s:
            s.settimeout(20)  # less than the keepalive
            apps.ask(s)
            server.wait_acknowledged()
            client.wait_acknowledged()
            time.sleep(2)  # while it is new, or busy, it asks by itself
            way.lets = lambda up, data: up or not any(tap.segments(data))
            (session,) = server.request("sessions")["sessions"]
            assert server.ctl("kick", session["id"]).returncode == 0
            with pytest.raises(ConnectionResetError):
                s.recv(1)
        assert client.counters("t")["DeadPeers"] == 1


@pytest.mark.parametrize("how", ("ends", "killed", "killed with a stream"))
def test_a_client_that_goes(build: Path, tmp_path: Path, how: str, scale: float) -> None:
    """One that ends says so, and its server's sessions end at once. Whoever goes without a word is
    missed by those alone whose streams it leaves open."""
    server_port = peers.free_port()
    patience = 3600 if how == "ends" else max(3, round(1.5 * scale))
    opt = peers.Options(smuxver=2, more={"peertimeout": patience})
    with apps.Service(apps.echo) as target:
        near = f"127.0.0.1:{server_port}"
        far = {"listen": near, "target": target.address}
        server = peers.start_ours("server", build, tmp_path, opt, **far)
        client, port = start_client("ours", build, tmp_path, near)
        with apps.connect(port) as s:
            apps.ask(s)
            if how == "killed with a stream":
                client.discard()
        if how != "killed with a stream":
            for end in (client, server):
                peers.wait_for("idle", lambda d=end: not d.counters("t")["StreamsNow"], 20)
                end.wait_acknowledged()
            client.stop() if how == "ends" else client.discard()
        peers.wait_for("the end", lambda: not server.counters("t")["CurrEstab"], 60 * scale, 0.1)
        missed = how == "killed with a stream"
        assert server.counters("t")["DeadPeers"] == missed
        ended = [line for line in server.log().splitlines() if "session ended" in line]
        assert len(ended) == 1 and (" warning: " in ended[0]) == missed, ended
        assert ("its client needs it no more" in ended[0]) == (how == "ends")
        server.stop()
