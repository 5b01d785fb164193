"""tests/interop/test_upgrade.py - a new process takes the service over while everything goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apps
import peers
import pytest
from test_process import client_section, one_pair, server_section

PIECE = bytes(range(256)) * 64


def alive(pid: int) -> bool:
    """Whether it runs: a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Service(peers.Daemon):
    """A daemon and the processes that came of it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.pids = [self.pid]

    def now(self) -> int:
        return self.request("status")["pid"]

    def upgrade(self) -> int:
        done = self.ctl("upgrade", "--json", timeout=40)
        assert done.returncode == 0, done.stderr + self.tail()
        self.pids.append(json.loads(done.stdout)["pid"])
        assert self.now() == self.pids[-1], self.tail()
        return self.pids[-1]

    def finishing(self) -> list[dict[str, int]]:
        return self.request("status")["finishing"]

    def wait_finished(self, seconds: float) -> None:
        """All but the newest process end by themselves."""
        peers.wait_for("old processes to end", lambda: not self.olds(), seconds, 0.05)
        peers.wait_for("their end to be told", lambda: not self.finishing(), 10)

    def olds(self) -> list[int]:
        return [pid for pid in self.pids[:-1] if alive(pid)]

    def end(self) -> None:
        """An orderly end of the newest, which ends the others."""
        os.kill(self.pids[-1], signal.SIGTERM)
        peers.wait_for("all to end", lambda: not any(map(alive, self.pids)), 20, 0.05)
        self.check_log()

    def destroy(self) -> None:
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.kill()


@contextmanager
def service(*args: Any, **more: Any) -> Iterator[Service]:
    daemon = Service(*args, **more)
    try:
        yield daemon
        daemon.end()
    except BaseException:
        print(daemon.tail())
        raise
    finally:
        daemon.destroy()


class Talker:
    """A stream that is asked and answered all the time, and checks every byte."""

    def __init__(self, port: int) -> None:
        self.rounds = 0
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._socket = apps.connect(port, 30)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                apps.ask(self._socket, PIECE)
                self.rounds += 1
        except BaseException as e:  # pylint: disable=broad-except
            self.error = e

    def wait_rounds(self, more: int) -> None:
        goal = self.rounds + more
        peers.wait_for(
            "talk", lambda: self.rounds >= goal or self.error is not None, 30
        )
        assert self.error is None, self.error

    def end(self) -> None:
        self._stop.set()
        self._thread.join(30)
        self._socket.close()
        assert self.error is None, self.error


@pytest.fixture(params=("epoll", "io_uring"))
def io(request: pytest.FixtureRequest, io_uring_works: bool) -> str:
    if request.param == "io_uring" and not io_uring_works:
        pytest.skip("no io_uring here")
    return request.param


@pytest.mark.parametrize("workers", (1, 2))
def test_under_load(build: Path, tmp_path: Path, io: str, workers: int) -> None:
    """Both roles in one daemon, several upgrades in a row: every stream goes on to its end, new
    ones find the new process, counters carry on, and old processes end with their streams."""
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        bulk = stack.enter_context(apps.Service(apps.duplex))
        sections, port = one_pair(target.address)
        more, bulk_port = one_pair(bulk.address)
        for title, keys in more.items():
            sections[title + "2"] = keys
        sections["global"] = {"io": io, "workers": workers}
        daemon = stack.enter_context(service(build, tmp_path, "both", sections))
        talkers = []
        for i in range(3):
            talkers += [Talker(port), Talker(port)]
            for talker in talkers:
                talker.wait_rounds(3)
            job = threading.Thread(
                target=apps.exchange, args=(bulk_port, 6 << 20, 6 << 20, i), daemon=True
            )
            job.start()
            before = daemon.counters()
            daemon.upgrade()
            after = daemon.counters()
            for name in ("BytesSent", "BytesReceived", "InPkts", "StreamsOpened", "ActiveOpens"):
                assert after[name] >= before[name], (name, before[name], after[name])
            for talker in talkers:
                talker.wait_rounds(3)
            job.join(60)
            assert not job.is_alive()
        assert not bulk.errors, bulk.errors
        assert daemon.finishing()
        for talker in talkers:
            talker.end()
        daemon.wait_finished(30)
        with apps.connect(port, 20) as s:
            apps.ask(s)
        assert daemon.counters()["StreamsReset"] == 0
        assert not target.errors, target.errors


def test_each_end_alone(build: Path, tmp_path: Path, io: str) -> None:
    """Server and client in daemons of their own: either is upgraded while the other is not."""
    port, server_port = peers.free_port(), peers.free_port()
    conf = {"io": io, "workers": 2}
    with ExitStack() as stack:
        target = stack.enter_context(apps.Service(apps.echo))
        server = stack.enter_context(
            service(
                build,
                tmp_path,
                "server",
                {"global": conf, "server s": server_section(server_port, target.address)},
            )
        )
        client = stack.enter_context(
            service(
                build,
                tmp_path,
                "client",
                {"global": conf, "client c": client_section(port, server_port, conn=3)},
            )
        )
        talkers = [Talker(port) for _ in range(6)]
        for daemon in (server, client, server):
            for talker in talkers:
                talker.wait_rounds(3)
            daemon.upgrade()
            talkers.append(Talker(port))
        for talker in talkers:
            talker.wait_rounds(3)
            talker.end()
        server.wait_finished(30)
        client.wait_finished(30)
        assert not target.errors, target.errors
