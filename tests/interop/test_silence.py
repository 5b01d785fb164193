"""tests/interop/test_silence.py - ends that stop for a while, vanish, or start again: who is told
gone, who is not, and how soon."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path

import apps
import peers
import pytest

SHORT, LONG = 3, 60  # peertimeout of one who stops, of one who must wait


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
    build: Path, tmp_path: Path, io: str, who: str, busy: bool, io_uring_works: bool
) -> None:
    """Longer than its own patience, shorter than that of an end that runs: no session is given up,
    no stream reset."""
    if io == "io_uring" and not io_uring_works:
        pytest.skip("the kernel refuses io_uring")
    stops = {"client": who in ("client", "both"), "server": who in ("server", "both")}
    options = {
        role: peers.Options(
            smuxver=2, io=io, more={"peertimeout": SHORT if stops[role] else LONG, "keepalive": 2}
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
                freeze(ends, SHORT + 1.2)
                rounds = bulk.rounds
                peers.wait_for("more traffic", lambda: bulk.rounds > rounds + 1 or bulk.error, 60)
                bulk.stop()
            else:
                with apps.connect(t.port, 30) as s:
                    apps.ask(s)
                    freeze(ends, SHORT + 1.2)
                    apps.ask(s)
            for end in (t.client, t.server):
                assert end.counters("t")["DeadPeers"] == 0
            assert t.client.counters("t")["ActiveOpens"] == 1
