"""tests/interop/test_tcp.py - `tcp = true`: datagrams as TCP segments, in namespaces joined by a
veth pair, beside the packaged peer in both roles, and what the kernel's own TCP adds: nothing."""

from __future__ import annotations

import math
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apps
import pace
import peers
import pytest
from netns import Net, run

HOSTS = {4: ("10.94.0.1", "10.94.0.2"), 6: ("fd94::1", "fd94::2")}
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
NO_RAW = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")


@contextmanager
def wired() -> Iterator[Net]:
    with Net("c", "s") as net:
        net.wire("c", "eth", "10.94.0.1/24", "s", "eth", "10.94.0.2/24")
        for name, address in zip("cs", HOSTS[6]):
            net.ip(name, f"addr add {address}/64 dev eth nodad")
        yield net


def at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Pair:
    """A tunnel between the namespaces; either end ours or theirs, to be started at will."""

    def __init__(self, net: Net, build: Path, directory: Path, ip: int = 4, **more: Any) -> None:
        self.net, self.build, self.directory, self.host = net, build, directory, HOSTS[ip][1]
        self.port, self.server_port = peers.free_port(), peers.free_port()
        self.target = net.within("s", lambda: apps.Service(apps.duplex))
        self.common = {**peers.Options(smuxver=1).common(), "tcp": True, **more}
        self.ours_only = {"peertimeout": math.ceil(pace.limit(3))}
        self.starts = 0

    def _ours(
        self, role: str, keys: dict[str, Any], io: str, workers: int, via: tuple[str, ...]
    ) -> peers.Daemon:
        self.starts += 1
        daemon = peers.Daemon(
            self.build,
            self.directory,
            f"{role}{self.starts}",
            {
                "global": {"io": io, "workers": workers, "watch": False},
                f"{role} t": {**self.common, **self.ours_only, **keys},
            },
            wait=False,
            via=self.net.via("cs"[role == "server"]) + via,
        )
        daemon.wait_until("its log", lambda: "is ready" in daemon.log())
        return daemon

    def server(
        self, io: str = "auto", workers: int = 2, via: tuple[str, ...] = (), **keys: Any
    ) -> peers.Daemon:
        addresses = {"listen": f":{self.server_port}", "target": self.target.address}
        return self._ours("server", {**addresses, **keys}, io, workers, via)

    def client(
        self, io: str = "auto", workers: int = 1, via: tuple[str, ...] = (), **keys: Any
    ) -> peers.Daemon:
        addresses = {
            "localaddr": f"127.0.0.1:{self.port}",
            "remoteaddr": at(self.host, self.server_port),
        }
        return self._ours("client", {**addresses, **keys}, io, workers, via)

    def theirs(self, role: str) -> peers.TheirProcess:
        argv = [*self.net.via("cs"[role == "server"]), f"kcptun-{role}"]
        if role == "server":
            argv += ["-l", f":{self.server_port}", "-t", self.target.address]
        else:
            argv += ["-l", f"127.0.0.1:{self.port}", "-r", at(self.host, self.server_port)]
        for name, value in self.common.items():
            if isinstance(value, bool):
                argv += [f"--{name}"] if value else []
            else:
                argv += [f"--{name}", str(value)]
        process = peers.TheirProcess(f"theirs-{role}", argv, self.directory / f"theirs-{role}.log")
        process.wait_until("its log", lambda: "listening on" in process.log().lower())
        return process

    def load(self, load: apps.Load) -> None:
        self.net.within("c", lambda: apps.run_load(self.port, load))

    def exchange(self, size: int = 100_000, timeout: float = 30) -> None:
        self.net.within("c", lambda: apps.exchange(self.port, size, size, 3, timeout))

    def connections(self, name: str) -> int:
        """Of the kernel, at the server's port."""
        lines = run(*self.net.via(name), "ss", "-Htn", "state", "established").splitlines()
        return sum(f":{self.server_port} " in line + " " for line in lines)

    def raw_sockets(self, name: str) -> int:
        return len(run(*self.net.via(name), "ss", "-Hawn").splitlines())


@dataclass
class Segment:
    up: bool
    flags: int
    head: int  # bytes of its header
    payload: int
    intact: bool


