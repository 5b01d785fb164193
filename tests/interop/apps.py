"""tests/interop/apps.py - the applications at the two outer ends of a tunnel: target services and
what talks to them.

The bulk protocol needs no half-close, since the packaged peer has none: the client says how much
goes each way, both directions run at once, and each side checks the SHA-256 of what it got before
anybody closes.
"""

from __future__ import annotations

import functools
import hashlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pace

CHUNK = 256 * 1024
HEADER = struct.Struct("<QQQ")  # bytes up, bytes down, seed
LINGER_RESET = struct.pack("ii", 1, 0)
TIMEOUT_S = 60.0


@functools.lru_cache(maxsize=64)
def content(seed: int, size: int) -> bytes:
    """Bytes that are half noise, half repetition: compression has something to do and something to
    leave alone."""
    rng = random.Random(seed)
    out = bytearray()
    while len(out) < size:
        out += rng.randbytes(min(48 * 1024, size - len(out)))
        out += (b"%08d once more " % rng.randrange(10**8)) * rng.randrange(1, 2048)
    return bytes(out[:size])


def recv_exactly(s: socket.socket, size: int) -> bytes:
    """size bytes, or EOFError saying how far it got."""
    out = bytearray(size)
    view, got = memoryview(out), 0
    while got < size:
        n = s.recv_into(view[got:])
        if n == 0:
            raise EOFError(f"end after {got} of {size} bytes")
        got += n
    return bytes(out)


def recv_all(s: socket.socket) -> bytes:
    """Everything up to end-of-file."""
    parts = []
    while part := s.recv(CHUNK):
        parts.append(part)
    return b"".join(parts)


def digest_of_stream(s: socket.socket, size: int) -> bytes:
    """SHA-256 of the next size bytes, read in big pieces."""
    digest, buffer = hashlib.sha256(), bytearray(CHUNK)
    view = memoryview(buffer)
    while size:
        n = s.recv_into(view[: min(size, CHUNK)])
        if n == 0:
            raise EOFError(f"end with {size} bytes missing")
        digest.update(view[:n])
        size -= n
    return digest.digest()


def reset(s: socket.socket) -> None:
    """Closes with a RST instead of a FIN."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    s.close()


class Service:
    """A TCP (or unix) server in threads. handler(socket) runs once per connection; its errors are
    kept."""

    def __init__(
        self, handler: Callable[[socket.socket], None], path: Path | None = None, rcvbuf: int = 0
    ) -> None:
        self.handler = handler
        self.errors: list[BaseException] = []
        self.accepted = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        family = socket.AF_UNIX if path else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        if rcvbuf:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.listener.bind(str(path) if path else ("127.0.0.1", 0))
        self.listener.listen(512)
        self.address = str(path) if path else "127.0.0.1:%d" % self.listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with self._lock:
                self.accepted += 1
                self._open.add(s)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s: socket.socket) -> None:
        try:
            if s.family == socket.AF_INET:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.handler(s)
        except Exception as e:  # pylint: disable=broad-except
            self.errors.append(e)
        finally:
            with self._lock:
                self._open.discard(s)
            s.close()

    def open_now(self) -> int:
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        """Stops accepting and ends what is open (shutdown wakes a thread that sits in recv)."""
        for s in (self.listener, *self._snapshot()):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.close()
        self._thread.join(5)

    def _snapshot(self) -> list[socket.socket]:
        with self._lock:
            return list(self._open)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- handlers


def echo(s: socket.socket) -> None:
    while part := s.recv(CHUNK):
        s.sendall(part)


def duplex(s: socket.socket) -> None:
    """The far side of exchange()."""
    up, down, seed = HEADER.unpack(recv_exactly(s, HEADER.size))
    sender = threading.Thread(target=_send_quietly, args=(s, content(seed + 1, down)), daemon=True)
    sender.start()
    digest = digest_of_stream(s, up)
    sender.join()
    s.sendall(digest)
    s.recv(1)  # the client closes first


def _send_quietly(s: socket.socket, data: bytes) -> None:
    try:
        s.sendall(data)
    except OSError:
        pass  # the reader of this socket sees the same end and reports it


def half_close(s: socket.socket) -> None:
    """Reads to end-of-file, only then answers with the digest and the size."""
    digest, size = hashlib.sha256(), 0
    while part := s.recv(CHUNK):
        digest.update(part)
        size += len(part)
    s.sendall(digest.digest() + struct.pack("<Q", size))


def source(s: socket.socket) -> None:
    """Sends as long as anybody takes it."""
    block = bytes(CHUNK)
    try:
        while True:
            s.sendall(block)
    except OSError:
        pass


def sink(s: socket.socket) -> None:
    try:
        while s.recv(CHUNK):
            pass
    except OSError:
        pass


# --- what talks to them


def connect(port: int, timeout: float = TIMEOUT_S, rcvbuf: int = 0) -> socket.socket:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if rcvbuf:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    s.settimeout(pace.limit(timeout))
    s.connect(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def ask(s: socket.socket, question: bytes = b"ping") -> None:
    """One round trip through an echo target."""
    s.sendall(question)
    answer = recv_exactly(s, len(question))
    assert answer == question, "echo came back changed"


def exchange(port: int, up: int, down: int, seed: int, timeout: float = TIMEOUT_S) -> None:
    """up bytes there and down bytes back at once through a duplex target; raises unless both
    arrive unchanged."""
    data = content(seed, up)
    with connect(port, timeout) as s:
        s.sendall(HEADER.pack(up, down, seed))
        sender = threading.Thread(target=_send_quietly, args=(s, data), daemon=True)
        sender.start()
        got = digest_of_stream(s, down)
        sender.join(pace.limit(timeout))
        answer = recv_exactly(s, 32)
    assert (
        got == hashlib.sha256(content(seed + 1, down)).digest()
    ), f"bytes on the way back differ (seed {seed})"
    assert answer == hashlib.sha256(data).digest(), f"bytes on the way there differ (seed {seed})"


@dataclass
class Load:
    """One run of the matrix: bulk each way, then many short streams."""

    bulk: int = 8 << 20
    short_streams: int = 100
    parallel: int = 10
    timeout: float = TIMEOUT_S


def run_load(port: int, load: Load, seed: int = 7) -> float:
    """Seconds the bulk exchange took."""
    start = time.monotonic()
    exchange(port, load.bulk, load.bulk, seed, load.timeout)
    took = time.monotonic() - start
    rng = random.Random(seed)
    jobs = [
        (rng.randrange(1, 6000), rng.randrange(1, 6000), rng.randrange(1 << 30))
        for _ in range(load.short_streams)
    ]
    with ThreadPoolExecutor(load.parallel) as pool:
        for done in [
            pool.submit(exchange, port, up, down, s, load.timeout) for up, down, s in jobs
        ]:
            done.result()
    return took
