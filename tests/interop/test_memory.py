"""tests/interop/test_memory.py - what a burst of sessions took is given back."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from pathlib import Path

import peers
import pytest
from test_process import client_section, server_section

SESSIONS, AT_ONCE = 4000, 250
SLACK = 4 << 20
FILES = 4 * SESSIONS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Sanitizers keep what is freed, and their builds run the small matrix."""
    small = metafunc.config.getoption("--matrix") == "small"
    metafunc.parametrize("workers", [] if small else [1, 2])


class Holder:
    """A service that accepts, reads nothing and keeps every connection."""

    def __init__(self) -> None:
        self.held: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.held.append(self.listener.accept()[0])

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for s in self.held:
            s.close()


def resident(daemon: peers.Daemon) -> int:
    pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_memory_returns_after_a_burst(build: Path, tmp_path: Path, workers: int) -> None:
    """4000 sessions with a stream each come and go. Within a minute the server holds what it held
    before, and a fifth of that or 4 MiB more at most."""
    had = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(had[0], FILES), max(had[1], FILES)))
    port, server_port = peers.free_port(), peers.free_port()
    target = Holder()
    common = {"global": {"workers": workers, "loglevel": "warning"}}
    server = {"maxsessionspersource": 0, "sockbuf": 65536}
    client = {"conn": SESSIONS, "sockbuf": 65536}
    sections = {"server s": server_section(server_port, target.address, **server)}
    server = peers.Daemon(build, tmp_path, "server", {**common, **sections})
    sections = {"client c": client_section(port, server_port, **client)}
    client = peers.Daemon(build, tmp_path, "client", {**common, **sections})
    before = resident(server)

    local: list[socket.socket] = []
    while len(local) < SESSIONS:  # more at once, and a busy machine lets them wait for too long
        for _ in range(AT_ONCE):
            local.append(socket.create_connection(("127.0.0.1", port)))
            local[-1].sendall(b"hello")
        peers.wait_for("sessions", lambda: len(target.held) == len(local), 60)
    peak = resident(server)
    for s in local:
        s.close()
    target.close()
    client.kill()
    gone = lambda: not server.counters("s")["CurrEstab"]  # noqa: E731
    peers.wait_for("the sessions' end", gone, 60, 0.5)
    bound = before + max(before // 5, SLACK)
    assert peak > bound, "a burst that shows nothing"
    peers.wait_for("memory to come back", lambda: resident(server) <= bound, 60, 0.5)
    server.stop()
    client.discard()
    resource.setrlimit(resource.RLIMIT_NOFILE, had)