def _words(data: bytes) -> int:
    data += bytes(len(data) % 2)
    return sum(struct.unpack(f">{len(data) // 2}H", data))


def parse(frame: bytes, port: int) -> Segment | str | None:
    """An Ethernet frame: a segment of the port, "udp" or nothing of interest."""
    if frame[12:14] == b"\x08\x00":
        size = struct.unpack(">H", frame[16:18])[0]
        proto, addresses = frame[23], frame[26:34]
        body = frame[14 + (frame[14] & 15) * 4 : 14 + size]
    elif frame[12:14] == b"\x86\xdd":
        proto, addresses, body = frame[20], frame[22:54], frame[54:]
    else:
        return None
    if proto != socket.IPPROTO_TCP:
        return "udp" if proto == socket.IPPROTO_UDP else None
    source, to = struct.unpack(">HH", body[:4])
    if port not in (source, to):
        return None
    head = (body[12] >> 4) * 4
    whole = _words(addresses) + proto + len(body) + _words(body)
    return Segment(to == port, body[13] & 31, head, len(body) - head, whole % 0xFFFF == 0)


class Capture:
    """All that passes the link of a namespace."""

    def __init__(self, net: Net, name: str, port: int) -> None:
        self.socket = net.within(name, self._open)
        self.port = port
        self.segments: list[Segment] = []
        self.udp = 0
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @staticmethod
    def _open() -> socket.socket:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        s.bind(("eth", 0))
        s.settimeout(0.05)
        return s

    def _run(self) -> None:
        while True:
            try:
                found = parse(self.socket.recv(65536), self.port)
            except TimeoutError:
                if self._stop:
                    return
                continue
            if found == "udp":
                self.udp += 1
            elif isinstance(found, Segment):
                self.segments.append(found)

    def end(self) -> list[Segment]:
        self._stop = True
        self._thread.join(20)
        self.socket.close()
        return self.segments


KINDS = [
    ("ours", "ours", 4, "epoll"),
    ("ours", "ours", 6, "io_uring"),
    ("ours", "theirs", 4, "io_uring"),
    ("ours", "theirs", 6, "epoll"),
    ("theirs", "ours", 4, "epoll"),
    ("theirs", "ours", 6, "io_uring"),
]


@pytest.mark.parametrize("near,far,ip,io", KINDS)
def test_bulk_and_short_streams(
    build: Path,
    tmp_path: Path,
    near: str,
    far: str,
    ip: int,
    io: str,
    io_uring_works: bool,
    theirs: None,
) -> None:
    io = io if io_uring_works else "epoll"
    with wired() as net:
        pair = Pair(net, build, tmp_path, ip)
        server = pair.server(io) if far == "ours" else pair.theirs("server")
        capture = Capture(net, "c", pair.server_port)
        client = pair.client(io) if near == "ours" else pair.theirs("client")
        pair.load(apps.Load(bulk=2 << 20))
        seen = capture.end()
        assert not capture.udp, "datagrams beside the segments"
        assert len(seen) > 2000 and all(s.intact for s in seen if s.payload)
        if near == far:
            # The kernels shook hands, and have been silent since.
            assert [(s.up, s.flags) for s in seen if not s.payload] == [
                (True, SYN),
                (False, SYN | ACK),
                (True, ACK),
            ]
            assert all((s.flags, s.head) == (PSH | ACK, 32) for s in seen if s.payload)
        for process in (client, server):
            process.stop()
        pair.target.close()


def test_udp_and_tcp_at_one_port(build: Path, tmp_path: Path, theirs: None) -> None:
    """A server serves both kinds of clients; sessions of one worker go by the raw socket of
    another."""
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server = pair.server(workers=3)
        clients = [pair.client(workers=2, conn=4)]
        pair.load(apps.Load(bulk=1 << 20, short_streams=30))
        assert pair.connections("s") == 4
        assert server.counters("t")["HandedOver"] > 0
        pair.port, pair.common["tcp"] = peers.free_port(), False
        clients.append(pair.client())
        pair.load(apps.Load(bulk=1 << 20, short_streams=10))
        pair.port = peers.free_port()
        clients.append(pair.theirs("client"))
        pair.load(apps.Load(bulk=1 << 20, short_streams=10))
        assert pair.connections("s") == 4
        for client in clients:
            client.stop()
        peers.wait_for("the connections' end", lambda: not pair.connections("s"), 10)
        server.stop()
        pair.target.close()


