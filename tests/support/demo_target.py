#!/usr/bin/env python3
"""tests/support/demo_target.py - the TCP service behind the tunnel of tools/demo, and its customer.

demo_target.py serve PORT       "put N\\n" and N bytes: answers their SHA-256;
                                "upper TEXT\\n": answers TEXT in capitals. Until killed.
demo_target.py put PORT FILE    sends FILE through PORT, compares the SHA-256, prints the rate
demo_target.py upper PORT TEXT  prints the answer and how long it took
"""

from __future__ import annotations

import hashlib
import socket
import socketserver
import sys
import time
from pathlib import Path

CHUNK = 1 << 18


class Target(socketserver.StreamRequestHandler):
    """One connection, any number of requests."""

    def handle(self) -> None:
        while line := self.rfile.readline(4096).decode(errors="replace"):
            command, _, rest = line.rstrip("\n").partition(" ")
            if command == "put" and rest.isdigit():
                self.wfile.write((self.swallow(int(rest)) + "\n").encode())
            elif command == "upper":
                self.wfile.write((rest.upper() + "\n").encode())
            else:
                return

    def swallow(self, size: int) -> str:
        digest = hashlib.sha256()
        while size:
            part = self.rfile.read(min(size, CHUNK))
            if not part:
                break
            digest.update(part)
            size -= len(part)
        return digest.hexdigest()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def connect(port: int) -> socket.socket:
    s = socket.create_connection(("127.0.0.1", port), 60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def put(port: int, path: Path) -> int:
    size, digest = path.stat().st_size, hashlib.sha256()
    with path.open("rb") as f:
        while part := f.read(CHUNK):
            digest.update(part)
    with connect(port) as s, path.open("rb") as f:
        start = time.monotonic()
        s.sendall(f"put {size}\n".encode())
        s.sendfile(f)
        answer = s.makefile().readline().strip()
        took = time.monotonic() - start
    print(f"sent     {size} bytes, SHA-256 {digest.hexdigest()}")
    print(f"received by the target:  SHA-256 {answer or '(nothing)'}")
    if answer != digest.hexdigest():
        print("the two differ", file=sys.stderr)
        return 1
    print(f"{size / 1e6 / took:.0f} MB/s ({took:.2f} s)")
    return 0


def upper(port: int, text: str) -> int:
    with connect(port) as s:
        start = time.monotonic()
        s.sendall(f"upper {text}\n".encode())
        answer = s.makefile().readline().strip()
        took = time.monotonic() - start
    print(f"{text} -> {answer or '(nothing)'} in {took * 1000:.1f} ms")
    return 0 if answer == text.upper() else 1


def main() -> int:
    command, port = sys.argv[1], int(sys.argv[2])
    if command == "serve":
        with Server(("127.0.0.1", port), Target) as server:
            server.serve_forever()
        return 0
    if command == "put":
        return put(port, Path(sys.argv[3]))
    return upper(port, sys.argv[3])


if __name__ == "__main__":
    sys.exit(main())
