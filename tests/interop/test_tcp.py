"""tests/interop/test_tcp.py - `tcp = true`: datagrams as TCP segments, in namespaces joined by a
veth pair, beside the packaged peer in both roles, and what the kernel's own TCP adds: nothing."""

from __future__ import annotations

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
        self.starts = 0

    def _ours(self, role: str, keys: dict[str, Any], io: str, workers: int, via: tuple[str, ...]) -> peers.Daemon:
        self.starts += 1
        daemon = peers.Daemon(
            self.build,
            self.directory,
            f"{role}{self.starts}",
            {"global": {"io": io, "workers": workers, "loglevel": "debug"}, f"{role} t": {**self.common, **keys}},
            wait=False,
            via=self.net.via("cs"[role == "server"]) + via,
        )
        daemon.wait_until("its log", lambda: "is ready" in daemon.log())
        return daemon

    def server(self, io: str = "auto", workers: int = 2, via: tuple[str, ...] = (), **keys: Any) -> peers.Daemon:
        addresses = {"listen": f":{self.server_port}", "target": self.target.address}
        return self._ours("server", {**addresses, **keys}, io, workers, via)

    def client(self, io: str = "auto", workers: int = 1, via: tuple[str, ...] = (), **keys: Any) -> peers.Daemon:
        addresses = {"localaddr": f"127.0.0.1:{self.port}", "remoteaddr": at(self.host, self.server_port)}
        return self._ours("client", {**addresses, **keys}, io, workers, via)

    def theirs(self, role: str) -> peers.TheirProcess:
        argv = [*self.net.via("cs"[role == "server"]), f"kcptun-{role}"]
        if role == "server":
            argv += ["-l", f":{self.server_port}", "-t", self.target.address]
        else:
            argv += ["-l", f"127.0.0.1:{self.port}", "-r", at(self.host, self.server_port)]
        for name, value in self.common.items():
            argv += [f"--{name}"] if value is True else [] if value is False else [f"--{name}", str(value)]
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
        return len(run(*self.net.via(name), "ss", "-Hwn").splitlines())


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
    build: Path, tmp_path: Path, near: str, far: str, ip: int, io: str, io_uring_works: bool, theirs: None
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
            assert client.counters("t")["RetransSegs"] < 50
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