def rules(net: Net, name: str) -> str:
    """What a firewall there would do, by either of its programs."""
    return run(*net.via(name), "nft", "list", "ruleset") + "".join(
        line for line in run(*net.via(name), "iptables-save").splitlines() if line.startswith("-A")
    )


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGKILL))
def test_a_server_that_comes_back(
    build: Path, tmp_path: Path, how: signal.Signals, scale: float
) -> None:
    """The client sees its connection end and dials anew; nothing is left of the old one."""
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server = pair.server()
        client = pair.client()
        pair.exchange()
        dials = client.log().count("session dialled")
        server.signal(how)
        server.wait(20)
        # By the end of the connection; a server that was told to end may have said so before.
        peers.wait_for(
            "another dial", lambda: client.log().count("session dialled") > dials, 10
        )
        assert how == signal.SIGTERM or "has ended the connection" in client.log()
        assert not rules(net, "s") and not rules(net, "c")
        again = pair.server()
        began = time.monotonic()
        pair.exchange()
        assert time.monotonic() - began < 15 * scale
        assert pair.connections("s") == 1
        assert not rules(net, "s") and not rules(net, "c")
        client.stop()
        again.stop()
        pair.target.close()


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGKILL))
def test_a_client_that_comes_back(build: Path, tmp_path: Path, how: signal.Signals) -> None:
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server = pair.server()
        client = pair.client()
        pair.exchange()
        client.signal(how)
        client.wait(20)
        peers.wait_for("the connection's end", lambda: not pair.connections("s"), 10)
        again = pair.client()
        pair.exchange()
        assert pair.connections("s") == 1
        again.stop()
        server.stop()
        pair.target.close()


def test_an_upgrade(build: Path, tmp_path: Path) -> None:
    """The old process finishes what it has by raw sockets of its own; what is new is the new
    one's."""
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server, client = pair.server(), pair.client()
        with net.within("c", lambda: apps.connect(pair.port)) as s:
            s.sendall(apps.HEADER.pack(1000, 1000, 3))
            assert apps.recv_exactly(s, 1000) == apps.content(4, 1000)
            done = server.ctl("upgrade", timeout=40)
            assert done.returncode == 0, done.stderr + server.tail()
            s.sendall(apps.content(3, 1000))
            apps.recv_exactly(s, 32)
            pair.exchange()
        pair.exchange()
        server.wait(30)
        pair.exchange()
        client.stop()
        run(*net.via("s"), "kill", str(server.request("status")["pid"]))
        server.check_log()
        pair.target.close()


def test_nobody_listens(build: Path, tmp_path: Path) -> None:
    """Against a server without tcp: refused, told, tried again; the local connection waits."""
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server = pair.server(tcp=False)
        client = pair.client()
        with net.within("c", lambda: apps.connect(pair.port)) as s:
            peers.wait_for("the reason", lambda: "Connection refused" in client.log(), 10)
            server.stop()
            server = pair.server()
            s.sendall(apps.HEADER.pack(0, 3, 1))
            assert apps.recv_exactly(s, 3) == apps.content(2, 3)
        client.stop()
        server.stop()
        pair.target.close()


def test_without_the_capability(build: Path, tmp_path: Path) -> None:
    """The server says what it needs and serves UDP, the client says so and tries again."""
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server = pair.server(via=NO_RAW)
        assert "error: t: tcp = true needs the capability CAP_NET_RAW" in server.log()
        assert "only UDP is served" in server.log()
        assert not pair.raw_sockets("s")
        client = pair.client(tcp=False)
        pair.exchange()
        pair.port = peers.free_port()
        refused = pair.client(via=NO_RAW)
        with net.within("c", lambda: apps.connect(pair.port)):
            peers.wait_for(
                "the reason",
                lambda: "tcp = true needs the capability CAP_NET_RAW" in refused.log(),
                10,
            )
        for process in (client, refused, server):
            process.stop()
        pair.target.close()


