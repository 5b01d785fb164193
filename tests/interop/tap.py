"""tests/interop/tap.py - a relay for UDP that writes down what passes, and how: for tests that look
at the wire. With crypt = null it can read the segments of KCP."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SEGMENT = struct.Struct("<IBBHIIII")
PUSH = 81


@dataclass
class Passed:
    at: float
    up: bool
    data: bytes
    tos: int  # the whole octet: DSCP and ECN


def _receive(s: socket.socket) -> tuple[bytes, int, tuple[str, int]]:
    data, control, _, source = s.recvmsg(65536, 64)
    tos = -1
    for level, kind, value in control:
        if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS):
            tos = value[0]
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_TCLASS):
            tos = int.from_bytes(value, "little")
    return data, tos, source


def _udp(family: int) -> socket.socket:
    s = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
    return s


class Tap:
    """Relays between its own port and host:to; every address that sends gets a socket of its own
    toward there."""

    def __init__(self, to: int, host: str = "127.0.0.1") -> None:
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.to = (host, to)
        self.passed: list[Passed] = []
        self.lets: Callable[[bool, bytes], bool] = lambda up, data: True  # else it is lost
        self.near = _udp(self.family)
        self.near.bind((host, 0))
        self.port: int = self.near.getsockname()[1]
        self._far: dict[tuple[str, int], socket.socket] = {}
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with selectors.DefaultSelector() as sel:
            sel.register(self.near, selectors.EVENT_READ)
            while not self._stop:
                for key, _ in sel.select(0.1):
                    self._pass(sel, key.fileobj, key.data)  # type: ignore[arg-type]

    def _pass(self, sel: selectors.BaseSelector, s: socket.socket, back: tuple[str, int]) -> None:
        try:
            data, tos, source = _receive(s)
        except OSError:
            return
        self.passed.append(Passed(time.monotonic(), s is self.near, data, tos))
        if not self.lets(s is self.near, data):
            return
        try:
            if s is not self.near:
                self.near.sendto(data, back)
                return
            far = self._far.get(source)
            if far is None:
                far = self._far[source] = _udp(self.family)
                far.connect(self.to)
                sel.register(far, selectors.EVENT_READ, source)
            far.send(data)
        except OSError:
            pass

    def between(self, up: bool) -> list[Passed]:
        return [p for p in list(self.passed) if p.up is up]

    def stream(self, up: bool) -> bytes:
        """What KCP carried one way, in order: crypt null, no FEC, one conversation."""
        parts: dict[int, bytes] = {}
        for p in self.between(up):
            for sn, data in segments(p.data):
                parts[sn] = data
        return b"".join(parts[sn] for sn in sorted(parts))

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._thread.join(5)
        for s in (self.near, *self._far.values()):
            s.close()


def segments(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """sn and payload of the PUSH segments."""
    at = 0
    while at + SEGMENT.size <= len(datagram):
        _, cmd, _, _, _, sn, _, size = SEGMENT.unpack_from(datagram, at)
        at += SEGMENT.size
        if cmd == PUSH:
            yield sn, datagram[at : at + size]
        at += size


def frames(stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Command, length and stream id of the frames of smux."""
    at = 0
    while at + 8 <= len(stream):
        _, cmd, size, sid = struct.unpack_from("<BBHI", stream, at)
        yield cmd, size, sid
        at += 8 + size