def test_the_drop_in_gives_enough(build: Path, tmp_path: Path) -> None:
    """The capabilities of the unit's drop-in, and no others."""
    drop_in = Path(__file__).resolve().parents[2] / "packaging/systemd/raw-sockets.conf"
    line = re.search(r"^AmbientCapabilities=(.*)$", drop_in.read_text(), re.M)
    assert line
    names = ",".join("+" + name.lower().removeprefix("cap_") for name in line.group(1).split())
    via = ("setpriv", f"--bounding-set=-all,{names}")
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server, client = pair.server(via=via), pair.client(via=via)
        pair.exchange()
        assert pair.connections("s")
        for process in (client, server):
            process.stop()
        pair.target.close()


def test_a_profile_that_changes_and_goes(build: Path, tmp_path: Path) -> None:
    """tcp comes and goes with a reload, and the sockets with it."""
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server, client = pair.server(tcp=False, workers=2), pair.client(tcp=False)
        pair.exchange()

        def say(daemon: peers.Daemon, section: str | None, **keys: Any) -> None:
            sections = {k: v for k, v in daemon.sections.items() if k == "global" or section}
            if section:
                sections[section] = {**sections[section], **keys}
            daemon.conf_path.write_text(peers.ini(sections))
            done = daemon.ctl("reload")
            assert done.returncode == 0, done.stdout + done.stderr

        assert not pair.raw_sockets("s")
        say(server, "server t", tcp=True)
        assert pair.raw_sockets("s") == 4
        say(client, "client t", tcp=True)
        pair.exchange()
        peers.wait_for("a connection", lambda: pair.connections("s") == 1, 10)
        pair.exchange()
        say(server, "server t", tcp=True, listen=f":{pair.server_port}-{pair.server_port + 1}")
        pair.exchange()
        say(client, "client t", tcp=False)
        pair.exchange()
        peers.wait_for("UDP", lambda: not pair.connections("s"), 10)
        say(server, "server t", tcp=False)
        peers.wait_for("their end", lambda: not pair.raw_sockets("s"), 10)
        pair.exchange()
        say(server, "server t", tcp=True)
        say(client, None)
        say(server, None)
        peers.wait_for("their end", lambda: not pair.raw_sockets("s"), 20)
        for process in (client, server):
            process.stop()
        pair.target.close()


def test_dscp_source_and_one_address(build: Path, tmp_path: Path) -> None:
    """The raw sockets and the connection follow bind, interface, dscp and sockbuf."""
    with wired() as net:
        net.ip("c", "addr add 10.94.0.77/24 dev eth")
        pair = Pair(net, build, tmp_path)
        server = pair.server(listen=at(pair.host, pair.server_port), dscp=46)
        assert pair.raw_sockets("s") == 2
        client = pair.client(bind="10.94.0.77", interface="eth", dscp=10)
        tos: dict[str, set[int]] = {"up": set(), "down": set()}
        s = net.within("c", Capture._open)
        pair.exchange()
        end = time.monotonic() + 20
        while not (tos["up"] and tos["down"]) and time.monotonic() < end:
            frame = s.recv(65536)
            found = parse(frame, pair.server_port)
            if isinstance(found, Segment) and found.payload:
                tos["up" if found.up else "down"].add(frame[15])
                assert socket.inet_aton("10.94.0.77") in (frame[26:30], frame[30:34])
        s.close()
        assert tos == {"up": {10 << 2}, "down": {46 << 2}}
        client.stop()
        server.stop()
        pair.target.close()


def test_connections_without_segments_go(build: Path, tmp_path: Path, scale: float) -> None:
    with wired() as net:
        pair = Pair(net, build, tmp_path)
        server, client = pair.server(), pair.client()
        pair.exchange()
        s = net.within("c", lambda: socket.create_connection((pair.host, pair.server_port)))
        assert pair.connections("s") == 2
        s.settimeout(30 * scale)
        assert s.recv(1) == b""
        s.close()
        assert pair.connections("s") == 1
        client.stop()
        server.stop()
        pair.target.close()
